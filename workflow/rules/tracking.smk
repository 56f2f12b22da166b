# What the cells of the test images do over time: of each run, and the true ones.


# The mended row of a run; no job of the default run.
rule mend:
    input:
        splits=expand("results/{{dataset}}/splits/{split}.json", split=["val", "test"]),
        found=unmended,
        scores=lambda w: f"results/{w.dataset}/metrics/{P.mended_runs[w.mended]}.json",
        code=code("tracking.mending"),
    output:
        results=expand(
            "results/{{dataset}}/predictions/{{mended}}/{split}.json.gz",
            split=["val", "test"],
        ),
        gain="results/{dataset}/predictions/{mended}/mended.json",
    log:
        "results/{dataset}/logs/mend/{mended}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.mend_params.model_dump_json(),
        splits=lambda w: f"results/{w.dataset}/splits",
        found=lambda w, input: Path(input.found[0]).parent,
        output=subpath(output.gain, parent=True),
    shell:
        "monolayer mend-run --splits {params.splits} --predictions {params.found} --scores {input.scores}"
        " --threads {threads} --params {params.settings:q} --output {params.output} --log {log}"


rule track:
    input:
        truth=truth_of,
        measured=measured_of,
        cells=found_by,
        code=code("tracking.track", "evaluation.threshold"),
    output:
        tables=expand(
            "results/{{dataset}}/tracks/{{tracked}}/{table}.parquet",
            table=["cells", "tracks", "frames", "divisions", "scores"],
        ),
        csv=expand(
            "results/{{dataset}}/tracks/{{tracked}}/{table}.csv",
            table=["cells", "tracks", "frames", "divisions", "scores"],
        ),
        dictionary="results/{dataset}/tracks/{tracked}/dictionary.csv",
        files=directory("results/{dataset}/tracks/{tracked}/files"),
    log:
        "results/{dataset}/logs/track/{tracked}.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.tracked[w.tracked].settings.model_dump_json(),
        measured=lambda w: f"results/{w.dataset}/cells/{source_of(w)}",
        cells=lambda w, input: (
            "--results {0} --scores {1}".format(*input.cells) if input.cells else ""
        ),
        output=subpath(output.dictionary, parent=True),
    shell:
        "monolayer track --truth {input.truth} --cells {params.measured} {params.cells}"
        " --workers {threads} --params {params.settings:q} --output {params.output} --log {log}"


rule compare_tracks:
    input:
        tables=every(
            rules.track.output.tables,
            tracked=list(P.tracked),
            allow_missing=True,
        ),
        code=code("tracking.comparison"),
    output:
        table=report(
            "results/{dataset}/tracks.csv",
            caption="../captions/tracks.rst",
            category="Tables",
            labels={"dataset": "{dataset}", "content": "scores of all runs' tracks"},
        ),
        pairs="results/{dataset}/tracks.pairs.csv",
    log:
        "results/{dataset}/logs/compare_tracks.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=P.track_scores_params.model_dump_json(),
        folders=lambda w: expand(
            "results/{dataset}/tracks/{tracked}",
            dataset=w.dataset,
            tracked=list(P.tracked),
        ),
    shell:
        "monolayer compare-tracks --tracks {params.folders}"
        " --params {params.settings:q} --output {output.table} --log {log}"
