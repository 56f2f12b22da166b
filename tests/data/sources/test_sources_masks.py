"""Masks in any hand's form: the pixels of each come back, files find their images, each fault has one clear error."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from collected import kinds
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth
from monolayer.coco.labels import label_image
from monolayer.coco.records import Truth
from monolayer.coco.rle import Placed
from monolayer.coco.seg_npy import seg_npy
from monolayer.coco.table import read_truth as table_of
from monolayer.data import download
from monolayer.data.audit import audit
from monolayer.data.dataset import read_image, samples
from monolayer.files import InputError, write_json
from monolayer.measurement.files import roi_zip
from monolayer.measurement.outlines import rings
from monolayer.params.data import AuditParams, MasksSource
from numpy.typing import NDArray
from PIL import Image as PillowImage
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi
from scipy import ndimage

SIZE = HEIGHT, WIDTH = 60, 80
SQUARE = {"roitype": ROI_TYPE.RECT, "left": 2, "top": 2, "right": 9, "bottom": 9}
Labels = NDArray[np.int32]


def cells() -> Labels:
    """Blobs of any form: with holes, of two parts, touching, at the edge, one pixel alone."""
    rng = np.random.default_rng(4)
    labels = np.asarray(ndimage.label(ndimage.gaussian_filter(rng.normal(size=SIZE), 2.5) > 0.05)[0], np.int32)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ring = (abs(np.hypot(y - 30, x - 40) - 9) < 3) & (y != 30)  # with a hole, in two parts
    labels[ring] = labels.max() + 1
    labels[0, 0] = labels.max() + 1
    return labels


def placed(labels: Labels) -> list[Placed]:
    boxes = enumerate(ndimage.find_objects(labels), start=1)
    return [(labels[box] == value, box[1].start, box[0].start) for value, box in boxes if box]


def _tiff(labels: Labels) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, labels.astype(np.uint16), compression="zlib")
    return ".tif", buffer.getvalue()


def _png(labels: Labels) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    PillowImage.fromarray(labels.astype(np.uint16)).save(buffer, "PNG")
    return "_cp_masks.png", buffer.getvalue()


def _seg(labels: Labels) -> tuple[str, bytes]:
    return "_seg.npy", seg_npy(labels, "a.png")


def _npy(labels: Labels) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    np.save(buffer, labels)
    return "_labels.npy", buffer.getvalue()


def _rois(labels: Labels) -> tuple[str, bytes]:
    crops = placed(labels)
    boxes = np.zeros((len(crops), 4), np.float32)
    offsets = np.array([(x, y) for _, x, y in crops], np.int32)
    found = Instances(HEIGHT, WIDTH, [mask for mask, _, _ in crops], offsets, boxes, np.ones(len(crops), np.float32))
    return "_rois.zip", roi_zip([found])


def _geojson(labels: Labels) -> tuple[str, bytes]:
    features = []
    for crop in placed(labels):
        outer, holes = list[Labels](), list[Labels]()
        for ring in rings(*crop):
            (x, y), (u, v) = ring.T, np.roll(ring, -1, axis=0).T
            (outer if (x * v - u * y).sum() > 0 else holes).append(ring)
        polygons = [[edge] for edge in outer]
        for hole in holes:
            around = [
                one for one in polygons if (one[0].min(0) < hole.min(0)).all() and (one[0].max(0) > hole.max(0)).all()
            ]
            min(around, key=lambda one: float(np.ptp(one[0], axis=0).prod())).append(hole)
        closed = [[[*ring.tolist(), ring[0].tolist()] for ring in one] for one in polygons]
        features.append({"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": closed}})
    content = {"type": "FeatureCollection", "features": features}
    return ".geojson", json.dumps(content).encode()


def packed(mask: NDArray[np.bool_]) -> str:
    """A mask as labelme packs it."""
    buffer = io.BytesIO()
    PillowImage.fromarray(mask).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _labelme(labels: Labels) -> tuple[str, bytes]:
    shapes = []
    for mask, x, y in placed(labels):
        points = [[x, y], [x + mask.shape[1] - 1, y + mask.shape[0] - 1]]
        shapes.append({"label": "cell", "shape_type": "mask", "points": points, "mask": packed(mask)})
    content = {"shapes": shapes, "imagePath": "a.png", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    return ".json", json.dumps(content).encode()


FORMS = [_tiff, _png, _seg, _npy, _rois, _geojson, _labelme]


def folders(tmp_path: Path, *names: str) -> tuple[Path, Path]:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, SIZE, np.uint8)
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(pixels).save(images / name)
    return images, masks


def fetched(images: Path, masks: Path, tmp_path: Path, **changed: Any) -> Truth:
    settings: dict[str, Any] = {
        "source": "masks",
        "images": str(images),
        "masks": str(masks),
        "cell_line": "cells",
        "well": None,
    }
    settings |= {
        "time": None,
        "percentiles": {"low": 0.5, "high": 99.8},
        "channel": None,
        "z": None,
        "max_images": None,
    }
    out = tmp_path / "out"
    download.download(MasksSource.model_validate(settings | changed), out / "images", out / "annotations.json")
    return read_truth(out / "annotations.json")


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__.strip("_"))
def test_pixels_come_back(tmp_path: Path, form: Callable[[Labels], tuple[str, bytes]]) -> None:
    images, masks = folders(tmp_path, "a.png")
    labels = cells()
    suffix, content = form(labels)
    (masks / f"a{suffix}").write_bytes(content)
    truth = fetched(images, masks, tmp_path)
    assert len(truth["annotations"]) == len(np.unique(labels)) - 1
    found = label_image((cell["segmentation"] for cell in truth["annotations"]), *SIZE)
    assert np.array_equal(found, np.searchsorted(np.unique(labels), labels))
    assert truth["findings"] == []
    params = AuditParams(min_annotations=10, duplicate_iou=0.5, near_copy=None)
    audit(tmp_path / "out/images", tmp_path / "out/annotations.json", params, tmp_path / "audit.json")


def test_rois_that_step_from_pixel_to_pixel_hold_these(tmp_path: Path) -> None:
    """As Cellpose saves them; read as outlines between pixels, cells were a tenth smaller and half a pixel off."""
    images, masks = folders(tmp_path, "a.png")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    labels = 2 * (np.hypot(y - 45, x - 60) < 12.3) + (np.hypot(y - 20, x - 25) < 9.2)
    labels[20, 34:40], labels[:7, 70:] = 1, 3  # a tail of one pixel, and one in the corner
    rois = {}
    for number in (1, 2, 3):
        [outline], _ = cv2.findContours((labels == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        rois[str(number)] = ImagejRoi.frompoints(outline[:, 0]).tobytes()
    (masks / "a_rois.zip").write_bytes(zipped(**rois))
    truth = fetched(images, masks, tmp_path)
    assert np.array_equal(label_image((cell["segmentation"] for cell in truth["annotations"]), *SIZE), labels)
    assert kinds(truth) == {"pixel_outlines": 3}


def test_labelme_polygons_of_pixels_corners_are_exact(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png")
    labels = cells()
    shapes = [
        {"label": "cell", "group_id": number, "points": ring.tolist()}
        for number, (mask, x, y) in enumerate(placed(labels))
        for ring in rings(ndimage.binary_fill_holes(mask), x, y)  # labelme has no holes
    ]
    (masks / "a.json").write_text(json.dumps({"shapes": shapes}))
    truth = fetched(images, masks, tmp_path)
    expected = [int(ndimage.binary_fill_holes(mask).sum()) for mask, _, _ in placed(labels)]
    assert [cell["area"] for cell in truth["annotations"]] == expected


def test_shapes_are_what_they_are_called(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png", "b.png")
    shapes = [
        {"label": "cell", "shape_type": "rectangle", "points": [[2, 3], [12, 8]]},
        {"label": "cell", "shape_type": "circle", "points": [[40, 30], [50, 30]]},
    ]
    (masks / "a.json").write_text(json.dumps({"shapes": shapes}))
    with zipfile.ZipFile(masks / "b.zip", "w") as archive:
        for number, kind in enumerate((ROI_TYPE.RECT, ROI_TYPE.OVAL)):
            roi = ImagejRoi(roitype=kind, left=10, top=10, right=30, bottom=30)
            archive.writestr(f"{number}.roi", roi.tobytes())
    areas = [cell["area"] for cell in fetched(images, masks, tmp_path)["annotations"]]
    assert areas[0] == 50
    assert areas[2] == 400
    assert areas[1] == pytest.approx(np.pi * 100, rel=0.02)
    assert areas[3] == pytest.approx(np.pi * 100, rel=0.02)


def test_files_find_their_images(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "plate1/A1.png", "plate2/A1.png", "t003.png", "lone.png")
    for name in ("plate1/A1_masks.tif", "plate2/A1.ome.tif", "man_seg003.tif", "stranger.tif"):
        (masks / name).parent.mkdir(exist_ok=True)
        (masks / name).write_bytes(_tiff(cells())[1])
    truth = fetched(images, masks, tmp_path)
    assert [image["file_name"] for image in truth["images"]] == ["plate1__A1.png", "plate2__A1.png", "t003.png"]
    assert kinds(truth) == {"unannotated": 1, "no_image": 1}


@pytest.mark.parametrize("mask", ["a.tif", "a.ome.tif", "a_masks.png", "a.ome_masks.tif"])
def test_the_masks_of_an_ome_tiff(tmp_path: Path, mask: str) -> None:
    images, masks = folders(tmp_path, "b.png")
    tifffile.imwrite(images / "a.ome.tif", np.zeros(SIZE, np.uint16))
    (masks / mask).write_bytes((_png if mask.endswith("png") else _tiff)(cells())[1])
    assert kinds(fetched(images, masks, tmp_path)) == {"unannotated": 1}


def test_masks_may_lie_beside_or_below_their_images(tmp_path: Path) -> None:
    images, _ = folders(tmp_path, "a.png", "b.png")
    (images / "a_cp_masks.png").write_bytes(_png(cells())[1])
    (images / "b_seg.npy").write_bytes(_seg(cells())[1])
    assert len(fetched(images, images, tmp_path)["images"]) == 2
    (images / "a_cp_masks.png").unlink()
    (images / "below").mkdir()
    (images / "below/a.png").write_bytes(_png(cells())[1])
    assert [i["file_name"] for i in fetched(images, images / "below", tmp_path)["images"]] == ["a.png"]


def test_an_image_without_cells_is_truth_too(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png", "b.png")
    (masks / "a.tif").write_bytes(_tiff(cells())[1])
    (masks / "b.tif").write_bytes(_tiff(np.zeros(SIZE, np.int32))[1])
    truth = fetched(images, masks, tmp_path)
    assert len(truth["images"]) == 2
    assert truth["findings"] == []


def test_regions_that_nobody_annotated_count_neither_way(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png", "b.png", "c.png")
    blank = np.zeros(SIZE, np.int32)
    blank[:20, :30] = 7
    (masks / "a.tif").write_bytes(_tiff(cells())[1])
    (masks / "a_ignore.tif").write_bytes(_tiff(blank)[1])
    box = [[[0, 0], [30, 0], [30, 20], [0, 20]]]
    ignored = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": box}}
    ignored["properties"] = {"classification": {"name": "Ignore*"}}
    content = json.loads(_geojson(cells())[1])
    content["features"].append(ignored)
    (masks / "b.geojson").write_text(json.dumps(content))
    content = json.loads(_labelme(cells())[1])
    content["shapes"].append({"label": "ignore", "shape_type": "rectangle", "points": [[0, 0], [30, 20]]})
    (masks / "c.json").write_text(json.dumps(content))
    truth = fetched(images, masks, tmp_path)
    assert [cell["area"] for cell in truth["annotations"] if cell["iscrowd"]] == [600] * 3
    assert kinds(truth) == {"ignored_regions": 3}
    for sample in samples(truth, tmp_path / "out/images"):
        known = label_image((cell["segmentation"] for cell in sample.annotations), *SIZE)[:20, :30] > 0
        assert len(np.unique(sample.pixels()[:20, :30][~known])) == 1
        assert known.sum() > 100, "cells that a region is drawn over; their picture stays"
        np.testing.assert_array_equal(sample.pixels()[:20, :30][known], read_image(sample.path)[:20, :30][known])
        assert len(np.unique(sample.pixels()[20:])) > 100
        assert not any(cell["iscrowd"] for cell in sample.annotations)


def test_who_reads_regions_again_is_not_told_of_crowds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The truth that is made of them says what they are: nobody is to set their iscrowd to 0."""
    images, masks = folders(tmp_path, "a.png")
    (masks / "a.tif").write_bytes(_tiff(cells())[1])
    (masks / "a_ignore.tif").write_bytes(_tiff((cells() == 1).astype(np.int32))[1])
    write_json(tmp_path / "again.json", fetched(images, masks, tmp_path))
    caplog.clear()
    _, table = table_of(tmp_path / "again.json")
    assert table.crowd.sum() == 1
    assert set(table.category) == {1}
    assert [text for text in caplog.messages if "regions that nobody annotated" in text]
    assert not [text for text in caplog.messages if "set iscrowd to 0" in text]


