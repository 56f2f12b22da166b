"""One self-contained HTML page of a study: what was run, the data, the tables, the pictures.

A section is a row of SECTIONS: a function that turns the study into the values of its template templates/{name}.html.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml
from markupsafe import Markup

from monolayer.evaluation.breakdown import KINDS
from monolayer.evaluation.definitions import SHOWN
from monolayer.files import write_bytes
from monolayer.params.steps import ReportParams
from monolayer.reporting import charts, tables
from monolayer.reporting.biology import biology
from monolayer.reporting.gallery import compared, ranked, samples
from monolayer.reporting.page import render
from monolayer.reporting.pictures import Album
from monolayer.reporting.rounds import rounds
from monolayer.reporting.speed import speed
from monolayer.reporting.study import SPLITS, Study, is_taught, of_line, seen_in_test, steps
from monolayer.reporting.tracks import tracks

CHARTED = ("mask_ap", "f1_50", "pixel_f1")  # columns of the chart beside the tables


def report(results: Path, runs: list[str], params: ReportParams, output: Path) -> None:
    """Write the page of these runs and, beside it, its first picture; the same files give the same bytes."""
    study, album = Study(results, runs, params), Album(results / "data" / "images", params.settings.micrographs)
    made = {section.name: section.content(study, album) for section in SECTIONS}
    contents = {name: content for name, content in made.items() if content is not None}
    picture = render("overview.svg", album=album, picture=contents["overview"]["median"])
    parts = {name: Markup(render(f"{name}.html", study=study, **content)) for name, content in contents.items()}
    titles = {section.name: section.title for section in SECTIONS[1:] if section.name in contents}
    text = render("report.html", study=study, parts=parts, sections=titles, album=album)
    write_bytes(output.with_name("overview.svg"), picture.encode())
    write_bytes(output, text.encode())


def overview(study: Study, album: Album) -> dict[str, Any]:
    """What was run, the best run, and one picture: its median test image of the cell line with the most cells."""
    ranks = study.ranking
    best = ranks[0]
    test = study.census["test"].images
    line = str(test.groupby("cell_line")["cells"].sum().idxmax())
    median = ranked(of_line(study.by_image(best["run"]), line), 1)
    images = [census.images for census in study.census.values()]
    return {
        "ranking": ranks,
        "best": best,
        "images": sum(len(rows) for rows in images),
        "cells": sum(int(rows["cells"].sum()) for rows in images),
        "devices": sorted({record["device"] for record in study.records.values()}),
        "duration_s": sum(record["duration_s"] for record in study.records.values()),
        "median": compared(study, album, {best["run"]: median})[best["run"]][line][0],
    }


def results(study: Study, album: Album) -> dict[str, Any]:
    """The tables, over all cell lines and for each, with the documents' rows beside them, and real differences."""
    columns, charted = tables.columns(SHOWN), tables.columns(CHARTED)
    more = tables.columns(name for name in study.table.columns if name not in SHOWN)
    references = tables.references(["all", *study.cell_lines])
    histories = {run: study.history(run) for run in study.records}
    counts = {run: sorted(steps(history).values()) for run, history in histories.items()}
    untaught = [run for run, history in histories.items() if not is_taught(history)]
    groups = {}
    for line, rows in study.table.groupby("cell_line", sort=False):
        pairs = of_line(study.pairs, str(line))
        groups[str(line)] = {
            "images": rows["images"].iloc[0],
            "cells": rows["cells"].iloc[0],
            "ours": tables.rows(rows, columns, pairs, untaught),
            "more": tables.rows(rows, more, pairs, untaught),
            "references": tables.reference_rows(references, str(line), columns),
        }
    return {
        "groups": groups,
        "steps": {run: " to ".join(f"{n:,}" for n in dict.fromkeys([c[0], c[-1]])) for run, c in counts.items()},
        "untaught": untaught,
        "capped": {row["run"]: row["capped_images"] for row in study.ranking if row.get("capped_images", 0) > 0},
        "columns": columns,
        "more": more,
        "notes": tables.notes(references),
        "chart": charts.by_line("by-line", study.table, charted),
        "differences": {c.heading: tables.differences(study.pairs, study.runs, c.name) for c in charted},
        "definitions": tables.definitions([*SHOWN, "low_high", "difference", "score_threshold"]),
        "more_definitions": tables.definitions(c.about for c in more),
    }


def failures(study: Study, album: Album) -> dict[str, Any]:
    """Curves along thresholds, scores by density and size, and kinds of errors, over all cell lines and for each."""
    curves = study.breakdown("curves", ["curve", "x", "y"])
    strata = study.breakdown("strata", ["stratum", "bin", "low", "high", *charts.STRATIFIED])
    errors = study.breakdown("errors", ["kind", "lost_cells", "wrong_predictions", "lost_share", "wrong_share"])
    thresholds = {run: study.score_threshold(run) for run in study.runs}

    drawn: dict[str, list[Markup]] = {}
    for index, line in enumerate(dict.fromkeys(study.table["cell_line"])):
        # of this line alone
        curve, stratum, error = (
            {run: of_line(rows, line) for run, rows in table.items()} for table in (curves, strata, errors)
        )
        drawn[line] = [
            charts.curves(f"line-{index}-curves", curve, thresholds),
            charts.strata(f"line-{index}-strata", stratum),
            charts.errors(f"line-{index}-errors", error),
        ]
    return {
        "charts": drawn,
        "errors": tables.error_rows(errors),
        "kinds": KINDS,
        "definitions": tables.definitions(["density", "size", *KINDS]),
    }


