"""The culture: a tiny dataset of two cell lines made in code, as a user would bring it and as the pipeline reads it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml
from hypothesis import settings
from monolayer.coco.records import CELL, Annotation, Image, Truth
from monolayer.coco.rle import box_xywh, mask_from_rle, rle_area, rle_from_polygons
from monolayer.files import write_json
from numpy.typing import NDArray
from PIL import Image as PillowImage

settings.register_profile("steady", deadline=None, derandomize=True)  # a busy machine is no fault; runs repeat
settings.load_profile("steady")

ROOT = Path(__file__).parents[1]
HEIGHT, WIDTH = 96, 128
WELLS = {"A1": "train", "A2": "train", "A3": "val", "A4": "test"}  # of each line, for the ready-made splits
FRAMES = {"A1": 2, "A2": 2, "A3": 1, "A4": 1}  # images of each well and line: 12 in all

Ellipse = tuple[float, float, float, float, float]  # x, y, semi-axes a and b in px, angle in radians


@dataclass(frozen=True)
class Culture:
    """12 images of 96x128 px, 8-bit grey PNG: 6 of line `round` (bright disks), 6 of line `long` (dark ellipses).

    annotations is the user's COCO file (polygons, one category per line; for source `coco`); truth is the same in the
    form that the pipeline hands on (RLE, one category, wells, no splits), whose images lie in the same folder; splits
    holds train.json, val.json and test.json of that truth.
    """

    folder: Path
    images: Path
    annotations: Path
    truth: Truth
    splits: Path


def polygon(ellipse: Ellipse, corners: int = 32) -> list[float]:
    """COCO polygon [x0, y0, x1, y1, ...] of an ellipse, to 1/100 px."""
    x, y, a, b, angle = ellipse
    t = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    u, v = a * np.cos(t), b * np.sin(t)
    points = np.stack([x + u * math.cos(angle) - v * math.sin(angle), y + u * math.sin(angle) + v * math.cos(angle)], 1)
    return [round(float(value), 2) for value in points.ravel()]


def place_cells(line: str, rng: np.random.Generator) -> list[Ellipse]:
    """6 to 15 cells that lie inside the image and don't touch."""
    wanted, cells = int(rng.integers(6, 16)), list[Ellipse]()
    while len(cells) < wanted:
        a = float(rng.uniform(5, 7)) if line == "round" else float(rng.uniform(8, 10))
        b = a if line == "round" else float(rng.uniform(3.5, 4.5))
        x, y = float(rng.uniform(a + 1, WIDTH - a - 2)), float(rng.uniform(a + 1, HEIGHT - a - 2))
        if all(math.hypot(x - x2, y - y2) > a + a2 + 1 for x2, y2, a2, _, _ in cells):
            cells.append((x, y, a, b, float(rng.uniform(0, math.pi)) if line == "long" else 0.0))
    return cells


def draw(cells: list[Ellipse], brightness: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (H, W): cells of that brightness on a noisy mid-grey background."""
    pixels = rng.normal(128, 6, (HEIGHT, WIDTH))
    for cell in cells:
        mask = mask_from_rle(rle_from_polygons([polygon(cell)], HEIGHT, WIDTH))
        pixels[mask] = rng.normal(brightness, 8, int(mask.sum()))
    return pixels.clip(0, 255).astype(np.uint8)


def make_culture(folder: Path, seed: int = 0) -> Culture:
    """Write images, COCO file and splits into `folder`; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    frames: list[Image] = []
    cells: list[Annotation] = []
    user_cells: list[dict[str, object]] = []
    for category, (line, brightness) in enumerate({"round": 210, "long": 60}.items(), start=1):
        for well, count in FRAMES.items():
            for frame in range(count):
                name = f"{line}_{well}_{frame}.png"
                placed = place_cells(line, rng)
                PillowImage.fromarray(draw(placed, brightness, rng)).save(images / name)
                image_id = len(frames) + 1
                frames.append(
                    Image(
                        id=image_id,
                        file_name=name,
                        width=WIDTH,
                        height=HEIGHT,
                        cell_line=line,
                        well=f"{line}_{well}",
                        timestamp=None,
                        split=None,
                    )
                )
                for cell in placed:
                    rle = rle_from_polygons([polygon(cell)], HEIGHT, WIDTH)
                    box, area = box_xywh(rle), float(rle_area(rle))
                    user_cells.append(
                        {
                            "id": len(cells) + 1,
                            "image_id": image_id,
                            "category_id": category,
                            "segmentation": [polygon(cell)],
                            "bbox": box,
                            "area": area,
                            "iscrowd": 0,
                        }
                    )
                    cells.append(
                        Annotation(
                            id=len(cells) + 1,
                            image_id=image_id,
                            category_id=CELL["id"],
                            segmentation=rle,
                            bbox=box,
                            area=area,
                            iscrowd=0,
                        )
                    )
    user_file = {
        "images": [{key: f[key] for key in ("id", "file_name", "width", "height")} for f in frames],
        "annotations": user_cells,
        "categories": [{"id": 1, "name": "round"}, {"id": 2, "name": "long"}],
    }
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(user_file))
    truth = Truth(images=frames, annotations=cells, categories=[CELL])
    for split in ("train", "val", "test"):
        write_json(folder / "splits" / f"{split}.json", split_of(truth, split))
    return Culture(folder, images, annotations, truth, folder / "splits")


