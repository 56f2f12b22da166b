"""The section Gain: each verdict in words, and the curve over rounds where there are some."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from monolayer.files import InputError, write_csv, write_json
from monolayer.params.steps import ReportParams, ReportSettings
from monolayer.reporting.page import render
from monolayer.reporting.pictures import Album
from monolayer.reporting.rounds import rounds
from monolayer.reporting.study import Study


def study(folder: Path, runs: list[str]) -> Study:
    rows = {"ready": {"base": None}, "tuned": {"base": "ready"}, "unet": {}}
    settings = ReportSettings(title="t", micrographs=False, samples_per_line=1, overlays_per_line=1)
    return Study(folder, runs, ReportParams(settings=settings, dataset="d", scale="quick", used={"runs": rows}))


def verdict(folder: Path, **changed: Any) -> None:
    scores = {"ready": {"": 0.2, "_low": None, "_high": None}, "tuned": {"": 0.25, "_low": 0.1, "_high": 0.3}}
    given = {"run": "tuned", "base": "ready", "images": 12, "difference": 0.05, "low": 0.01, "high": 0.09}
    given |= {"better": True, "exported": True, "said": "tuned against ready: +0.050 (...): better", "scores": scores}
    write_json(folder / "metrics/tuned.gain.json", given | changed)


def row(number: int, images: int, test_set: str = "a") -> dict[str, Any]:
    ends = {f"{name}{end}": 0.1 for name in ("base_ap", "ap", "difference") for end in ("", "_low", "_high")}
    found = {"round": number, "run": "tuned", "base": "ready", "images": images, "cells": 90, **ends}
    return found | {"exported": "true" if number > 1 else "false", "test_images": 12, "test_set": test_set}


def html(folder: Path) -> str:
    made = study(folder, ["ready", "tuned"])
    contents = rounds(made, Album(folder, micrographs=False))
    assert contents is not None
    return render("rounds.html", study=made, **contents)


def text(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_runs_without_a_base_have_no_section(tmp_path: Path) -> None:
    assert rounds(study(tmp_path, ["ready", "unet"]), Album(tmp_path, micrographs=False)) is None


def test_a_refused_run_is_said_to_be(tmp_path: Path) -> None:
    verdict(tmp_path, better=False, exported=False, said="tuned against ready: −: not shown to be better")
    assert "not shown to be better; not exported" in text(html(tmp_path))
    verdict(tmp_path, better=False, exported=True, said="tuned against ready: −: not shown to be better")
    assert "not shown to be better; exported all the same (unproven)" in text(html(tmp_path))
    verdict(tmp_path)
    page = text(html(tmp_path))
    assert "tuned ready 12 0.200 0.250 +0.050 +0.010 to +0.090 better; exported" in page
    assert "Rounds of" not in page


def test_too_few_test_images_have_no_interval(tmp_path: Path) -> None:
    verdict(tmp_path, better=False, exported=False, difference=None, low=None, high=None)
    assert "0.250 –" in text(html(tmp_path))


def test_rounds_are_a_curve_by_annotated_images(tmp_path: Path) -> None:
    verdict(tmp_path)
    write_csv(tmp_path / "rounds.csv", [row(1, 8), row(2, 12), row(3, 16) | {"run": "other"}])
    page = html(tmp_path)
    assert "Mask AP of tuned and its base by the number of annotated images" in page
    assert re.findall(r"<tr><th scope=\"row\">(\d)</th><td class=\"num\">(\d+)<", page) == [("1", "8"), ("2", "12")]
    assert re.findall(r"<td>(yes|no)</td>", page) == ["no", "yes"]
    assert "no line joins" not in page
    assert page == html(tmp_path)


def test_rounds_on_other_test_images_are_not_joined(tmp_path: Path) -> None:
    verdict(tmp_path)
    lines = {}
    for sets in ("aaa", "aab"):
        write_csv(tmp_path / "rounds.csv", [row(n + 1, 8 + 4 * n, test_set) for n, test_set in enumerate(sets)])
        page = html(tmp_path)
        # of a joined line, d has as many L as there are steps
        lines[sets] = max(len(re.findall(r"L", d)) for d in re.findall(r'd="([^"]*)" clip-path', page))
        assert ("judged on other test images" in page) == (sets == "aab")
    assert lines["aaa"] > lines["aab"]


def test_each_round_stands_against_its_own_base(tmp_path: Path) -> None:
    """The scores of an earlier base were a line, and a column, of the last one's name."""
    verdict(tmp_path)
    write_csv(tmp_path / "rounds.csv", [row(1, 8) | {"base": "old"}, row(2, 12), row(3, 16)])
    page = html(tmp_path)
    assert {">old<", ">ready<", ">tuned<"} <= set(re.findall(r">\w+<", page[page.index("Rounds of tuned") :]))
    assert re.findall(r"<small>(old|ready)</small>", page) == ["old", "ready", "ready"]


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    verdict(tmp_path)
    (tmp_path / "rounds.csv").write_text("round,run\n1,tuned\n")
    with pytest.raises(InputError, match="has no column base"):
        html(tmp_path)
