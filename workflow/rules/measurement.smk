# What a biologist measures of the test images' cells: those of each run, and the true ones; and of cultures.


rule measure:
    input:
        images=images_of,
        truth=truth_of,
        cells=found_by,
        code=code("measurement.measure", "evaluation.threshold"),
    output:
        tables=expand(
            "results/{{dataset}}/cells/{{source}}/{table}.parquet",
            table=["cells", "images", "growth"],
        ),
        csv=expand(
            "results/{{dataset}}/cells/{{source}}/{table}.csv",
            table=["cells", "images", "growth"],
        ),
        dictionary="results/{dataset}/cells/{source}/dictionary.csv",
        masks=directory("results/{dataset}/cells/{source}/masks"),
    log:
        "results/{dataset}/logs/measure/{source}.log",
    conda:
        "../../envs/environment.yaml"
    threads: 2
    params:
        settings=P.measure.model_dump_json(),
        cells=lambda w, input: (
            "--results {0} --scores {1}".format(*input.cells) if input.cells else ""
        ),
        output=subpath(output.dictionary, parent=True),
    shell:
        "monolayer measure --images {input.images} --truth {input.truth} {params.cells}"
        " --workers {threads} --params {params.settings:q} --output {params.output} --log {log}"
