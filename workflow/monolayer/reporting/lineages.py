"""Charts of tracks: lineage trees, and the share of cells that have not divided by their age."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from monolayer.reporting import charts
from monolayer.reporting.biology import TRUTH, UNITS
from monolayer.reporting.charts import INK, SERIES

FAMILIES = 6  # shown of a time-lapse, those with most divisions


def families(tracks: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """The largest families of a time-lapse, each as its tracks with a height: a mother lies between her daughters."""
    rows = {int(row["track"]): row for row in tracks.to_dict("records")}
    children: dict[int, list[int]] = defaultdict(list)
    for number, row in rows.items():
        if not pd.isna(row["parent"]):
            children[int(row["parent"])].append(number)

    def drawn(number: int, leaves: list[int]) -> tuple[float, list[dict[str, Any]]]:
        """The height of a track, and it and all that follow; `leaves` counts what has been drawn below."""
        found, heights = list[dict[str, Any]](), list[float]()
        for child in children[number]:
            height, more = drawn(child, leaves)
            heights.append(height)
            found += more
        if not heights:
            leaves[0] += 1
        height = sum(heights) / len(heights) if heights else float(leaves[0] - 1)
        return height, [{"row": rows[number], "height": height, "ends": heights}, *found]

    roots = [number for number, row in rows.items() if pd.isna(row["parent"]) and children[number]]
    trees = [drawn(root, [0])[1] for root in roots]
    return sorted(trees, key=lambda tree: (-len(tree), tree[0]["row"]["track"]))[:FAMILIES]


def trees(name: str, line: str, by_source: Mapping[str, pd.DataFrame]) -> Markup | None:
    """The largest families of a time-lapse, in time: a panel for each source; None where nothing divides."""
    grown = {source: families(tracks) for source, tracks in by_source.items()}
    if not any(grown.values()):
        return None
    units = {str(unit) for tracks in by_source.values() for unit in tracks["time_unit"]}
    every = pd.concat(list(by_source.values()))
    first, last = every["start_time"].min(), (every["start_time"] + every["lifetime"]).max()

    def draw(axes: list[Axes]) -> None:
        for ax, (source, found) in zip(axes, grown.items(), strict=True):
            base = 0.0
            for number, tree in enumerate(found):
                for item in tree:
                    row, height = item["row"], base + item["height"]
                    end = row["start_time"] + row["lifetime"]
                    ax.plot([row["start_time"], end], [height, height], color=charts.colour(number), linewidth=1.3)
                    if item["ends"]:
                        low, high = base + min(item["ends"]), base + max(item["ends"])
                        ax.plot([end, end], [low, high], color=charts.colour(number), linewidth=1.3)
                base += max(item["height"] for item in tree) + 2
            if not found:
                ax.text(0.5, 0.5, "no division", transform=ax.transAxes, ha="center", color=charts.MUTED)
            ax.set_title(source)
            ax.set_xlim(first, last)  # one axis of time, to be compared
            ax.set_yticks([])
            ax.grid(visible=False)
            ax.set_xlabel(UNITS[min(units)])
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))

    alt = f"Lineage trees of {line}: the families with most divisions, {' and '.join(grown)}"
    return charts.chart(name, alt, draw, len(grown), (3.2, 2.6))


def undivided(name: str, line: str, by_source: Mapping[str, pd.DataFrame]) -> Markup | None:
    """Kaplan-Meier curves with their intervals; None where no birth and division was seen."""
    shown = {source: rows for source, rows in by_source.items() if len(rows) > 1}
    if not shown:
        return None

    def draw(axes: list[Axes]) -> None:
        [ax] = axes
        for source, rows in shown.items():
            hue = INK if source == TRUTH else SERIES[0]
            ax.step(rows["time"], rows["undivided"], where="post", color=hue, label=source)
            low, high = rows["undivided_low"], rows["undivided_high"]
            ax.fill_between(rows["time"], low, high, step="post", color=hue, alpha=0.12, linewidth=0)
        ax.set_ylim(0, 1.02)
        ax.set_xlabel(f"age, {UNITS[next(iter(shown.values()))['time_unit'].iloc[0]]}")
        ax.set_title("cells not yet divided")
        ax.legend(**charts.BESIDE)

    return charts.chart(name, f"Share of cells of {line} that have not divided by their age", draw, 1, (3.6, 2.4))
