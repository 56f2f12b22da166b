"""The annotations that few_images.yaml and left_out_*.yaml read: those images that are annotated, and no more.

    python tests/few_images.py --data ../shared/data --output ../few_images

psc.json: of PhC-C2DL-PSC the first eight frames, and from the seventeenth on every third; nobody looked at the frame's
edge, which counts neither way. shsy5y.json: of the Sartorius competition 14 images of shsy5y, each of a field of its
own. cort.json: of the same, an image of each of 38 fields of cort. a172.json: of LIVECell's A172 six images of well A7
and two of D7, and those of B7 and C7. A folder of images may hold others: what the file does not list is left out.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.files import write_json

IMAGES = 14  # of shsy5y
FIELDS = 38  # of cort
A172 = ("A7_1_00d00h00m_", "A7_1_00d04h00m_1", "A7_1_00d04h00m_2", "D7_1_00d00h00m_1", "D7_1_00d00h00m_2", "B7_", "C7_")


def psc(data: Path) -> dict[str, Any]:
    """The images that are annotated, and their cells; those in the edge alone go, the rest of the edge is a crowd."""
    given = json.loads((data / "psc/annotations.json").read_text())
    left, top, right, bottom = given["info"]["crop_xyxy"]
    images, found = [*given["images"][:8], *given["images"][16::3]], list[Any]()
    for image in images:
        edge = np.ones((image["height"], image["width"]), bool)
        edge[top:bottom, left:right] = False
        nobodys = edge.copy()
        for cell in (one for one in given["annotations"] if one["image_id"] == image["id"]):
            mask = mask_from_rle(cell["segmentation"])
            if not edge[mask].all():
                found.append(cell)
                nobodys &= ~mask
        number = 1 + max(cell["id"] for cell in given["annotations"]) + image["id"]
        found.append({**annotation(number, image["id"], rle_from_mask(nobodys)), "iscrowd": 1})
    return {"images": images, "annotations": found, "categories": given["categories"]}


def _sartorius(data: Path, line: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The images of a line and their cells, and the field of each image."""
    given = json.loads((data / "sartorius/annotations.json").read_text())
    with (data / "sartorius/fields.csv").open(newline="") as file:
        fields = {f"{row['id']}.png": row["field_group"] for row in csv.DictReader(file) if row["cell_type"] == line}
    return _of(given, [image for image in given["images"] if image["file_name"] in fields]), fields


def _of(given: dict[str, Any], images: list[Any]) -> dict[str, Any]:
    ids = {image["id"] for image in images}
    cells = [cell for cell in given["annotations"] if cell["image_id"] in ids]
    return {"images": images, "annotations": cells, "categories": given["categories"]}


def shsy5y(data: Path) -> dict[str, Any]:
    """The first images of the line."""
    given, _ = _sartorius(data, "shsy5y")
    return _of(given, given["images"][:IMAGES])


def cort(data: Path) -> dict[str, Any]:
    """The first image of each of the first fields."""
    given, fields = _sartorius(data, "cort")
    first: dict[str, Any] = {}
    for image in given["images"]:
        first.setdefault(fields[image["file_name"]], image)
    return _of(given, list(first.values())[:FIELDS])


def a172(data: Path) -> dict[str, Any]:
    """The images of these names, of all three files of annotations; a name begins with its folder."""
    pack = data / "livecell_sample"
    folder = {path.name: path.relative_to(pack / "images").as_posix() for path in pack.glob("images/*/A172/*.tif")}
    images, cells = list[Any](), list[Any]()
    categories = list[Any]()
    for split in ("train", "val", "test"):
        given = json.loads((pack / f"annotations/LIVECell/livecell_coco_{split}.json").read_text())
        mine = [one for one in given["images"] if one["file_name"].removeprefix("A172_Phase_").startswith(A172)]
        number = {image["id"]: len(images) + place for place, image in enumerate(mine, start=1)}
        images += [{**image, "id": number[image["id"]], "file_name": folder[image["file_name"]]} for image in mine]
        own = [cell for cell in given["annotations"] if cell["image_id"] in number]
        cells += [
            {**cell, "id": len(cells) + place, "image_id": number[cell["image_id"]]} for place, cell in enumerate(own)
        ]
        categories = given["categories"]
    return {"images": images, "annotations": cells, "categories": categories}


PACKS: dict[str, Callable[[Path], dict[str, Any]]] = {"psc": psc, "shsy5y": shsy5y, "cort": cort, "a172": a172}


def write(data: Path, name: str, output: Path) -> None:
    """Write the annotations of a row of the study to a file."""
    write_json(output, PACKS[name](data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with psc, sartorius and livecell_sample")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    for name in PACKS:
        write(args.data, name, args.output / f"{name}.json")


if __name__ == "__main__":
    main()
