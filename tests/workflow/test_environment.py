"""The environments say the same thing: uv.lock, the conda file, what is installed."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from PIL import Image as PillowImage


def test_conda_file_has_the_pins_of_the_lock() -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    render = runpy.run_path(str(ROOT / "envs/export.py"))["render"]
    assert (ROOT / "envs/environment.yaml").read_text() == render(), "run `uv run python envs/export.py`"


def test_opencv_needs_no_screen() -> None:
    """opencv-python would link libGL and libxcb, which cluster nodes and slim containers lack."""
    import cv2

    libraries = subprocess.run(
        ["ldd", *Path(cv2.__file__).parent.glob("cv2*.so")], capture_output=True, text=True, check=True
    ).stdout
    assert "libGL.so" not in libraries
    assert "libxcb" not in libraries


def test_help_answers_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "monolayer", "--help"], capture_output=True, text=True, check=True
    )
    assert "train" in done.stdout
    for heavy in ("torch", "numpy", "pandas", "matplotlib", "ultralytics", "scipy", "skimage", "numba", "onnxruntime"):
        assert f" {heavy}\n" not in done.stderr


def test_nothing_is_left_in_home_or_in_tmp(tmp_path: Path) -> None:
    """Libraries keep no identifiers, settings or caches there; onnxruntime would, and report the machine besides."""
    images, home, tmp = (tmp_path / name for name in ("images", "home", "tmp"))
    for folder in (images, home, tmp):
        folder.mkdir()
    PillowImage.fromarray(np.zeros((64, 64), np.uint8)).save(images / "dark.png")
    # these would send what is looked for elsewhere, or keep it from being written
    redirects = {"CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "ORT_DISABLE_TELEMETRY"}
    variables = {key: value for key, value in os.environ.items() if key not in redirects}
    variables |= {"HOME": str(home), "TMPDIR": str(tmp), "PYTHONPATH": str(ROOT / "workflow")}
    results = tmp_path / "results.json"
    predict = ["-m", "monolayer", "predict", "--images", str(images), "--results", str(results)]
    for words in (predict, ["-c", "import monolayer.models.yolo.family"]):
        subprocess.run([sys.executable, *words], cwd=ROOT, env=variables, check=True)
    assert results.exists()
    assert not [*home.rglob("*"), *tmp.rglob("*")]


def test_the_service_needs_no_torch() -> None:
    code = (
        "import sys, monolayer.service.app, monolayer.service.serve, monolayer.service.watch;"
        "import monolayer.models.predictor;"
        "print([name for name in ('torch', 'ultralytics', 'torchvision', 'matplotlib.pyplot') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    command = [
        "uv",
        "export",
        "--frozen",
        "--no-default-groups",
        "--group",
        "service",
        "--no-emit-project",
        "--no-hashes",
    ]
    pins = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = {line.split("==")[0] for line in pins.splitlines() if "==" in line}
    assert {"fastapi", "onnxruntime", "scipy"} <= names
    assert not names & {"torch", "torchvision", "ultralytics", "snakemake"}


def test_the_container_is_small_and_not_root() -> None:
    text = (ROOT / "envs/service.Dockerfile").read_text()
    assert "--no-default-groups --group service" in text
    assert "USER 10001" in text
    assert "HEALTHCHECK" in text
    copied = [
        word
        for line in text.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert all((ROOT / path).exists() for path in copied)


def test_container_files_name_what_exists() -> None:
    """They can't be built in a test; what they copy has to be there, and to reach Docker."""
    docker = (ROOT / "envs/Dockerfile").read_text()
    apptainer = (ROOT / "envs/monolayer.def").read_text()
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", docker, re.MULTILINE) for word in line.split()}
    assert copied == set(re.findall(r"^    (\S+) /opt/monolayer/\1$", apptainer, re.MULTILINE))
    assert all((ROOT / name).exists() for name in copied)
    assert copied == set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    for text in (docker, apptainer):
        assert re.search(r"uv sync --frozen --no-cache --no-dev --group train --group workflow --no-editable", text)
        assert re.search(r"python:3\.11-slim", text)
