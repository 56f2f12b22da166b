"""Truth and results in and out, gzipped or plain; results are streamed."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

from monolayer.coco.records import Result, Truth
from monolayer.files import InputError, atomic_write

CHUNK = 1 << 20  # characters read at a time


BLANK = re.compile(r"\s*")


IMAGE = ("id", "file_name", "width", "height")  # what COCO says of an image
FRAME = (*IMAGE, "cell_line", "well", "timestamp", "split")  # what this pipeline adds


def read_coco(path: Path) -> Any:
    """Read COCO truth of any tool, unchecked."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable as COCO truth ({error}); make it again") from error


def read_truth(path: Path, keys: Sequence[str] = FRAME) -> Truth:
    """Read truth whose images have these keys: all of them where this pipeline wrote it."""
    truth = read_coco(path)
    if not isinstance(truth, dict) or not all(isinstance(truth.get(name), list) for name in ("images", "annotations")):
        raise InputError(f"{path} has no lists of images and annotations; give COCO truth")
    for number, image in enumerate(truth["images"], start=1):
        if missing := [key for key in keys if key not in image]:
            source = "`monolayer download` writes" if keys == FRAME else "has them"
            raise InputError(f"{path}, image {number}: {', '.join(missing)} is missing; give COCO truth that {source}")
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


def read_results(path: Path) -> list[Result]:
    """Read COCO results, gzipped or plain."""
    return list(cast(Iterator[Result], stream(path)))


def stream(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON array, gzipped or plain, one at a time: memory does not grow with the file."""
    number, text, at, size = 0, "", 0, CHUNK
    decode, awaited = json.JSONDecoder().raw_decode, "["
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
            while True:
                at = cast(re.Match[str], BLANK.match(text, at)).end()
                if at == len(text):
                    text, at = file.read(CHUNK), 0
                    if not text:
                        raise EOFError(f"it ends after record {number}")
                elif awaited == "record":
                    try:
                        record, at = decode(text, at)
                    except json.JSONDecodeError:
                        more = file.read(size)
                        if not more:
                            raise
                        text, at, size = text[at:] + more, 0, 2 * size
                        continue
                    number, size, awaited = number + 1, CHUNK, ",]"
                    yield record
                elif text[at] == "]" and (awaited == ",]" or (number == 0 and awaited == "first")):
                    return
                elif awaited == "first":
                    awaited = "record"
                elif text[at] in awaited:
                    awaited, at = "first" if text[at] == "[" else "record", at + 1
                else:
                    raise ValueError(f"{text[at]!r} stands after record {number} where {awaited!r} is expected")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"{path} is not readable as COCO results ({error}); make it again") from error
