"""Charts as inline SVG: in the page's own font and colours, light and dark, and the same bytes every time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Colours that stand for variables of the style sheet, so that a chart follows the page into the dark.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = tuple(f"#0101{n:02x}" for n in range(11, 19))
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule"} | {c: f"--series-{n}" for n, c in enumerate(SERIES, 1)}
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


def chart(name: str, alt: str, draw: Callable[[list[Axes]], None], panels: int = 1, width: float = 2.6) -> str:
    """An inline SVG of a row of panels (each `width` inches wide) that `draw` fills.

    name keeps the ids of charts on one page apart; alt is what a screen reader says.
    """
    buffer = io.StringIO()
    with mpl.rc_context(cast(Any, STYLE)):
        figure = Figure(figsize=(width * panels, 2.1))
        draw(list(figure.subplots(1, panels, squeeze=False)[0]))
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'#([\w-]+)[")]', svg))
    svg = re.sub(r"<[^>]*>", lambda tag: _slim(tag[0], name, used), svg)
    return re.sub(r"\s*\n\s*", "\n", svg).replace(
        "<svg", f'<svg class="chart" style="max-width: {width * panels:g}in" role="img" aria-label="{escape(alt)}"', 1
    )


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


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes that tell 32 lines apart."""
    return {"color": SERIES[index % len(SERIES)], "linestyle": DASHES[index // len(SERIES) % len(DASHES)]}


# ---- charts --------------------------------------------------------------------------------------


def training(name: str, run: str, history: pd.DataFrame) -> str:
    """What history.csv has, against the epoch: losses, scores, learning rate; a line per network and column."""
    groups = _history_panels([c for c in history.columns if c not in ("network", "epoch", "seconds")])
    networks = list(dict.fromkeys(history["network"]))

    def draw(axes: list[Axes]) -> None:
        for ax, (title, columns) in zip(axes, groups.items(), strict=True):
            lines = [(network, column) for column in columns for network in networks]
            for index, (network, column) in enumerate(lines):
                rows = history[history["network"] == network]
                words = [column.removeprefix("val_") if title == "validation" else column] if len(columns) > 1 else []
                words += [network] if len(networks) > 1 else []
                ax.plot(rows["epoch"], rows[column], label=", ".join(words).replace("_", " "), **line_style(index))
            ax.set_title(title)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            if len(lines) > 1:
                ax.legend()
            if title == "validation" and history[columns].apply(pd.Series.between, left=0, right=1).all(axis=None):
                ax.set_ylim(0, 1)

    return chart(name, f"Training of {run}: {', '.join(groups)} against the epoch", draw, len(groups), 3.2)


def _history_panels(columns: Sequence[str]) -> dict[str, list[str]]:
    panels: dict[str, list[str]] = {}
    for column in columns:
        is_loss, is_rate = "loss" in column, column in ("learning_rate", "lr")
        title = "loss" if is_loss else "learning rate" if is_rate else "validation"
        panels.setdefault(title, []).append(column)
    return panels


def distributions(
    name: str, label: str, values: Mapping[str, Mapping[str, Sequence[float]]], parts: Sequence[str]
) -> str:
    """Histograms, a panel for each cell line: values[line][part], the parts stacked."""

    def draw(axes: list[Axes]) -> None:
        for ax, (line, of_part) in zip(axes, values.items(), strict=True):
            shown = [(n, part) for n, part in enumerate(parts) if len(of_part.get(part, ()))]
            every = np.concatenate([np.asarray(of_part[part], float) for _, part in shown])
            edges = np.linspace(every.min(), every.max() if np.ptp(every) else every.min() + 1, 25)
            ax.hist(
                [np.asarray(of_part[part], float) for _, part in shown],
                bins=[float(edge) for edge in edges],
                stacked=True,
                color=[SERIES[n] for n, _ in shown],
                label=[part for _, part in shown],
            )
            ax.set_title(line)
            ax.set_xlabel(label)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes[0].legend()

    return chart(name, f"Histograms of {label}, by cell line and split", draw, len(values), 2.4)
