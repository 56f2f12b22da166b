"""Corrections on their way back: pixel for pixel, every save whole and kept, one after the other, in one folder."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
from fastapi import HTTPException
from faults import contents, hold
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from monolayer.coco.labels import label_image
from monolayer.coco.records import by_image
from monolayer.data.dataset import read_image
from monolayer.data.download import download
from monolayer.service import corrections
from monolayer.service.state import Settings
from monolayer.service.uploads import Limits
from numpy.typing import NDArray
from service_fixtures import field, masks_source, model, png, running, tiff

Labels = NDArray[np.int32]
LIMITS = Limits(bytes=3_000_000, pixels=1_000_000, frames=10)


def runs(labels: NDArray[Any]) -> bytes:
    """Written by hand: what the page sends."""
    found: list[int] = []
    for value in labels.ravel().tolist():
        if found and found[-2] == value:
            found[-1] += 1
        else:
            found += [value, 1]
    return json.dumps({"height": labels.shape[0], "width": labels.shape[1], "runs": found}).encode()


def cells(*corners: tuple[int, int], size: int = 7) -> Labels:
    labels = np.zeros((120, 160), np.int32)
    for number, (y, x) in enumerate(corners, 1):
        labels[y : y + size, x : x + size] = number
    return labels


ONE, TWO, THREE = cells((3, 5)), cells((3, 5), (40, 60)), cells((3, 5), (40, 60), (90, 100))
IMAGE = png(field(3))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("corrected")
    with running([model()], Settings(limits=LIMITS, corrections=folder)) as url:
        yield url, folder


@pytest.fixture
def place(service: tuple[str, Path]) -> tuple[str, Path]:
    """A service whose folder is empty."""
    for path in service[1].iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return service


def send(url: str, labels: NDArray[Any], version: int, image: bytes = IMAGE, name: str = "a.png", **query: Any) -> Any:
    files = {"image": (name, image), "labels": ("labels.json", runs(labels))}
    return httpx.post(f"{url}/corrections", files=files, params={"version": version} | query, timeout=30)


def newest(url: str, image: bytes = IMAGE, name: str = "a.png", **query: Any) -> Any:
    return httpx.post(f"{url}/corrections/newest", files={"image": (name, image)}, params=query, timeout=30)


def told(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    detail = str(answer.json()["detail"])
    assert len(detail.splitlines()) == 1
    return detail


def read_back(folder: Path, tmp_path: Path) -> dict[str, tuple[NDArray[np.uint8], Labels]]:
    """What `source: masks` makes of the folder: each image and its label image."""
    download(masks_source(folder), tmp_path / "images", tmp_path / "truth.json")
    truth = json.loads((tmp_path / "truth.json").read_text())
    known = by_image(truth["annotations"])
    return {
        image["file_name"]: (
            read_image(tmp_path / "images" / image["file_name"]),
            label_image((one["segmentation"] for one in known[image["id"]]), image["height"], image["width"]),
        )
        for image in truth["images"]
    }


def test_without_a_folder_there_are_no_corrections() -> None:
    with running([model()], Settings()) as url:
        for answer in (httpx.get(f"{url}/corrections"), newest(url), send(url, ONE, 0)):
            assert told(answer, 404) == "this service keeps no corrections; start it with --corrections FOLDER"


def test_a_save_is_read_as_truth_pixel_for_pixel(place: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = place
    assert newest(url).json() == {"name": "a", "version": 0, "labels": None}
    assert contents(folder).keys() <= {".lock"}
    assert send(url, TWO, 0).json() == {"name": "a", "version": 1, "labels": None}
    assert set(contents(folder)) == {".lock", "images/a.png", "masks/a.tif", "versions/a.0001.tif"}
    assert (folder / "images/a.png").read_bytes() == IMAGE
    assert np.array_equal(tifffile.imread(folder / "masks/a.tif"), TWO)
    [(image, labels)] = read_back(folder, tmp_path).values()
    assert np.array_equal(image, field(3))
    assert np.array_equal(labels, TWO)
    assert newest(url).json() == {"name": "a", "version": 1, "labels": json.loads(runs(TWO))}
    assert httpx.get(f"{url}/corrections").json() == [{"name": "a", "version": 1, "labels": None}]


def test_each_save_is_kept(place: tuple[str, Path]) -> None:
    url, folder = place
    for number, labels in enumerate((ONE, TWO, THREE, ONE)):
        assert send(url, labels, number).json()["version"] == number + 1
    kept = [tifffile.imread(folder / f"versions/a.{number:04d}.tif") for number in (1, 2, 3, 4)]
    assert all(map(np.array_equal, kept, (ONE, TWO, THREE, ONE)))
    assert np.array_equal(tifffile.imread(folder / "masks/a.tif"), ONE)


def test_an_older_one_is_refused_and_changes_nothing(place: tuple[str, Path]) -> None:
    url, folder = place
    send(url, ONE, 0)
    send(url, TWO, 1)
    before = contents(folder)
    for began in (0, 1, 7):
        detail = told(send(url, THREE, began), 409)
        assert detail.startswith(f"a.png is at version 2 by now, and yours began from {began}: load the newer one")
    assert contents(folder) == before
    assert send(url, THREE, 2).json()["version"] == 3


def test_who_sends_again_what_was_saved_gets_its_number(place: tuple[str, Path]) -> None:
    """As where the answer was lost; it is no version of its own."""
    url, folder = place
    assert [send(url, ONE, 0).json()["version"] for _ in range(2)] == [1, 1]
    assert len(list((folder / "versions").iterdir())) == 1


def test_of_many_at_once_one_is_first(place: tuple[str, Path]) -> None:
    url, folder = place
    given = [cells((y, 5)) for y in range(3, 103, 10)]
    with ThreadPoolExecutor(len(given)) as pool:
        answers = list(pool.map(lambda labels: send(url, labels, 0), given))
    assert sorted(answer.status_code for answer in answers) == [200] + 9 * [409]
    first = next(n for n, answer in enumerate(answers) if answer.status_code == 200)
    assert np.array_equal(tifffile.imread(folder / "masks/a.tif"), given[first])
    assert len(list((folder / "versions").iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../../escaped.png", "escaped"),
        ("/etc/passwd.png", "passwd"),
        ("..\\..\\escaped.png", "%2E.%5C..%5Cescaped"),
        ("..", "%2E"),
        (".hidden.png", "%2Ehidden"),
        (" .png", "%"),
        ("well:A1 *.png", "well%3AA1 %2A"),
        ("scan.ome.tif", "scan"),
        ("tücke.png", "tücke"),
        ("no suffix", "no suffix"),
    ],
)
def test_no_name_leaves_the_folder(place: tuple[str, Path], tmp_path: Path, name: str, key: str) -> None:
    """And under each, image and masks find each other."""
    url, folder = place
    outside = sorted(folder.parent.rglob("*"))
    assert send(url, ONE, 0, name=name).json()["name"] == key
    files = {f"images/{key}.png", f"masks/{key}.tif", f"versions/{key}.0001.tif", ".lock"}
    assert set(contents(folder)) == files
    assert [path for path in sorted(folder.parent.rglob("*")) if folder not in path.parents] == [
        path for path in outside if folder not in path.parents
    ]
    assert [np.array_equal(labels, ONE) for _, labels in read_back(folder, tmp_path).values()] == [True]
    assert newest(url, name=name).json()["version"] == 1


@pytest.mark.parametrize("name", ["a_masks.png", "a_ignore.png", "a_seg.tif"])
def test_a_name_that_means_masks_is_refused(place: tuple[str, Path], name: str) -> None:
    assert "as masks of another image do; rename it" in told(send(place[0], ONE, 0, name=name), 422)
    assert "shorten the name" in told(send(place[0], ONE, 0, name=f"{'a' * 190}.png"), 422)
    assert set(contents(place[1])) <= {".lock"}


def test_an_image_is_never_exchanged(place: tuple[str, Path]) -> None:
    url, folder = place
    send(url, ONE, 0)
    before = contents(folder)
    other = png(field(5))
    for answer in (send(url, TWO, 1, other), newest(url, other)):
        assert told(answer, 409) == "images/a.png is another image of the same name; rename yours"
    for name, image in (("a.tif", tiff(field(3))), ("A.png", IMAGE)):
        assert told(send(url, TWO, 0, image, name), 409).startswith("images/a.png has the name of ")
    assert contents(folder) == before


def test_masks_of_another_program_become_a_version(place: tuple[str, Path]) -> None:
    """Who corrected in napari meanwhile finds it in the page; and the page does not write over it."""
    url, folder = place
    send(url, ONE, 0)
    tifffile.imwrite(folder / "masks/a.tif", TWO.astype(np.uint8))
    assert "is at version 2 by now" in told(send(url, THREE, 1), 409)
    found = newest(url).json()
    assert (found["version"], found["labels"]) == (2, json.loads(runs(TWO)))
    send(url, THREE, 2)
    assert np.array_equal(tifffile.imread(folder / "versions/a.0002.tif"), TWO)
    shutil.copy(folder / "masks/a.tif", folder / "masks/a_cp_masks.tif")
    assert "masks/a_cp_masks.tif has masks of a.png already" in told(send(url, ONE, 3), 409)


def test_masks_of_another_size_are_named(place: tuple[str, Path]) -> None:
    url, folder = place
    send(url, ONE, 0)
    tifffile.imwrite(folder / "masks/a.tif", TWO[:100].astype(np.uint8))
    assert told(newest(url), 422) == "masks/a.tif is 160x100 px, its image 160x120 px; move it away"


def test_a_frame_of_a_series_is_an_image_of_its_own(place: tuple[str, Path], tmp_path: Path) -> None:
    url, folder = place
    series = np.stack([field(n).astype(np.uint16) * 200 for n in (2, 4, 6)])
    for frame, labels in ((0, ONE), (2, THREE)):
        assert send(url, labels, 0, tiff(series), "s.tif", frame=frame).json()["name"] == f"s.t00{frame}"
    assert np.array_equal(tifffile.imread(folder / "images/s.t002.tif"), series[2])
    found = read_back(folder, tmp_path)
    assert {name: len(np.unique(labels)) - 1 for name, (_, labels) in found.items()} == {
        "s.t000.png": 1,
        "s.t002.png": 3,
    }
    assert newest(url, tiff(series), "s.tif", frame=2).json()["version"] == 1
    assert newest(url, tiff(series), "s.tif", frame=1).json()["version"] == 0
    assert "s.tif has 3 frames, and frame is 3" in told(newest(url, tiff(series), "s.tif", frame=3), 422)
    recompressed = tiff(series, compression="zlib")  # the same picture
    assert send(url, ONE, 1, recompressed, "s.tif", frame=2).json()["version"] == 2


@pytest.mark.parametrize(("most", "dtype"), [(65_535, np.uint16), (65_536, np.uint32), (2**31 - 1, np.uint32)])
def test_numbers_are_those_that_were_sent(place: tuple[str, Path], most: int, dtype: type) -> None:
    url, folder = place
    labels = np.where(THREE == 3, most, THREE)
    send(url, labels, 0)
    written = tifffile.imread(folder / "masks/a.tif")
    assert written.dtype == dtype
    assert np.array_equal(written, labels)


def test_an_image_without_cells_can_be_saved(place: tuple[str, Path]) -> None:
    assert send(place[0], np.zeros((120, 160), int), 0).status_code == 200
    assert newest(place[0]).json()["labels"] == {"height": 120, "width": 160, "runs": [0, 120 * 160]}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (b"", "labels are no run lengths"),
        (b"[]", "labels are no run lengths"),
        (b'{"height": 120, "width": 160}', "labels are no run lengths: runs"),
        (b'{"height": 120, "width": 160, "runs": [0, 19200], "more": 1}', "labels are no run lengths: more"),
        (b'{"height": 120, "width": 160, "runs": [-1, 19200]}', "labels are no run lengths"),
        (b'{"height": 120, "width": 160, "runs": [0.5, 19200]}', "labels are no run lengths"),
        (b'{"height": 120, "width": 160, "runs": [2147483648, 19200]}', "labels are no run lengths"),
        (b'{"height": 120, "width": 160, "runs": [0, 19199]}', "pairs of a number and how many pixels have it, 19,200"),
        (b'{"height": 120, "width": 160, "runs": [0, 19200, 1]}', "pairs of a number and how many pixels have it"),
        (b'{"height": 120, "width": 160, "runs": [0, 19200, 1, 0]}', "pairs of a number and how many pixels have it"),
        (b'{"height": 120, "width": 160, "runs": []}', "pairs of a number and how many pixels have it"),
        (b'{"height": 160, "width": 120, "runs": [0, 19200]}', "labels are 120x160 px, their image 160x120 px"),
    ],
)
def test_labels_that_can_not_be_are_refused(place: tuple[str, Path], labels: bytes, reason: str) -> None:
    url, folder = place
    files = {"image": ("a.png", IMAGE), "labels": ("labels.json", labels)}
    assert reason in told(httpx.post(f"{url}/corrections", files=files, params={"version": 0}), 422)
    assert set(contents(folder)) <= {".lock"}


def test_what_lacks_is_named(place: tuple[str, Path]) -> None:
    url, _ = place
    image = {"image": ("a.png", IMAGE)}
    assert "no file called labels" in told(httpx.post(f"{url}/corrections", files=image, params={"version": 0}), 422)
    assert "version" in told(httpx.post(f"{url}/corrections", files=image), 422)
    assert "versoin" in told(send(url, ONE, 0, versoin=1), 422)
    assert "no PNG, JPEG or TIFF" in told(send(url, ONE, 0, b"text"), 415)


def test_the_door_is_the_one_of_segment(tmp_path: Path) -> None:
    """Key, other sites' pages, other names, bytes and pixels: nothing of theirs is stored."""
    limits = Limits(bytes=200_000, pixels=30_000)
    with running([model()], Settings(limits=limits, key="secret", corrections=tmp_path)) as url:
        key = {"X-API-Key": "secret"}
        for headers, status in (
            ({}, 401),
            ({"X-API-Key": "guess"}, 401),
            (key | {"Origin": "http://evil.example"}, 403),
            (key | {"Sec-Fetch-Site": "cross-site"}, 403),
            (key | {"Host": "evil.example"}, 421),
        ):
            files = {"image": ("a.png", IMAGE), "labels": ("labels.json", runs(ONE))}
            for path in ("corrections", "corrections/newest"):
                answer = httpx.post(f"{url}/{path}", files=files, params={"version": 0}, headers=headers)
                assert answer.status_code == status, (path, headers)
            assert httpx.get(f"{url}/corrections", headers=headers).status_code == status
        for image, said in ((field(3, (200, 200)), "pixels"), (np.random.default_rng(0).bytes(300_000), "bytes")):
            content = image if isinstance(image, bytes) else png(image)
            files = {"image": ("a.png", content), "labels": ("labels.json", runs(ONE))}
            answer = httpx.post(f"{url}/corrections", files=files, params={"version": 0}, headers=key)
            assert said in told(answer, 413)
        assert list(tmp_path.iterdir()) == []


