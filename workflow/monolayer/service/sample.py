"""A drawn field of bright nuclei: what the service warms up with, and what the page offers to try it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, CELLS = 320, 448, 40


def sample() -> NDArray[np.uint8]:
    """uint8 (H, W), the same each time."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    field = 12 + 4 * np.sin(x / 140) + rng.normal(0, 2.5, (HEIGHT, WIDTH))
    placed: list[tuple[float, float]] = []
    while len(placed) < CELLS:
        cx, cy = rng.uniform(-5, WIDTH + 5), rng.uniform(-5, HEIGHT + 5)
        if any(math.hypot(cx - a, cy - b) < 34 for a, b in placed):
            continue
        placed.append((cx, cy))
        a, b, turn, light = rng.uniform(13, 17), rng.uniform(9, 13), rng.uniform(0, math.pi), rng.uniform(50, 170)
        u = (x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)
        v = (y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)
        field += light / (1 + np.exp(np.minimum(9 * (np.hypot(u / a, v / b) - 1), 50)))
    return np.asarray(np.rint(field).clip(0, 255), np.uint8)
