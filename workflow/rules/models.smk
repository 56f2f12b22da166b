# One rule for every family: which one is a row of params.yaml.


# Without `code`: training takes hours, and run.json tells the commit that it was done at. An edit of what makes the data
# runs it again all the same, as Snakemake goes by order; `dvc repro`, which compares contents, only if they changed.
rule train:
    input:
        images=rules.download.output.images,
        splits=rules.split.output,
        extension=extension_of,
        first=lambda w: P.first_weights(w.run),
    output:
        weights="results/{dataset}/models/{run}/weights.pt",
        run="results/{dataset}/models/{run}/run.json",
        history="results/{dataset}/models/{run}/history.csv",
    log:
        "results/{dataset}/logs/train/{run}.log",
    conda:
        "../../envs/environment.yaml"
    threads: P.cpu_threads
    params:
        settings=lambda w: P.train_params(w.run).model_dump_json(),
        splits=lambda w: f"results/{w.dataset}/splits",
        extension=lambda w, input: (
            f"--extension {Path(input.extension[0]).parent}" if input.extension else ""
        ),
        output=subpath(output.weights, parent=True),
    shell:
        "monolayer train --images {input.images} --splits {params.splits} {params.extension}"
        " --params {params.settings:q} --output {params.output} --log {log}"


rule predict:
    input:
        weights=rules.train.output.weights,
        images=rules.download.output.images,
        truth="results/{dataset}/splits/{split}.json",
        code=code("models.predict"),
    output:
        "results/{dataset}/predictions/{run}/{split}.json.gz",
    log:
        "results/{dataset}/logs/predict/{run}.{split}.log",
    wildcard_constraints:
        run="|".join(P.trained_runs) or "(?!)",
    conda:
        "../../envs/environment.yaml"
    threads: P.cpu_threads
    params:
        settings=lambda w: P.predict_params(w.run).model_dump_json(),
    shell:
        "monolayer predict --weights {input.weights} --images {input.images} --truth {input.truth}"
        " --params {params.settings:q} --output {output} --log {log}"
