"""Images to annotate next, out of a folder: a list, a page, and a draft of each one's masks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from monolayer.backends.manifest import Manifest, read_manifest
from monolayer.coco.findings import Findings, log_findings
from monolayer.coco.instances import Instances
from monolayer.coco.labels import label_tiff
from monolayer.data.images import Pixels
from monolayer.data.reading import SUFFIXES, image_files
from monolayer.data.sources.masks import IGNORE, MARKS, assigned, without_masks
from monolayer.files import InputError, few, whole_folder, write_bytes, write_csv
from monolayer.finetuning import page
from monolayer.finetuning.alike import near_copies_among
from monolayer.finetuning.choosing import Chosen, choose, learned, seems_empty
from monolayer.finetuning.looking import ImageLook, Reading, check, loaded, look, read_pixels
from monolayer.parallel import each
from monolayer.progress import track

log = logging.getLogger(__name__)
SHOWN = 5  # faults that an error tells
DRAFTS, LIST, PAGE = "drafts", "suggested.csv", "suggested.html"
SURE = 0.15  # parts of a score below this are no reason


class ImagePool(NamedTuple):
    """The images of a folder by name, those that are annotated among them, and what the model makes of each."""

    folder: Path
    files: dict[str, Path]
    annotated: list[str]
    looks: dict[str, ImageLook]

    @property
    def free(self) -> list[str]:
        """Those that may be suggested: neither annotated nor a copy of what is or comes before it."""
        seen = {self.looks[name].key for name in self.annotated}
        names = []
        for name in (name for name in self.files if name not in set(self.annotated)):
            if self.looks[name].key not in seen:
                names.append(name)
                seen.add(self.looks[name].key)
        return names


def suggest(reading: Reading, images: Path, annotated: Path | None, output: Path, *, count: int, workers: int) -> None:
    """Write `count` images of a folder, in the order in which to annotate them, and a draft of each one's masks.

    `annotated` is a folder of masks as `source: masks` takes it: images that have some are not suggested, nor what is
    like them. The same images and model give the same bytes, whatever the number of processes.
    """
    check_output(images, output)
    files, known = _files(images, annotated)
    if len(files) - len(known) < count:
        left = f"{images} has {len(files) - len(known)} images" + (" that are not annotated" if known else "")
        raise InputError(f"{left}, of which {count} can't be chosen; give --count {max(1, len(files) - len(known))}")
    check_all(reading, files)
    _, manifest = read_manifest(reading.model)
    seen = track(each(partial(look, reading), files.values(), workers), len(files), f"suggest of {images.name}")
    pool = ImagePool(images, files, known, dict(zip(files, seen, strict=True)))
    if len(pool.free) < count:
        same = len(files) - len(known) - len(pool.free)
        raise InputError(f"{images} has {len(pool.free)} images besides {same} copies; give --count {len(pool.free)}")
    free, done = ([pool.looks[name] for name in names] for names in (pool.free, known))
    copies = near_copies_among(reading, [files[name] for name in [*pool.free, *known]], workers)
    chosen = choose(free, done, learned(manifest), count, copies)
    if empty := [name for name, one in zip(pool.free, free, strict=True) if seems_empty(one)]:
        log.warning("no cell found in %d of %d images: %s", len(empty), len(free), few(empty, SHOWN))
    rows = [_row(rank, pool, one, manifest) for rank, one in enumerate(chosen, start=1)]
    with whole_folder(output) as folder:
        write_csv(folder / LIST, [_written(row) for row in rows])
        drafts = list[tuple[Pixels, Instances]]()
        for row in track(rows, len(rows), "drafts"):
            pixels, cells = draft(reading, files[row["file"]])
            write_bytes(folder / draft_of(row["file"]), label_tiff([cells.label_image()], None))
            drafts.append((pixels, cells))
        write_bytes(folder / PAGE, page.page(pool, manifest, rows, drafts).encode())
    log.info("%d of %d images: %s, with drafts in %s", count, len(files), output / PAGE, output / DRAFTS)


def check_output(images: Path, output: Path) -> None:
    """Refuse to write over what is there, or where drafts would be taken for images the next time."""
    if output.exists():
        raise InputError(
            f"{output} exists, and drafts that were corrected there are not written over; name a new folder"
        )
    if output.resolve().is_relative_to(images.resolve()):
        raise InputError(f"{output} lies in {images}, where drafts would be taken for images; name one beside it")


def _files(images: Path, annotated: Path | None) -> tuple[dict[str, Path], list[str]]:
    """The images of a folder by name, and the names of those that have masks."""
    if annotated is not None:
        findings = Findings()
        every, drawn = assigned(images, annotated, findings)
        log_findings(one for one in findings.records() if one["kind"] == "no_image")
        files, known = dict(sorted(every.items())), sorted(drawn)
    else:
        files, known = without_masks(image_files(images, images.rglob("*"))[0]), []
    if not files:
        raise InputError(f"{images} holds no image ({', '.join(SUFFIXES)}); give the folder that they are in")
    twice = [place for place, number in Counter(map(draft_of, files)).items() if number > 1]
    if twice:
        alike = " and ".join(name for name in files if draft_of(name) == twice[0])
        raise InputError(f"{alike} of {images} would have one draft, {twice[0]}; rename all but one of them")
    return files, known


def check_all(reading: Reading, files: dict[str, Path]) -> None:
    """Refuse to begin with images that can't be used; all of them are told."""
    faults = []
    for path in files.values():
        try:
            check(reading, path)
        except (InputError, OSError) as error:
            faults.append(str(error))
    for fault in faults[SHOWN:]:
        log.error("%s", fault)
    if faults:
        more = f"; and {len(faults) - SHOWN} more, listed above" if len(faults) > SHOWN else ""
        raise InputError("; ".join(faults[:SHOWN]) + more)