def data(study: Study, album: Album) -> dict[str, Any]:
    """Images and cells of each line and split, their distributions, and samples of the training images."""
    lines = study.cell_lines
    images = {line: {split: of_line(c.images, line) for split, c in study.census.items()} for line in lines}
    cells = {line: {split: rows["cells"].tolist() for split, rows in images[line].items()} for line in lines}
    diameters = {line: {split: c.diameters.get(line, []) for split, c in study.census.items()} for line in lines}
    return {
        "confluence": {row["cell_line"]: row["confluence_median"] for row in study.audit["lines"]},
        "counts": [tables.counts(line, cells[line], diameters[line]) for line in lines],
        "cells_chart": charts.distributions("cells", "cells per image", cells, SPLITS),
        "diameter_chart": charts.distributions("diameter", "cell diameter, px", diameters, SPLITS),
        "samples": samples(study, album, {line: images[line]["train"] for line in lines}),
    }


def extensions(study: Study, album: Album) -> dict[str, Any] | None:
    """How far each extension lies from the originals, and what training on it gained; None if no run used one."""
    metrics = [name for name in CHARTED if name in study.table]
    found = {
        name: {
            "settings": settings,
            "shift": study.shift(name).to_dict("records"),
            "gains": tables.gains(study, name, metrics),
            "figure": embedded(study.folder / "extensions" / name / "shift.svg", "image/svg+xml"),
            "samples": embedded(study.folder / "extensions" / name / "samples.png", "image/png")
            if album.micrographs
            else None,
        }
        for name, settings in study.extensions.items()
    }
    return {"extensions": found, "columns": tables.columns(metrics)} if found else None


def embedded(path: Path, kind: str) -> str:
    """A picture as a data URI."""
    return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"


def tools(study: Study, album: Album) -> dict[str, Any] | None:
    """Licence, time and command of each run that is another tool's; None where there is none."""
    return {"tools": study.tools} if study.tools else None


def training(study: Study, album: Album) -> dict[str, Any] | None:
    """Curves and facts of each run's training; None where none was trained here."""
    if not study.records:
        return None
    histories = {run: study.history(run) for run in study.records}
    drawn = {run: charts.training(f"train-{n}", run, history) for n, (run, history) in enumerate(histories.items())}
    taken = {run: steps(history) for run, history in histories.items()}
    networks = tables.grid(
        {
            "run": run,
            "network": name,
            "steps": taken[run][name],
            "device": record["device"],
            **facts,
            **seen_in_test(record),
        }
        for run, record in study.records.items()
        for name, facts in record["networks"].items()
    )
    return {"charts": drawn, "networks": networks}


def overlays(study: Study, album: Album) -> dict[str, Any]:
    """Truth and prediction on the best, median and worst test images of each run and cell line."""
    count = study.params.settings.overlays_per_line
    lines = {run: study.by_image(run).groupby("cell_line") for run in study.runs}
    picks = {run: pd.concat([ranked(rows, count) for _, rows in groups]) for run, groups in lines.items()}
    return {"pictures": compared(study, album, picks)}


def audit(study: Study, album: Album) -> dict[str, Any]:
    """What is wrong with the data, and which near-copies the splits part."""
    of = {name: split for split, census in study.census.items() for name in census.images["file_name"]}
    apart = [field for field in study.audit["near_copies"] if len({of.get(name) for name in field["images"]}) > 1]
    return {"audit": study.audit, "apart": apart}


def parameters(study: Study, album: Album) -> dict[str, Any]:
    """Every parameter that the results depend on, where each run was trained, and the versions of what made it."""
    apart = ("params", "networks", "versions")
    versions: dict[str, list[str]] = {}
    for run, record in study.records.items():
        text = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        versions.setdefault(text, []).append(run)
    form: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": 110}
    rows = [{"run": run} | {k: v for k, v in record.items() if k not in apart} for run, record in study.records.items()]
    return {"used": yaml.safe_dump(study.params.used, **form), "records": tables.grid(rows), "versions": versions}


def reproduce(study: Study, album: Album) -> dict[str, Any]:
    """The commands that make the same page again."""
    return {}


class PageSection(NamedTuple):
    """A part of the page, if `content` is not None; `name` is its anchor and its template's name."""

    name: str
    title: str
    content: Callable[[Study, Album], Mapping[str, Any] | None]


SECTIONS = (
    PageSection("overview", "Overview", overview),
    PageSection("results", "Results", results),
    PageSection("rounds", "Gain", rounds),
    PageSection("failures", "Where it fails", failures),
    PageSection("biology", "Biology", biology),
    PageSection("tracks", "Tracks", tracks),
    PageSection("data", "Data", data),
    PageSection("extensions", "Extensions", extensions),
    PageSection("speed", "Speed", speed),
    PageSection("tools", "Tools", tools),
    PageSection("training", "Training", training),
    PageSection("overlays", "Overlays", overlays),
    PageSection("audit", "Audit", audit),
    PageSection("parameters", "Parameters", parameters),
    PageSection("reproduce", "Reproduce", reproduce),
)
