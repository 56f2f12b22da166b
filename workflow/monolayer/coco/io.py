"""Truth and results in and out, gzipped or plain; results are streamed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from monolayer.coco.records import Result, Truth
from monolayer.coco.stream import JsonFile, open_json
from monolayer.files import InputError, atomic_write, read_json

IMAGE = ("id", "file_name", "width", "height")  # what COCO says of an image
FRAME = (*IMAGE, "cell_line", "well", "timestamp", "split")  # what this pipeline adds


def read_truth(path: Path) -> Truth:
    """Read truth that this pipeline wrote; reader.py reads that of others."""
    truth = read_json(path, "COCO truth", "make it again")
    if not isinstance(truth, dict) or not all(isinstance(truth.get(name), list) for name in ("images", "annotations")):
        raise InputError(f"{path} has no lists of images and annotations; give COCO truth")
    for number, image in enumerate(truth["images"], start=1):
        if missing := [key for key in FRAME if key not in image]:
            cure = "give COCO truth that `monolayer download` writes"
            raise InputError(f"{path}, image {number}: {', '.join(missing)} is missing; {cure}")
    return cast(Truth, truth)


def write_results(path: Path, results: Iterable[Result]) -> int:
    """Stream results to JSON, gzipped if so named, one a line, the same bytes every time; return their number."""
    count = 0
    # level 6: a tenth larger than 9 and five times as fast; no name and no date inside
    with (
        atomic_write(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6)
        if path.suffix == ".gz"
        else nullcontext(raw) as file,
    ):
        file.write(b"[")
        for count, result in enumerate(results, start=1):
            file.write(b"\n" if count == 1 else b",\n")
            file.write(json.dumps(result, allow_nan=False, separators=(",", ":")).encode())
        file.write(b"\n]\n")
    return count


def stream(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON array, gzipped or plain, one at a time: memory does not grow with the file."""
    number, whole = 0, False
    try:
        with open_json(path) as file:
            reader = JsonFile(file)
            whole = reader.next() == "{"
            for record in reader.elements():
                number += 1
                yield record
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        where = f", after record {number}" if number else ""
        cure = "results are a list of records with scores, not a COCO file with images" if whole else "make it again"
        raise InputError(f"{path} is not readable as COCO results ({error}{where}); {cure}") from error
