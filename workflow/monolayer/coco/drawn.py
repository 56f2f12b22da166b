"""Cells as people draw them: ImageJ ROIs, QuPath's GeoJSON, labelme, told apart by what the files hold.

Of all of them (0, 0) is the upper left corner of the upper left pixel.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.filled import filled, of_pixels, united
from monolayer.coco.findings import Findings
from monolayer.coco.names import is_background, is_ignored
from monolayer.coco.regions import around_others
from monolayer.coco.rle import Placed
from monolayer.compiled import Floats
from monolayer.files import InputError, few

AXES = {"c": "channels", "z": "planes along z", "t": "frames", "position": "slices"}
LARGEST = 1 << 24  # bytes of a ROI
ZIP, ROI = b"PK\x03\x04", b"Iout"


class DrawnCell(NamedTuple):
    """Parts, each of closed outlines (N, 2) xy, or a mask in their place; `where` is what an error calls it.

    through_middles: of the mask's pixels goes the outline. no_cell is why it is none, kind QuPath's objectType,
    plane the number on each of AXES that the file names.
    """

    where: str
    parts: list[list[Floats]]
    mask: Placed | None = None
    through_middles: bool = False
    ignored: bool = False
    no_cell: str = ""
    kind: str = ""
    plane: tuple[tuple[str, int], ...] = ()


def read_drawn(
    path: Path, size: tuple[int, int], findings: Findings, *, ignored: bool = False
) -> tuple[list[Placed], list[Placed]]:
    """The cells of a file, and the regions that it says nobody annotated, in an image of that (height, width).

    A file that is `ignored` as a whole has such regions alone.
    """
    try:
        data = path.read_bytes()
        drawn = list(_rois(data, path) if data.startswith((ZIP, ROI)) else _json(data, path, size))
    except InputError:
        raise
    except Exception as error:  # of damaged files readers raise of all kinds
        raise InputError(f"{path} can't be read ({error!r}); export it again") from error
    for one in drawn:
        if one.no_cell:
            findings.add("no_cell", f"{one.where} ({one.no_cell})")
        elif one.through_middles:
            findings.add("pixel_outlines", one.where)
    drawn = [one for one in drawn if not one.no_cell]
    _check_plane([dict(one.plane) for one in drawn], path)
    placed = [_placed(one, size, findings) for one in drawn]
    regions = [mask for mask, one in zip(placed, drawn, strict=True) if ignored or one.ignored]
    cells = [(mask, one) for mask, one in zip(placed, drawn, strict=True) if not (ignored or one.ignored)]
    around = around_others([mask for mask, _ in cells], [one.kind for _, one in cells])
    for index, held in around.items():
        own, others = cells[index][1], [cells[other][1].where.removeprefix(f"{path}: ") for other in held]
        if own.kind == "cell":
            raise InputError(f"{own.where} is a cell around {' and '.join(others)}; export cells without their parts")
        findings.add("regions", f"{own.where}, around {' and '.join(others)}")
    return [mask for index, (mask, _) in enumerate(cells) if index not in around], regions


def _check_plane(planes: list[dict[str, int]], path: Path) -> None:
    """Refuse outlines of several planes; what names no number on an axis is of all."""
    for axis, what in AXES.items():
        found = sorted({plane[axis] for plane in planes if axis in plane})
        if len(found) > 1:
            said = f"{path} has outlines on {len(found)} {what} ({few(found, 5)})"
            raise InputError(f"{said}; save those of the image's own by themselves")


def _placed(one: DrawnCell, size: tuple[int, int], findings: Findings) -> Placed:
    """Its pixels in an image of that size; what leaves it is cut off, and noted."""
    if one.mask is not None:
        mask, x, y = one.mask
        corners = np.array([(x, y), (x + mask.shape[1], y + mask.shape[0])], np.float64)
        left, top = max(0, -x), max(0, -y)
        placed = mask[top : max(0, size[0] - y), left : max(0, size[1] - x)], max(0, x), max(0, y)
    else:
        corners = np.concatenate([ring for rings in one.parts for ring in rings] or [np.empty((0, 2))])
        placed = united([filled(rings, size, one.where) for rings in one.parts])
    if not placed[0].any():
        raise InputError(f"{one.where} has no pixel in its image of {size[1]}x{size[0]} px; remove it")
    if (over := max(0.0, -corners.min(), *(corners.max(0) - size[::-1]))) > 1:
        findings.add("clipped", f"{one.where}: by {over:.1f} px")
    return placed


# ---- ImageJ ----------------------------------------------------------------------------------------------


def _rois(data: bytes, path: Path) -> Iterator[DrawnCell]:
    """The ROIs of a .roi or of a zip of them."""
    if data.startswith(ROI):
        yield _roi(data, str(path))
        return
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if member.filename.lower().endswith(".roi")]
        if not members:
            raise InputError(f"{path} is a zip without a .roi; save it with ImageJ's ROI manager")
        for member in members:
            if member.file_size > LARGEST:
                raise InputError(f"{path}: {member.filename} has {member.file_size:,} bytes, which no outline has")
            yield _roi(archive.read(member), f"{path}: {member.filename}")


def _roi(data: bytes, where: str) -> DrawnCell:
    from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi

    roi = ImagejRoi.frombytes(data)
    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):  # shown over an image, in a box
        return DrawnCell(where, [], no_cell=f"{roi.subtype.name.lower()}")
    areas = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.RECT, ROI_TYPE.OVAL)
    if roi.roitype not in areas:
        raise InputError(f"{where} is a {roi.roitype.name.lower()}, which encloses nothing; draw its outline")
    rings = [np.asarray(ring, np.float64) for ring in roi.coordinates(multi=True)]
    places = {"c": roi.c_position, "z": roi.z_position, "t": roi.t_position}
    places = {axis: number for axis, number in places.items() if number} or {"position": roi.position}
    plane = tuple((axis, int(number)) for axis, number in places.items() if number)  # 0 is all
    chain = of_pixels(rings[0]) if roi.roitype == ROI_TYPE.FREEHAND else None
    return _classed(DrawnCell(where, [rings], chain, through_middles=chain is not None, plane=plane), roi.name)


def _classed(one: DrawnCell, name: object) -> DrawnCell:
    """What its class or label makes of a shape."""
    no_cell = str(name) if is_background(name) else ""
    return one._replace(ignored=is_ignored(name), no_cell=no_cell)


# ---- JSON ------------------------------------------------------------------------------------------------


def _json(data: bytes, path: Path, size: tuple[int, int]) -> Iterator[DrawnCell]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise InputError(
            f"{path} is no label image, ROI zip, GeoJSON nor labelme file ({error}); export it again"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        return _labelme(content, path, size)
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if isinstance(features, list) and all(isinstance(one, dict) and one.get("type") == "Feature" for one in features):
        return _features(features, path)
    if isinstance(content, dict) and "annotations" in content:
        raise InputError(f"{path} is a COCO file; give it as `annotations` of `source: coco`")
    raise InputError(f"{path} is JSON, but neither GeoJSON (features) nor of labelme (shapes); export it again")


def _features(features: list[dict[str, Any]], path: Path) -> Iterator[DrawnCell]:
    """QuPath's objects: annotations, detections, cells."""
    for number, feature in enumerate(features, start=1):
        where = f"{path}: feature {number}"
        geometry, properties = feature.get("geometry") or {}, feature.get("properties") or {}
        kind, coordinates = geometry.get("type"), geometry.get("coordinates")
        if kind not in ("Polygon", "MultiPolygon"):
            raise InputError(f"{where} is a {kind}, which encloses nothing; a cell is a Polygon or a MultiPolygon")
        polygons = coordinates if kind == "MultiPolygon" else [coordinates]
        if not isinstance(polygons, list) or not all(isinstance(rings, list) for rings in polygons):
            raise InputError(f"{where} has coordinates {str(coordinates)[:60]}; a {kind} has lists of points")
        parts = [[_points(ring, where) for ring in rings] for rings in polygons]
        named, plane = properties.get("classification") or {}, geometry.get("plane") or {}
        places = {"c": plane.get("c", -1), "z": plane.get("z", 0), "t": plane.get("t", 0)}  # as QuPath leaves them out
        one = DrawnCell(where, parts, kind=_kind(feature, properties))
        one = one._replace(plane=tuple((axis, int(number)) for axis, number in places.items() if number >= 0))
        yield _classed(one, named.get("name") if isinstance(named, dict) else named)


