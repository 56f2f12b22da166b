#!/usr/bin/env bash
# A tracker of btrack, whose wheel says that it is for any platform (py3-none-any).
#
# Guess before running: it is plain Python, and what pip installs works.
# Seen: three compiled libraries lie in it, and the one for Linux, for x86-64 alone, asks for GLIBCXX_3.4.32, of GCC 13.
# Where that is not there (Debian 12 has 3.4.30), the package imports, and the first tracker ends in an empty Exception.
set -euo pipefail
command -v uv >/dev/null || pip install -q uv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/probe.py" <<'PY'
import importlib.metadata
import re
from pathlib import Path

import btrack

about = importlib.metadata.distribution("btrack")
tag = re.search(r"^Tag: (.*)$", about.read_text("WHEEL"), re.M)[1]
library = (Path(btrack.__file__).parent / "libs/libtracker.so").read_bytes()
versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBCXX_([\d.]+)\0", library)}
newest = ".".join(map(str, max(versions)))
print(f"btrack {about.version}, wheel {tag}; libtracker.so: ELF machine {library[18]}, newest GLIBCXX_{newest}")
try:
    btrack.BayesianTracker(verbose=False)
    print("a tracker is made here")
except Exception as error:
    print(f"a tracker is not made here: {type(error).__name__}({error})")
raise SystemExit((tag, library[18], newest) != ("py3-none-any", 62, "3.4.32"))
PY
uv run --quiet --isolated --no-project --python 3.11 --with btrack==0.7.0 --with numpy==2.4.6 python "$work/probe.py" 2> "$work/log" ||
  { cat "$work/log"; exit 1; }
