# Where jobs find the program and keep their caches, wildcard constraints and the few named look-ups.
import json
import os
import sys
from functools import cache
from pathlib import Path

from monolayer.params.data import local_paths
from monolayer.params.plates import PlateFinding, shards
from monolayer.plates.state import plate_digest
from monolayer.provenance.closure import closure
from monolayer.provenance.local_files import content
from snakemake.exceptions import WorkflowError

# `monolayer` is found beside the interpreter also where its environment is not activated, or in the job's container.
# Where a storage plugin keeps the files, a job has them below .snakemake: what it calls results/ is there.
KEPT = workflow.storage_settings.default_storage_provider
BUCKET = str(workflow.storage_settings.default_storage_prefix).partition("://")[2]
LOCAL = f"{workflow.storage_settings.local_storage_prefix}/{KEPT}/{BUCKET}/results"
shell.prefix(
    f'[ -n "${{{{APPTAINER_CONTAINER:-}}}}" ] || export PATH="{Path(sys.executable).parent}:$PATH"; '
    + (f"[ -L results ] || ln -s {LOCAL} results || [ -L results ]; " if KEPT else "")
)

# caches go with Snakemake's files, for a compute node may have no $HOME to write to: of Snakemake in a Slurm job
# (which gets this environment), of pip, of matplotlib's fonts
os.environ.setdefault("XDG_CACHE_HOME", str(Path(".snakemake/cache").absolute()))
os.environ.setdefault("MPLCONFIGDIR", str(Path(".snakemake/matplotlib").absolute()))


wildcard_constraints:
    dataset="|".join(P.datasets),
    run="|".join(P.scored_runs),
    split="val|test",
    mended="|".join(P.mended_runs) or "(?!)",
    tuned="|".join(P.tuned_runs) or "(?!)",
    source="|".join([*P.scored_runs, "truth", *P.cultures]),
    extension="|".join(P.extensions),
    tracked="|".join(P.tracked),


def code(*modules):
    """The files that decide what a verb's modules do: Snakemake does not see edits of an imported package.

    None where a storage plugin keeps all files: jobs run with the code of their container.
    """
    if workflow.storage_settings.default_storage_provider:
        return []
    return closure(Path("workflow/monolayer"), *modules)


def every(patterns, **values):
    """expand(), also of outputs that a storage plugin keeps: that is a flag on them, which expand() refuses."""
    prefix = f"{workflow.storage_settings.default_storage_prefix}/"
    given = [patterns] if isinstance(patterns, str) else patterns
    kept = [getattr(one, "flags", {}).get("storage_object") for one in given]
    texts = [
        own.query.removeprefix(prefix) if own else one for own, one in zip(kept, given)
    ]
    return expand(texts, **values)


def by_run(pattern):
    """The paths of all rows of the results table."""
    return every(pattern, run=P.scored_runs, allow_missing=True)


def by_trained_run(pattern):
    """The paths of those runs of the results table that are trained here."""
    return every(pattern, run=P.trained_runs, allow_missing=True)


def by_tool_run(pattern):
    """The paths of those runs of the results table that are other tools'."""
    return every(pattern, run=P.tool_runs, allow_missing=True)


def by_tuned_run(pattern):
    """The paths of those runs of the results table that have a base to beat."""
    return every(pattern, run=P.tuned_runs, allow_missing=True)


def kept_rounds(wildcards):
    """The rounds of annotation that were kept so far, if any."""
    table = Path(f"results/{wildcards.dataset}/rounds.csv")
    return [str(table)] if P.tuned_runs and table.exists() else []


def by_mended_run(pattern):
    """The paths of those rows of the results table that are a run's cells, mended by time."""
    return every(pattern, mended=list(P.mended_runs), allow_missing=True)


def unmended(wildcards):
    """What a run found in val and test, before its cells are mended."""
    name = {"dataset": wildcards.dataset, "run": P.mended_runs[wildcards.mended]}
    return every(
        "results/{dataset}/predictions/{run}/{split}.json.gz",
        split=["val", "test"],
        **name,
    )


def by_exported_run(pattern):
    """The paths of those runs of the results table that are exported and timed: of a tuned one, if it is better."""
    if not set(P.exported_runs) & set(P.tuned_runs):
        return every(pattern, run=P.exported_runs, allow_missing=True)

    def paths(wildcards):
        runs = [run for run in P.exported_runs if passes(wildcards.dataset, run)]
        return every(pattern, run=runs, dataset=wildcards.dataset)

    return paths


def passes(dataset, run):
    """Whether a run may be exported, which is known of a tuned one once it was scored."""
    if run not in P.tuned_runs:
        return True
    file = checkpoints.gain.get(dataset=dataset, tuned=run).output[0]
    return json.loads(Path(file).read_text())["exported"]


