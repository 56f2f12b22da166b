"""What all sources share: whole folders or none, and a hash of each picture."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from culture import Culture
from monolayer.coco.records import Image
from monolayer.data import download
from monolayer.files import InputError, whole_folder
from monolayer.params.data import CocoSource
from PIL import Image as PillowImage


def image(name: str, number: int = 1) -> Image:
    return Image(id=number, file_name=name, width=6, height=4, cell_line="x", well="w", timestamp=None, split=None)


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "images"
    with whole_folder(target) as folder:
        (folder / "new").write_text("new")
        assert not target.exists()
    with whole_folder(target) as folder:
        (folder / "newer").write_text("newer")
        assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "newer"]


def test_a_failed_block_leaves_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "images"
    target.mkdir()
    (target / "old").write_text("old")

    def fail() -> None:
        with whole_folder(target) as folder:
            (folder / "half").write_text("half")
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        fail()
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "old"]


def test_leftovers_of_a_killed_run_are_cleared(tmp_path: Path) -> None:
    (tmp_path / ".images.partial").mkdir()
    (tmp_path / ".images.partial" / "half").write_text("half")
    with whole_folder(tmp_path / "images"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["images"]


def test_equal_pictures_have_equal_hashes_and_shared_files_are_written_once(tmp_path: Path) -> None:
    images = [image("a.png", 1), image("b.png", 2), image("c.png", 3), image("a.png", 4)]
    asked: list[str] = []

    def read(one: Image) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        asked.append(one["file_name"])
        return np.full((4, 6), 9 if one["file_name"] == "c.png" else 5, np.uint8)

    download.write_images(images, read, tmp_path)
    a, b, c, again = (one["content"] for one in images)
    assert a == b == again != c
    assert sorted(asked) == ["a.png", "b.png", "c.png"]
    with PillowImage.open(tmp_path / "c.png") as stored:
        assert (np.asarray(stored) == 9).all()


def test_the_first_bad_image_stops(tmp_path: Path) -> None:
    images = [image(f"{number}.png", number) for number in range(50)]
    with pytest.raises(InputError, match=r"^0\.png is 5x4 px, its annotations say 6x4"):
        download.write_images(images, lambda one: np.zeros((4, 5), np.uint8), tmp_path)


def test_images_of_others_are_not_deleted(culture: Culture, tmp_path: Path) -> None:
    source = CocoSource.model_validate(
        {"source": "coco", "images": str(culture.images), "annotations": str(culture.annotations)}
        | {"cell_line": "category", "well": None, "time": None, "percentiles": {"low": 1, "high": 99}}
        | {"max_images": None}
    )
    download.download(source, tmp_path / "images", tmp_path / "annotations.json")
    few = source.model_copy(update={"max_images": 4})
    download.download(few, tmp_path / "images", tmp_path / "annotations.json")
    assert len(list((tmp_path / "images").iterdir())) == 4
    (tmp_path / "images" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"images holds mine.jpg, which .*annotations.json does not list and which"):
        download.download(source, tmp_path / "images", tmp_path / "annotations.json")
    assert (tmp_path / "images" / "mine.jpg").read_bytes() == b"mine"


def test_the_command_line_says_what_is_wrong_in_one_line(culture: Culture, tmp_path: Path) -> None:
    params = (
        f'{{"source": "coco", "images": "{culture.images}", "annotations": "{tmp_path}/none.json", "well": null,'
        '"time": null, "cell_line": "category", "percentiles": {"low": 0.5, "high": 99.8}, "max_images": null}'
    )
    paths = ["--images", str(tmp_path / "images"), "--annotations", str(tmp_path / "annotations.json")]
    command = [sys.executable, "-m", "monolayer", "download", *paths, "--params", params]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("monolayer download: ")
    assert "none.json can't be read (No such file or directory); check the path" in done.stderr
    assert done.stderr.count("\n") == 1