@pytest.mark.parametrize("name", ["a_ignore{}", "a_ignore.ome{}", "a_Ignore_masks{}"])
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__.strip("_"))
def test_a_file_of_what_to_ignore_has_no_cells(
    tmp_path: Path, form: Callable[[Labels], tuple[str, bytes]], name: str
) -> None:
    """In any form, alone and beside the cells."""
    images, masks = folders(tmp_path, "a.png", "b.png")
    blank = np.zeros(SIZE, np.int32)
    blank[:20, :30], blank[40:, 50:] = 1, 2
    suffix, content = form(blank)
    (masks / name.format(suffix[suffix.index(".") :])).write_bytes(content)
    (masks / "b.tif").write_bytes(_tiff(cells())[1])
    assert [image["file_name"] for image in fetched(images, masks, tmp_path)["images"]] == ["b.png"]
    (masks / "a.tif").write_bytes(_tiff(cells())[1])
    truth = fetched(images, masks, tmp_path)
    crowds = [cell["segmentation"] for cell in truth["annotations"] if cell["iscrowd"]]
    assert np.array_equal(label_image(crowds, *SIZE) > 0, blank > 0)
    assert sum(not cell["iscrowd"] for cell in truth["annotations"]) == 2 * len(placed(cells()))


def test_masks_in_the_folder_of_ome_tiffs_are_no_images(tmp_path: Path) -> None:
    images, _ = folders(tmp_path)
    tifffile.imwrite(images / "a.ome.tif", np.zeros(SIZE, np.uint16))
    (images / "a_masks.ome.tif").write_bytes(_tiff(cells())[1])
    (images / "a_ignore.ome.tif").write_bytes(_tiff((cells() == 1).astype(np.int32))[1])
    truth = fetched(images, images, tmp_path)
    assert len(truth["images"]) == 1
    assert kinds(truth) == {"ignored_regions": 1}


