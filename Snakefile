# From images to a report; `snakemake --cores all` makes everything, params.yaml says of what.
from snakemake.utils import min_version

from monolayer import locks, params

min_version("9.27")
if workflow.is_main_process:
    locks.release_dead()  # after a kill -9 the same command goes on


configfile: "params.yaml"


report: "workflow/report/workflow.rst"


container: "envs/monolayer.sif"  # with --sdm apptainer; built from envs/monolayer.def


P = params.load(config)


include: "workflow/rules/common.smk"
# the order in which data flows
include: "workflow/rules/data.smk"
include: "workflow/rules/extend.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        f"results/{P.dataset}/report.html",
