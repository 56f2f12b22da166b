# A microscope's plate: planned, segmented in shards, tabulated, shown; what `--config plate=PATH` asks for.
from monolayer.params.plates import PlateFinding, PlateReading, PlateSettings


wildcard_constraints:
    plate="|".join(map(re.escape, P.plates)) or "none",
    shard=r"\d+-\d+",


# What F1 is to be expected of a run's cells on images without truth; asked for by its file, and used by plates since.
rule expect:
    input:
        exported=rules.export.output.manifest,
        networks=rules.export.output.networks,
        images=rules.download.output.images,
        splits=rules.split.output,
        code=code("plates.expect"),
    output:
        "results/{dataset}/export/{run}/expected_f1.json",
    log:
        "results/{dataset}/logs/expect/{run}.log",
    conda:
        "../../envs/environment.yaml"
    threads: P.cpu_threads
    params:
        settings=finding_by_export,
        splits=lambda w: f"results/{w.dataset}/splits",
    shell:
        "monolayer expect --images {input.images} --splits {params.splits} --params {params.settings:q}"
        " --threads {threads} --output {output} --log {log}"


checkpoint plan_plate:
    input:
        plate=plate_path,
        code=code("plates.plan"),
    output:
        plan="results/plates/{plate}/plan.parquet",
        about="results/plates/{plate}/plan.json",
        labels="results/plates/{plate}/labels.ome.zarr/zarr.json",
    log:
        "results/plates/{plate}/logs/plan.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.plates[w.plate].given(PlateReading),
        state=plate_state,  # of its files, of which Snakemake sees no more than the top folder
        output=subpath(output.plan, parent=True),
    shell:
        "monolayer plan-plate --plate {input.plate:q} --params {params.settings:q}"
        " --output {params.output} --log {log}"


rule segment:
    input:
        plan=rules.plan_plate.output.plan,
        about=rules.plan_plate.output.about,
        model=plate_model,
        code=code("plates.segment"),
    output:
        "results/plates/{plate}/parts/{shard}.json",
    log:
        "results/plates/{plate}/logs/segment/{shard}.log",
    conda:
        "../../envs/environment.yaml"
    threads: P.cpu_threads
    params:
        settings=lambda w: P.plates[w.plate].given(PlateFinding),
        state=plate_state,
        plan=subpath(input.plan, parent=True),
    shell:
        "monolayer segment-plate --plan {params.plan} --shard {wildcards.shard}"
        " --params {params.settings:q} --threads {threads} --log {log}"


rule tabulate:
    input:
        plan=rules.plan_plate.output.plan,
        parts=plate_parts,
        map=lambda w: P.plates[w.plate].conditions or [],
        expected=plate_expected,
        code=code("plates.tabulate"),
    output:
        cells=directory("results/plates/{plate}/cells.parquet"),
        images="results/plates/{plate}/images.parquet",
        tables=expand(
            "results/plates/{{plate}}/{table}.csv",
            table=["wells", "curves", "conditions", "comparisons", "dictionary"],
        ),
        manifest="results/plates/{plate}/manifest.json",
        crate="results/plates/{plate}/ro-crate-metadata.json",
    log:
        "results/plates/{plate}/logs/tabulate.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.plates[w.plate].given(PlateSettings),
        state=plate_state,
        plan=subpath(input.plan, parent=True),
        size=P.images_per_shard,
    shell:
        "monolayer tabulate-plate --plan {params.plan} --images-per-shard {params.size}"
        " --params {params.settings:q} --log {log}"


rule plate_report:
    input:
        rules.tabulate.output,
        plan=rules.plan_plate.output.plan,
        code=code("plates.report"),
    output:
        "results/plates/{plate}/report.html",
    log:
        "results/plates/{plate}/logs/report.log",
    conda:
        "../../envs/environment.yaml"
    params:
        settings=lambda w: P.plates[w.plate].given(PlateSettings),
        state=plate_state,
        plan=subpath(input.plan, parent=True),
    shell:
        "monolayer report-plate --plan {params.plan} --params {params.settings:q}"
        " --output {output} --log {log}"


# Of one plate, while it grows, until it is stopped: snakemake --cores 1 --config plate=FOLDER -- watch_plate
rule watch_plate:
    input:
        code=code("plates.live"),
    log:
        "results/plates/logs/watch_plate.log",
    conda:
        "../../envs/environment.yaml"
    threads: P.cpu_threads
    params:
        plate=lambda w: only_plate()[1].path,
        settings=lambda w: only_plate()[1].given(PlateSettings),
        output=lambda w: f"results/plates/{only_plate()[0]}",
    shell:
        "monolayer watch-plate --plate {params.plate:q} --params {params.settings:q}"
        " --output {params.output} --threads {threads} --log {log}"