def draft(reading: Reading, path: Path) -> tuple[Pixels, Instances]:
    """An image, and its cells as `predict` would write them."""
    run, manifest = loaded(reading, None)
    pixels = read_pixels(reading, path)
    [found] = run.segment([pixels])
    return pixels, found.at_least(manifest.score_threshold)


def draft_of(name: str) -> str:
    """Where an image's draft lies in the output, by a name that `source: masks` takes for this image's.

    >>> [draft_of(name) for name in ("a/b.png", "b.ome.tif", "b_seg.png")]
    ['drafts/a/b.tif', 'drafts/b.ome_masks.tif', 'drafts/b_seg_masks.tif']
    """
    stem = PurePosixPath(name).with_suffix("")
    mark = "_masks" if stem.name.endswith((".ome", *MARKS, IGNORE)) else ""  # an end that it takes off
    return f"{DRAFTS}/{stem}{mark}.tif"


def _row(rank: int, pool: ImagePool, chosen: Chosen, manifest: Manifest) -> dict[str, Any]:
    name = pool.free[chosen.place]
    seen = pool.looks[name]
    return {
        "rank": rank,
        "file": name,
        "score": chosen.score,
        "need": chosen.need,
        "views": seen.views,
        "doubt": seen.doubt,
        "far": chosen.far,
        "new": chosen.new,
        "cells": seen.cells,
        "draft": draft_of(name),
        "why": "; ".join(reasons(seen, chosen, manifest, others=bool(pool.annotated) or rank > 1)),
    }


def reasons(seen: ImageLook, chosen: Chosen, manifest: Manifest, others: bool) -> Iterable[str]:
    """Why an image is suggested, in words."""
    if not seen.cells:
        yield "no cell is found" + (", nor nearly, nor in the turned image" if seems_empty(seen) else "")
    if seen.views >= SURE:
        yield f"turned, it has other cells ({1 - seen.views:.0%} agreement)"
    if seen.doubt >= SURE:
        yield f"{seen.doubt:.0%} of the cells are near the score threshold"
    if chosen.far >= SURE:
        sizes, of_model = manifest.diameters, "that the model learned from"
        if sizes is not None and seen.cells and not sizes.low <= seen.size <= sizes.high:
            yield f"cells of {seen.size:.0f} px, where those {of_model} have {sizes.low:.0f} to {sizes.high:.0f}"
        else:
            yield f"another contrast than that of the images {of_model}"
    where = "those annotated or named before it" if others else "the mean image"
    yield f"{chosen.new:.1f} standard deviations from {where}"


def _written(row: dict[str, Any]) -> dict[str, Any]:
    """Numbers to six digits."""
    return {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