def split_of(truth: Truth, split: str) -> Truth:
    """The part of a culture's truth that WELLS puts into this split."""
    images = [image for image in truth["images"] if WELLS[image["well"].split("_")[1]] == split]
    ids = {image["id"] for image in images}
    return Truth(
        images=[Image(**{**image, "split": split}) for image in images],
        annotations=[annotation for annotation in truth["annotations"] if annotation["image_id"] in ids],
        categories=truth["categories"],
    )


@pytest.fixture(scope="session")
def culture(tmp_path_factory: pytest.TempPathFactory) -> Culture:
    """Shared by all tests: look, don't touch (`make_culture(tmp_path)` gives a copy to break)."""
    return make_culture(tmp_path_factory.mktemp("culture"))


# ---- a web server that can be told to misbehave -----------------------------------------------------


@dataclass
class Web:
    """A server on this machine: files by path, and how it behaves. Requests are noted as (path, Range or None)."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Callable[[], tuple[int, bytes]]] = field(default_factory=dict)  # instead of files
    cut_after: int | None = None  # bytes of each response after which the connection breaks
    stall_after: int | None = None  # bytes after which nothing more comes; `stalled` is set then
    stalled: threading.Event = field(default_factory=threading.Event)
    ranges: bool = True  # whether Range is honoured
    etag: str | None = "strong"  # strong, weak or None
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def tag(self, content: bytes) -> str | None:
        name = f'"{hashlib.md5(content).hexdigest()}"'
        return {"strong": name, "weak": f"W/{name}"}.get(self.etag or "")


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def answer(self, status: int, body: bytes, **headers: str | None) -> None:
            self.send_response(status)
            for key, value in headers.items():
                if value is not None:
                    self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if web.cut_after is not None and web.cut_after < len(body):
                self.wfile.write(body[: web.cut_after])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
            elif web.stall_after is not None and web.stall_after < len(body):
                self.wfile.write(body[: web.stall_after])
                self.wfile.flush()
                web.stalled.set()
                self.rfile.read(1)  # until the other side is gone
                self.close_connection = True
            else:
                self.wfile.write(body)

        def do_GET(self) -> None:
            path, _, _ = self.path.partition("?")
            web.requests.append((self.path, self.headers.get("Range")))
            if path in web.answers:
                self.answer(*web.answers[path]())
                return
            if path not in web.files:
                self.answer(404, b"")
                return
            content = web.files[path]
            tag = web.tag(content)
            wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            unchanged = self.headers.get("If-Range") in (None, tag)
            if wanted and web.ranges and unchanged:
                start = int(wanted[1])
                if start >= len(content):
                    self.answer(416, b"", Content_Range=f"bytes */{len(content)}")
                else:
                    span = f"bytes {start}-{len(content) - 1}/{len(content)}"
                    self.answer(206, content[start:], Content_Range=span, ETag=tag)
            else:
                self.answer(200, content, ETag=tag)

    return Handler


@pytest.fixture
def web() -> Iterator[Web]:
    """A fresh server for each test."""
    web = Web()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(web)) as server:
        web.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield web
        server.shutdown()
        thread.join()


# ---- checkouts that the workflow runs in --------------------------------------------------------------


@dataclass(frozen=True)
class Checkout:
    """A folder with the workflow, DVC's files and a params.yaml of its own, in which commands run as a user's would."""

    folder: Path

    def run(
        self, *words: str, check: bool = True, variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command there; one that fails shows what it wrote, unless `check` is off."""
        env = self.environment(**(variables or {}))
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False, env=env)
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(words)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's, with the checkout's own package and the commands of this interpreter's environment."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.folder / "workflow"), **variables}

    def snakemake(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("snakemake", "--cores", "2", *words, check=check)

    def nothing_to_do(self) -> bool:
        # by times alone: checksums would excuse a small file that is newer than what was made of it, and no large one
        done = self.snakemake("--dry-run", "--max-checksum-file-size", "0")
        return "Nothing to be done" in done.stdout + done.stderr

    def params(self) -> dict[str, Any]:
        return cast(dict[str, Any], yaml.safe_load((self.folder / "params.yaml").read_text()))

    def set_params(self, params: dict[str, Any]) -> None:
        apart = json.loads(json.dumps(params))  # or what is one object would be an anchor and its aliases
        (self.folder / "params.yaml").write_text(yaml.safe_dump(apart, sort_keys=False))

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", message)

    def clone(self, folder: Path) -> Checkout:
        self.run("git", "clone", "-q", str(self.folder), str(folder))
        return Checkout(folder)


TRACKED = (
    *("Snakefile", "dvc.yaml", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"),
    *("envs", "profiles", "workflow"),
)


def make_checkout(folder: Path, culture: Culture, runs: int = 1) -> Checkout:
    """A git repository of the workflow, for the culture and so many small U-Nets; seconds of training each."""
    for name in TRACKED:
        ignored = shutil.ignore_patterns("__pycache__")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    checkout = Checkout(folder)
    params = tiny_params(culture, runs)
    checkout.set_params(params)
    (folder / "dvc.yaml").write_text(yaml.safe_dump(stages_of(params["selected"]), sort_keys=False, width=1000))
    checkout.run("git", "init", "-q", "-b", "main")
    checkout.commit("the workflow")
    return checkout


def tiny_params(culture: Culture, runs: int) -> dict[str, Any]:
    """params.yaml with the culture as its dataset and `runs` small U-Nets as its only rows."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["dataset"] = "own"
    params["datasets"]["own"] |= {"images": str(culture.images), "annotations": str(culture.annotations)}
    params["evaluate"]["n_resamples"] = 20
    params["export"] |= {"dtypes": ["fp32"], "engines": [], "calibration": 1}
    params["benchmark"] |= {"images": 1, "batches": [1], "seconds": 0.01}
    train = params["models"]["unet"]["quick"]["train"]
    train |= {"width": 4, "levels": 2, "patch": 32, "patches": 128, "val_images": 2}
    train["fit"] |= {"epochs": 6, "warmup_steps": 2}
    names = [f"unet{number}" for number in range(1, runs + 1)]
    params["runs"] = {name: {"model": "unet", "lines": "all", "extension": None} for name in names}
    params["selected"] = names
    return cast(dict[str, Any], params)


def stages_of(runs: list[str]) -> dict[str, Any]:
    """dvc.yaml with these rows, none of them extended."""
    found = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stages = found["stages"]
    for name in ("extend", "domain_shift", "train_extended"):
        del stages[name]
    for name in ("train", "predict", "evaluate", "measure", "export", "card", "benchmark"):
        stages[name]["foreach"] = {run: f"${{runs.{run}}}" for run in runs}
    stages["report"]["deps"].remove("results/${dataset}/extensions")
    found["artifacts"] = {}
    return cast(dict[str, Any], found)


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory, culture: Culture) -> Checkout:
    """The workflow in git; nothing was run. To be cloned."""
    return make_checkout(tmp_path_factory.mktemp("origin"), culture)


@pytest.fixture(scope="session")
def unbroken(origin: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After one whole, quiet `snakemake --cores 2`. To be copied."""
    checkout = origin.clone(tmp_path_factory.mktemp("unbroken") / "checkout")
    checkout.snakemake()
    return checkout


def copy_of(checkout: Checkout, folder: Path) -> Checkout:
    """A checkout to break: files, times and Snakemake's provenance as they are."""
    shutil.copytree(checkout.folder, folder / "checkout", symlinks=True)
    return Checkout(folder / "checkout")


@pytest.fixture(scope="session")
def recorded(unbroken: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """After `snakemake` and `monolayer record`, committed and pushed to a remote folder `store` beside it."""
    folder = tmp_path_factory.mktemp("recorded")
    checkout = copy_of(unbroken, folder)
    checkout.run("monolayer", "record")
    checkout.run("dvc", "remote", "add", "-q", "--default", "store", str(folder / "store"))
    checkout.commit("results")
    checkout.run("dvc", "push", "-q")
    return checkout


# What a run leaves and another run of the same leaves byte for byte; run.json and the report tell dates and durations.
TABLES = ("metrics.csv", "pairs.csv", "metrics/*.csv", "metrics/*.json", "models/*/history.csv", "data/*.json")
BYTES = (
    "data/images/*",
    "splits/*.json",
    "models/*/weights.pt",
    "predictions/*/*.json.gz",
    "cells/*/*",
    "overview.svg",
)


def contents(checkout: Checkout) -> dict[str, bytes]:
    """The bytes of all results that must be the same in every run, by path."""
    results = checkout.folder / "results/own"
    found = {file for pattern in (*TABLES, *BYTES) for file in results.glob(pattern) if file.is_file()}
    found -= set(results.rglob(".snakemake_timestamp"))  # Snakemake's mark on a folder, which a pull does not bring
    return {str(file.relative_to(results)): file.read_bytes() for file in found}
