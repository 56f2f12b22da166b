"""Images with the outlines of true and predicted cells: one small picture each, its outlines as SVG on top."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from pycocotools import mask as rle_codec
from skimage import measure

from monolayer.coco.counted import TrueImage
from monolayer.coco.records import Image, Rle
from monolayer.coco.rle import crop_from_rle
from monolayer.data.dataset import read_image

IOU = 0.5  # of a prediction that counts as the same cell
LONGEST = 1024  # px of an embedded picture; a larger image is shown smaller, its outlines in its own coordinates
GROUND = 56  # grey of the ground without micrographs
QUALITY = 82  # of WebP; at 90 the files are twice as large, and outlines hide the difference


@dataclass(frozen=True)
class Layer:
    """The outlines of one kind in one picture: `kind` is a class of the style sheet, `path` SVG path data in px."""

    kind: str
    name: str
    count: int
    path: str

    @property
    def kind_and_name(self) -> tuple[str, str]:
        """What a key of colours says."""
        return self.kind, self.name


@dataclass(frozen=True)
class Picture:
    """One frame of the page: an image of the album, outlines on top, and what its caption says."""

    image: Image
    title: str
    layers: list[Layer]
    numbers: dict[str, Any]


@dataclass
class Album:
    """The images of a page; each is embedded once, however many pictures show it.

    Without `micrographs` a plain ground takes their place: outlines alone, of images that may not be passed on.
    """

    folder: Path
    micrographs: bool
    images: dict[int, tuple[Image, str]] = field(default_factory=dict)  # image and data URI

    def picture(self, image: Image, title: str, layers: list[Layer], numbers: dict[str, Any]) -> Picture:
        if image["id"] not in self.images:
            self.images[image["id"]] = image, data_uri(self.ground(image))
        return Picture(image, title, layers, numbers)

    def embed(self, number: int, file_name: str, shape: tuple[int, ...], uri: str) -> Image:
        """An image of this shape (H, W) that is in no truth of ours, embedded as given."""
        height, width = shape
        image = Image(
            id=number,
            file_name=file_name,
            width=width,
            height=height,
            cell_line="",
            well="",
            timestamp=None,
            split=None,
        )
        self.images[number] = image, uri
        return image

    def ground(self, image: Image) -> NDArray[np.uint8]:
        if self.micrographs:
            return read_image(self.folder / image["file_name"])
        return np.full((image["height"], image["width"]), GROUND, np.uint8)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """A grey image as WebP in a data URI, at most LONGEST px wide and high."""
    picture = PillowImage.fromarray(pixels)
    picture.thumbnail((LONGEST, LONGEST), PillowImage.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=QUALITY, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def outline(rle: Rle, tolerance: float) -> str:
    """SVG path of a mask's edges, holes included, in px of the image; at most `tolerance` px off."""
    crop, x, y = crop_from_rle(rle)
    if not crop.size:
        return ""
    parts = []
    # a pixel's centre is at half its width: contours of the padded crop lie at index - 1 + 0.5
    for contour in measure.find_contours(np.pad(crop, 1).astype(np.float32), 0.5):  # type: ignore[no-untyped-call]
        # closed: the last point is the first
        corners = cv2.approxPolyDP(contour[:-1, ::-1].astype(np.float32), tolerance, closed=True)[:, 0]
        parts.append(_path(corners + np.array([x - 0.5, y - 0.5])))
    return "".join(parts)


def _path(points: NDArray[np.float64]) -> str:
    """Closed SVG path of (N, 2) xy points."""
    return f"{polyline(points)}z"


def polyline(points: NDArray[np.float64]) -> str:
    """SVG path of (N, 2) xy points in tenths of px, written as steps, which are short."""
    tenths = np.round(points * 10).astype(int)
    start, *steps = (f"{_tenth(x)},{_tenth(y)}" for x, y in (tenths[0], *np.diff(tenths, axis=0)))
    return f"M{start}l{' '.join(steps)}" if steps else f"M{start}h0"


def _tenth(value: int) -> str:
    whole, rest = divmod(abs(int(value)), 10)
    digits = f"{whole}.{rest}" if rest and whole else f".{rest}" if rest else f"{whole}"
    return f"-{digits}" if value < 0 else digits


def layer(kind: str, name: str, rles: Sequence[Rle], image: Image) -> Layer:
    """The outlines of these cells, as exact as the picture's size can show."""
    tolerance = 0.5 * max(1.0, max(image["width"], image["height"]) / LONGEST)
    return Layer(kind, name, len(rles), "".join(outline(rle, tolerance) for rle in rles))


def truth_layers(image: Image, true: TrueImage) -> list[Layer]:
    return [layer("true matched", "true cells", true.cells, image), *region_layers(image, true)]


def region_layers(image: Image, true: TrueImage) -> list[Layer]:
    """What nobody annotated, in the images where there is such a thing."""
    return [layer("region", "regions not annotated", true.regions, image)] if true.regions else []


def compared_layers(image: Image, true: TrueImage, pred: Sequence[Rle]) -> list[Layer]:
    """True and predicted cells (best score first), each matched or not; what lies where nobody annotated is neither."""
    pairs = matches(true.cells, pred)
    hit_true, hit_pred = {t for t, _ in pairs}, {p for _, p in pairs}
    ignored = set(np.flatnonzero(true.ignored(pred)).tolist()) - hit_pred

    def kind(word: str, name: str, rles: Sequence[Rle], chosen: Iterable[int]) -> Layer:
        return layer(word, name, [rles[i] for i in sorted(chosen)], image)

    return [
        kind("true matched", "found", true.cells, hit_true),
        kind("true missed", "missed", true.cells, set(range(len(true.cells))) - hit_true),
        kind("pred matched", "right", pred, hit_pred),
        kind("pred spurious", "spurious", pred, set(range(len(pred))) - hit_pred - ignored),
        *([kind("pred ignored", "not counted", pred, ignored)] if ignored else []),
        *region_layers(image, true),
    ]


def matches(true: Sequence[Rle], pred: Sequence[Rle]) -> list[tuple[int, int]]:
    """Pairs (true, pred) at IoU 0.5: predictions in turn, best score first, each takes the best true cell left."""
    if not true or not pred:
        return []
    iou = np.array(rle_codec.iou(cast(Any, list(pred)), cast(Any, list(true)), [0] * len(true)))  # (pred, true)
    pairs = []
    for index, row in enumerate(iou):
        best = int(row.argmax())
        if row[best] >= IOU:
            pairs.append((best, index))
            iou[:, best] = 0
    return pairs
