"""Whether a run is better than the one that it began with, on test images that neither was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from monolayer.coco.table import read_truth
from monolayer.evaluation.bootstrap import FEWEST
from monolayer.evaluation.evaluate import drawn, pair_rows, read_draws, read_scores
from monolayer.files import InputError, few, read_json, write_json
from monolayer.params.steps import EvaluateParams, GainParams

METRIC = "mask_ap"
log = logging.getLogger(__name__)


def gain(truth: Path, base: Path, scores: Path, params: GainParams, output: Path, *, models: Sequence[Path]) -> None:
    """Write and tell the difference in mask AP, its 95 % interval (paired bootstrap), and whether to export the run.

    models: run.json of both, which know whether test images were learned from: such images show nothing.
    """
    files = {params.run: scores, params.base: base}
    scored = {name: read_scores(path) for name, path in files.items()}
    for name, path in files.items():
        if scored[name]["run"] != name:
            raise InputError(f"{path} has the scores of {scored[name]['run']}, not of {name}; give those of {name}")
    draws = {name: read_draws(path.with_name(f"{name}.bootstrap.npz")) for name, path in files.items()}
    rows = pair_rows(*((name, draws[name]) for name in files))
    row = next((row for row in rows if (row["metric"], row["cell_line"]) == (METRIC, "all")), None)
    images, _ = read_truth(truth)
    protocol = EvaluateParams.model_validate({key: scored[params.run][key] for key in EvaluateParams.model_fields})
    units = drawn(images, protocol)["all"].units
    if row is None and units >= FEWEST:
        raise InputError(f"{scores} and {base} are of other images or draws; evaluate both runs again")
    better = row is not None and row["real"] == "true" and row["difference"] > 0
    what = f"{params.run} against {params.base}, mask AP on {len(images)} test images"
    if row is not None:
        what += f": {row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    why = "better" if better else "not shown to be better"
    if seen := sorted({name for model in models for name in _seen_in_test(model)}):
        better = False
        why = f"nothing is shown, as {len(seen)} of them were learned from ({few(seen, most=3)}); begin with other "
        why += "weights, or keep them out of test"
    elif units < FEWEST:
        unit = "wells" if protocol.resample == "well" else "images"
        why = f"nothing is shown by {units} {unit}, for which {FEWEST} are needed; annotate more, or raise split.test"
        if len(set(images.lines)) > 1:
            why += " (of a line that has one alone, chance draws nothing)"
    exported = better or params.unproven
    log.info("%s: %s; %s", what, why, "exported" if exported else "not exported (unproven: true would)")
    found = {key: None if row is None else row[key] for key in ("difference", "low", "high", "p")}
    record = {"run": params.run, "base": params.base, "metric": METRIC, "images": len(images), "drawn": units, **found}
    record["test_set"] = draws[params.run].on[:16]
    record["scores"] = {
        name: {end: scored[name][f"{METRIC}{end}"] for end in ("", "_low", "_high")}
        for name in (params.base, params.run)
    }
    write_json(output, record | {"better": better, "exported": exported, "said": f"{what}: {why}"}, indent=1)


def _seen_in_test(model: Path) -> list[str]:
    """The test images that a run learned from, by its run.json."""
    cure = "train the run again"
    record = read_json(model, "run.json of a trained run", cure)
    if not isinstance(record, dict) or "seen_in_test" not in record:
        raise InputError(f"{model} does not say which test images were learned from; {cure}")
    return list(record["seen_in_test"])