def _kind(feature: dict[str, Any], properties: dict[str, Any]) -> str:
    """QuPath's objectType, which older versions wrote as the id: PathDetectionObject."""
    said = str(properties.get("objectType") or properties.get("object_type") or feature.get("id")).lower()
    return next((kind for kind in ("annotation", "detection", "cell") if kind in (said, said[4:-6])), "")


def _points(given: Any, where: str) -> Floats:
    try:
        points = np.array(given, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] < 2:
        raise InputError(f"{where} has points {str(given)[:60]}; a point is two numbers, [x, y]")
    return points[:, :2]


def _labelme(content: dict[str, Any], path: Path, size: tuple[int, int]) -> Iterator[DrawnCell]:
    """Shapes; those of one group_id are parts of one cell."""
    said = content.get("imageHeight"), content.get("imageWidth")
    if said not in ((None, None), size):
        raise InputError(f"{path} is of an image of {said[1]}x{said[0]} px, its image has {size[1]}x{size[0]}")
    groups: dict[object, list[DrawnCell]] = {}
    for number, shape in enumerate(content["shapes"], start=1):
        if not isinstance(shape, dict):
            raise InputError(f"{path}: shape {number} is no object; export it again")
        group = shape.get("group_id")
        one = _shape(shape, f"{path}: shape {number}")
        key = ("alone", number) if group is None else (group, one.ignored, one.no_cell)
        groups.setdefault(key, []).append(one)
    for parts in groups.values():
        if len(parts) > 1 and any(part.mask for part in parts):
            raise InputError(f"{parts[0].where} is a mask in a group; draw parts of a cell as polygons")
        yield parts[0]._replace(parts=[rings for part in parts for rings in part.parts])


def _shape(shape: dict[str, Any], where: str) -> DrawnCell:
    kind, points = shape.get("shape_type") or "polygon", _points(shape.get("points"), where)
    one = _classed(DrawnCell(where, []), shape.get("label"))
    if kind == "polygon":
        return one._replace(parts=[[points]])
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise InputError(f"{where} is a {kind} of {len(points)} points; it has two")
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return one._replace(parts=[[np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])]])
    if kind == "circle":
        angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        radius = np.hypot(*(points[1] - points[0]))
        return one._replace(parts=[[points[0] + radius * np.c_[np.cos(angle), np.sin(angle)]]])
    if kind == "mask":
        x, y = np.rint(points[0]).astype(int).tolist()
        return one._replace(mask=(_png(shape.get("mask"), where), x, y))
    raise InputError(f"{where} is a {kind}, which encloses nothing; draw its outline as a polygon")


def _png(text: Any, where: str) -> NDArray[np.bool_]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
            return np.asarray(image.convert("L")) > 0
    except (TypeError, ValueError, OSError) as error:
        raise InputError(f"{where} has no PNG as its mask ({error}); export it again") from None