def test_markers_of_tracks_are_no_masks(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "t000.png")
    (masks / "man_track000.tif").write_bytes(_tiff(cells())[1])
    with pytest.raises(InputError, match=r"man_track000.tif holds markers of tracks.*`source: ctc`"):
        fetched(images, masks, tmp_path)


def test_labelme_background_is_no_cell_and_a_mask_is_cut_at_the_edge(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png")
    box = {"shape_type": "rectangle", "points": [[0, 0], [30, 20]]}
    square = {"shape_type": "mask", "points": [[-3, 58], [1, 62]], "mask": packed(np.ones((5, 5), np.bool_))}
    shapes = [
        {"label": "cell", "shape_type": "rectangle", "points": [[40, 30], [50, 40]]},
        *({"label": label, **box} for label in ("_background_", "__background__", "__ignore__")),
        {"label": "cell", **square},
    ]
    (masks / "a.json").write_text(json.dumps({"shapes": shapes}))
    truth = fetched(images, masks, tmp_path)
    assert [(cell["area"], cell["iscrowd"]) for cell in truth["annotations"]] == [(100, 0), (4, 0), (600, 1)]
    assert kinds(truth) == {"clipped": 1, "ignored_regions": 1, "no_cell": 2}
    told = {finding["kind"]: finding["examples"] for finding in truth["findings"]}
    assert told["no_cell"][0].endswith("a.json: shape 2 (_background_)")
    assert told["clipped"][0].endswith("a.json: shape 5: by 3.0 px")


def test_texts_over_an_image_are_no_cells(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png")
    text = roi(**SQUARE, subtype=ROI_SUBTYPE.TEXT, position=7)
    (masks / "a.zip").write_bytes(zipped(a=roi(**SQUARE, position=1), label=text))
    truth = fetched(images, masks, tmp_path)
    assert len(truth["annotations"]) == 1
    assert kinds(truth) == {"no_cell": 1}
    assert truth["findings"][0]["examples"][0].endswith("a.zip: label.roi (text)")


def corners(x0: float, y0: float, x1: float, y1: float) -> list[list[list[float]]]:
    return [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]]


def qupath(*objects: tuple[list[list[list[float]]], str]) -> bytes:
    """Features of these corners and object types."""
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": box},
            "properties": {"objectType": kind} if kind else {},
        }
        for box, kind in objects
    ]
    return json.dumps(features).encode()


