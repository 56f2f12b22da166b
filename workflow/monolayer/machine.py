"""The machine that something was timed on, without any library."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path


def hardware() -> str:
    """The names of the GPUs that are there, else the CPU's with its cores."""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, check=False)
        if found.returncode == 0 and found.stdout.strip():
            return ", ".join(found.stdout.strip().splitlines())
    return f"{cpu_name()}, {os.cpu_count()} cores"


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()
