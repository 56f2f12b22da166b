"""What runs gained over the ones that they began with, and how that grew from round to round of annotation."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from monolayer.reporting import charts
from monolayer.reporting.pictures import Album
from monolayer.reporting.study import Study, read_result, read_table

ENDS = ("", "_low", "_high")
NUMBERS = [f"{name}{end}" for name in ("base_ap", "ap", "difference") for end in ENDS]
COLUMNS = ["round", "run", "base", "images", "cells", *NUMBERS, "exported", "test_images", "test_set"]


def rounds(study: Study, album: Album) -> dict[str, Any] | None:
    """The verdict on each run that has a base, and its rounds so far; None where no run has one."""
    rows = study.params.used.get("runs", {})
    verdicts = [
        read_result(study.folder / "metrics" / f"{run}.gain.json")
        for run in study.runs
        if rows.get(run, {}).get("base")
    ]
    if not verdicts:
        return None
    path = study.folder / "rounds.csv"
    table = read_table(path, COLUMNS) if path.exists() else pd.DataFrame(columns=COLUMNS)
    kept = {one["run"]: table[table["run"] == one["run"]] for one in verdicts}
    drawn = {run: curve(f"rounds-{n}", run, own) for n, (run, own) in enumerate(kept.items()) if len(own)}
    return {
        "verdicts": verdicts,
        "kept": {run: own.to_dict("records") for run, own in kept.items() if len(own)},
        "charts": drawn,
        "apart": [run for run, own in kept.items() if own["test_set"].nunique() > 1],
    }


def curve(name: str, run: str, table: pd.DataFrame) -> Markup:
    """Mask AP of a run and of its bases by annotated images; rounds that were judged on other images are not joined."""
    by_base = {str(base): rows for base, rows in table.groupby("base", sort=False)}
    first, *later = by_base.items()
    shown = [(*first, "base_ap"), (run, table, "ap"), *((*one, "base_ap") for one in later)]

    def draw(axes: list[Axes]) -> None:
        [ax] = axes
        for index, (label, rows, column) in enumerate(shown):
            hue, text = charts.colour(index), label
            for _, part in rows.groupby((rows["test_set"] != rows["test_set"].shift()).cumsum()):
                ax.plot(part["images"], part[column], "o-", markersize=4.5, color=hue, label=text)
                ax.vlines(part["images"], part[f"{column}_low"], part[f"{column}_high"], hue, linewidth=1.3)
                text = "_nolegend_"
        ax.set_title("Mask AP on test")
        ax.set_xlabel("annotated images")
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_ylim(0)
        ax.legend(**charts.BESIDE)

    alt = f"Mask AP of {run} and its base by the number of annotated images, with 95 % intervals"
    return charts.chart(name, alt, draw, 1, (3.6, 2.4))
