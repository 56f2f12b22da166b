"""What every test finds: fixtures by name, random cases that repeat, and slow tests only where they are asked for."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest_plugins = ["culture", "checkouts", "web", "browser"]

settings.register_profile("steady", deadline=None, derandomize=True)  # a busy machine is no fault; runs repeat
settings.load_profile("steady")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked slow unless -m names it: a -m of the command line replaces one of pyproject.toml."""
    if "slow" not in config.getoption("markexpr"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if item not in slow]
        config.hook.pytest_deselected(items=slow)
