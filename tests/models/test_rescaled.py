"""Cells found in an image brought to another scale are where they are in the image itself."""

from __future__ import annotations

from pathlib import Path

import monolayer
import numpy as np
import pytest
from monolayer.coco.instances import Instances
from monolayer.files import InputError
from monolayer.models.rescaled import RescaledPipeline, at_size
from monolayer.service.sample import sample
from PIL import Image as PillowImage


def squares(size: int) -> Instances:
    """Two squares in an image of 40 x 60 px and one in its last corner, all times `size`; and one of a pixel."""
    corners = np.array([[3, 4], [30, 20], [50, 30], [7, 33]]) * size
    sides = [10 * size, 6 * size, 10 * size, 1]
    return Instances(
        height=40 * size,
        width=60 * size,
        masks=[np.ones((side, side), bool) for side in sides],
        offsets_xy=corners.astype(np.int32),
        boxes_xyxy=np.c_[corners, corners + np.array(sides)[:, None]].astype(np.float32),
        scores=np.array([0.9, 0.8, 0.7, 0.6], np.float32),
    )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_masks_come_back_pixel_for_pixel(size: int) -> None:
    small, found = squares(1), squares(size)
    back = at_size(found, 40, 60)
    assert np.array_equal(back.label_image()[:30], small.label_image()[:30])
    assert back.boxes_xyxy[:3] == pytest.approx(small.boxes_xyxy[:3])
    assert np.array_equal(
        at_size(small, 40 * size, 60 * size).label_image(), small.label_image().repeat(size, 0).repeat(size, 1)
    )


def test_what_has_no_pixel_left_is_no_cell() -> None:
    assert len(at_size(squares(5), 40, 60).masks) in (3, 4)
    none = squares(1).take(np.array([], np.int64))
    assert at_size(none, 80, 90).label_image().shape == (80, 90)


def test_cells_twice_as_large_are_found_with_their_diameter() -> None:
    """The drawn image at double size: halved by the model, it gives the cells of the image itself."""
    model = monolayer.load(threads=1)
    known = model.manifest.diameters
    assert known is not None
    once = model.segment(sample(), 0.3)
    twice = np.asarray(PillowImage.fromarray(sample()).resize((896, 640), PillowImage.Resampling.BICUBIC))
    cells = monolayer.load(threads=1, diameter=2 * known.median).segment(twice, 0.3)
    assert abs(len(cells) - len(once)) <= 0.1 * len(once)
    assert cells.labels.shape == (640, 896)
    shrunk = cells.labels[::2, ::2] > 0
    assert (shrunk & (once.labels > 0)).sum() > 0.75 * max(shrunk.sum(), (once.labels > 0).sum())


def test_without_known_sizes_a_diameter_is_refused(tmp_path: Path) -> None:
    import json
    import shutil

    from monolayer.backends.manifest import pretrained

    shutil.copytree(pretrained(), tmp_path / "model")
    about = json.loads((tmp_path / "model/model.json").read_text())
    (tmp_path / "model/model.json").write_text(json.dumps(about | {"diameters": None}))
    with pytest.raises(InputError, match="does not say how large its training cells were; export the run again"):
        monolayer.load(tmp_path / "model", diameter=30)


def test_a_small_image_is_as_large_as_the_network_needs() -> None:
    class Eight:
        stride = 8

    assert RescaledPipeline(Eight(), 0.5).stride == 16  # type: ignore[arg-type]
