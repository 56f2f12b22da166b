# Results against truth, and the table of all runs.


# Another tool's command runs in an environment of its own; what it fetches at first use, no compute node can.
rule import_results:
    input:
        images=rules.download.output.images,
        truth="results/{dataset}/splits/{split}.json",
        code=code("evaluation.tools"),
    output:
        results="results/{dataset}/predictions/{run}/{split}.json.gz",
        record="results/{dataset}/predictions/{run}/{split}.tool.json",
    log:
        "results/{dataset}/logs/import_results/{run}.{split}.log",
    wildcard_constraints:
        run="|".join(P.tool_runs) or "(?!)",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.tool(w.run).model_dump_json(),
        # not given to the verb: a change of results that lie there is not to go unseen
        local_files=lambda w: content(
            P.tool_files(w.run, w.split), Path(".snakemake/local_files.json")
        ),
    shell:
        "monolayer import-results --images {input.images} --truth {input.truth} --split {wildcards.split}"
        " --params {params.settings:q} --output {output.results} --log {log}"


rule evaluate:
    input:
        truth="results/{dataset}/splits/test.json",
        results="results/{dataset}/predictions/{run}/test.json.gz",
        val_truth="results/{dataset}/splits/val.json",
        val_results="results/{dataset}/predictions/{run}/val.json.gz",
        code=code("evaluation.evaluate"),
    output:
        scores="results/{dataset}/metrics/{run}.json",
        headline="results/{dataset}/metrics/{run}.headline.json",
        images=report(
            "results/{dataset}/metrics/{run}.images.csv",
            caption="../captions/images.rst",
            category="Tables",
            subcategory="By image",
            labels={"dataset": "{dataset}", "content": "{run}, by test image"},
        ),
        curves="results/{dataset}/metrics/{run}.curves.csv",
        strata="results/{dataset}/metrics/{run}.strata.csv",
        errors="results/{dataset}/metrics/{run}.errors.csv",
        draws="results/{dataset}/metrics/{run}.bootstrap.npz",
    log:
        "results/{dataset}/logs/evaluate/{run}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        settings=P.evaluate.model_dump_json(),
    shell:
        "monolayer evaluate --truth {input.truth} --results {input.results}"
        " --val-truth {input.val_truth} --val-results {input.val_results}"
        " --params {params.settings:q} --output {output.scores} --threads {threads} --log {log}"


rule compare:
    input:
        scores=by_run(rules.evaluate.output.scores),
        draws=by_run(rules.evaluate.output.draws),
        code=code("evaluation.evaluate"),
    output:
        table=report(
            "results/{dataset}/metrics.csv",
            caption="../captions/metrics.rst",
            category="Tables",
            labels={"dataset": "{dataset}", "content": "scores of all runs"},
        ),
        pairs="results/{dataset}/pairs.csv",
    log:
        "results/{dataset}/logs/compare.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "monolayer compare --metrics {input.scores} --output {output.table} --log {log}"


# What is exported hangs on its outcome.
checkpoint gain:
    input:
        truth="results/{dataset}/splits/test.json",
        base=lambda w: f"results/{w.dataset}/metrics/{P.runs[w.tuned].base}.json",
        base_draws=lambda w: f"results/{w.dataset}/metrics/{P.runs[w.tuned].base}.bootstrap.npz",
        scores="results/{dataset}/metrics/{tuned}.json",
        draws="results/{dataset}/metrics/{tuned}.bootstrap.npz",
        models=lambda w: [
            f"results/{w.dataset}/models/{run}/run.json"
            for run in (P.runs[w.tuned].base, w.tuned)
        ],
        code=code("evaluation.gain"),
    output:
        "results/{dataset}/metrics/{tuned}.gain.json",
    log:
        "results/{dataset}/logs/gain/{tuned}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.gain_params(w.tuned).model_dump_json(),
    shell:
        "monolayer gain --truth {input.truth} --base {input.base} --scores {input.scores} --models {input.models}"
        " --params {params.settings:q} --output {output} --log {log}"
