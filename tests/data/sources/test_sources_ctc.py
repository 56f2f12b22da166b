"""Cell Tracking Challenge folders and COCO files with tracks: numbers of tracks and mothers reach the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from collected import kinds
from culture import Culture
from monolayer.coco.rle import mask_from_rle
from monolayer.data import download
from monolayer.data.dataset import read_values
from monolayer.data.sources import coco, ctc
from monolayer.data.sources.tracks import read_tracks
from monolayer.files import InputError
from monolayer.params.data import CocoSource, CtcSource, Percentiles

EIGHT = Percentiles(low=0, high=100)


def source(folder: Path, **changed: Any) -> CtcSource:
    given: dict[str, Any] = {"sequences": None, "cell_line": "PSC", "masks": "GT/TRA", "border": 0}
    return CtcSource(source="ctc", folder=str(folder), percentiles=EIGHT, **(given | changed))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two frames of one sequence: cell 3 divides into 5 and 8; masks of ST/SEG have other numbers."""
    (tmp_path / "01").mkdir()
    for name in ("01_GT/TRA", "01_ST/SEG"):
        (tmp_path / name).mkdir(parents=True)
    for frame, cells in enumerate(({3: (4, 4)}, {5: (3, 4), 8: (12, 4)})):
        markers, masks = np.zeros((2, 20, 24), np.uint16)
        for number, (y, x) in cells.items():
            markers[y + 1 : y + 3, x + 1 : x + 3] = number
            masks[y : y + 5, x : x + 5] = 100 - number
        masks[16:19, 18:22] = 7  # no marker is in it
        tifffile.imwrite(tmp_path / "01" / f"t{frame:03d}.tif", np.full((20, 24), 50 + frame, np.uint8))
        tifffile.imwrite(tmp_path / "01_GT/TRA" / f"man_track{frame:03d}.tif", markers)
        tifffile.imwrite(tmp_path / "01_ST/SEG" / f"man_seg{frame:03d}.tif", masks)
    (tmp_path / "01_GT/TRA/man_track.txt").write_text("3 0 0 0\n5 1 1 3\n8 1 1 3\n")
    return tmp_path


def pixels_of(found: Any) -> Any:
    return found.pixels


def test_deep_images_keep_their_own_grey_values(folder: Path) -> None:
    """What `measure` reads brightness from, cut to the same border."""
    own = np.random.default_rng(0).integers(900, 60_000, (20, 24)).astype(np.uint16)
    tifffile.imwrite(folder / "01/t000.tif", own)
    download.download(source(folder, border=5), folder / "images", folder / "annotations.json")
    first, second = json.loads((folder / "annotations.json").read_text())["images"]
    assert np.array_equal(read_values(folder / "images", first), own[5:-5, 5:-5])
    assert "values" not in second  # which has 8 bits
    assert read_values(folder / "images", second).dtype == np.uint8


def test_markers_give_masks_their_tracks(folder: Path) -> None:
    truth, read = ctc.collect(source(folder, masks="ST/SEG"), folder)
    cells = [cell for cell in truth["annotations"] if not cell["iscrowd"]]
    assert [(cell["track_id"], cell["parent_id"], cell["area"]) for cell in cells] == [
        (3, 0, 25),
        (5, 3, 25),
        (8, 3, 25),
    ]
    assert [cell["area"] for cell in truth["annotations"] if cell["iscrowd"]] == [12, 12]
    assert kinds(truth) == {"no_marker": 2}
    assert [image["timestamp"] for image in truth["images"]] == ["t0000", "t0001"]
    assert {image["well"] for image in truth["images"]} == {"01"}
    assert pixels_of(read(truth["images"][1])).tolist() == np.full((20, 24), 51).tolist()


def repaint(path: Path, old: int, new: int) -> None:
    labels = tifffile.imread(path)
    tifffile.imwrite(path, np.where(labels == old, new, labels).astype(np.uint16))


def test_a_cell_with_a_marker_alone_is_ignored_as_far_as_it_may_reach(folder: Path) -> None:
    """Cell 8 of frame 1 loses its mask: its pixels are no background; those of its neighbour stay the neighbour's."""
    path = folder / "01_ST/SEG/man_seg001.tif"
    labels = tifffile.imread(path)
    labels[labels == 92] = 0
    labels[9:13, 4:9] = 95  # cell 5 reaches near
    tifffile.imwrite(path, labels)
    truth, _ = ctc.collect(source(folder, masks="ST/SEG"), folder)
    assert kinds(truth) == {"no_own_mask": 1, "no_marker": 2}
    assert next(one for one in truth["findings"] if one["kind"] == "no_own_mask")["examples"] == ["01, frame 1: 8"]
    (cell,) = (one for one in truth["annotations"] if one["image_id"] == 2 and not one["iscrowd"])
    assert cell["track_id"] == 5
    assert cell["area"] == 45
    crowds = [mask_from_rle(one["segmentation"]) for one in truth["annotations"] if one["iscrowd"]]
    region = crowds[-1]
    assert not (region & mask_from_rle(cell["segmentation"])).any()
    assert region[13:17, 4:9].all()  # what is left of the cell
    reach = np.sqrt(np.median([25, 45]) / np.pi)
    y, x = np.nonzero(region)
    assert (np.hypot(np.maximum(abs(y - 13.5) - 0.5, 0), np.maximum(abs(x - 5.5) - 0.5, 0)) <= reach).all()
    assert "track_id" not in truth["annotations"][-1]


