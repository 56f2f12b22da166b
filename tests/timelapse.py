"""A time-lapse of disks made in code, with its true tracks: they wander, divide, and may be missing for a frame.

And how a real one is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from monolayer.coco.records import CELL, Annotation, Image, Truth
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.params.tracking import TrackerParams

SIZE = 160
RADIUS = 6.0
LINKS = TrackerParams(
    max_move=1.5,
    sparse_move=0.75,
    gap_frames=2,
    gap_move=1.5,
    division_move=1.2,
    division_area=1.7,
    drift=5,
    division_tolerance=1,
    files=[],
    extension=None,
)


@dataclass
class Movie:
    """Tracks as {number: (first frame, [(x, y), ...], mother or 0)}; None in place of a point is a missing cell."""

    tracks: dict[int, tuple[int, list[tuple[float, float] | None], int]]
    well: str = "A1"
    drift: tuple[float, float] = (0.0, 0.0)  # px of a frame
    without: set[int] = field(default_factory=set)  # frames that have no image

    @property
    def frames(self) -> int:
        return max(first + len(points) for first, points, _ in self.tracks.values())

    def truth(self, first_image: int = 1, first_cell: int = 1) -> Truth:
        """COCO truth with tracks; cells of a frame are in the order of their tracks."""
        images, cells = list[Image](), list[Annotation]()
        y, x = np.mgrid[:SIZE, :SIZE]
        for frame in sorted(set(range(self.frames)) - self.without):
            image = Image(
                id=first_image + len(images),
                file_name=f"disk_{self.well}_t{frame:03d}.png",
                width=SIZE,
                height=SIZE,
                cell_line="disk",
                well=self.well,
                timestamp=f"t{frame:03d}",
                split="test",
            )
            images.append(image)
            for number, (first, points, mother) in self.tracks.items():
                point = points[frame - first] if first <= frame < first + len(points) else None
                if point is not None:
                    at_x, at_y = point[0] + frame * self.drift[0], point[1] + frame * self.drift[1]
                    radius = RADIUS if mother == 0 else RADIUS / 2**0.5
                    mask = (x - at_x) ** 2 + (y - at_y) ** 2 <= radius**2
                    cell = annotation(first_cell + len(cells), image["id"], rle_from_mask(mask))
                    cell["track_id"], cell["parent_id"] = number, mother
                    cells.append(cell)
        return Truth(images=images, annotations=cells, categories=[CELL])


def movie(well: str = "A1", drift: tuple[float, float] = (0.0, 0.0), without: set[int] | None = None) -> Movie:
    """Ten frames: five cells, of which one divides in frame 5 and one is missing in frame 4."""
    rng = np.random.default_rng(sum(map(ord, well)))

    def walk(x: float, y: float, frames: int) -> list[tuple[float, float] | None]:
        steps = rng.normal(0, 0.7, (frames, 2)).cumsum(0)
        return [(x + float(dx), y + float(dy)) for dx, dy in steps]

    lost = walk(60, 60, 10)
    lost[4] = None
    tracks: dict[int, tuple[int, list[tuple[float, float] | None], int]] = {
        1: (0, walk(25, 25, 10), 0),
        2: (0, walk(100, 40, 5), 0),
        3: (0, lost, 0),
        4: (0, walk(30, 110, 10), 0),
        7: (0, walk(80, 100, 10), 0),
        9: (5, walk(96, 40, 5), 2),
        12: (5, walk(105, 41, 5), 2),
    }
    return Movie(tracks, well, drift, without or set())


def read_sequence(folder: Path) -> tuple[Truth, tuple[int, int, int, int]]:
    """The part of a real sequence that bears truth, with tracks; and which part that is, left, top, right, bottom.

    The folder has annotations.json (COCO, masks with track_id, images with frame, info.crop_xyxy: that part) and the
    challenge's man_track.txt.
    """
    known = json.loads((folder / "annotations.json").read_text())
    parents = dict(np.loadtxt(folder / "man_track.txt", dtype=int)[:, [0, 3]].tolist())
    left, top, right, bottom = known["info"]["crop_xyxy"]
    truth = Truth(images=[], annotations=[], categories=[CELL])
    for image in known["images"]:
        truth["images"].append(
            Image(
                id=image["id"],
                file_name=Path(image["file_name"]).with_suffix(".png").name,
                width=right - left,
                height=bottom - top,
                cell_line="cells",
                well="01",
                timestamp=f"t{image['frame']}",
                split="test",
            )
        )
    for cell in known["annotations"]:
        mask = mask_from_rle(cell["segmentation"])[top:bottom, left:right]
        if mask.any():
            made = annotation(len(truth["annotations"]) + 1, cell["image_id"], rle_from_mask(mask))
            made["track_id"], made["parent_id"] = cell["track_id"], parents[cell["track_id"]]
            truth["annotations"].append(made)
    return truth, (left, top, right, bottom)
