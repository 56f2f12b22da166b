"""A service in a process of its own whose network takes a known time for each pixel, as tiles do: for real signals.

As a script it serves: python tests/service_process.py PORT '{"seconds": 5, ...}'.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from monolayer.coco.instances import Instances
from monolayer.models.pipeline import Check
from monolayer.service import serve
from monolayer.service.state import ServedModel, Settings
from monolayer.service.uploads import Limits
from numpy.typing import NDArray
from service_fixtures import by_threshold, model

SPEED = 2_000_000  # pixels a second
TILE = 1 << 16


def tiled() -> ServedModel:
    """Sleeps as long as it is told to for each tile, and asks between two of them whether to go on.

    Images whose last pixel is 255 take ten times as long as their size would say.
    """

    def segment(images: Sequence[NDArray[np.uint8]], cell_line: str | None, check: Check) -> list[Instances]:
        for image in images:
            for _ in range(-(-image.size // TILE)):
                check()
                time.sleep(TILE / SPEED * (10 if image[-1, -1] == 255 else 1))
        return by_threshold(images, cell_line)

    return replace(model("tiled", batch=2), segment=segment)


@dataclass
class Served:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def log_lines(self) -> list[dict[str, Any]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [json.loads(line) for line in lines]

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 1e6


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def until_ready(url: str, process: subprocess.Popen[Any], said: Callable[[], str]) -> None:
    """Wait for a service; one that ends instead has said why."""
    for _ in range(1200):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready").status_code == 200:
                return
        assert process.poll() is None, said()
        time.sleep(0.1)
    raise AssertionError(f"{url} is not ready after two minutes")


@contextlib.contextmanager
def served(folder: Path, files: int | None = None, **how: Any) -> Iterator[Served]:
    """The service with these limits; `keep`, `key`, `hosts` and `grace_s` are its settings; so many open files."""
    port, log = free_port(), folder / "log"
    limit = [] if files is None else ["prlimit", f"--nofile={files}:{files}"]
    words = [*limit, sys.executable, __file__, str(port), json.dumps(how)]
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    with log.open("wb") as out:
        process = subprocess.Popen(words, stderr=out, env=os.environ | {"PYTHONPATH": paths})
    url = f"http://127.0.0.1:{port}"
    try:
        until_ready(url, process, log.read_text)
        yield Served(url, process, log)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    how = json.loads(sys.argv[2])
    limits = {name: how.pop(name) for name in ("bytes", "pixels", "frames", "waiting", "seconds") if name in how}
    if "keep" in how:
        how["keep"] = Path(how["keep"])
    serve.serve([tiled()], Settings(limits=Limits(**limits), **how), "127.0.0.1", int(sys.argv[1]))


if __name__ == "__main__":
    main()
