"""The report's section on deployment: speed by device and backend, accuracy against speed, parity with torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from monolayer.backends.manifest import PARITY
from monolayer.reporting import charts
from monolayer.reporting.charts import BESIDE, INK, MARKERS, MUTED, colour
from monolayer.reporting.pictures import Album
from monolayer.reporting.study import Study, read_result

AWAITED = ("NVIDIA GeForce RTX 3060",)  # the article's device: a row until someone measures it
ABOUT = ("device", "driver", "load", "measured", "images", "sizes")  # of a file of timings
STAGES = {
    "read": "reading",
    "prepare": "preparing",
    "network": "network",
    "masks": "cells and masks",
    "encode": "encoding",
}


def speed(study: Study, album: Album) -> dict[str, Any] | None:
    """Timings of all devices that are kept beside those of this one; None where nothing was measured."""
    here = {run: path for run in study.runs if (path := study.folder / "benchmark" / f"{run}.json").exists()}
    if not here:
        return None
    rows = pd.DataFrame([row for run in here for row in timings(study.folder / "benchmark", run)])
    device = str(read_result(next(iter(here.values())))["device"])
    local = rows[rows["device"] == device]
    single = local[local["batch"] == 1].dropna(subset=["latency"])
    parity = [row for run in here for row in parity_rows(study.folder / "export" / run / PARITY)]
    points = with_accuracy(best_batch(local), parity)
    judged = points.dropna(subset=["mask_ap"])
    return {
        "device": device,
        "devices": devices(rows, study.runs),
        "not_run": reasons(rows),
        "latency": latency("latency", device, single) if len(single) else None,
        "pareto": pareto("pareto", device, frontier(judged), study.runs) if len(judged) else None,
        "unjudged": [f"{row['way']} of {row['run']}" for row in points[points["mask_ap"].isna()].to_dict("records")],
        "parity": parity,
    }


def timings(folder: Path, run: str) -> list[dict[str, Any]]:
    """A row for each backend, dtype and batch of a run, of every device whose file is kept."""
    found: dict[str, dict[str, Any]] = {}
    for path in [*sorted(folder.glob(f"{run}.*.json")), folder / f"{run}.json"]:  # this device's own comes last
        record = read_result(path)
        if record["run"] == run:  # and not another, as unet.2 is
            found[record["device"]] = record
    return [
        {"run": run, **{key: record[key] for key in ABOUT}, **_flat(row, bool(record["driver"]))}
        for record in found.values()
        for row in record["rows"]
    ]


def _flat(row: Mapping[str, Any], has_gpu: bool) -> dict[str, Any]:
    """Medians with the ends of their intervals, NaN where nothing was measured."""
    flat = {key: row.get(key) for key in ("backend", "dtype", "batch", "not_run", "memory_mb", "gpu_memory_mb")}
    place = " on the CPU" if has_gpu and row.get("on_gpu") is False else ""  # which the device's name is not of
    flat["variant"] = f"{row['backend']} {row['dtype']}"
    flat["way"] = f"{flat['variant']}{place}"
    flat["backend"] = f"{row['backend']}{place}"
    flat["stages"] = row.get("stages_ms")
    for name, key in (("latency", "latency_ms"), ("network", "network_ms"), ("throughput", "throughput")):
        measured = row.get(key, {})
        flat[name] = measured.get("median", math.nan)
        flat |= {f"{name}_{key}": measured.get(key, math.nan) for key in ("low", "high", "p95")}
    return flat


def devices(rows: pd.DataFrame, runs: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """What ran on each device, run after run; an awaited device without a file has no rows."""
    ran = rows[rows["not_run"].isna()]
    found: dict[str, list[dict[str, Any]]] = {
        str(device): part.sort_values("run", key=lambda r: r.map(list(runs).index), kind="stable").to_dict("records")  # type: ignore[misc]
        for device, part in ran.groupby("device", sort=False)
    }
    for name in AWAITED:
        if not any(device.partition(",")[0] == name for device in found):  # a 3060 Ti is another
            found[name] = []
    return found


def reasons(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Why something did not run, each reason once with what it concerns: the batches where others of the run ran."""
    ran = set(rows.loc[rows["not_run"].isna(), ["device", "way", "run"]].itertuples(index=False, name=None))
    stopped = rows[rows["not_run"].notna()]
    # a reason that names a run's own folder is one reason all the same
    told = [why.replace(f"/{run} ", "/{run} ") for why, run in zip(stopped["not_run"], stopped["run"], strict=True)]
    return [
        {
            "device": device,
            "way": way,
            "reason": reason,
            "runs": sorted(set(part["run"])),
            "batches": sorted(set(part["batch"])) if any((device, way, run) in ran for run in part["run"]) else [],
        }
        for (device, way, reason), part in stopped.assign(told=told).groupby(["device", "way", "told"], sort=False)
    ]