CELL_A, CELL_B, REGION = corners(5, 5, 15, 15), corners(20, 5, 30, 15), corners(2, 2, 40, 40)


@pytest.mark.parametrize(
    ("objects", "areas"),
    [
        ([(REGION, "annotation"), (CELL_A, "detection"), (CELL_B, "detection")], [100, 100]),
        ([(REGION, "annotation"), (CELL_A, "cell")], [100]),  # that holds one
        ([(REGION, "annotation"), (corners(0, 0, 45, 45), "annotation"), (CELL_A, "cell")], [100]),  # regions
        ([(corners(4, 4, 15, 15), "annotation"), (CELL_A, "cell")], [121, 100]),  # a cell drawn again
        ([(REGION, ""), (CELL_A, ""), (CELL_B, "")], [100, 100]),
        ([(REGION, ""), (CELL_A, "")], [1444, 100]),  # a large cell and a small one: nobody knows
    ],
)
def test_a_region_around_cells_is_none(tmp_path: Path, objects: Any, areas: list[int]) -> None:
    images, masks = folders(tmp_path, "a.png")
    (masks / "a.geojson").write_bytes(qupath(*objects))
    truth = fetched(images, masks, tmp_path)
    assert [cell["area"] for cell in truth["annotations"]] == areas
    assert kinds(truth) == ({"regions": len(objects) - len(areas)} if len(objects) > len(areas) else {})
    if truth["findings"]:
        assert "a.geojson: feature 1, around feature" in str(truth["findings"][0]["examples"])


