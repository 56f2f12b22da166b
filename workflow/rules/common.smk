# Wildcard constraints and the few named look-ups.
import os
import sys

# `monolayer` is found beside the interpreter also where its environment is not activated
os.environ["PATH"] = os.pathsep.join(
    [os.path.dirname(sys.executable), os.environ["PATH"]]
)


wildcard_constraints:
    dataset="|".join(P.datasets),
    run="|".join(P.selected_runs),
    split="val|test",
    extension="|".join(P.extensions),


def modules(*names):
    """The modules that decide a cheap rule's result: Snakemake does not see edits of an imported package."""
    return [f"workflow/monolayer/{name}.py" for name in names]


def by_run(pattern):
    """The paths of all runs of the results table."""
    return expand(pattern, run=P.selected_runs, allow_missing=True)