def parity_rows(path: Path) -> list[dict[str, Any]]:
    record = read_result(path)
    return [{"run": record["run"], **row} for row in record["rows"]]


def latency(name: str, device: str, rows: pd.DataFrame) -> Markup:
    """Bars of a single image's stages, a panel for each run and a bar for each backend and dtype."""
    runs, ways = list(dict.fromkeys(rows["run"])), list(dict.fromkeys(rows["way"]))

    def draw(axes: list[Axes]) -> None:
        for ax, run in zip(axes, runs, strict=True):
            of_run = rows[rows["run"] == run]
            at = [ways.index(way) for way in of_run["way"]]
            left = [0.0] * len(of_run)
            for n, (stage, label) in enumerate(STAGES.items()):
                widths = [stages[stage] for stages in of_run["stages"]]
                ax.barh(at, widths, 0.62, left=left, color=colour(n), label=label)
                left = [a + b for a, b in zip(left, widths, strict=True)]
            ax.set_title(run)
            ax.set_xlabel("ms an image")
            ax.set_yticks(range(len(ways)), ways, color=INK)
            ax.set_ylim(len(ways) - 0.5, -0.5)
            ax.grid(axis="y", visible=False)
            ax.grid(axis="x", visible=True)
        axes[min(len(axes), charts.COLUMNS) - 1].legend(**BESIDE)

    alt = f"Latency of a single image on {device} by stage, of each run and backend"
    beside = 2.8 / min(len(runs), charts.COLUMNS)  # inches of each panel's share of the ways' names and the legend
    return charts.chart(name, alt, draw, len(runs), (2.5 + beside, max(1.7, 0.8 + 0.24 * len(ways))))


def best_batch(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each run, backend and dtype the batch with the highest throughput."""
    ran = rows[rows["throughput"].notna()]
    best: pd.DataFrame = ran.loc[ran.groupby(["run", "way"], sort=False)["throughput"].idxmax()]
    return best


def with_accuracy(rows: pd.DataFrame, parity: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows with their mask AP as parity has it, by one protocol for all: NaN where an export was held to nothing."""
    own: dict[tuple[str, str], float] = {}
    for row in parity:
        if "ap" in row:
            own[row["run"], f"{row['backend']} {row['dtype']}"] = row["ap"]
            own[row["run"], "torch fp32"] = own[row["run"], "torch fp16"] = row["ap_torch"]
    return rows.assign(mask_ap=[own.get(key, math.nan) for key in zip(rows["run"], rows["variant"], strict=True)])


def frontier(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows, and which of them no other beats in both mask AP and throughput."""
    rows = rows.sort_values(["throughput", "mask_ap"], ascending=False, kind="stable")
    highest = rows["mask_ap"].cummax()
    return rows.assign(best=(rows["mask_ap"] >= highest) & ~rows["mask_ap"].duplicated())


def pareto(name: str, device: str, rows: pd.DataFrame, every: Sequence[str]) -> Markup:
    """Mask AP against images a second: a mark for each backend and dtype, a line of the best; a run has the colour that
    it has among every one."""
    runs = {run: colour(n) for n, run in enumerate(every) if run in set(rows["run"])}
    ways = sorted(set(rows["way"]))

    def draw(axes: list[Axes]) -> None:
        [ax] = axes
        best = rows[rows["best"]]
        ax.plot(best["throughput"], best["mask_ap"], color=MUTED, linewidth=1, zorder=1)
        for run, hue in runs.items():
            for m, way in enumerate(ways):
                point = rows[(rows["run"] == run) & (rows["way"] == way)]
                ax.plot(point["throughput"], point["mask_ap"], MARKERS[m % len(MARKERS)], color=hue, markersize=6)
        if rows["throughput"].max() > 10 * rows["throughput"].min():
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_ylim(0, 1)
        ax.set_xlabel("images a second, from file to run lengths")
        ax.set_title("Mask AP")
        ax.grid(axis="x", visible=True)
        marks = [(hue, "o", run) for run, hue in runs.items()]
        marks += [(INK, MARKERS[m % len(MARKERS)], way) for m, way in enumerate(ways)]
        keys = [Line2D([], [], color=hue, marker=mark, linestyle="", label=label) for hue, mark, label in marks]
        ax.legend(handles=keys, **BESIDE)

    return charts.chart(name, f"Mask AP against images a second on {device}", draw, 1, (6.4, 3.2))