@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)))
def test_run_lengths_give_the_label_image_back(labels: Labels) -> None:
    found = corrections.runs_of(labels)
    assert found.model_dump() == json.loads(runs(labels))
    assert np.array_equal(corrections.labels_of(found.model_dump_json().encode(), labels.shape), labels)


def test_any_fault_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two saves, broken at each of their writes by a kill and by a full disk, end as unbroken ones do."""
    image = corrections.corrected_image(IMAGE, "a.png", 0, LIMITS)

    def run(folder: Path) -> None:
        try:
            if corrections.newest(folder, image)[0] == 0:
                corrections.save(folder, image, ONE, 0)
            assert corrections.save(folder, image, TWO, 1) == 2
        except HTTPException as error:
            raise OSError(error.detail) from error

    assert hold(run, tmp_path, monkeypatch) > 10


def test_a_full_disk_is_said_and_nothing_is_saved(place: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, folder = place
    send(url, ONE, 0)
    before = contents(folder)

    def full(path: Path, content: bytes) -> None:
        if path.parent.name == "masks":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(corrections, "write_bytes", full)
        assert told(send(url, TWO, 1), 507).startswith(
            "nothing was saved (No space left on device); keep the page open"
        )
    assert contents(folder) == before
    assert send(url, TWO, 1).json()["version"] == 2


def test_a_folder_that_is_gone_for_good_is_said(tmp_path: Path) -> None:
    (tmp_path / "my").write_text("a file took its place")
    with running([model()], Settings(corrections=tmp_path / "my")) as url:
        for answer in (newest(url), send(url, ONE, 0)):
            assert told(answer, 507).startswith("nothing was saved (File exists)")


@pytest.mark.parametrize("put", [shutil.copy, shutil.copy2, os.replace])
@pytest.mark.parametrize("number", [1, 2])
def test_an_earlier_version_that_is_put_back_is_a_new_one(
    place: tuple[str, Path], tmp_path: Path, put: Callable[[Path, Path], object], number: int
) -> None:
    """Who puts it there means it, whether the copy has the date of today or, as by `cp -p`, that of the version."""
    url, folder = place
    for began, labels in enumerate((ONE, TWO, THREE)):
        send(url, labels, began)
    shutil.copy2(folder / f"versions/a.{number:04d}.tif", tmp_path / "copy.tif")
    put(tmp_path / "copy.tif", folder / "masks/a.tif")
    found = newest(url).json()
    assert (found["version"], found["labels"]) == (4, json.loads(runs((ONE, TWO)[number - 1])))
    assert np.array_equal(tifffile.imread(folder / "versions/a.0003.tif"), THREE)
    assert newest(url).json()["version"] == 4, "looking again changes nothing"


def test_a_save_that_was_cut_off_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between masks and version, whatever the files' dates: also where the folder was copied since."""
    image = corrections.corrected_image(IMAGE, "a.png", 0, LIMITS)
    corrections.save(tmp_path / "my", image, ONE, 0)

    def killed(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        if path.parent.name == "masks":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(corrections, "write_bytes", killed)
        with pytest.raises(KeyboardInterrupt):
            corrections.save(tmp_path / "my", image, TWO, 1)
    shutil.copytree(tmp_path / "my", tmp_path / "copy")
    for folder in (tmp_path / "my", tmp_path / "copy"):
        os.utime(folder / "masks/a.tif", (0, 0))
        number, labels = corrections.newest(folder, image)
        assert number == 2
        assert labels is not None
        assert np.array_equal(labels, TWO)


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (np.full((120, 160), 0.5, np.float32), "masks/a.tif holds values that are no cell numbers"),
        (np.full((120, 160), 1 << 40, np.uint64), "masks/a.tif has a cell 1,099,511,627,776"),
        (TWO[:100].astype(np.uint8), "masks/a.tif is 160x100 px"),
    ],
)
def test_masks_that_can_not_be_used_become_no_version(place: tuple[str, Path], masks: Labels, said: str) -> None:
    """They would come back from there for ever."""
    url, folder = place
    send(url, ONE, 0)
    tifffile.imwrite(folder / "masks/a.tif", masks)
    for answer in (newest(url), send(url, TWO, 1)):
        assert said in told(answer, 422)
    (folder / "masks/a.tif").unlink()
    assert newest(url).json() == {"name": "a", "version": 1, "labels": json.loads(runs(ONE))}


def test_what_the_disk_refuses_to_read_is_told_too(place: tuple[str, Path]) -> None:
    """As a file that is another user's; here a folder of the image's name."""
    url, folder = place
    (folder / "images/a.png").mkdir(parents=True)
    for answer in (send(url, ONE, 0), newest(url)):
        assert told(answer, 507).startswith("nothing was saved (Is a directory); keep the page open")
