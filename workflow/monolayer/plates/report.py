"""A plate on one self-contained page: a map with a time slider, growth, conditions, quality, pictures, definitions."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from monolayer.backends.manifest import read_manifest
from monolayer.files import InputError, no_formula, read_json, write_bytes
from monolayer.params.plates import PlateSettings
from monolayer.plates import dictionary
from monolayer.plates.layout import natural
from monolayer.plates.model import model_folder
from monolayer.plates.pictures import by_number, last_of_wells, pictures
from monolayer.plates.plan import plan_rows, read_about
from monolayer.reporting import charts
from monolayer.reporting.page import render
from monolayer.reporting.pictures import Album, Layer, Picture

OWN = Path(__file__).with_name("templates")
Row = Mapping[str, Any]
FLAGGED = 12  # images that are shown
CONDITIONS = 8  # that have a colour in the chart
SHOWN = {"curves": "Curves", "wells": "Wells", "conditions": "Conditions", "comparisons": "Comparisons"}


def report(folder: Path, settings: PlateSettings, output: Path) -> None:
    """Write the page of a plate whose tables are made; the same files give the same bytes."""
    about = read_about(folder)
    found = {name: _read(folder / f"{name}.csv", name) for name in SHOWN}
    manifest = read_json(folder / "manifest.json", "a plate's manifest", "tabulate the plate again")
    flags = _flags(folder / "images.parquet")
    _, model = read_manifest(model_folder(settings))
    of_wells = dict(pictures(folder, about, last_of_wells(plan_rows(folder)), model.percentiles))
    flagged = by_number(plan_rows(folder), list(flags)[:FLAGGED])
    album = Album(folder, micrographs=True)
    odd = [
        _picture(album, image.number, f"{image.well}, field {image.field}, frame {image.frame}", made, flags)
        for image, made in pictures(folder, about, flagged, model.percentiles)
    ]
    condition = {row["well"]: row["condition"] or "" for row in found["wells"]}
    names = sorted(set(condition.values()), key=natural)
    values = {
        "plate": Path(about.path).name or about.path,
        "about": about,
        "manifest": manifest,
        "unit": found["curves"][0]["time_unit"],
        "images": about.images,
        "tables": found,
        "flags": Counter(word for words in flags.values() for word in words.split()),
        "flagged": len(flags),
        "expected": manifest["expected_f1"],
        "low_wells": _low_wells(found["wells"], settings.quality.expected_f1),
        "limit": settings.quality.expected_f1,
        "odd": odd,
        "album": album,
        "chart": _chart(found["curves"], condition, names[:CONDITIONS]),
        "coloured": names[:CONDITIONS] if any(names) else [],
        "uncoloured": len(names[CONDITIONS:]),
        "words": dictionary.WORDS,
        "definitions": {name: dictionary.TABLES[name] for name in SHOWN} | {"quality": dictionary.QUALITY},
        "data": _json(_data(found["curves"], found["wells"])),
        "pictures": _json({image.well: made | {"frame": image.frame} for image, made in of_wells.items()}),
        "pictured": len(of_wells),
    }
    write_bytes(output, render("plate.html", OWN, **values).encode())


def _read(path: Path, table: str) -> list[dict[str, Any]]:
    """The rows of a CSV, numbers as numbers; what is empty is None."""
    kinds = {"whole": int, "number": float}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            columns = dictionary.TABLES[table]
            return [
                {name: kinds.get(columns[name].type, _text)(text) if text else None for name, text in row.items()}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} is not the table {table} of a plate ({error}); tabulate it again") from error


def _text(written: str) -> str:
    """What stood there before `no_formula`: pictures and tables are of the same well."""
    return written[1:] if no_formula(written[1:]) == written else written


def _flags(path: Path) -> dict[int, str]:
    """The words of the images that are flagged, those with most words first, of these the least expected F1."""
    from pyarrow import parquet

    columns = ("image_id", "flags", "expected_f1")
    table = parquet.read_table(path, columns=list(columns))
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    flagged = [(number, words, 1.0 if f1 is None or math.isnan(f1) else f1) for number, words, f1 in rows if words]
    ordered = sorted(flagged, key=lambda row: (-len(row[1].split()), row[2], row[0]))
    return {number: words for number, words, _ in ordered}


def _low_wells(wells: Sequence[Row], limit: float) -> list[Row]:
    """The wells whose cells are least to be trusted, the worst first."""
    low = [row for row in wells if row["expected_f1"] is not None and row["expected_f1"] < limit]
    return sorted(low, key=lambda row: float(row["expected_f1"]))


def _picture(album: Album, number: int, title: str, made: Row, flags: Mapping[int, str]) -> Picture:
    image = album.embed(number, made["file"], (made["height"], made["width"]), made["uri"])
    numbers = {
        "cells": f"{made['cells']:,}",
        "flags": ", ".join(word.replace("_", " ") for word in flags[number].split()),
    }
    return Picture(image, title, [Layer("pred matched", "cells", made["cells"], made["path"])], numbers)


def _data(curves: Sequence[Row], wells: Sequence[Row]) -> dict[str, Any]:
    """What the map and its curve show: a row of values over time for each well."""
    times = sorted({row["time"] for row in curves})
    place = {time: index for index, time in enumerate(times)}
    names = [row["well"] for row in wells]
    shown = ("cells_per_image", "confluence", "expected_f1", "flagged")
    series: dict[str, dict[str, list[float | None]]]
    series = {name: {well: [None] * len(times) for well in names} for name in shown}
    for row in curves:
        for name, of_well in series.items():
            of_well[row["well"]][place[row["time"]]] = _short(row[name], UNITS.get(name, 1))
    fits = {
        row["well"]: [row["condition"] or "", *(_short(row[name]) for name in ("start_cells_per_image", *RATES, *LAG))]
        for row in wells
    }
    return {"unit": curves[0]["time_unit"], "times": times, "wells": fits, **series}


UNITS = {"confluence": 100}  # the page's per cent, of the tables' shares
RATES = ("rate_per_time", "doubling_time", "doubling_time_low", "doubling_time_high")
LAG = ("lag_time", "lag_time_low", "lag_time_high")


def _short(value: float | None, times: float = 1) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{times * value:.5g}")


def _json(value: Any) -> Markup:
    """JSON for a script element."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _chart(curves: Sequence[Row], condition: Mapping[str, str], coloured: Sequence[str]) -> Markup:
    """Counts and confluence over time: a line for each well, a colour for each of some conditions."""
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in curves:
        lines[row["well"]].append(row)
    above = sorted(lines, key=lambda well: condition[well] in coloured)  # the others don't hide them

    def draw(axes: list[Axes]) -> None:
        quantities = {"cells_per_image": "Cells per image", "confluence": "Confluence, %"}
        for ax, (name, title) in zip(axes, quantities.items(), strict=True):
            for well in above:
                own = condition[well]
                colour = charts.colour(coloured.index(own)) if own in coloured else charts.MUTED
                times, values = zip(
                    *((row["time"], UNITS.get(name, 1) * row[name]) for row in lines[well]), strict=True
                )
                ax.plot(times, values, "-", color=colour, linewidth=0.8)
            ax.set_title(title)
            ax.set_xlabel(curves[0]["time_unit"])
            ax.set_ylim(0)

    return charts.chart("growth", "Cells per image and confluence of each well over time", draw, 2, (4.0, 2.6))
