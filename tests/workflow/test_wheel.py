"""The wheel alone, in an empty environment without torch, from another folder: it predicts, answers and serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from monolayer.service.sample import sample
from paths import ROOT
from PIL import Image as PillowImage
from service_process import free_port, until_ready

API = """
import sys
import numpy as np, monolayer
from PIL import Image
cells = monolayer.load(threads=1).segment(np.asarray(Image.open("images/a.png")), score_min=0.3)
print(len(cells), len(cells.table()), "torch" in sys.modules, monolayer.__file__)
"""


@pytest.mark.slow
def test_the_wheel_predicts_and_serves(tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def run(*words: object) -> str:
        command = [str(word) for word in words]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run("uv", "build", "--wheel", "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    python, monolayer = (tmp_path / "venv/bin" / name for name in ("python", "monolayer"))
    run("uv", "venv", "--python", sys.executable, tmp_path / "venv")
    run("uv", "pip", "install", "--python", python, wheel)
    (tmp_path / "images").mkdir()
    PillowImage.fromarray(sample()).save(tmp_path / "images/a.png")
    run(monolayer, "predict", "--images", "images", "--results", "found.json", "--score-min", "0.3")
    found = json.loads((tmp_path / "found.json").read_text())
    cells, rows, torch, file = run(python, "-c", API).split()
    assert int(cells) == int(rows) == len(found) > 5
    assert torch == "False"
    assert Path(file).is_relative_to(tmp_path)
    assert (Path(file).parent / "py.typed").exists()
    assert "torch" not in run("uv", "pip", "list", "--python", python)

    lacking = subprocess.run([monolayer, "serve"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (lacking.returncode, lacking.stderr.count("\n")) == (1, 1)
    assert "pip install 'monolayer[service]'" in lacking.stderr
    run("uv", "pip", "install", "--python", python, f"{wheel}[service]")
    port = free_port()
    with subprocess.Popen(
        [monolayer, "serve", "--port", str(port), "--threads", "1"], cwd=tmp_path, env=env
    ) as service:
        url = f"http://127.0.0.1:{port}"
        until_ready(url, service, lambda: "it ended")
        files = {"image": ("a.png", (tmp_path / "images/a.png").read_bytes())}
        answer = httpx.post(f"{url}/segment", params={"score_min": 0.3}, files=files, timeout=120)
        service.terminate()
    assert len(answer.json()["frames"][0]["cells"]) == len(found)
