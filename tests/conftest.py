"""What every test finds: fixtures by name, random cases that repeat, and slow tests only where they are asked for."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Threads that wait for each other spin: on a busy machine small networks took 20 times the CPU time. Whoever wants more
# (a verb with its own number of threads) says so.
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["culture", "checkouts", "web", "browser"]

settings.register_profile("steady", deadline=None, derandomize=True)  # a busy machine is no fault; runs repeat
settings.load_profile("steady")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as cores, up to 4 (each holds 2 GB), for all tests; none for those that are named."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    return min(4, len(os.sched_getaffinity(0))) if whole else 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked slow unless -m names it: a -m of the command line replaces one of pyproject.toml."""
    if "slow" not in config.getoption("markexpr"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if item not in slow]
        config.hook.pytest_deselected(items=slow)
