"""What is wrong with images and truth, before anything learns from them; what makes scores meaningless is an error."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from monolayer.coco import rle
from monolayer.coco.findings import Findings
from monolayer.coco.io import read_truth
from monolayer.coco.overlap import confluence, overlapping_pairs
from monolayer.coco.records import Annotation, Finding, Image, Truth, by_image, cells_in
from monolayer.data.dataset import read_image
from monolayer.data.images import fingerprint
from monolayer.data.near_copies import near_copies, together
from monolayer.files import InputError, write_json
from monolayer.params.data import AuditParams
from monolayer.progress import track


def audit(images: Path, annotations: Path, params: AuditParams, output: Path, workers: int = 1) -> None:
    """Write findings, counts and near-copies as JSON; findings that stop the run are an InputError instead."""
    truth = read_truth(annotations)
    findings = Findings()
    check_lists(truth, findings)
    content = dict(read_all(truth["images"], images, findings))
    check_splits(truth["images"], content, findings)
    pictures = {content[image["file_name"]]: image for image in truth["images"] if image["file_name"] in content}
    fields = check_fields(list(pictures.values()), images, params, findings, workers)
    cells = by_image(truth["annotations"])
    frames = track(truth["images"], len(truth["images"]), "check cells")
    rows = [measure(image, cells[image["id"]], params, findings) for image in frames]
    every = findings.records() + truth.get("findings", [])
    faults: list[str] = []
    for finding in (finding for finding in every if finding["severity"] == "stop"):
        faults += [f"\n  {finding['count']} × {finding['meaning']}", *(f"\n    {text}" for text in finding["examples"])]
    if faults:
        raise InputError("these data can't give meaningful scores:" + "".join(faults))
    for finding in every:
        logging.warning("%d × %s", finding["count"], finding["meaning"])
    counts = {"summary": summarise(rows, every), "findings": every, "lines": by_line(rows)}
    write_json(output, {**counts, "near_copies": fields, "images": rows})


def check_lists(truth: Truth, findings: Findings) -> None:
    """Ids that are used twice or lead nowhere, empty lists, files listed twice within a split."""
    if not truth["images"]:
        findings.add("no_images", "images is empty")
    if not truth["annotations"]:
        findings.add("no_annotations", "annotations is empty")
    ids = Counter(image["id"] for image in truth["images"])
    for number in _repeated(ids):
        findings.add("duplicate_image_id", f"image id {number}")
    for number in _repeated(Counter(annotation["id"] for annotation in truth["annotations"])):
        findings.add("duplicate_annotation_id", f"annotation id {number}")
    for annotation in truth["annotations"]:
        if annotation["image_id"] not in ids:
            findings.add("dangling_annotation", f"annotation {annotation['id']} of image {annotation['image_id']}")
    for name, split in _repeated(Counter((image["file_name"], image["split"]) for image in truth["images"])):
        findings.add("same_file", f"{name} in {split}" if split else name)


def _repeated(counts: Counter[Any]) -> list[Any]:
    return [key for key, count in counts.items() if count > 1]


def check_splits(images: list[Image], content: dict[str, str], findings: Findings) -> None:
    """Pictures, by name or by pixels, and wells in several splits; cell lines that a fixed split lacks.

    What the source left open is in no split: it will be dealt, and go where fixed images of its picture or well are.
    """
    pictures: dict[str, list[Image]] = defaultdict(list)
    wells: dict[tuple[str, str], set[str]] = defaultdict(set)
    lines: dict[str, set[str | None]] = defaultdict(set)
    for image in images:
        pictures[content.get(image["file_name"], image["file_name"])].append(image)
        wells[image["cell_line"], image["well"]].update([image["split"]] if image["split"] else [])
        lines[image["cell_line"]].add(image["split"])
    for same in pictures.values():
        named = ", ".join(sorted({f"{image['file_name']} ({image['split'] or 'no split'})" for image in same}))
        of = {image["split"] for image in same} - {None}
        if "test" in of and len(of) > 1:
            findings.add("in_test_and_train", named)
        elif len(of) > 1:
            findings.add("in_train_and_val", named)
        elif len({image["file_name"] for image in same}) > 1:
            findings.add("same_content", named)
    for (line, well), splits in wells.items():
        if len(splits) > 1:
            findings.add("shared_well", f"{line} {well}: {', '.join(sorted(splits))}")
    known = {split for splits in lines.values() for split in splits if split}
    for line, fixed in lines.items():
        for lacking in sorted(known - fixed) if None not in fixed else ():
            findings.add("line_not_in_split", f"{line} is not in {lacking}")


def check_fields(
    images: list[Image], folder: Path, params: AuditParams, findings: Findings, workers: int
) -> list[dict[str, Any]]:
    """The fields that several images show: line, file names, least and highest correlation of the pairs found."""
    if params.near_copy is None:
        return []
    fields = []
    for pairs in together(near_copies(images, folder, params.near_copy, workers)):
        members = [images[index] for index in sorted({index for pair in pairs for index in pair[:2]})]
        correlations = [pair.correlation for pair in pairs]
        named = ", ".join(f"{image['file_name']} ({image['split'] or 'no split'})" for image in members)
        shown = f"{named}: correlation {min(correlations):.2f} to {max(correlations):.2f}"
        findings.add("near_copies", shown)
        if len({image["split"] for image in members} - {None}) > 1:
            findings.add("near_copies_apart", shown)
        fields.append(
            {
                "cell_line": members[0]["cell_line"],
                "images": [image["file_name"] for image in members],
                "correlation": [min(correlations), max(correlations)],
            }
        )
    return fields


def read_all(images: list[Image], folder: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """File name and fingerprint of each readable file, one file in memory at a time."""
    files = {image["file_name"]: image for image in images}
    for image in track(files.values(), len(files), "check images"):
        path = folder / image["file_name"]
        if not path.is_file():
            findings.add("missing_image", str(path))
            continue
        try:
            pixels = read_image(path)
        except InputError as error:
            findings.add("unreadable_image", str(error))
            continue
        if pixels.shape != (image["height"], image["width"]):
            shape = f"{pixels.shape[1]}x{pixels.shape[0]}"
            findings.add("size_mismatch", f"{path} is {shape} px, the truth says {image['width']}x{image['height']}")
            continue
        if pixels.min() == pixels.max():
            findings.add("blank_image", f"{path}: {pixels.min()} everywhere")
        yield image["file_name"], fingerprint(pixels)


def measure(image: Image, cells: list[Annotation], params: AuditParams, findings: Findings) -> dict[str, Any]:
    """The counts of one image; notes what is wrong with its annotations. Crowds are checked and count neither way."""
    name, size = image["file_name"], [image["height"], image["width"]]
    fitting = [cell for cell in cells if cell["segmentation"]["size"] == size]
    for cell in cells:
        shown = f"annotation {cell['id']} of {name}"
        if cell["segmentation"]["size"] != size:
            findings.add("size_mismatch", f"{shown}: mask {cell['segmentation']['size']}, {size}")
        elif rle.rle_area(cell["segmentation"]) == 0:
            findings.add("empty_mask", shown)
        x, y, w, h = cell["bbox"]
        if min(x, y) < -1 or x + w > image["width"] + 1 or y + h > image["height"] + 1:
            findings.add("box_outside", f"{shown}: {cell['bbox']}")
    alone = cells_in(fitting)
    masks = [cell["segmentation"] for cell in alone]
    regions = [cell["segmentation"] for cell in fitting if cell.get("iscrowd")]
    for i, j, iou in overlapping_pairs(masks, params.duplicate_iou):
        findings.add("overlapping", f"{name}: annotations {alone[i]['id']} and {alone[j]['id']}, IoU {iou:.2f}")
    if len(alone) < params.min_annotations:
        findings.add("few_annotations", f"{name}: {len(alone)}")
    return {
        "file_name": name,
        "cell_line": image["cell_line"],
        "split": image["split"],
        "cells": len(alone),
        "median_area": float(np.median([cell["area"] for cell in alone])) if alone else None,
        "confluence": round(confluence(masks, image["height"], image["width"], regions), 4),
    }


def by_line(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per cell line: counts, cells per image, medians over images."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        lines[row["cell_line"]].append(row)
    table = []
    for line, members in sorted(lines.items()):
        counts = [row["cells"] for row in members]
        areas = [row["median_area"] for row in members if row["median_area"] is not None]
        table.append(
            {
                "cell_line": line,
                "images": len(members),
                "cells": sum(counts),
                "cells_per_image_min": min(counts),
                "cells_per_image_median": float(np.median(counts)),
                "cells_per_image_max": max(counts),
                "median_area": float(np.median(areas)) if areas else None,
                "confluence_median": float(np.median([row["confluence"] for row in members])),
            }
        )
    return table


def summarise(rows: list[dict[str, Any]], findings: list[Finding]) -> dict[str, Any]:
    """What the report opens with; splits only if the source fixes them."""
    return {
        "images": len(rows),
        "cells": sum(row["cells"] for row in rows),
        "lines": len({row["cell_line"] for row in rows}),
        "splits": dict(Counter(row["split"] for row in rows if row["split"])),
        "findings": sum(finding["count"] for finding in findings),
    }
