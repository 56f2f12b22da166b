# Runs as files that need no training code, held against torch, and how fast they are here.
# The folder export/{run} travels alone. Its card is a rule of its own, so that wording it makes no network anew: that
# is why the graphs lie in a folder within, for no rule may write into a folder that another one makes.


rule export:
    input:
        weights=rules.train.output.weights,
        images=rules.download.output.images,
        splits=rules.split.output,
        results="results/{dataset}/predictions/{run}/test.json.gz",
        scores=rules.evaluate.output.scores,
        code=code("deployment.export", "evaluation.threshold"),
    output:
        manifest="results/{dataset}/export/{run}/model.json",
        networks=directory("results/{dataset}/export/{run}/networks"),
        parity="results/{dataset}/export/{run}/parity.json",
        seen="results/{dataset}/export/{run}/seen.txt",
    log:
        "results/{dataset}/logs/export/{run}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.export_params(w.run).model_dump_json(),
        splits=lambda w: f"results/{w.dataset}/splits",
        output=subpath(output.manifest, parent=True),
    shell:
        "monolayer export --weights {input.weights} --images {input.images} --splits {params.splits}"
        " --results {input.results} --scores {input.scores} --params {params.settings:q}"
        " --output {params.output} --log {log}"


rule card:
    input:
        exported=rules.export.output.manifest,
        networks=rules.export.output.networks,
        parity=rules.export.output.parity,
        run=rules.train.output.run,
        history=rules.train.output.history,
        scores=rules.evaluate.output.scores,
        splits=rules.split.output,
        gain=gain_of,
        code=code("reporting.card"),
    output:
        "results/{dataset}/export/{run}/card.md",
    log:
        "results/{dataset}/logs/card/{run}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.card_params.model_dump_json(),
        splits=lambda w: f"results/{w.dataset}/splits",
        model=subpath(input.run, parent=True),
        gain=lambda w, input: f"--gain {input.gain}" if input.gain else "",
    shell:
        "monolayer card {params.gain} --exported {input.exported} --model {params.model} --scores {input.scores}"
        " --splits {params.splits} --params {params.settings:q} --output {output} --log {log}"


rule tool_card:
    input:
        record="results/{dataset}/predictions/{run}/test.tool.json",
        scores=rules.evaluate.output.scores,
        code=code("reporting.card"),
    output:
        "results/{dataset}/predictions/{run}/card.md",
    log:
        "results/{dataset}/logs/tool_card/{run}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.card_params.model_dump_json(),
    shell:
        "monolayer tool-card --record {input.record} --scores {input.scores}"
        " --params {params.settings:q} --output {output} --log {log}"


rule benchmark:
    input:
        weights=rules.train.output.weights,
        exported=rules.export.output.manifest,
        networks=rules.export.output.networks,
        images=rules.download.output.images,
        truth="results/{dataset}/splits/test.json",
        code=code("deployment.benchmark"),
    output:
        "results/{dataset}/benchmark/{run}.json",
    log:
        "results/{dataset}/logs/benchmark/{run}.log",
    conda:
        "../../envs/environment.yaml"
    threads: P.benchmark.threads
    params:
        settings=lambda w: P.benchmark_params(w.run).model_dump_json(),
    shell:
        "monolayer benchmark --weights {input.weights} --exported {input.exported} --images {input.images}"
        " --truth {input.truth} --params {params.settings:q} --output {output} --log {log}"
