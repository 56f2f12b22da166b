# One page of everything.


rule report:
    input:
        audit=rules.audit.output,
        splits=rules.split.output,
        models=by_run(rules.train.output.run),
        histories=by_run(rules.train.output.history),
        predictions=by_run("results/{dataset}/predictions/{run}/test.json.gz"),
        metrics=by_run(rules.evaluate.output[0]),
        table=rules.compare.output,
        code=modules("report", "evaluate", "coco"),
    output:
        "results/{dataset}/report.html",
    log:
        "results/{dataset}/logs/report.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.report.model_dump_json(),
        runs=P.selected_runs,
        results=subpath(output[0], parent=True),
    shell:
        "monolayer report --results {params.results} --runs {params.runs}"
        " --params {params.settings:q} --output {output} --log {log}"
