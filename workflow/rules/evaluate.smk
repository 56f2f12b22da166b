# Results against truth, and the table of all runs.


rule evaluate:
    input:
        truth="results/{dataset}/splits/test.json",
        results="results/{dataset}/predictions/{run}/test.json.gz",
        code=modules("evaluate", "metrics", "coco"),
    output:
        "results/{dataset}/metrics/{run}.json",
    log:
        "results/{dataset}/logs/evaluate/{run}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        settings=P.evaluate.model_dump_json(),
    shell:
        "monolayer evaluate --truth {input.truth} --results {input.results}"
        " --params {params.settings:q} --output {output} --log {log}"


rule compare:
    input:
        metrics=by_run(rules.evaluate.output[0]),
        code=modules("evaluate"),
    output:
        "results/{dataset}/metrics.csv",
    log:
        "results/{dataset}/logs/compare.log",
    conda:
        "../../envs/environment.yaml"
    shell:
        "monolayer compare --metrics {input.metrics} --output {output} --log {log}"
