"""A run's cells, mended by time if val says that this helps: what is gained there in mask AP and TRA is measured first.

A row of its own beside the run's: where val says no, it is what the run found.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monolayer.coco.reader import read
from monolayer.coco.records import CELL, Image, Truth
from monolayer.coco.table import read_truth
from monolayer.evaluation import evaluate
from monolayer.evaluation.bootstrap import FEWEST
from monolayer.evaluation.gain import METRIC
from monolayer.evaluation.threshold import score_threshold
from monolayer.files import write_bytes, write_json
from monolayer.measurement.measure import CellSource, Found, cells_of, instances
from monolayer.params.steps import EvaluateParams, TrackScoresParams
from monolayer.params.tracking import MendParams, TrackerParams
from monolayer.tracking import comparison
from monolayer.tracking.dictionary import SCORE
from monolayer.tracking.mend import centre, mend, moments
from monolayer.tracking.timelapse import timelapses
from monolayer.tracking.track import BOX, Measured, jobs, tracked, true_annotations
from monolayer.tracking.well import track_well

logger = logging.getLogger(__name__)
WAYS = ("mended", "as found")
Gain = dict[str, float | None]  # a score both ways, their difference, its 95 % interval, and whether that is real


def mend_run(splits: Path, found: Path, scores: Path, params: MendParams, output: Path, *, threads: int) -> None:
    """Write val.json.gz, test.json.gz and mended.json of the results in the folder `found`, into `output`.

    `scores` has the threshold from which cells of the run count.
    """
    least, truth = score_threshold(scores), splits / "val.json"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = dict(zip(WAYS, (folder / "val.json.gz", found / "val.json.gz"), strict=True))
        counts = mend(truth, CellSource(ways["as found"], least), params.track, ways["mended"])
        ap = ap_gain(truth, ways, params.evaluate, folder, threads)
        tra = tra_gain(truth, ways, least, params)
        record = verdict(truth, params.evaluate, {"mask AP": ap, "TRA": tra})
        if record["helps"]:
            write_bytes(output / "val.json.gz", ways["mended"].read_bytes())
    if record["helps"]:
        mend(splits / "test.json", CellSource(found / "test.json.gz", least), params.track, output / "test.json.gz")
    else:
        for split in ("val", "test"):
            write_bytes(output / f"{split}.json.gz", (found / f"{split}.json.gz").read_bytes())
    logger.info("%s", record["said"])
    cells = {f"{how.replace(' ', '_')}_on_val": counts[how] for how in ("raised", "parted", "put in")}
    write_json(output / "mended.json", {"base": found.name, **record, **cells}, indent=1)


def ap_gain(truth: Path, ways: dict[str, Path], params: EvaluateParams, folder: Path, threads: int) -> Gain:
    """Mask AP; where nothing can be drawn twice, without an interval."""
    scored, draws = {}, {}
    for way, results in ways.items():
        scored[way] = evaluate.evaluate((truth, results), None, params, folder / f"{way}.json", threads)
        draws[way] = evaluate.read_draws(folder / f"{way}.bootstrap.npz")
    pairs = evaluate.pair_rows(*((way, draws[way]) for way in ways))
    return _gain({way: scores[METRIC] for way, scores in scored.items()}, pairs, METRIC)


def tra_gain(truth: Path, ways: dict[str, Path], least: float, params: MendParams) -> Gain | None:
    """TRA over all time-lapses; None where truth has no tracks."""
    tables = {way: track_scores(truth, CellSource(results, least), params.track) for way, results in ways.items()}
    if not all(map(len, tables.values())):
        return None
    how = TrackScoresParams(n_resamples=params.evaluate.n_resamples, seed=params.evaluate.seed)
    rows, draws = {}, {}
    for way, table in tables.items():
        made, draws[way] = comparison.run_rows(way, table, how)
        rows[way] = made[0]["tra"]
    return _gain(rows, comparison.pair_rows(*((way, draws[way]) for way in ways)), "tra")


def _gain(scores: dict[str, float | None], pairs: list[dict[str, Any]], metric: str) -> Gain:
    found: Gain = {way.replace(" ", "_"): value for way, value in scores.items()}
    mended, before = (scores[way] for way in WAYS)
    found["difference"] = None if mended is None or before is None else round(mended - before, evaluate.DIGITS)
    row = next((row for row in pairs if (row["metric"], row["cell_line"]) == (metric, "all")), {})
    return found | {end: row.get(end) for end in ("low", "high")} | {"real": row.get("real") == "true"}


def verdict(truth: Path, params: EvaluateParams, gains: dict[str, Gain | None]) -> dict[str, Any]:
    """Whether val says that mending helps: mask AP or TRA is really higher, and neither that is known is lower."""
    images, _ = read_truth(truth)
    wells = len(set(zip(images.lines, images.wells, strict=True)))
    drawn = evaluate.drawn(images, params)["all"].units
    known = {name: gain for name, gain in gains.items() if gain is not None}
    lower = [name for name, gain in known.items() if (gain["difference"] or 0) < 0]
    higher = [name for name, gain in known.items() if gain["real"] and (gain["difference"] or 0) > 0]
    helps = bool(higher) and not lower
    why = "mended" if helps else f"left as they were, {f'{lower[0]} is lower' if lower else 'not shown to be better'}"
    if not helps and drawn < FEWEST:
        why += f" by {drawn} {'wells' if params.resample == 'well' else 'images'}, for {FEWEST} are needed"
    numbers = "; ".join(f"{name} {written(gain)}" for name, gain in gains.items())
    said = f"cells of {len(images)} images of val, mended by time: {numbers}. The row's cells are {why}"
    keyed = {name.lower().replace(" ", "_"): gain for name, gain in gains.items()}
    return {"images": len(images), "wells": wells, **keyed, "helps": helps, "said": said}


def written(gain: Gain | None) -> str:
    """`0.926 to 0.957, +0.031 (+0.022 to +0.041)`."""
    if gain is None:
        return "not known, truth has no tracks"
    if gain["difference"] is None:
        return "not known"
    text = f"{gain['as_found']:.3f} to {gain['mended']:.3f}, {gain['difference']:+.3f}"
    return text if gain["low"] is None else f"{text} ({gain['low']:+.3f} to {gain['high']:+.3f})"


def track_scores(truth: Path, source: CellSource, params: TrackerParams) -> pd.DataFrame:
    """The rows of the table `scores` of these cells; none where truth has no tracks."""
    images, found = cells_of(read(truth, keep=True), source)
    listed = Truth(images=images, annotations=true_annotations(truth), categories=[CELL])
    rows = list[dict[str, Any]]()
    if tracked(listed):
        lapses = timelapses(images, moments(images))
        for job in jobs(lapses, columns_of(images, found), (listed, found), Measured(truth.parent)):
            rows += track_well(job, params, truth.parent, False).tables["scores"]
    return pd.DataFrame(rows, columns=list(SCORE))


def columns_of(images: list[Image], found: Found) -> dict[str, NDArray[Any]]:
    """What linking needs of each cell, as `measure` writes it, of the masks alone."""
    rows = []
    for image in images:
        crops = instances(found[image["id"]], image["height"], image["width"]).crops
        for number, crop in enumerate(crops, start=1):
            (height, width), x, y = crop[0].shape, *crop[1:]
            rows.append((image["id"], number, *centre(crop), int(crop[0].sum()), x, y, width, height))
    names = ("image_id", "cell", "centroid_x_px", "centroid_y_px", "area_px2", *BOX)
    columns = dict(zip(names, np.array(rows, np.float64).reshape(-1, len(names)).T, strict=True))
    whole = {name: columns[name].astype(np.int64) for name in ("image_id", "cell")}
    blank = {"touches_border": np.zeros(len(rows), bool), "pixel_size_um": np.full(len(rows), np.nan)}
    return columns | whole | blank
