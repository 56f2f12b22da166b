# One page of everything.


rule report:
    input:
        images=rules.download.output.images,
        audit=rules.audit.output,
        splits=rules.split.output,
        models=by_run(rules.train.output.run),
        histories=by_run(rules.train.output.history),
        predictions=by_run("results/{dataset}/predictions/{run}/test.json.gz"),
        table=rules.compare.output,
        code=modules("report", "study", "tables", "figures", "pictures", "coco"),
    output:
        "results/{dataset}/report.html",
    log:
        "results/{dataset}/logs/report.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.report_params.model_dump_json(),
        runs=P.selected_runs,
        results=subpath(output[0], parent=True),
    shell:
        "monolayer report --results {params.results} --runs {params.runs}"
        " --params {params.settings:q} --output {output} --log {log}"
