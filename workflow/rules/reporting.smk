# One page of everything.


rule report:
    input:
        images=rules.download.output.images,
        audit=rules.audit.output,
        splits=rules.split.output,
        models=by_trained_run(rules.train.output.run),
        histories=by_trained_run(rules.train.output.history),
        tools=by_tool_run("results/{dataset}/predictions/{run}/test.tool.json"),
        tool_cards=by_tool_run(rules.tool_card.output),
        mended=by_mended_run(rules.mend.output.gain),
        predictions=by_run("results/{dataset}/predictions/{run}/test.json.gz"),
        by_image=by_run(rules.evaluate.output.images),
        curves=by_run(rules.evaluate.output.curves),
        strata=by_run(rules.evaluate.output.strata),
        errors=by_run(rules.evaluate.output.errors),
        shifts=by_extension(rules.domain_shift.output),
        cells=every(
            rules.measure.output.tables,
            source=[*P.scored_runs, "truth"],
            allow_missing=True,
        ),
        tracks=every(
            rules.track.output.tables,
            tracked=[*P.scored_runs, "truth", *P.cultures],
            allow_missing=True,
        ),
        track_scores=rules.compare_tracks.output,
        parity=by_exported_run(rules.export.output.parity),
        cards=by_exported_run(rules.card.output),
        timings=by_exported_run(rules.benchmark.output),
        gains=by_tuned_run("results/{dataset}/metrics/{run}.gain.json"),
        rounds=kept_rounds,
        table=rules.compare.output.table,
        pairs=rules.compare.output.pairs,
        code=code("reporting.report"),
    output:
        picture="results/{dataset}/overview.svg",
        page=report(
            "results/{dataset}/report.html",
            caption="../captions/report.rst",
            category="Report",
            labels={"dataset": "{dataset}", "content": "everything on one page"},
        ),
    log:
        "results/{dataset}/logs/report.log",
    conda:
        "../../envs/environment.yaml"
    params:
        # a function, for commands of other tools have braces, which a text would have expanded
        settings=lambda w: P.report_params.model_dump_json(),
        runs=P.scored_runs,
        results=subpath(output.page, parent=True),
    shell:
        "monolayer report --results {params.results} --runs {params.runs}"
        " --params {params.settings:q} --output {output.page} --log {log}"
