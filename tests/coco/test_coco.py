"""RunLengths keep every pixel from one form to the other, and files are whole or absent."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monolayer.coco.io import write_results
from monolayer.coco.label_folder import label_records
from monolayer.coco.labels import label_image, rles_from_labels
from monolayer.coco.records import Result, Rle
from monolayer.coco.rle import Mask, crop_from_rle, mask_from_rle, rle_area, rle_from_mask, rles_from_crops
from monolayer.files import InputError, atomic_write, name_of_file
from pycocotools import mask as rle_codec

masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(masks)
def test_a_mask_survives_rle(mask: Mask) -> None:
    rle = rle_from_mask(mask)
    assert np.array_equal(mask_from_rle(rle), mask)
    assert rle_area(rle) == mask.sum()
    crop, x, y = crop_from_rle(rle)
    again = np.zeros_like(mask)
    again[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    assert np.array_equal(again, mask)


def test_a_crop_survives_long_and_empty_runs() -> None:
    """Other tools write runs of no pixels; counts of large images take several characters."""
    counts = [3, 2, 0, 4, 0, 0, 1, 5, 600_000, 2_500, 400_485]
    packed = rle_codec.frPyObjects({"size": [1000, 1003], "counts": counts}, 1000, 1003)
    rle = Rle(size=[1000, 1003], counts=packed["counts"].decode())
    crop, x, y = crop_from_rle(rle)
    assert np.array_equal(crop, mask_from_rle(rle)[y : y + crop.shape[0], x : x + crop.shape[1]])
    assert crop.sum() == rle_area(rle) == sum(counts[1::2])
    with pytest.raises(InputError, match=r"size \[1000, 1002\] are damaged"):
        crop_from_rle(Rle(size=[1000, 1002], counts=packed["counts"].decode()))


@given(masks, st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_a_crop_is_encoded_as_its_image_would_be(mask: Mask, top: int, left: int, foot: int, right: int) -> None:
    """Byte for byte as pycocotools encodes the whole image, also where runs go over the foot of a column."""
    whole = np.pad(mask, ((top, foot), (left, right)))
    assert rles_from_crops([(mask, left, top)], *whole.shape)[0] == rle_from_mask(whole)


def test_a_crop_outside_its_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"4x3 px at \(8, 0\) leaves its image of 10x10 px"):
        rles_from_crops([(np.ones((3, 4), bool), 8, 0)], 10, 10)


def test_of_overlapping_cells_the_smaller_is_seen() -> None:
    large, small = np.zeros((2, 9, 9), bool)
    large[1:8, 1:8], small[3:5, 3:5] = True, True
    for order in ([large, small], [small, large]):
        labels = label_image([rle_from_mask(mask) for mask in order], 9, 9)
        assert (labels > 0).sum() == large.sum()
        assert len(np.unique(labels[small])) == 1
        assert np.unique(labels[small]) != labels[1, 1]


@given(arrays.arrays(np.int32, (12, 15), elements=st.integers(0, 5)))
def test_a_label_image_survives_rle(labels: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> None:
    rles = rles_from_labels(labels)
    values = [value for value in np.unique(labels) if value]
    assert len(rles) == len(values)
    for value, rle in zip(values, rles, strict=True):
        assert np.array_equal(mask_from_rle(rle), labels == value)


def results(count: int) -> list[Result]:
    rle = rle_from_mask(np.eye(5, dtype=bool))
    return [Result(image_id=i, category_id=1, segmentation=rle, bbox=[0, 0, 5, 5], score=0.5) for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_are_valid_json_and_the_same_bytes(tmp_path: Path, count: int) -> None:
    for name in ("a.json.gz", "b.json.gz"):
        assert write_results(tmp_path / name, results(count)) == count
    assert json.loads(gzip.decompress((tmp_path / "a.json.gz").read_bytes())) == results(count)
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.save raises a RuntimeError about positions in a file."""

    def fail() -> None:
        with atomic_write(tmp_path / "weights.pt"):
            raise RuntimeError("unexpected pos 704 vs 598")

    with pytest.raises(RuntimeError):
        fail()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    with pytest.raises(OSError, match=r"No space left on device: .*weights\.pt"):
        fail()


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    target = tmp_path / "r.json.gz"
    target.write_bytes(b"old")

    def broken() -> object:
        yield results(1)[0]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_results(target, broken())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["r.json.gz"]
    assert target.read_bytes() == b"old"


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_name_of_a_file_stays_in_its_folder_and_is_ones_own(one: str, other: str) -> None:
    folder = Path("/results/run")
    assert (folder / name_of_file(one)).resolve().parent == folder
    assert (name_of_file(one) == name_of_file(other)) == (one == other)


@pytest.mark.parametrize(("classes", "said"), [(2, True), (8, False)])
def test_classes_in_place_of_cells_are_hinted_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, classes: int, said: bool
) -> None:
    """Eight cells as labels of two classes, four parts each; or numbered, one of them in two parts."""
    labels = np.zeros((60, 60), np.uint16)
    for number in range(8):
        labels[5 * number : 5 * number + 3, 10:14] = 1 + number % classes
    labels[50:53, 30:40] = 1
    tifffile.imwrite(tmp_path / "a.tif", labels)
    records = list(label_records(tmp_path, [1], ["a.png"], [[60, 60]]))
    assert len(records) == classes
    assert ("2 or more separate parts a label" in caplog.text) == said


def test_masks_of_slides_wider_than_16_bits_keep_their_pixels() -> None:
    height, width = 20_000, 100_000
    mask = np.ones((3, 70_000), np.bool_)
    mask[1, 5] = False
    [rle] = rles_from_crops([(mask, 20_000, height - 3)], height, width)
    assert rle_area(rle) == mask.sum()
    crop, x, y = crop_from_rle(rle)
    assert (x, y) == (20_000, height - 3)
    assert np.array_equal(crop, mask)