def test_a_marker_within_anothers_mask_is_told_and_no_region(folder: Path) -> None:
    labels = np.zeros((20, 24), np.uint16)
    labels[2:18, 2:12] = 95
    tifffile.imwrite(folder / "01_ST/SEG/man_seg001.tif", labels)
    truth, _ = ctc.collect(source(folder, masks="ST/SEG"), folder)
    assert kinds(truth) == {"no_own_mask": 1, "no_marker": 1}
    assert [one["area"] for one in truth["annotations"] if one["image_id"] == 2] == [160]


def test_masks_without_any_marker_are_another_folder(folder: Path) -> None:
    for frame in (0, 1):
        tifffile.imwrite(folder / f"01_ST/SEG/man_seg00{frame}.tif", np.zeros((20, 24), np.uint16))
    with pytest.raises(InputError, match=r"01_ST/SEG has no mask with a marker in it"):
        ctc.collect(source(folder, masks="ST/SEG"), folder)


def test_first_and_last_frames_are_held_against_what_is_shown(folder: Path) -> None:
    table = folder / "01_GT/TRA/man_track.txt"
    table.write_text("3 0 0 0\n5 1 1 3\n8 1 1 3\n9 0 1 0\n")
    truth, _ = ctc.collect(source(folder), folder)
    (finding,) = truth["findings"]
    assert finding["kind"] == "not_shown"
    assert finding["examples"][0].endswith("man_track.txt: track 9 is from frame 0 to 1, frame 0 does not show it")
    table.write_text("3 1 1 0\n5 2 2 3\n8 2 2 3\n")
    with pytest.raises(InputError, match=r"has track 3 from frame 1 to 1, but frame 0 shows it"):
        ctc.collect(source(folder), folder)


def test_whole_cells_as_markers_and_a_border_without_truth(folder: Path) -> None:
    truth, read = ctc.collect(source(folder, border=5), folder)
    assert [cell["track_id"] for cell in truth["annotations"]] == [3, 5, 8]
    assert (
        (truth["images"][0]["height"], truth["images"][0]["width"])
        == pixels_of(read(truth["images"][0])).shape
        == (10, 14)
    )
    assert mask_from_rle(truth["annotations"][0]["segmentation"])[:2, :2].all()


def test_a_mask_holds_the_marker_with_most_pixels() -> None:
    markers, masks = np.zeros((2, 6, 6), np.int64)
    masks[:, :3], masks[:, 3:] = 1, 2
    markers[:2, :5], markers[4:, 4:] = 9, 4
    assert np.unique(ctc.by_markers(masks, markers)).tolist() == [4, 9]
    assert ctc.by_markers(masks, markers)[5, 0] == 9


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("3 0 0\n", "line 1: a track is four whole numbers"),
        ("3 0 0 0\n3 1 1 0\n", "has a track twice"),
        ("3 0 1 0\n5 1 1 3\n", "the parent 3 of track 5 does not end before it"),
        ("3 0 0 4\n", "the parent 4 of track 3"),
        ("a b c d\n", "is not readable as a table of tracks"),
    ],
)
def test_tables_that_are_none(table: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "man_track.txt").write_text(table)
    with pytest.raises(InputError, match=says):
        read_tracks(tmp_path / "man_track.txt")


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"man_seg000\.tif is missing"):
        ctc.collect(source(folder, masks="GT/SEG"), folder)
    with pytest.raises(InputError, match="holds no sequence"):
        ctc.collect(source(folder / "01"), folder)
    (folder / "01_GT/TRA/man_track.txt").write_text("3 0 0 0\n")
    with pytest.raises(InputError, match="has no track 5, which frame 1 shows"):
        ctc.collect(source(folder), folder)


def own(culture: Culture, folder: Path, **changed: Any) -> CocoSource:
    """The culture's own file, of which each annotation bears a track, and what changes in its first one."""
    given = json.loads(culture.annotations.read_text())
    for number, cell in enumerate(given["annotations"], start=1):
        cell["track_id"] = number
    given["annotations"][0] |= changed
    (folder / "annotations.json").write_text(json.dumps(given))
    return CocoSource(
        source="coco",
        images=str(culture.images),
        annotations=str(folder / "annotations.json"),
        cell_line="category",
        well=None,
        time=None,
        percentiles=EIGHT,
        max_images=None,
    )


def test_a_coco_file_bears_tracks(culture: Culture, tmp_path: Path) -> None:
    params = own(culture, tmp_path, parent_id=7)
    truth, _ = coco.collect(params, tmp_path)
    assert [cell["track_id"] for cell in truth["annotations"][:3]] == [1, 2, 3]
    assert [cell.get("parent_id") for cell in truth["annotations"][:2]] == [7, None]
    rows = "".join(f"{number} 1 1 0\n" for number in range(1, 1 + len(truth["annotations"])))
    (tmp_path / "man_track.txt").write_text(rows.replace("2 1 1 0", "2 3 3 1", 1))
    truth, _ = coco.collect(params, tmp_path)
    assert [cell.get("parent_id") for cell in truth["annotations"][:3]] == [7, 1, 0]


@pytest.mark.parametrize("wrong", [0, -1, "a", 1.5, True, None])
def test_a_track_is_a_whole_number(wrong: Any, culture: Culture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"track_id is .*; a track has a whole number from 1 on"):
        coco.collect(own(culture, tmp_path, track_id=wrong), tmp_path)
