"""What a timing was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from monolayer.backends import cuda

VERSIONS = ("numpy", "torch", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx-cu13", "tensorrt")


def describe(threads: int) -> dict[str, Any]:
    """Device, driver, versions and load; `device` is the GPU's name or the CPU's with the threads in use."""
    gpu = gpu_name()
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "device": gpu[0] if gpu else f"{cpu_name()}, {threads} threads",
        "driver": gpu[1] if gpu else None,
        "cpu": cpu_name(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "measured": datetime.now(UTC).date().isoformat(),
        "versions": versions,
    }


def gpu_name() -> tuple[str, str] | None:
    """Name and driver of the GPU in use."""
    if cuda.capability() is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=True)
    name, driver = done.stdout.splitlines()[0].split(", ")
    return name, driver


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()
