"""Files of strangers, mutated: each gives frames within the limits or a reason, and no other fault."""

from __future__ import annotations

import logging
import random
from collections import Counter

import numpy as np
import pytest
from monolayer.data.png import START
from monolayer.files import InputError
from monolayer.service.size import announced_pixels
from monolayer.service.uploads import Limits, frames
from test_service_load import fuzzed, whole_files

LIMITS = Limits(pixels=200_000, frames=5)


@pytest.mark.parametrize("times", [300, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_mutated_files_give_frames_or_a_reason(times: int) -> None:
    """So many mutations of a file of each format, with parts of the others. A PNG tells every change of its pixels."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    files, rng, seen = whole_files(), random.Random(0), Counter[str]()
    for whole in files:
        known = taken(whole)
        for _ in range(times):
            content = fuzzed(rng, [whole, whole, whole, rng.choice(files)])
            assert announced_pixels(content, LIMITS.frames) >= 0
            found = taken(content)
            seen["frames" if found else "a reason"] += 1
            if not found:
                continue
            assert 0 < len(found) <= LIMITS.frames
            assert sum(frame.size for frame in found) <= LIMITS.pixels
            assert all(frame.ndim == 2 and np.isfinite(frame).all() for frame in found)
            if known and content.startswith(START) and content[:60] == whole[:60]:
                assert all(np.array_equal(*pair) for pair in zip(found, known, strict=True))
    print(f"\n{len(files)} files, {times} mutations of each: {dict(seen)}")
    assert min(seen.values()) > times


def taken(content: bytes) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]] | None:
    try:
        return frames(content, "a", LIMITS)
    except InputError:
        return None


def test_every_changed_bit_of_a_pngs_pixels_is_told() -> None:
    whole = whole_files()[0]
    (known,) = frames(whole, "a", LIMITS)
    for place in range(len(whole)):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            if (found := taken(bytes(changed))) is not None:
                assert np.array_equal(found[0], known), f"byte {place}, bit {bit}"
