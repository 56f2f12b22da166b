"""The annotations that the study few_images.yaml reads: those images of two data sets that are annotated, and no more.

    python tests/few_images.py --data ../shared/data --output ../few_images

psc.json: of PhC-C2DL-PSC the first eight frames, and from the seventeenth on every third; nobody looked at the frame's
edge, which counts neither way. shsy5y.json: of the Sartorius competition 14 images of shsy5y, each of a field of its
own. A folder of images may hold others: what the file does not list is left out.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from monolayer.coco.rle import annotation, mask_from_rle, rle_from_mask
from monolayer.files import write_json

IMAGES = 14  # of shsy5y


def psc(given: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The images that are annotated, and their cells; those in the edge alone go, the rest of the edge is a crowd."""
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
    return images, found


def shsy5y(given: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """The first images of the line, and their cells."""
    [line] = [one["id"] for one in given["categories"] if one["name"] == "shsy5y"]
    of_line = {cell["image_id"] for cell in given["annotations"] if cell["category_id"] == line}
    images = [image for image in given["images"] if image["id"] in of_line][:IMAGES]
    ids = {image["id"] for image in images}
    return images, [cell for cell in given["annotations"] if cell["image_id"] in ids]


PACKS: dict[str, tuple[str, Callable[[dict[str, Any]], tuple[list[Any], list[Any]]]]] = {
    "psc": ("psc", psc),
    "shsy5y": ("sartorius", shsy5y),
}


def write(data: Path, name: str, output: Path) -> None:
    """Write the annotations of a row of the study to a file."""
    folder, chosen = PACKS[name]
    given = json.loads((data / folder / "annotations.json").read_text())
    images, cells = chosen(given)
    write_json(output, {"images": images, "annotations": cells, "categories": given["categories"]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with psc and sartorius")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    args = parser.parse_args()
    for name in PACKS:
        write(args.data, name, args.output / f"{name}.json")


if __name__ == "__main__":
    main()
