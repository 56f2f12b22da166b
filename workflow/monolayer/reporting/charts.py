"""Charts as inline SVG: in the page's own font and colours, light and dark, and the same bytes every time."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from monolayer.evaluation.breakdown import KINDS
from monolayer.reporting.tables import TableColumn, short

# Colours that stand for variables of the style sheet, so that a chart follows the page into the dark.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0101{n:02x}" for n in range(11, 19))
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule"} | {c: f"--series-{n}" for n, c in enumerate(SERIES, 1)}
BESIDE: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1)}  # of a legend: right of its panel
STRATIFIED = {"mask_ap": "Mask AP", "f1_50": "Instance F1"}
CURVES = {  # of metrics/{run}.curves.csv: title and what runs along x
    "precision_by_recall_50": ("Precision at IoU .50", "recall"),
    "precision_by_recall_75": ("Precision at IoU .75", "recall"),
    "f1_by_iou": ("Instance F1", "IoU threshold"),
    "f1_by_score": ("Instance F1 at IoU .50", "score threshold"),
}
COLUMNS = 4  # panels in a row
ZOOM = 1.15  # of a chart where the page has room: 9 pt of the figure read as 10 pt
Size = tuple[float, float]
MARKERS = "osD^vP*X"
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))

STYLE: dict[str, Any] = {
    "svg.hashsalt": "monolayer",
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's font
    "text.parse_math": False,  # a cell line may be called $1$
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.4,
    "lines.linewidth": 1.5,
    "figure.constrained_layout.use": True,
}


def chart(name: str, alt: str, draw: Callable[[list[Axes]], None], panels: int = 1, size: Size = (2.6, 2.1)) -> Markup:
    """An inline SVG of panels in rows of at most COLUMNS, each of `size` inches, that `draw` fills.

    name keeps the ids of charts on one page apart; alt is what a screen reader says.
    """
    columns, rows = min(panels, COLUMNS), -(-panels // COLUMNS)
    width = size[0] * columns
    buffer = io.StringIO()
    with mpl.rc_context(cast(Any, STYLE)):
        figure = Figure(figsize=(width, size[1] * rows))
        draw([figure.add_subplot(rows, columns, index + 1) for index in range(panels)])
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'#([\w-]+)[")]', svg))
    svg = re.sub(r"<[^>]*>", lambda tag: _slim(tag[0], name, used), svg)
    alt = escape(alt)
    widths = f"min-width: {0.9 * width:g}in; max-width: {ZOOM * width:g}in"
    opening = f'<svg class="chart" style="{widths}" role="img" aria-label="{alt}"'
    svg = re.sub(r"\s*\n\s*", "\n", svg).replace("<svg", opening, 1)
    return Markup(f'<div class="scroll" role="region" tabindex="0" aria-label="{alt}">{svg}</div>')


def _slim(tag: str, name: str, used: set[str]) -> str:
    """A tag with only the ids that something refers to, two decimals, the page's colours and the page's font."""
    tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    tag = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"(\.\d\d)\d+", r"\1", tag)
    tag = re.sub(r"font: (?:[\w ]+ )?([\d.]+)px [^;\"]*", r"font-size: \1px", tag)
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    for colour, variable in VARIABLES.items():
        tag = tag.replace(colour, f"var({variable})")
    if tag.startswith("<svg"):
        tag = re.sub(r' (?:width|height|version)="[^"]*"', "", tag)
    return tag


def colour(index: int) -> str:
    return SERIES[index % len(SERIES)]


def training(name: str, run: str, history: pd.DataFrame) -> Markup:
    """What history.csv has, against the epoch: losses, scores on val, learning rate; a line per network and column.

    The epoch whose weights were kept has a dot.
    """
    groups = _history_panels(list(history.columns))
    networks = {str(network): rows for network, rows in history.groupby("network", sort=False)}

    def draw(axes: list[Axes]) -> None:
        for ax, (title, columns) in zip(axes, groups.items(), strict=True):
            lines = [_history_lines(ax, rows, columns, n, len(networks)) for n, rows in enumerate(networks.values())]
            ax.set_title(title)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            ax.yaxis.set_major_locator(MaxNLocator(5))
            if title == "on val" and history[columns].apply(pd.Series.between, left=0, right=1).all(axis=None):
                ax.set_ylim(0, 1)
            if len(columns) > 1:
                ax.legend(handles=lines[0], **BESIDE)
        if len(networks) > 1:
            keys = [Line2D([], [], color=colour(n), label=key) for n, key in enumerate(networks)]
            axes[-1].legend(handles=keys, title="network", **BESIDE)

    return chart(name, f"Training of {run}: {', '.join(groups)} against the epoch", draw, len(groups), (2.5, 2.0))


def _history_panels(columns: Sequence[str]) -> dict[str, list[str]]:
    """The columns of a history by panel, the rate last; what no panel names is a part of the loss."""
    panels: dict[str, list[str]] = {"loss": [], "on val": [], "threshold": [], "learning rate": []}
    for column in columns:
        if column in ("network", "epoch", "step", "score", "best", "seconds"):
            continue
        named = {"rate": "learning rate", "threshold": "threshold", "val": "on val"}
        panels["loss" if "loss" in column else named.get(column.split("_")[0], "loss")].append(column)
    return {title: group for title, group in panels.items() if group}


def _history_label(column: str) -> str:
    """In its panel `val_mask_ap` is `mask AP`; a loss on val stays `val loss`."""
    words = column if "loss" in column else column.removeprefix("val_").removeprefix("threshold_")
    return re.sub(r"\b(ap|f1)", lambda word: word[0].upper(), words.replace("_", " "))


def _history_lines(ax: Axes, rows: pd.DataFrame, columns: Sequence[str], network: int, networks: int) -> list[Line2D]:
    lines = []
    for index, column in enumerate(columns):
        # one network: a colour per column; several: a colour per network, dashes per column
        hue, dash = (index, 0) if networks == 1 else (network, index)
        style = {"color": colour(hue), "linestyle": DASHES[dash % len(DASHES)]}
        lines += ax.plot(rows["epoch"], rows[column], label=_history_label(column), **style)
        if "best" in rows:
            kept = rows[rows["best"] == 1]
            ax.plot(kept["epoch"], kept[column], "o", markersize=4.5, color=colour(hue))
    return lines


def distributions(
    name: str, label: str, values: Mapping[str, Mapping[str, Sequence[float]]], parts: Sequence[str]
) -> Markup:
    """Histograms, a panel for each cell line: values[line][part], the parts stacked."""

    def draw(axes: list[Axes]) -> None:
        for ax, (line, of_part) in zip(axes, values.items(), strict=True):
            shown = {part: np.asarray(of_part[part], float) for part in parts if len(of_part.get(part, ()))}
            ax.set_title(line)
            if not shown:  # a line of which no image has a cell
                continue
            every = np.concatenate(list(shown.values()))
            edges = np.linspace(every.min(), every.max() if np.ptp(every) else every.min() + 1, 25).tolist()
            hues = [SERIES[parts.index(part)] for part in shown]
            ax.hist(list(shown.values()), bins=edges, stacked=True, color=hues, label=list(shown))
            ax.set_xlabel(label)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        max(axes, key=lambda ax: len(ax.containers)).legend()  # the first that has them all: not every line is in each

    return chart(name, f"Histograms of {label}, by cell line and split", draw, len(values), (2.1, 1.9))


def by_line(name: str, table: pd.DataFrame, columns: Sequence[TableColumn]) -> Markup:
    """Scores of each run, a row for each cell line and a panel for each column, with 95 % intervals."""
    runs, lines = list(dict.fromkeys(table["run"])), list(dict.fromkeys(table["cell_line"]))
    step = 0.7 / len(runs)

    def draw(axes: list[Axes]) -> None:
        for ax, column in zip(axes, columns, strict=True):
            for n, run in enumerate(runs):
                rows = table[table["run"] == run]
                heights = [lines.index(line) + step * (n - (len(runs) - 1) / 2) for line in rows["cell_line"]]
                ax.hlines(heights, rows[f"{column.name}_low"], rows[f"{column.name}_high"], colour(n), linewidth=1.3)
                mark = MARKERS[n % len(MARKERS)]
                ax.plot(rows[column.name], heights, mark, markersize=4.5, label=run, color=colour(n))
            ax.set_title(column.heading)
            ax.set_xlim(0, 1)
            ax.set_ylim(len(lines) - 0.5, -0.5)
            ax.grid(axis="y", visible=False)
            ax.grid(axis="x", visible=True)
            ax.set_yticks(range(len(lines)), lines if ax is axes[0] else [""] * len(lines), color=INK)
        axes[-1].legend(**BESIDE)

    height = 0.8 + len(lines) * max(0.28, 0.11 * len(runs))
    alt = f"{', '.join(column.heading for column in columns)} of each run by cell line, with 95 % intervals"
    return chart(name, alt, draw, len(columns), (2.7, height))


def curves(name: str, by_run: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float]) -> Markup:
    """Precision against recall, F1 against IoU and score thresholds: a line for each run, a dot at its threshold."""

    def draw(axes: list[Axes]) -> None:
        for ax, (curve, (title, along)) in zip(axes, CURVES.items(), strict=True):
            for n, (run, rows) in enumerate(by_run.items()):
                points = rows[rows["curve"] == curve]
                ax.plot(points["x"], points["y"], label=run, color=colour(n))
                if curve == "f1_by_score":
                    at = np.interp(thresholds[run], points["x"], points["y"])
                    ax.plot([thresholds[run]], [at], "o", markersize=4.5, color=colour(n))
            ax.set_title(title)
            ax.set_xlabel(along)
            ax.set_ylim(0, 1.02)
        axes[-1].legend(**BESIDE)

    return chart(name, "Precision by recall, F1 by IoU and by score threshold, of each run", draw, 4, (2.3, 2.1))


def strata(name: str, by_run: Mapping[str, pd.DataFrame]) -> Markup:
    """Scores by quartile of image density and of cell size: a line for each run."""
    panels = [(stratum, column) for stratum in ("density", "size") for column in STRATIFIED]
    units = {"density": "cells per megapixel", "size": "area of a cell, px²"}

    def draw(axes: list[Axes]) -> None:
        for ax, (stratum, column) in zip(axes, panels, strict=True):
            for n, (run, rows) in enumerate(by_run.items()):
                bins = rows[rows["stratum"] == stratum]
                mark = f"{MARKERS[n % len(MARKERS)]}-"
                ax.plot(bins["bin"], bins[column], mark, markersize=4, label=run, color=colour(n))
            ends = zip(bins["low"].astype(float), bins["high"].astype(float), strict=True)
            labels = [f">{short(low)}" if math.isnan(high) else f"≤{short(high)}" for low, high in ends]
            ax.set_xticks(bins["bin"].astype(int).tolist(), labels, fontsize=8)
            ax.set_title(f"{STRATIFIED[column]} by {stratum}")
            ax.set_xlabel(units[stratum])
            ax.set_xlim(0.6, 4.4)
            ax.set_ylim(0, 1)
        axes[-1].legend(**BESIDE)

    alt = "Mask AP and F1 of each run by density of the image and by size of the cell"
    return chart(name, alt, draw, 4, (2.3, 2.1))


def errors(name: str, by_run: Mapping[str, pd.DataFrame]) -> Markup:
    """Shares of true cells lost and of predictions wrong, by kind of error: a bar for each run."""
    panels = {"lost_share": "True cells lost", "wrong_share": "Predictions wrong"}
    runs = list(by_run)

    def draw(axes: list[Axes]) -> None:
        for ax, (column, title) in zip(axes, panels.items(), strict=True):
            start = np.zeros(len(runs))
            for n, kind in enumerate(KINDS):
                share = np.array([float(rows.loc[rows["kind"] == kind, column].iloc[0]) for rows in by_run.values()])
                ax.barh(runs, np.nan_to_num(share), left=start, height=0.6, color=colour(n), label=kind)
                start += np.nan_to_num(share)
            ax.set_title(title)
            ax.set_xlim(0, max(0.05, start.max() * 1.05))
            ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            ax.grid(axis="y", visible=False)
            ax.grid(axis="x", visible=True)
            ax.invert_yaxis()
            ax.tick_params(axis="y", labelcolor=INK, labelleft=ax is axes[0])
        axes[-1].legend(**BESIDE)

    alt = "Shares of true cells lost and of predictions wrong by kind of error, of each run"
    return chart(name, alt, draw, 2, (3.6, 0.9 + 0.25 * len(runs)))
