"""Where images and truth come from: one module per source, all ending in the same files.

A source's module has `collect(params, folder)`: fetch what is not in `folder` yet and return the truth and a function
that reads the pixels of one of its images.
"""

from __future__ import annotations

import importlib
import logging
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from monolayer.coco.rle import Image, InputError, Truth, write_json
from monolayer.params.data import Dataset
from monolayer.progress import track

Read = Callable[[Image], NDArray[np.uint8]]  # the pixels (H, W) of an image of the truth; called from several threads

THREADS = 2  # decoding and encoding let go of the interpreter; the result doesn't depend on it


class Source(Protocol):
    """The function of a source's module."""

    def collect(self, params: Any, folder: Path) -> tuple[Truth, Read]:
        """Fetch into `folder`, which outlives a killed run; give the truth and how to read its images."""


def source_of(params: Dataset) -> Source:
    return cast(Source, importlib.import_module(f"monolayer.data.sources.{params.source}"))


def download(params: Dataset, images: Path, annotations: Path) -> None:
    """Fetch a dataset and normalise it: 8-bit grey PNGs in the folder `images`, COCO truth in `annotations`.

    Archives and partial downloads stay in the folder `download` beside the annotations.
    """
    source = source_of(params)
    folder = annotations.parent / "download"
    folder.mkdir(parents=True, exist_ok=True)
    truth, read = source.collect(params, folder)
    with whole_folder(images) as partial:
        write_images(truth["images"], read, partial)
    write_json(annotations, truth)
    logging.info("%d images and %d cells from %s", len(truth["images"]), len(truth["annotations"]), params.source)
    for finding in truth.get("findings", []):
        logging.warning("%d × %s, e.g. %s", finding["count"], finding["meaning"], finding["examples"][0])


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside `path` that becomes `path` once the block has ended well."""
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what would not fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{what} needs {needed / 1e9:.2f} GB in {folder}, where {free / 1e9:.2f} GB are free; make space"
        )


def write_images(images: list[Image], read: Read, folder: Path) -> None:
    """Write each file once, a few in memory at a time, and note in each image its fingerprint."""
    from PIL import Image as PillowImage

    from monolayer.data.images import fingerprint

    def write(image: Image) -> str:
        pixels = read(image)
        if pixels.shape != (image["height"], image["width"]):
            raise InputError(
                f"{image['file_name']} is {pixels.shape[1]}x{pixels.shape[0]} px, its annotations say "
                f"{image['width']}x{image['height']}; masks and image don't belong together"
            )
        # level 6 would make files a tenth smaller in three times the time
        PillowImage.fromarray(pixels).save(folder / image["file_name"], compress_level=1)
        return fingerprint(pixels)

    files = {image["file_name"]: image for image in images}
    check_disk(folder, sum(image["height"] * image["width"] for image in files.values()), "the folder of images")
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            hashes = track(pool.map(write, files.values()), len(files), "convert images")
            content = dict(zip(files, hashes, strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for image in images:
        image["content"] = content[image["file_name"]]
