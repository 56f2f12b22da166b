"""The report's section on what the masks say: distributions, growth, neighbours, and how far predictions are off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from monolayer.coco.records import Image, Rle
from monolayer.coco.rle import rle_area
from monolayer.measurement.measure import instances
from monolayer.measurement.neighbours import touching
from monolayer.params.steps import MeasureParams
from monolayer.reporting import charts
from monolayer.reporting.charts import INK, MARKERS, SERIES
from monolayer.reporting.pictures import Album, Layer, Picture, layer
from monolayer.reporting.study import Study, of_line

TRUTH = "truth"
WELLS = 6  # of a cell line in its growth chart at most
UNITS = {"h": "h", "frame": "frames"}  # of growth.parquet's times, in words
CROWDED = 3  # touching neighbours from which on cells share a colour
DISTRIBUTIONS = {  # columns of cells.parquet, and what stands below their panels
    "area": "area",
    "circularity": "circularity",
    "intensity_mean": "mean grey value",
    "nearest_neighbour": "distance to the nearest centre",
}

CELL_COLUMNS = (
    "cell_line",
    "touches_border",
    "area_px2",
    "area_um2",
    "circularity",
    "intensity_mean",
    "nearest_neighbour_px",
    "nearest_neighbour_um",
)


def biology(study: Study, album: Album) -> dict[str, Any]:
    """Predictions of the best run beside the truth, and numbers of all runs."""
    best = study.ranking[0]["run"]
    sources = {TRUTH: TRUTH, best: best}
    cells = {name: study.counted_cells(source, CELL_COLUMNS) for name, source in sources.items()}
    images = {source: study.measured(source, "images") for source in (TRUTH, *study.runs)}
    fits = {source: study.measured(source, "growth") for source in images}
    lines = sorted(set(images[TRUTH]["cell_line"]))
    return {
        "best": best,
        "parted": len(study.test_regions),
        "agreement": [row for line in lines for row in agreement(line, images, fits)],
        "distributions": {
            line: distributions(f"cells-{n}", line, {s: of_line(c, line) for s, c in cells.items()})
            for n, line in enumerate(lines)
        },
        "growth": {
            line: growth(f"growth-{n}", line, {s: (of_line(images[s], line), of_line(fits[s], line)) for s in sources})
            for n, line in enumerate(lines)
            if len(of_line(fits[TRUTH], line))
        },
        "maps": {line: neighbour_maps(study, album, of_line(images[TRUTH], line), best) for line in lines},
    }


def agreement(line: str, images: Mapping[str, pd.DataFrame], fits: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """For the truth and each run cells, median area, confluence and doubling time, and how far they are off."""
    true = of_line(images[TRUTH], line).set_index("image_id")
    rows = []
    for source, table in images.items():
        own = of_line(table, line).set_index("image_id").loc[true.index]
        size, unit = _in_best_unit(own, "median_area", "2")
        rows.append(
            {
                "line": line,
                "source": source,
                "cells": int(own["cells"].sum()),
                "cells_off": own["cells"].sum() / true["cells"].sum() - 1 if true["cells"].sum() else math.nan,
                "cells_off_image": float((own["cells"] - true["cells"]).abs().mean()),
                "area": float(own[size].median()),
                "area_unit": unit,
                "area_off": float(own[size].median() / true[size].median() - 1),
                "confluence": float(own["confluence"].mean()),
                "confluence_off": float((own["confluence"] - true["confluence"]).mean()),
                "doubling": doubling(of_line(fits[source], line)),
            }
        )
    return rows


def _in_best_unit(rows: pd.DataFrame, name: str, power: str = "") -> tuple[str, str]:
    """The column in µm where all images have it, else in px; and its unit."""
    sign = "²" if power else ""
    if len(rows) and rows[f"{name}_um{power}"].notna().any():
        return f"{name}_um{power}", f"µm{sign}"
    return f"{name}_px{power}", f"px{sign}"


def doubling(fits: pd.DataFrame) -> dict[str, Any] | None:
    """The doubling time of the cells of all wells with its interval; None where there is none."""
    rows = fits[(fits["quantity"] == "cells")]
    rows = rows[rows["well"] == "all"] if len(rows) > 1 else rows
    if not len(rows) or math.isnan(rows["doubling_time"].iloc[0]):
        return None
    row = rows.iloc[0]
    ends = {end: row[f"doubling_time_{end}"] for end in ("low", "high")}
    return {"time": row["doubling_time"], **ends, "unit": UNITS[row["time_unit"]]}


def distributions(name: str, line: str, cells: Mapping[str, pd.DataFrame]) -> Markup:
    """Histograms of whole cells as shares: truth as a line, the run filled; a panel for each quantity."""

    def draw(axes: list[Axes]) -> None:
        for ax, (quantity, label) in zip(axes, DISTRIBUTIONS.items(), strict=True):
            column, unit = quantity, ""
            if quantity in ("area", "nearest_neighbour"):
                column, unit = _in_best_unit(cells[TRUTH], quantity, "2" if quantity == "area" else "")
            whole = {source: rows.loc[~rows["touches_border"], column].dropna() for source, rows in cells.items()}
            every = np.concatenate([values.to_numpy(float) for values in whole.values()])
            low, high = np.quantile(every, [0, 0.99]) if len(every) else (0.0, 1.0)
            edges = np.linspace(low, high if high > low else low + 1, 30)
            for source, values in whole.items():
                shares = np.histogram(values.clip(upper=edges[-1]), edges)[0] / max(1, len(values))
                if source == TRUTH:
                    ax.stairs(shares, edges, color=INK, linewidth=1.2, label=source, zorder=3)
                else:
                    ax.stairs(shares, edges, color=SERIES[0], fill=True, alpha=0.55, label=source)
            ax.set_title(label + (f", {unit}" if unit else ""))
            ax.set_yticks([])
            ax.grid(visible=False)
            ax.xaxis.set_major_locator(MaxNLocator(4))
        axes[-1].legend(**charts.BESIDE)

    alt = f"Histograms of {', '.join(DISTRIBUTIONS.values())} of the cells of {line}: truth and predictions"
    return charts.chart(name, alt, draw, len(DISTRIBUTIONS), (2.3, 1.8))


def growth(name: str, line: str, sources: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]) -> Markup:
    """Cells per image and confluence over time, with the fitted curves; wells have markers, truth is ink."""

    titles = {"cells": "cells per image", "confluence": "confluence"}

    def draw(axes: list[Axes]) -> None:
        for ax, (quantity, title) in zip(axes, titles.items(), strict=True):
            for source, (images, fits) in sources.items():
                own = fits[fits["quantity"] == quantity]
                for n, well in enumerate(sorted(set(images["well"]))[:WELLS]):
                    _well(ax, images[images["well"] == well], own[own["well"] == well], source, n)
            ax.set_title(title)
            ax.set_xlabel(UNITS[next(iter(sources.values()))[1]["time_unit"].iloc[0]])
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            ax.set_ylim(0)
        axes[-1].legend(**charts.BESIDE)

    return charts.chart(name, f"Cells per image and confluence of {line} over time, with fits", draw, 2, (3.0, 2.2))


def _well(ax: Axes, images: pd.DataFrame, fits: pd.DataFrame, source: str, number: int) -> None:
    """The points and the curve of one well."""
    if not len(fits):
        return
    fit = fits.iloc[0]
    column = "time_h" if fit["time_unit"] == "h" else "frame"
    points = images.groupby(column)[fit["quantity"]].mean()
    hue = INK if source == TRUTH else SERIES[0]
    style: dict[str, Any] = {"color": hue, "label": source if number == 0 else None}
    filled = "none" if source == TRUTH else "full"
    ax.plot(points.index, points, MARKERS[number], markersize=3.5, fillstyle=filled, **style)
    if not math.isnan(fit["start"]):
        time = np.linspace(fit["start_time"], fit["end_time"], 60)
        fitted = fit["start"] * np.exp(fit["rate_per_time"] * (time - fit["start_time"]))
        ax.plot(time, fitted, color=hue, linewidth=1.1)


def neighbour_maps(study: Study, album: Album, images: pd.DataFrame, run: str) -> list[Picture]:
    """The image with the median number of cells, true and predicted ones coloured by how many others touch them."""
    ranked = images.sort_values(["cells", "image_id"])
    chosen = int(ranked["image_id"].iloc[len(ranked) // 2])
    image, true = study.true_cells("test", {chosen})[chosen]
    found = study.predicted_cells(run, {chosen})[chosen]
    found = [rle for rle, ignored in zip(found, true.ignored(found), strict=True) if not ignored]
    gap = MeasureParams.model_validate(study.params.used["measure"]).neighbours.gap
    pictures = []
    for source, rles in {TRUTH: true.cells, run: found}.items():
        layers = neighbour_layers(image, rles, gap)
        pictures.append(album.picture(image, source, layers, {layer.name: layer.count for layer in layers}))
    return pictures


def neighbour_layers(image: Image, rles: list[Rle], gap: int) -> list[Layer]:
    """The cells as layers by their number of touching neighbours; `CROWDED` stands for so many and more."""
    rles = [rle for rle in rles if rle_area(rle)]
    found = instances([(1.0, rle) for rle in rles], image["height"], image["width"])
    counts = touching(found.label_image(), len(found.masks), gap).clip(max=CROWDED)
    names = [*(f"{n} touching" for n in range(CROWDED)), f"{CROWDED} or more"]
    return [
        layer(f"near near-{n}", name, [rle for rle, c in zip(rles, counts, strict=True) if c == n], image)
        for n, name in enumerate(names)
    ]
