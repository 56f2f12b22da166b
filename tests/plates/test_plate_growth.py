"""Growth and quality of a plate: known rates are found, wells are the unit, what is odd is flagged."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path

import numpy as np
import plate_samples as made
import pytest
from monolayer.backends.manifest import CellDiameters
from monolayer.files import InputError
from monolayer.params.plates import Plate, plate_name
from monolayer.plates import growth, tabulate
from monolayer.plates.quality import flags, measures, usual_sharpness
from scipy import ndimage, stats

HOURS = (0.0, 12.0, 24.0, 36.0)


def images(rates: dict[str, float]) -> list[dict[str, object]]:
    """Two fields a well whose counts grow at these rates, from starts of their own."""
    return [
        {
            **{"well": well, "field": field, "time": time, "frame": n, "flags": ""},
            **{"expected_f1": math.nan, "expected_f1_low": math.nan},
            "cells": round(start * math.exp(rate * time)),
            "confluence": 0.1,
        }
        for well, rate in rates.items()
        for field, start in (("1", 1000), ("2", 500))
        for n, time in enumerate(HOURS)
    ]


def test_wells_grow_at_their_rates() -> None:
    rows = images({"A1": 0.02, "B2": 0.0, "A10": 0.04})
    points = growth.curves(rows, "h")
    assert [point["well"] for point in points[::4]] == ["A1", "A10", "B2"]
    assert points[0] | {"flagged": 0} == points[0]
    assert points[0]["cells_per_image"] == 750
    found = {row["well"]: row for row in growth.wells(rows, points, {})}
    assert found["A1"]["rate_per_time"] == pytest.approx(0.02, abs=1e-4)
    assert found["A10"]["doubling_time"] == pytest.approx(math.log(2) / 0.04, rel=0.01)
    assert found["A1"]["fields"] == 2


def test_a_field_that_is_missing_changes_no_scale() -> None:
    rows = [row for row in images({"A1": 0.0}) if not (row["field"] == "2" and row["frame"] == 3)]
    rows = [row | {"cells": 100} for row in rows]
    assert [point["cells_per_image"] for point in growth.curves(rows, "h")] == [100] * 4


def test_counts_have_the_bounds_that_an_f1_sets_them() -> None:
    """At the bounds all cells of one side are found again on the other; beyond, the F1 would be lower."""
    [image] = [row | {"cells": 60, "expected_f1_low": 0.75} for row in images({"A1": 0.0})[:1]]
    low, high = growth.true_cells(image)
    assert (low, high) == (36, 100)
    assert [2 * min(60, true) / (60 + true) for true in (low, high)] == [0.75, 0.75]
    [point] = growth.curves([image, image | {"field": "2", "expected_f1_low": 1.0}], "h")
    assert (point["cells_per_image_low"], point["cells_per_image_high"]) == (48, 80)
    assert growth.true_cells(image | {"expected_f1_low": 0.0}) == (0, math.inf)
    assert math.isnan(growth.curves(images({"A1": 0.0}), "h")[0]["cells_per_image_low"])


def test_conditions_are_compared_over_wells() -> None:
    rates = {"A1": 0.020, "A2": 0.022, "A3": 0.021, "B1": 0.030, "B2": 0.033, "B3": 0.031, "C1": 0.01}
    dose = {well: f"dose {well[0]}" for well in rates}
    rows = growth.wells(images(rates), growth.curves(images(rates), "h"), dose)
    a, _, c = growth.conditions(rows)
    assert (a["condition"], a["wells"]) == ("dose A", 3)
    assert math.isnan(c["rate_low_per_time"])  # a well alone
    [pair] = growth.comparisons(rows)
    own = [[row["rate_per_time"] for row in rows if row["condition"] == name] for name in ("dose A", "dose B")]
    assert pair["p"] == pytest.approx(stats.ttest_ind(own[1], own[0], equal_var=False).pvalue)
    assert pair["low_per_time"] > 0


def test_holm_orders_and_caps() -> None:
    assert growth._holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert growth._holm([0.9, 0.8]) == [1.0, 1.0]
    unknown, known = growth._holm([math.nan, 0.04])  # of wells that are all alike, which Welch can't tell apart
    assert (math.isnan(unknown), known) == (True, 0.04)


def test_no_chance_is_written_as_0() -> None:
    row = tabulate._rounded({"p": 1.23456789e-9, "p_holm": 0.123456789, "low_per_time": 1.23456789e-9, "p_none": 1})
    assert row == {"p": 1.23457e-9, "p_holm": 0.123457, "low_per_time": 0, "p_none": 1}
    assert tabulate._rounded({"p": math.nan}) == {"p": ""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dose\n3\n", "is no plate map; it needs a column well"),
        ("well;dose\nA1;0,5\n", "has ';' between its columns; save it with commas"),
        ("well,dose\nZ9,3\n", "line 2: the plate has no well 'Z9'"),
        ("well,dose\nA1,3\nA1,4\n", "line 3: well A1 stands there twice"),
        ("well,dose\nA1,3,5\n", "line 2: it has more values than the 2 columns"),
        ("well,dose,dose\nA1,3,5\n", "has two columns 'dose'"),
    ],
)
def test_a_plate_map_that_does_not_fit_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        growth.read_conditions(tmp_path / "map.csv", ["A1", "A2"])


def test_a_plate_map_names_conditions(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("well,dose,drug\nA1,3,X\nA2,0,\n")
    assert growth.read_conditions(tmp_path / "map.csv", ["A1", "A2"]) == {"A1": "dose 3, drug X", "A2": "dose 0"}


def test_a_plate_map_of_another_machine_names_the_same_wells(tmp_path: Path) -> None:
    """A byte order mark, and an ä that macOS writes as two characters in names of files."""
    (tmp_path / "map.csv").write_text("\ufeffwell,Wärme\nKälte,-4 °C\n", encoding="utf-8")
    (found,) = growth.read_conditions(tmp_path / "map.csv", [unicodedata.normalize("NFD", "Kälte")]).items()
    assert found == (unicodedata.normalize("NFD", "Kälte"), "Wärme -4 °C")


def test_floats_of_any_size_have_the_sharpness_of_the_same_image() -> None:
    """One whose numbers overflow would leave all images of its plate without the flag out_of_focus."""
    pixels, areas = made.field(10, 0), np.full(5, 100.0)
    usual = measures(pixels.astype(np.uint16), areas)
    for size in (1e-30, 1.0, 1e36, 1e300):
        found = measures(pixels * size, areas)
        assert [found[name] for name in usual] == pytest.approx(list(usual.values()), rel=1e-5)


def test_empty_lines_below_a_plate_map_are_none(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("well,dose,drug\nA1,3,X\n,,\n,,\n")
    assert growth.read_conditions(tmp_path / "map.csv", ["A1", "A2"]) == {"A1": "dose 3, drug X"}


def test_what_is_odd_is_flagged() -> None:
    sharp = made.field(10, 0).astype(np.float64)
    light = np.linspace(0.4, 1.6, made.WIDTH)
    pixels = {
        "": sharp,
        "out_of_focus": ndimage.gaussian_filter(sharp, 4),
        "uneven_light": sharp * light,
        "saturated": np.minimum(sharp, 160),
    }
    limits = made.settings().quality
    areas = np.full(5, 100.0)
    known_f1 = {"distance": 1.0, "expected_f1": 0.8, "cells": 5, "confluence": 0.1, "not_stored": 0.0}
    found = [measures(values.astype(np.uint16), areas) | known_f1 for values in pixels.values()]
    known = CellDiameters(low=10, median=12, high=14)
    usual = usual_sharpness(image["sharpness"] for image in (found[0], *found))

    def words(factor: float = 1.0, **changes: float) -> str:
        return flags(found[0] | changes, usual, limits, known, factor)

    assert [flags(image, usual, limits, known, 1.0) for image in found] == list(pixels)
    assert words(cells=0) == "empty"
    assert words(confluence=0.95) == "dense"
    assert words(not_stored=0.25) == "not_stored"
    assert words(2.0) == "other_size"
    assert words(distance=4.0, expected_f1=0.3) == "unlike low_f1"
    assert words(beyond=True) == "unlike"
    assert words(distance=math.nan, expected_f1=math.nan) == ""


def test_a_plate_is_called_after_its_path() -> None:
    names = [plate_name(path) for path in ("scans/plate 7/", "x.ome.zarr", "b.companion.ome", "..")]
    assert names == ["plate-7", "x", "b", "plate"]
    text = Plate(**made.SETTINGS | {"channel": "2", "z": "3", "tta": "4", "pixel_size_um": "0.5"}, path="x")
    assert (text.channel, text.z, text.tta, text.pixel_size_um) == (2, 3, 4, 0.5), "as Snakemake's --config has it"
    assert Plate(**made.SETTINGS, path="x").given(type(made.reading())) == made.reading().model_dump_json()
