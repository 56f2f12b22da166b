"""A drawn field of cells in phase contrast: what the service warms up with, and what the page offers to try it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, CELLS = 320, 448, 40
APART = 30  # px at least, from middle to middle
RIM, BODY = 40, -75  # grey levels: cells are dark in a bright rim


def sample() -> NDArray[np.uint8]:
    """uint8 (H, W), the same each time."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    field = 128 + 4 * np.sin(x / 140) + rng.normal(0, 3, (HEIGHT, WIDTH))
    placed: list[tuple[float, float]] = []
    while len(placed) < CELLS:
        cx, cy = rng.uniform(-5, WIDTH + 5), rng.uniform(-5, HEIGHT + 5)
        if any(math.hypot(cx - a, cy - b) < APART for a, b in placed):
            continue
        placed.append((cx, cy))
        a, b, turn, light = rng.uniform(10, 14), rng.uniform(8, 10), rng.uniform(0, math.pi), rng.uniform(0.1, 1.2)
        u = (x - cx) * math.cos(turn) + (y - cy) * math.sin(turn)
        v = (y - cy) * math.cos(turn) - (x - cx) * math.sin(turn)
        sharp = rng.uniform(0.2, 2)  # some lie out of focus
        outside = (np.hypot(u / a, v / b) - 1) * math.sqrt(a * b)  # px from the edge, about
        for grey, edge in ((RIM, 1.0), (BODY, -1.0)):
            field += light * grey / (1 + np.exp(np.minimum(sharp * (outside - edge), 50)))
    return np.asarray(np.rint(field).clip(0, 255), np.uint8)
