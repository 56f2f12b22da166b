"""Growth of what was watched so far: the table of fits, and a chart of counts with their curves."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.files import write_bytes
from monolayer.measurement import dictionary, files
from monolayer.measurement.growth import growth
from monolayer.service.journal import Tables

NAMED = 12  # curves that the legend names; more leave no room for the axes


def draw_growth(tables: Tables, output: Path) -> None:
    """Write growth.csv and growth.svg of all images so far."""
    if len(tables.times) > 1:
        return  # until all stacks have their second page: hours and numbers of pages are no one axis
    fits = growth(tables.rows)
    columns = {name: [fit[name] for fit in fits] for name in dictionary.TABLES["growth"]}
    write_bytes(output / "growth.csv", files.csv_bytes("growth", columns))
    write_bytes(output / "growth.svg", _chart(tables, fits))


def _chart(tables: Tables, fits: list[dict[str, Any]]) -> bytes:
    """SVG: cells per image over time with the fitted curves, a colour for each line and well."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    shown = [fit for fit in fits if fit["quantity"] == "cells" and fit["well"] != "all"]
    for index, fit in enumerate(shown):
        column = "time_h" if fit["time_unit"] == "h" else "frame"
        own = [row for row in tables.rows if (row["cell_line"], row["well"]) == (fit["cell_line"], fit["well"])]
        label = " ".join(part for part in (fit["cell_line"], fit["well"]) if part not in ("", "."))
        if not math.isnan(fit["doubling_time"]):
            label += f" doubles in {fit['doubling_time']:.3g} {fit['time_unit']}"
        axes.plot([row[column] for row in own], [row["cells"] for row in own], "o", color=f"C{index}", label=label)
        time = np.linspace(fit["start_time"], fit["end_time"], 60)
        axes.plot(time, fit["start"] * np.exp(fit["rate_per_time"] * (time - fit["start_time"])), color=f"C{index}")
        axes.set_xlabel("frame" if fit["time_unit"] != "h" else _hours(tables))
    axes.set_ylabel("cells per image")
    axes.set_ylim(0)
    if len(shown) > NAMED:
        axes.set_title(f"{len(shown)} wells; growth.csv has the numbers of each")
    elif axes.get_legend_handles_labels()[0]:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _hours(tables: Tables) -> str:
    """The label of hours: what they are counted from."""
    if tables.origin is not None and tables.times == ["dates"]:
        return f"h from {datetime.fromtimestamp(tables.origin, UTC):%Y-%m-%d %H:%M}, by the files' names"
    if tables.times != ["files"] or tables.origin is None:
        return "h"
    return f"h from {datetime.fromtimestamp(tables.origin):%Y-%m-%d %H:%M}, by the time of each file"
