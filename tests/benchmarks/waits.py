"""What a user waits for: this build beside another commit of it, in turns on one machine; medians of the rounds.

    python tests/benchmarks/waits.py COMMIT IMAGE [IMAGE ...] [--rounds 5] [--threads 2]

`predict` of one image and of all, with the pretrained model of each build, and `serve` from start to /ready, the first
time in a new checkout and later. CPU seconds stand beside those on the clock, which a busy machine stretches.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]


class Spent(NamedTuple):
    wall: float
    cpu: float


def environment(tree: Path) -> dict[str, str]:
    """Of this Python, with the package of a checkout in front; compiled files are kept, as they are by default."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(tree / "workflow")}


def children() -> float:
    """CPU seconds of the processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def predict(tree: Path, folder: Path, threads: int) -> Spent:
    with tempfile.TemporaryDirectory() as out:
        output = f"{out}/cells.json"
        command = ["predict", "--images", str(folder), "--output", output, "--threads", str(threads)]
        started, cpu = time.perf_counter(), children()
        subprocess.run(
            [sys.executable, "-m", "monolayer", *command], env=environment(tree), check=True, stderr=subprocess.DEVNULL
        )
        return Spent(time.perf_counter() - started, children() - cpu)


def serve(tree: Path) -> Spent:
    """From start to the first 200 of /ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "monolayer", "serve", "--port", str(port)]
    started, cpu = time.perf_counter(), children()
    with subprocess.Popen(command, env=environment(tree), stderr=subprocess.DEVNULL) as service:
        while not is_ready(port):
            if service.poll() is not None:
                raise RuntimeError(f"serve of {tree} ended with {service.returncode}")
            time.sleep(0.01)
        wall = time.perf_counter() - started
        service.terminate()
    return Spent(wall, children() - cpu)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", help="the build to compare with")
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trees = {}
        for side, commit in (("before", args.commit), ("now", "HEAD")):
            trees[side] = Path(name) / side
            clone = ["git", "clone", "-q", "--no-checkout", str(REPOSITORY), str(trees[side])]
            subprocess.run(clone, check=True)
            subprocess.run(["git", "-C", str(trees[side]), "checkout", "-q", commit], check=True)
        one, many = Path(name) / "one", Path(name) / "many"
        for folder, images in ((one, args.images[:1]), (many, args.images)):
            folder.mkdir()
            for image in images:
                shutil.copy(image, folder)
        spent: dict[str, dict[str, list[Spent]]] = {}
        for turn in range(args.rounds):
            for side, tree in trees.items():
                first = "serve, first start" if turn == 0 else "serve, later starts"
                found = {first: serve(tree), "predict, one image": predict(tree, one, args.threads)}
                if len(args.images) > 1:
                    whole, alone, more = (
                        predict(tree, many, args.threads),
                        found["predict, one image"],
                        len(args.images) - 1,
                    )
                    each = Spent((whole.wall - alone.wall) / more, (whole.cpu - alone.cpu) / more)
                    found["predict, each further image"] = each
                for what, value in found.items():
                    spent.setdefault(what, {}).setdefault(side, []).append(value)
    print(f"{'':30}{'before: s':>11}{'CPU s':>8}{'now: s':>9}{'CPU s':>8}{'ratio':>8}{'of CPU':>8}")
    for what, sides in spent.items():
        before, now = (Spent(*map(statistics.median, zip(*values, strict=True))) for values in sides.values())
        row = f"{what:30}{before.wall:11.2f}{before.cpu:8.2f}{now.wall:9.2f}{now.cpu:8.2f}"
        print(f"{row}{before.wall / now.wall:8.2f}{before.cpu / now.cpu:8.2f}")


if __name__ == "__main__":
    main()
