"""What a report reads of results/{dataset}: tables whole, truth and predictions only for the images that it shows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd

from monolayer.coco.counted import TrueImage
from monolayer.coco.io import read_truth, stream
from monolayer.coco.records import Image, Rle
from monolayer.coco.rle import rle_area
from monolayer.data.dataset import samples
from monolayer.files import InputError, check_format, read_json
from monolayer.params.steps import ReportParams

SPLITS = ("train", "val", "test")
LEAST_SCORE = 0.01  # on val, of a network that finds cells at all
# columns of text in any table
NAMES = ("run", "run_a", "run_b", "network", "cell_line", "file_name", "metric", "curve", "stratum", "kind", "real")


@dataclass(frozen=True)
class Census:
    """The images of a split and numbers of its cells, without masks; crowds are left out."""

    images: pd.DataFrame  # image_id, file_name, cell_line, cells, and regions that nobody annotated
    diameters: dict[str, list[float]]  # by cell line: px, of the circle of a cell's area


@dataclass(frozen=True)
class Study:
    """The results of one dataset and the runs to show, read when asked for."""

    folder: Path
    runs: list[str]
    params: ReportParams

    @cached_property
    def table(self) -> pd.DataFrame:
        """metrics.csv: a row per run and cell line, `all` first; the runs in the order asked for."""
        path = self.folder / "metrics.csv"
        table = read_table(path, ["run", "cell_line"])
        for run in self.runs:
            if run not in set(table["run"]):
                raise InputError(f"{path} has no row of run {run}; it has {', '.join(sorted(set(table['run'])))}")
        rank = {run: index for index, run in enumerate(self.runs)}
        table = table[table["run"].isin(rank)]
        return table.sort_values("run", key=lambda runs: runs.map(rank), kind="stable").reset_index(drop=True)

    @cached_property
    def audit(self) -> dict[str, Any]:
        return read_result(self.folder / "data" / "audit.json")

    @cached_property
    def records(self) -> dict[str, dict[str, Any]]:
        """run.json of each run that was trained here."""
        others = {*self.tools, *self.mended}
        return {run: read_run(self.folder / "models" / run) for run in self.runs if run not in others}

    @cached_property
    def tools(self) -> dict[str, dict[str, Any]]:
        """What is known of the results of each run that is another tool's."""
        files = {run: self.folder / "predictions" / run / "test.tool.json" for run in self.runs}
        return {run: read_result(path) for run, path in files.items() if path.exists()}

    @cached_property
    def mended(self) -> dict[str, dict[str, Any]]:
        """What val says of each row that is another run's cells, mended by time."""
        files = {run: self.folder / "predictions" / run / "mended.json" for run in self.runs}
        return {run: read_result(path) for run, path in files.items() if path.exists()}

    @property
    def commits(self) -> list[str]:
        """The commits that trained the runs; none where there was no git."""
        return sorted({record["commit"] for record in self.records.values() if record["commit"]})

    @property
    def uncommitted(self) -> bool:
        """Whether a run was trained with changes that no commit holds."""
        return any(record["uncommitted_changes"] for record in self.records.values())

    @cached_property
    def census(self) -> dict[str, Census]:
        """Images and cells of each split."""
        return {split: read_census(self.folder / "splits" / f"{split}.json") for split in SPLITS}

    @cached_property
    def cell_lines(self) -> list[str]:
        return sorted({line for census in self.census.values() for line in census.images["cell_line"]})

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """pairs.csv: differences of two runs, a row per pair, cell line and metric; none where there is one run."""
        columns = ["run_a", "run_b", "cell_line", "metric", "difference", "low", "high", "real"]
        return read_table(self.folder / "pairs.csv", columns)

    def breakdown(self, name: str, columns: Collection[str]) -> dict[str, pd.DataFrame]:
        """metrics/{run}.{name}.csv of each run, which have a column cell_line and these."""
        files = {run: self.folder / "metrics" / f"{run}.{name}.csv" for run in self.runs}
        return {run: read_table(path, ["cell_line", *columns]) for run, path in files.items()}

    @property
    def extensions(self) -> dict[str, dict[str, Any]]:
        """The parameters of each extension that a run trained on."""
        trained = {run["extension"] for run in self.params.used.get("runs", {}).values()}
        return {name: row for name, row in self.params.used.get("extensions", {}).items() if name in trained}

    def shift(self, extension: str) -> pd.DataFrame:
        """shift.csv of an extension: a row per cell line."""
        columns = ["cell_line", "originals", "synthetic", "energy_distance", "null_distance", "p_value"]
        return read_table(self.folder / "extensions" / extension / "shift.csv", columns)

    def history(self, run: str) -> pd.DataFrame:
        """history.csv: a row per network and epoch, the steps so far among its columns."""
        return read_history(self.folder / "models" / run)

    def by_image(self, run: str) -> pd.DataFrame:
        """metrics/{run}.images.csv: a row per test image."""
        columns = ["image_id", "cell_line", "cells_true", "cells_pred", "tp", "fp", "fn", "f1_50"]
        return read_table(self.folder / "metrics" / f"{run}.images.csv", columns)

    @property
    def ranking(self) -> list[dict[Hashable, Any]]:
        """The rows over all cell lines, the highest mask AP first."""
        rows = self.table[self.table["cell_line"] == "all"]
        return rows.sort_values("mask_ap", ascending=False, kind="stable").to_dict("records")

    def measured(self, source: str, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """cells, images or growth of a run or of the truth; the columns asked for alone."""
        path = self.folder / "cells" / source / f"{table}.parquet"
        return _readable(path, pd.read_parquet, columns=list(columns) if columns else None)

    def counted_cells(self, source: str, columns: Sequence[str]) -> pd.DataFrame:
        """The rows of `cells` of a run, or of the truth, that count: not those found where nobody annotated."""
        cells = self.measured(source, "cells", [*columns, "image_id", "cell"])
        if source not in self.runs or not (true := self.test_regions):
            return cells
        shown = self.predicted_cells(source, set(true)).items()
        found = {i: [rle for rle in rles if rle_area(rle)] for i, rles in shown}  # as `measure` numbers them
        ignored = {(i, n) for i, one in true.items() for n, flag in enumerate(one.ignored(found[i]), 1) if flag}
        counts = [key not in ignored for key in zip(cells["image_id"], cells["cell"], strict=True)]
        return cells[pd.Series(counts, cells.index, bool)]  # also where there is no row

    @cached_property
    def test_regions(self) -> dict[int, TrueImage]:
        """Truth of the test images of which nobody annotated a part."""
        images = self.census["test"].images
        ids = set(images.loc[images["regions"] > 0, "image_id"].tolist())
        return {i: one for i, (_, one) in self.true_cells("test", ids).items()} if ids else {}

    def tracked(self, source: str, table: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """cells, tracks, frames or divisions of a run or of the truth, as `track` wrote them."""
        path = self.folder / "tracks" / source / f"{table}.parquet"
        return _readable(path, pd.read_parquet, columns=list(columns) if columns else None)

    def score_threshold(self, run: str) -> float:
        """The score from which a prediction counts, chosen on val."""
        rows = self.table[(self.table["run"] == run) & (self.table["cell_line"] == "all")]
        return float(rows["score_threshold"].iloc[0])

    def true_cells(self, split: str, image_ids: Collection[int]) -> dict[int, tuple[Image, TrueImage]]:
        """These images and what their truth says."""
        every = samples(read_truth(self.folder / "splits" / f"{split}.json"), self.folder / "data" / "images")
        chosen = [sample for sample in every if sample.image["id"] in image_ids]
        return {
            one.image["id"]: (
                one.image,
                TrueImage(*([cell["segmentation"] for cell in part] for part in (one.annotations, one.crowds))),
            )
            for one in chosen
        }

    def predicted_cells(self, run: str, image_ids: Collection[int]) -> dict[int, list[Rle]]:
        """The masks predicted in these test images from the score threshold up, best first."""
        threshold = self.score_threshold(run)
        found: dict[int, list[tuple[float, Rle]]] = defaultdict(list)
        for result in stream(self.folder / "predictions" / run / "test.json.gz"):
            score = result.get("mask_score", result["score"])
            if result["image_id"] in image_ids and score >= threshold:
                found[result["image_id"]].append((score, result["segmentation"]))
        return {i: [rle for _, rle in sorted(found[i], key=lambda one: -one[0])] for i in image_ids}


def read_census(path: Path) -> Census:
    """The images of a split's truth, and numbers of its cells."""
    every = samples(read_truth(path), path.parent)
    diameters: dict[str, list[float]] = defaultdict(list)
    for one in every:
        diameters[one.image["cell_line"]] += [2 * math.sqrt(cell["area"] / math.pi) for cell in one.annotations]
    columns = {"image_id": "id", "file_name": "file_name", "cell_line": "cell_line"}
    images = pd.DataFrame({column: [one.image[key] for one in every] for column, key in columns.items()})  # type: ignore[literal-required]
    numbers = {"cells": [len(one.annotations) for one in every], "regions": [len(one.crowds) for one in every]}
    return Census(images.assign(**numbers), dict(diameters))


def read_result(path: Path) -> dict[str, Any]:
    return cast(dict[str, Any], read_json(path, "JSON", "the report needs it: run snakemake again"))


def read_run(model: Path) -> dict[str, Any]:
    """run.json in a run's folder of models."""
    record = read_result(model / "run.json")
    check_format(model / "run.json", record.get("format"), "train the run again")
    return record


def seen_in_test(record: dict[str, Any]) -> dict[str, str]:
    """A column of what a run.json tells: scores on images that were learned from flatter."""
    seen = record.get("seen_in_test")
    return {"test images learned from": "not recorded" if seen is None else str(len(seen))}


def read_history(model: Path) -> pd.DataFrame:
    """history.csv in a run's folder of models: a row per network and epoch."""
    return read_table(model / "history.csv", ["network", "epoch", "step", "score"])


def steps(history: pd.DataFrame) -> dict[str, int]:
    """The steps of each network's training, all epochs together."""
    return {str(network): int(step) for network, step in history.groupby("network")["step"].max().items()}


def is_taught(history: pd.DataFrame) -> bool:
    """Whether any network of a run had learnt to find cells: scores of one that had not say nothing of its kind."""
    return bool(history["score"].max() >= LEAST_SCORE)


def _readable(path: Path, read: Callable[..., pd.DataFrame], **options: Any) -> pd.DataFrame:
    try:
        return read(path, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"the report needs {path}, which is not readable ({error}); run snakemake again") from error


def of_line(rows: pd.DataFrame, line: str) -> pd.DataFrame:
    return rows[rows["cell_line"] == line]


def read_table(path: Path, columns: Collection[str]) -> pd.DataFrame:
    """A CSV file that has at least these columns."""
    # converters: a cell line called NA or 1e3 stays a name
    table = _readable(path, pd.read_csv, converters=dict.fromkeys(NAMES, str))
    if missing := [column for column in columns if column not in table]:
        raise InputError(f"{path} has no column {missing[0]}; it has {', '.join(table.columns)}; make it again")
    return table