def test_a_region_among_rois_and_labelme_shapes_is_none(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png", "b.png")
    around = {**SQUARE, "left": 0, "top": 0, "right": 40, "bottom": 40}
    second = {**SQUARE, "left": 20, "right": 27}
    (masks / "a.zip").write_bytes(zipped(a=roi(**around), b=roi(**SQUARE), c=roi(**second)))
    boxes = [[[2, 2], [40, 40]], [[5, 5], [15, 15]], [[20, 5], [30, 15]]]
    shapes = [{"label": "cell", "shape_type": "rectangle", "points": box} for box in boxes]
    (masks / "b.json").write_text(json.dumps({"shapes": shapes}))
    truth = fetched(images, masks, tmp_path)
    assert [cell["area"] for cell in truth["annotations"]] == [49, 49, 100, 100]
    first, other = truth["findings"][0]["examples"]
    assert first.endswith("a.zip: a.roi, around c.roi and b.roi")
    assert other.endswith("b.json: shape 1, around shape 3 and shape 2")


def test_a_cell_around_others_has_its_cure(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png")
    (masks / "a.geojson").write_bytes(qupath((REGION, "cell"), (CELL_A, "detection"), (CELL_B, "detection")))
    with pytest.raises(InputError, match="feature 1 is a cell around feature 3 and feature 2; export cells without"):
        fetched(images, masks, tmp_path)


def at(**plane: int) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": CELL_A, **({"plane": plane} if plane else {})}


@pytest.mark.parametrize(
    ("planes", "says"),
    [
        ([at(), at(c=-1, z=1, t=0)], r"2 planes along z \(0, 1\)"),
        ([at(c=-1, z=0, t=0), at(c=-1, z=0, t=2)], r"2 frames \(0, 2\)"),
        ([at(c=0, z=0, t=0), at(c=1, z=0, t=0)], r"2 channels \(0, 1\)"),
        ([at(c=0, z=3, t=0), at(c=-1, z=3, t=0)], ""),  # of all channels
    ],
)
def test_qupath_outlines_of_several_planes(tmp_path: Path, planes: list[dict[str, Any]], says: str) -> None:
    images, masks = folders(tmp_path, "a.png")
    (masks / "a.geojson").write_text(json.dumps([{"type": "Feature", "geometry": one} for one in planes]))
    if not says:
        assert len(fetched(images, masks, tmp_path)["annotations"]) == 2
        return
    with pytest.raises(InputError, match=rf"a.geojson has outlines on {says}; save those of the image's own"):
        fetched(images, masks, tmp_path)


@pytest.mark.parametrize(
    ("positions", "says"),
    [
        ([{"t_position": 1, "z_position": z} for z in (1, 2, 3)], r"3 planes along z \(1, 2, 3\)"),
        ([{"t_position": t, "z_position": 1} for t in (1, 2)], r"2 frames \(1, 2\)"),
        ([{"c_position": c} for c in (1, 2)], r"2 channels \(1, 2\)"),
        ([{"c_position": 0, "z_position": 2}, {"c_position": 1, "z_position": 2}, {}], ""),  # 0 is all
    ],
)
def test_rois_of_several_planes(tmp_path: Path, positions: list[dict[str, int]], says: str) -> None:
    images, masks = folders(tmp_path, "a.png")
    given = {str(number): roi(**SQUARE, **position) for number, position in enumerate(positions)}
    (masks / "a.zip").write_bytes(zipped(**given))
    if not says:
        assert len(fetched(images, masks, tmp_path)["annotations"]) == 3
        return
    with pytest.raises(InputError, match=rf"a.zip has outlines on {says}; save those of the image's own"):
        fetched(images, masks, tmp_path)


def roi(**settings: Any) -> bytes:
    return ImagejRoi(**settings).tobytes()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.roi", content)
    return buffer.getvalue()


def feature(kind: str, coordinates: Any) -> bytes:
    return json.dumps({"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}}).encode()


def shape(**settings: Any) -> bytes:
    return json.dumps({"shapes": [settings]}).encode()


BAD: dict[str, tuple[str, bytes, str]] = {
    "another size": (".tif", _tiff(cells()[:50])[1], "a.tif is 80x50 px, its image 80x60 px"),
    "cut short": (".tif", _tiff(cells())[1][:400], "a.tif is not readable as a label image"),
    "binary": (".tif", _tiff((cells() > 0).astype(np.int32))[1], "separate parts of 1 labels: is it black and white"),
    "half a number": (".npy", b"\x93NUMPY\x01\x00", "a.npy is not readable"),
    "a line": (".roi", roi(roitype=ROI_TYPE.LINE, x1=1, y1=1, x2=5, y2=5), "a.roi is a line, which encloses nothing"),
    "a roi cut short": (".roi", roi(**SQUARE)[:30], "a.roi can't be read"),
    "a zip of other things": (".zip", zipped()[:0] or b"PK\x03\x04", "a.zip can't be read"),
    "two frames": (".zip", zipped(a=roi(**SQUARE, position=1), b=roi(**SQUARE, position=2)), r"on 2 slices \(1, 2\)"),
    "a point": (".geojson", feature("Point", [1, 2]), "feature 1 is a Point, which encloses nothing"),
    "two corners": (".geojson", feature("Polygon", [[[1, 2], [3, 4]]]), "feature 1 has 2 points; an outline has three"),
    "no numbers": (".geojson", feature("Polygon", [[["x", 2], [3, 4], [5, 6]]]), "has points"),
    "far out": (".geojson", feature("Polygon", [[[0, 0], [9e5, 0], [9e5, 9e5]]]), "lies far out of its image"),
    "beside the image": (".geojson", feature("Polygon", [[[90, 70], [95, 70], [95, 75]]]), "has no pixel in its image"),
    "a labelme line": (".json", shape(shape_type="line", points=[[1, 1], [5, 5]]), "shape 1 is a line"),
    "a labelme mask": (".json", shape(shape_type="mask", points=[[1, 1], [5, 5]], mask="x"), "has no PNG as its mask"),
    "a labelme mask beside the image": (
        ".json",
        shape(shape_type="mask", points=[[-5, 5], [-1, 9]], mask=packed(np.ones((5, 5), np.bool_))),
        "shape 1 has no pixel in its image",
    ),
    "COCO": (".json", b'{"images": [], "annotations": []}', "is a COCO file; give it as `annotations`"),
    "other JSON": (".json", b'{"a": 1}', "is JSON, but neither GeoJSON"),
    "no JSON": (".json", b"cells", "is no label image, ROI zip, GeoJSON nor labelme file"),
    "a pickle": (".npy", b"\x80\x04.", "is no label image, ROI zip, GeoJSON nor labelme file"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_malformed_file_is_one_error(tmp_path: Path, kind: str) -> None:
    images, masks = folders(tmp_path, "a.png")
    suffix, content, text = BAD[kind]
    (masks / f"a{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=text) as error:
        fetched(images, masks, tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "out/annotations.json").exists()


def test_what_could_be_several_is_asked_for(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "p/a.png", "q/a.png")
    (masks / "a.tif").write_bytes(_tiff(cells())[1])
    with pytest.raises(InputError, match=r"a.tif can be of p/a.png or q/a.png"):
        fetched(images, masks, tmp_path)
    (masks / "a.tif").unlink()
    (masks / "p").mkdir()
    for name in ("p/a.tif", "p/a_seg.npy"):
        (masks / name).write_bytes(_tiff(cells())[1])
    with pytest.raises(InputError, match=r"are both masks of p/a.png; remove one"):
        fetched(images, masks, tmp_path)


def test_masks_of_no_image_and_folders_that_are_not_there(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, "a.png")
    (masks / "b.tif").write_bytes(_tiff(cells())[1])
    with pytest.raises(InputError, match=r"has masks of none of the 1 images"):
        fetched(images, masks, tmp_path)
    with pytest.raises(InputError, match=r"is no folder; set `masks`"):
        fetched(images, tmp_path / "nowhere", tmp_path)
    with pytest.raises(ValueError, match="cell_line is category, which masks have none of"):
        fetched(images, masks, tmp_path, cell_line="category")
