"""Write envs/environment.yaml, the locked environment for those without uv: `uv run python envs/export.py`."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = """\
# The environment of uv.lock for conda; written by envs/export.py, compared with the lock by tests/test_environment.py.
#   conda env create -f envs/environment.yaml && conda activate monolayer && pip install --no-deps -e .
name: monolayer
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def render() -> str:
    """The conda file that belongs to uv.lock."""
    command = ["uv", "export", "--frozen", "--all-groups", "--no-emit-project", "--no-hashes", "--no-annotate"]
    exported = subprocess.run([*command, "--no-header"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    pins = [line for line in exported.splitlines() if line and "sys_platform == 'never'" not in line]
    return HEADER + "".join(f'      - "{pin}"\n' for pin in pins)


if __name__ == "__main__":
    (ROOT / "envs/environment.yaml").write_text(render())
