"""The report's table of speed: every device once, what is awaited, what nothing beats."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from monolayer.files import write_json
from monolayer.reporting import speed
from monolayer.reporting.page import render

HERE, OTHER = "A CPU, 2 threads", "NVIDIA RTX A2000"


def measured(median: float) -> dict[str, float]:
    return {"median": median, "low": median * 0.9, "high": median * 1.1, "p95": median * 1.5, "count": 9}


def row(backend: str, dtype: str, batch: int, ms: float) -> dict[str, Any]:
    found = {"backend": backend, "dtype": dtype, "batch": batch, "memory_mb": 50.0, "gpu_memory_mb": None}
    found |= {"network_ms": measured(ms / 2), "throughput": measured(1000 / ms), "cells": 9.0}
    if batch == 1:
        found |= {"latency_ms": measured(ms), "stages_ms": dict.fromkeys(speed.STAGES, ms / 5)}
    return found


def record(run: str, device: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    about = {"driver": None, "load": 0.5, "measured": "2026-11-21", "threads": 2, "images": 8, "sizes": ["336x312"]}
    return {"run": run, "device": device, **about, "rows": rows}


class FakeStudy:
    """What the section reads of a study."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs = folder, ["unet", "yolo"]
        self.ranking = [{"run": "unet", "mask_ap": 0.8}, {"run": "yolo", "mask_ap": 0.6}]


@pytest.fixture
def study(tmp_path: Path) -> FakeStudy:
    for run, ms in (("unet", 40.0), ("yolo", 20.0)):
        rows = [
            row("torch", "fp32", 1, ms),
            row("onnxruntime", "fp32", 1, ms / 2),
            row("onnxruntime", "fp32", 8, ms / 3),
        ]
        rows.append({"backend": "tensorrt", "dtype": "fp16", "batch": 1, "not_run": "no GPU is here"})
        write_json(tmp_path / f"benchmark/{run}.json", record(run, HERE, rows))
        write_json(tmp_path / f"benchmark/{run}.A-CPU-2-threads.json", record(run, HERE, rows[:1]))
        compared = {
            "matched": 9,
            "extra": 0,
            "lost": 0.0,
            "mask_iou": 1.0,
            "mask_iou_mean": 1.0,
            "worst_image": "a.png",
        }
        ap = {"ap": 0.79 if run == "unet" else 0.59, "ap_torch": 0.8 if run == "unet" else 0.6}
        parity: list[dict[str, Any]] = [{"backend": "onnxruntime", "dtype": "fp32", **compared, **ap}]
        half = {"dtype": "fp16", "products": {"fp16": 2, "fp32": 18}, "largest": 1234.5}
        parity.append(parity[0] | half)
        parity.append({"backend": "tensorrt", "dtype": "fp16", "not_run": "no GPU is here"})
        write_json(tmp_path / f"export/{run}/parity.json", {"run": run, "rows": parity})
    write_json(tmp_path / "benchmark/unet.other.json", record("unet", OTHER, [row("tensorrt", "fp16", 8, 2.0)]))
    return FakeStudy(tmp_path)


def test_every_device_stands_once_and_awaited_ones_without_numbers(study: FakeStudy) -> None:
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    assert {name: len(rows) for name, rows in content["devices"].items()} == {
        HERE: 6,  # its kept file is older than what was measured just now
        OTHER: 1,
        "NVIDIA GeForce RTX 3060": 0,
    }
    assert content["device"] == HERE


def test_the_awaited_device_is_awaited_until_it_was_measured(study: FakeStudy) -> None:
    rows = [row("tensorrt", "fp16", 1, 3.0)]
    write_json(study.folder / "benchmark/yolo.3060.json", record("yolo", "NVIDIA GeForce RTX 3060, 12 GB", rows))
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    assert len(content["devices"]["NVIDIA GeForce RTX 3060, 12 GB"]) == 1
    assert "NVIDIA GeForce RTX 3060" not in content["devices"]


def test_another_device_whose_name_begins_alike_is_not_the_awaited_one(study: FakeStudy) -> None:
    rows = [row("tensorrt", "fp16", 1, 3.0)]
    write_json(study.folder / "benchmark/yolo.ti.json", record("yolo", "NVIDIA GeForce RTX 3060 Ti", rows))
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    assert content["devices"]["NVIDIA GeForce RTX 3060"] == []


def test_the_page_says_what_was_not_run(study: FakeStudy) -> None:
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    text = render("speed.html", study=study, **content)
    assert "Not measured. The article names this device" in text
    assert "tensorrt fp16 on A CPU, 2 threads: no GPU is here <small>unet, yolo</small>" in " ".join(text.split())
    assert "not run: no GPU is here" in text
    assert '<td>2 in fp16, 18 in fp32</td><td class="num">1,234</td>' in text
    assert text.count("<svg") == 2


def test_without_measurements_there_is_no_section(tmp_path: Path) -> None:
    assert speed.speed(FakeStudy(tmp_path), None) is None  # type: ignore[arg-type]


def test_a_run_has_one_colour_on_the_page(study: FakeStudy) -> None:
    """The one of its place among all runs, of which yolo is the first here and the second by name."""
    study.runs = ["yolo", "centermask", "unet"]
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    drawn = content["pareto"]
    assert drawn.index(">yolo<") < drawn.index(">unet<")
    assert set(re.findall(r"--series-\d", drawn)) == {"--series-1", "--series-3"}