def gain_of(wildcards):
    """What a run has over its base, if it has one."""
    if wildcards.run not in P.tuned_runs:
        return []
    return f"results/{wildcards.dataset}/metrics/{wildcards.run}.gain.json"


def source_of(wildcards):
    """Whose cells are measured, or tracked with some settings."""
    tracked = wildcards.get("tracked")
    return P.tracked[tracked].source if tracked else wildcards.source


def measured_of(wildcards):
    """The tables of the cells that are tracked."""
    name = {"source": source_of(wildcards), "dataset": wildcards.dataset}
    return every(rules.measure.output.tables, **name)


def images_of(wildcards):
    """The images whose cells a source has."""
    if wildcards.source in P.cultures:
        name = {"extension": wildcards.source, "dataset": wildcards.dataset}
        return every(rules.extend.output.images, **name)
    return rules.download.output.images


def truth_of(wildcards):
    """The file that lists those images, with their true cells."""
    source = source_of(wildcards)
    if source in P.cultures:
        name = {"extension": source, "dataset": wildcards.dataset}
        return every(rules.extend.output.annotations, **name)
    return "results/{dataset}/splits/test.json"


def found_by(wildcards):
    """What a run found, and its scores; nothing of true cells."""
    source = source_of(wildcards)
    if source not in P.scored_runs:
        return []
    folder = f"results/{wildcards.dataset}"
    return [
        f"{folder}/predictions/{source}/test.json.gz",
        f"{folder}/metrics/{source}.json",
    ]


def extension_of(wildcards):
    """The synthetic images and their truth that a run trains on besides, if any."""
    name = P.runs[wildcards.run].extension
    return (
        every(rules.extend.output, dataset=wildcards.dataset, extension=name)
        if name
        else []
    )


def by_extension(pattern):
    """The paths of all extensions that a run of the results table trains on."""
    return every(pattern, extension=P.selected_extensions, allow_missing=True)


def plate_path(wildcards):
    """The images of a plate; where its name has the results of another one, they are not written over."""
    path = P.plates[wildcards.plate].path
    if not Path(path).exists():
        raise WorkflowError(
            f"plate {path} is not there; give the path of a folder, TIFF or OME-Zarr, as seen from here (~ is not read "
            "in a file)"
        )
    results = Path(f"results/plates/{wildcards.plate}")
    if (results / "plan.json").exists():
        planned = json.loads((results / "plan.json").read_text())["path"]
        old, new = Path(planned).resolve(), Path(path).resolve()
        # an OME-TIFF set may be given by its folder or any of its files
        same_set = old.suffix == ".ome" and old.parent in (new, new.parent)
        if old != new and not same_set:
            raise WorkflowError(
                f"{results} holds the results of {planned}, which those of {path} would replace: rename that folder, or "
                "give this plate a name of its own under `plates` (params.yaml)"
            )
    return path


@cache
def digest_once(path):
    """The state of a plate's files, looked at once for all rules and shards."""
    return plate_digest(Path(path))


def plate_state(wildcards):
    """What changes with any file of a plate; a job that was started (on a node) needs it no more."""
    path = P.plates[wildcards.plate].path
    return digest_once(path) if workflow.is_main_process else ""


def plate_model(wildcards):
    """The files of the plate's model, where it is not the one of the package."""
    model = P.plates[wildcards.plate].model
    return [] if model == "pretrained" else f"{model}/model.json"


def only_plate():
    """The plate that is asked for, and its name."""
    if len(P.plates) != 1:
        raise WorkflowError(
            f"watch_plate follows one plate, and {len(P.plates)} are given: --config plate=FOLDER"
        )
    return next(iter(P.plates.items()))


def finding_by_export(wildcards, input):
    """How plates find cells, by the run that was exported."""
    own = P.plate_settings.model_copy(
        update={"model": str(Path(input.exported).parent)}
    )
    return own.model_dump_json(include=set(PlateFinding.model_fields))


def plate_expected(wildcards):
    """What F1 is expected of the plate's model, where that was fitted: its tables hang on it, its cells don't."""
    model = P.plates[wildcards.plate].model
    folder = (
        Path("workflow/monolayer/pretrained/phase_contrast")
        if model == "pretrained"
        else Path(model)
    )
    return [str(path) for path in [folder / "expected_f1.json"] if path.exists()]


def plate_parts(wildcards):
    """The parts of all shards, so many images each: known once the plate is planned."""
    about = json.loads(
        Path(checkpoints.plan_plate.get(**wildcards).output.about).read_text()
    )
    found = shards(about["images"], P.images_per_shard)
    return every(rules.segment.output, shard=found, allow_missing=True)
