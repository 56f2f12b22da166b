"""Where this repository is, and the real images that may lie beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"


def needs_data(*names: str) -> pytest.MarkDecorator:
    """Skip where one of these folders of real images is missing, and say which."""
    missing = [str(DATA / name) for name in names if not (DATA / name).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"no real images at {', '.join(missing)}")
