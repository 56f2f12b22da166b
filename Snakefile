# From images to a report; `snakemake --cores all` makes everything, params.yaml says of what.
from pathlib import Path

from snakemake.utils import min_version

from monolayer.params import params
from monolayer.provenance import dead_runs

min_version("9.27")
if workflow.is_main_process:
    dead_runs.release_dead()  # after a kill -9 the same command goes on
    params.refuse_aliases(Path("params.yaml"))
    for file in ("params.yaml", *workflow.overwrite_configfiles):
        params.refuse_repeated_keys(Path(file))


configfile: "params.yaml"


report: "workflow/captions/workflow.rst"


container: "envs/monolayer.sif"  # with --sdm apptainer; built from envs/monolayer.def


P = params.load(config, workflow.overwrite_configfiles)


include: "workflow/rules/common.smk"
# the order in which data flows
include: "workflow/rules/data.smk"
include: "workflow/rules/synthesis.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/measurement.smk"
include: "workflow/rules/tracking.smk"
include: "workflow/rules/deployment.smk"
include: "workflow/rules/reporting.smk"
include: "workflow/rules/plates.smk"


if (
    KEPT
):  # Snakemake holds no file in storage against the constraints of wildcards, so that several rules could make it

    if P.tool_runs or P.plates:
        raise params.ParamsError(
            f"--default-storage-provider {KEPT}: neither other tools' rows ({', '.join(P.tool_runs)}) nor plates can be "
            "kept there; leave them out, or the option"
        )

    ruleorder: gain > evaluate
    ruleorder: predict > import_results
    ruleorder: predict > mend


rule all:
    default_target: True
    input:  # with what the report shows, or files of it that are deleted by hand would not come back; the export of a
        # tuned run is a function, for it is known once that is scored
        [f"results/plates/{plate}/report.html" for plate in P.plates]
        or every(
            [
                "results/{dataset}/report.html",
                *(path for path in rules.report.input if isinstance(path, str)),
            ],
            dataset=P.dataset,
        ),
