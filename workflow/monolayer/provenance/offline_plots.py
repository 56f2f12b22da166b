"""Let `dvc plots show` work without a network: `python -m monolayer.provenance.offline_plots`, once for each clone.

DVC's page loads Vega from a server; this one has it inside, from the copy that Snakemake's reports use.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import snakemake

PAGE = """<!DOCTYPE html>
<html>
<head><meta charset="utf-8"><title>DVC plots</title>{refresh_tag}
%s
</head>
<body>{plot_divs}</body>
</html>
"""


def main() -> None:
    assets = Path(snakemake.__file__).parent / "assets/data"
    scripts = [(assets / name / f"{name}.js").read_text() for name in ("vega", "vega-lite", "vega-embed")]
    template = Path(".dvc/tmp/plots.html")
    template.parent.mkdir(parents=True, exist_ok=True)
    template.write_text(PAGE % "\n".join(f"<script>{script}</script>" for script in scripts))
    command = [sys.executable, "-m", "dvc", "config", "--local", "plots.html_template", "tmp/plots.html"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
