"""From a YOLO's outputs to cells: what the network sees in its input lies there in the image."""

from __future__ import annotations

import numpy as np
import pytest
from monolayer.models.yolo.pipeline import Outputs, Pipeline
from monolayer.params.families import YoloPredict


@pytest.mark.parametrize("shape", [(130, 211), (211, 130), (128, 256)])
def test_cells_lie_where_the_picture_shows_them(shape: tuple[int, int]) -> None:
    """Of a disk in white near the foot, of which the network's input gives box and mask; its sides are whole px."""
    centre, reach = np.array(shape) - (37.3, 39.6), 20
    y, x = np.ogrid[: shape[0], : shape[1]]
    disk = (y + 0.5 - centre[0]) ** 2 + (x + 0.5 - centre[1]) ** 2 < 16**2
    image = (200 * disk).astype(np.uint8)
    pipeline = Pipeline(YoloPredict(imgsz=160, batch=1, score_min=0.5, nms_iou=0.7, max_det=10))
    given = pipeline.preprocess(image) / np.float32(200)
    row, column = (np.average(np.arange(n) + 0.5, weights=given.sum(1 - axis)) for axis, n in enumerate(given.shape))
    box = np.array([[column - reach, row - reach, column + reach, row + reach]], np.float32)
    protos = given.reshape(given.shape[0] // 4, 4, -1, 4).mean((1, 3))[None] - np.float32(0.5)
    found = pipeline.postprocess(Outputs(box, np.ones(1, np.float32), np.ones((1, 1), np.float32), protos), *shape)
    x0, y0, x1, y1 = found.boxes_xyxy[0]
    assert ((y0 + y1) / 2, (x0 + x1) / 2) == pytest.approx(centre, abs=0.1)
    rows, columns = np.nonzero(found.masks[0])
    left, top = found.offsets_xy[0]
    assert (rows.mean() + top + 0.5, columns.mean() + left + 0.5) == pytest.approx(centre, abs=0.25)
    assert len(rows) == pytest.approx(np.pi * 16**2, rel=0.1)