def test_another_run_whose_name_begins_alike_keeps_its_timings(study: FakeStudy) -> None:
    write_json(study.folder / "benchmark/unet.2.json", record("unet.2", "another CPU", [row("torch", "fp32", 1, 1.0)]))
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    assert "another CPU" not in content["devices"]


def test_without_single_images_there_is_no_latency(study: FakeStudy) -> None:
    """`benchmark.batches` may be [8]: what was not measured sorts last, and numbers sort as numbers."""
    rows = [row("torch", "fp32", 8, 40.0) | {"memory_mb": megabytes} for megabytes in (1234.0, 512.0)]
    for run in ("unet", "yolo"):
        write_json(study.folder / f"benchmark/{run}.json", record(run, HERE, rows))
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    text = render("speed.html", study=study, **content)
    assert "Latency by stage" not in text
    assert 'data-value="nan"' not in text
    assert 'data-value="1234.0">1,234<' in text


def test_an_export_is_as_good_as_its_own_cells_and_unknown_where_nobody_looked() -> None:
    """And torch by the protocol that exports are held against it by, whatever the scores' own is."""
    rows = pd.DataFrame({"run": ["a"] * 3, "variant": ["onnxruntime int8", "tensorrt fp16", "torch fp16"]})
    parity: list[dict[str, Any]] = [
        {"run": "a", "backend": "onnxruntime", "dtype": "int8", "ap": 0.0, "ap_torch": 0.9},
        {"run": "a", "backend": "tensorrt", "dtype": "fp16", "not_run": "no GPU is here"},
    ]
    found = speed.with_accuracy(rows, parity)["mask_ap"].tolist()
    assert found == pytest.approx([0.0, float("nan"), 0.9], nan_ok=True)


def test_an_engine_that_was_held_against_nothing_is_not_shown_as_good_as_torch(study: FakeStudy) -> None:
    rows = [row("torch", "fp32", 1, 4.0), row("tensorrt", "fp16", 1, 3.0)]
    write_json(study.folder / "benchmark/unet.json", record("unet", OTHER, rows))
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    text = render("speed.html", study=study, **content)
    assert ">tensorrt fp16<" not in content["pareto"]
    assert "nobody has held their cells against torch's: tensorrt fp16 of unet." in text


def test_the_frontier_holds_what_nothing_beats_in_both() -> None:
    rows = pd.DataFrame(
        {"run": list("abcd"), "throughput": [10.0, 20.0, 5.0, 20.0], "mask_ap": [0.7, 0.5, 0.9, 0.4], "batch": 1}
    )
    found = speed.frontier(rows)
    assert set(found[found["best"]]["run"]) == {"a", "b", "c"}


def test_when_on_what_and_how_busy_is_said_of_all_rows_of_a_device(study: FakeStudy) -> None:
    """It was that of the first run's file, over the rows of all."""
    later = {"measured": "2026-11-29", "load": 7.5, "images": 2, "sizes": ["336x312", "704x520"]}
    write_json(study.folder / "benchmark/yolo.json", record("yolo", HERE, [row("torch", "fp32", 1, 20.0)]) | later)
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    text = render("speed.html", study=study, **content)
    assert (
        "Measured 2026-11-21 to 2026-11-29, load 0.5 to 7.5 before; on 2 to 8 test images of 336x312, 704x520 px."
        in text
    )


def test_each_reason_stands_with_the_runs_and_batches_that_it_stopped(study: FakeStudy) -> None:
    """The first one stood for all, also for runs that another had stopped."""
    why = {
        "unet": ("engines in results/export/unet are for SM86", "unet takes no more"),
        "yolo": ("engines in results/export/yolo are for SM86", "torch is not there"),
    }
    for run, (engines, torch) in why.items():
        rows = [row("torch", "fp32", 1, 20.0)] if run == "unet" else []
        rows.append({"backend": "torch", "dtype": "fp32", "batch": 4, "not_run": torch})
        rows.append({"backend": "tensorrt", "dtype": "fp16", "batch": 1, "not_run": engines})
        write_json(study.folder / f"benchmark/{run}.json", record(run, HERE, rows))
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    assert [(one["way"], one["reason"], one["runs"], one["batches"]) for one in content["not_run"]] == [
        ("torch fp32", "unet takes no more", ["unet"], [4]),
        ("tensorrt fp16", "engines in results/export/{run} are for SM86", ["unet", "yolo"], []),
        ("torch fp32", "torch is not there", ["yolo"], []),
    ]


def test_what_ran_on_the_cpu_of_a_machine_with_a_gpu_is_not_called_the_gpu(study: FakeStudy) -> None:
    rows = [row("torch", "fp32", 1, 2.0) | {"on_gpu": True}, row("onnxruntime", "fp32", 1, 20.0) | {"on_gpu": False}]
    write_json(study.folder / "benchmark/unet.other.json", record("unet", OTHER, rows) | {"driver": "580.1"})
    content = speed.speed(study, None)  # type: ignore[arg-type]
    assert content is not None
    assert [one["backend"] for one in content["devices"][OTHER]] == ["torch", "onnxruntime on the CPU"]


def test_of_several_batches_the_fastest_stands_for_its_way() -> None:
    rows = pd.DataFrame(
        {"run": ["a"] * 3, "way": ["x", "x", "y"], "throughput": [1.0, 2.0, float("nan")], "batch": [1, 8, 1]}
    )
    assert speed.best_batch(rows)["batch"].tolist() == [8]
