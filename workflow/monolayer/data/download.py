"""Where images and truth come from: one module per source, all ending in the same files.

A source's module has `collect(params, folder)`: fetch what is not in `folder` yet and return the truth and a function
that reads the pixels of one of its images.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from monolayer.coco.findings import log_findings
from monolayer.coco.records import Image, cells_in
from monolayer.data.dataset import check_replaced
from monolayer.data.sources import Read, Scaled, source_of
from monolayer.files import InputError, check_disk, whole_folder, write_json
from monolayer.params.data import Dataset
from monolayer.progress import track

THREADS = 2  # decoding and encoding let go of the interpreter; the result doesn't depend on it


def download(params: Dataset, images: Path, annotations: Path) -> None:
    """Fetch a dataset and normalise it: 8-bit grey PNGs in the folder `images`, COCO truth in `annotations`.

    Images of an earlier download are replaced; others in their folder are an error. Archives and partial downloads
    stay in the folder `download` beside the annotations.
    """
    check_replaced(images, annotations)
    source = source_of(params)
    folder = annotations.parent / "download"
    folder.mkdir(parents=True, exist_ok=True)
    truth, read = source.collect(params, folder)
    with whole_folder(images) as partial:
        write_images(truth["images"], read, partial)
    for region in (one for one in truth["annotations"] if one["iscrowd"]):
        region["ignore"] = 1
    write_json(annotations, truth)
    cells = len(cells_in(truth["annotations"]))
    logging.info("%d images and %d cells from %s", len(truth["images"]), cells, params.source)
    log_findings(truth.get("findings", []))


def write_images(images: list[Image], read: Read, folder: Path) -> None:
    """Write each file once, a few in memory at a time, and note in each image its fingerprint.

    The grey values of deeper files lie beside the 8 bits, in a TIFF that the image's record names."""
    import numpy as np
    from PIL import Image as PillowImage
    from tifffile import imwrite as write_tiff

    from monolayer.data.images import fingerprint

    def write(image: Image) -> str:
        found = read(image)
        pixels = found.pixels if isinstance(found, Scaled) else found
        if pixels.shape != (image["height"], image["width"]):
            raise InputError(
                f"{image['file_name']} is {pixels.shape[1]}x{pixels.shape[0]} px, its annotations say "
                f"{image['width']}x{image['height']}; masks and image don't belong together"
            )
        if isinstance(found, Scaled) and found.own.dtype != np.uint8:
            image["values"] = Path(image["file_name"]).with_suffix(".tif").name
            write_tiff(folder / image["values"], found.own, compression="zlib", photometric="minisblack")
        # level 6 would make files a tenth smaller in three times the time
        PillowImage.fromarray(pixels).save(folder / image["file_name"], compress_level=1)
        return fingerprint(pixels)

    files = {image["file_name"]: image for image in images}
    folded: dict[str, str] = {}
    for name in files:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            raise InputError(f"{other} and {name} differ in case only: many disks hold one of them; rename one")
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
        if values := files[image["file_name"]].get("values"):
            image["values"] = values
