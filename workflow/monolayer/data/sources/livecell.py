"""LIVECell in its official layout and splits (Edlund et al., Nature Methods 2021, doi 10.1038/s41592-021-01249-6).

From its address or from a local mirror. The official lists are not clean: files are annotated twice within a split (65
in train; test has 1564 ids for 1512 files), and train and val share some (its issues 14 and 26
on GitHub). `dedup` says what becomes of them. `keep` leaves the lists as published, for numbers that compare with those
of others: the audit reports what train and val share, and stops only at what test shares with them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import cast

from monolayer.coco.findings import Findings
from monolayer.coco.overlap import overlapping_pairs
from monolayer.coco.reader import ListedImage, Records, read
from monolayer.coco.records import Annotation, Image, Truth, by_image
from monolayer.data.images import Pixels, grey
from monolayer.data.sources import Read
from monolayer.data.sources.fetch import Remote, fetch, open_zip, read_member, verify
from monolayer.data.sources.listed import cells
from monolayer.data.sources.truth import Part, join, sample
from monolayer.files import InputError
from monolayer.params.data import LivecellFile, LivecellSource

SPLITS = ("train", "val", "test")  # a later one judges more: it keeps a file that several list
ANNOTATIONS = "annotations/LIVECell/livecell_coco_{}.json"
ARCHIVE = "images.zip"
FILE_NAME = re.compile(
    r"(?P<line>[^_]+)_Phase_(?P<well>[^_]+)_(?P<location>[^_]+)_(?P<time>[^_]+)_(?P<crop>[^_.]+)\.tif"
)

Open = Callable[[str], bytes]  # the bytes of the image file at a path, or member of that name


def collect(params: LivecellSource, folder: Path) -> tuple[Truth, Read]:
    """Fetch what is missing (or look into the mirror); splits are the official ones."""
    findings = Findings()
    parts = []
    for split in SPLITS:
        name = ANNOTATIONS.format(split)
        part = read_part(read(_file(params, name, folder), name), split, params.max_images, findings)
        parts.append(part if params.dedup == "keep" else deduplicate(part, params, findings))
    if params.dedup != "keep":
        parts = separate(parts, findings)
    truth = join(parts, findings)
    paths, open_path = _images(params, folder)
    missing = sorted({_tif(image) for image in truth["images"]} - paths.keys())
    if missing:
        raise InputError(
            f"{len(missing)} annotated images are not among the {len(paths)} of {params.mirror or params.url}, "
            f"e.g. {', '.join(missing[:3])}; complete them"
        )

    def read_image(image: Image) -> Pixels:
        path = paths[_tif(image)]
        return grey(open_path(path), path, None)

    return truth, read_image


def read_part(records: Records, split: str, max_images: int | None, findings: Findings) -> Part:
    """One official list: cell line, well and time from file names; a sample holds all records of a file."""
    fields = {frame.id: parse_name(frame) for frame in records.frames.values()}
    lines = {PurePosixPath(frame.file_name).name: fields[frame.id]["line"] for frame in records.frames.values()}
    chosen = sample(lines, max_images)
    images = [
        Image(
            id=frame.id,
            file_name=PurePosixPath(frame.file_name).stem + ".png",
            width=frame.width,
            height=frame.height,
            cell_line=fields[frame.id]["line"],
            well=fields[frame.id]["well"],
            timestamp=fields[frame.id]["time"],
            split=split,
        )
        for frame in records.frames.values()
        if PurePosixPath(frame.file_name).name in chosen
    ]
    annotations = list(cells(records, {image["id"] for image in images}, findings, keep_area=True))
    return Part(records.name, images, annotations)


def parse_name(frame: ListedImage) -> dict[str, str]:
    """line, well, location, time and crop of `<line>_Phase_<well>_<location>_<time>_<crop>.tif`."""
    match = FILE_NAME.fullmatch(PurePosixPath(frame.file_name).name)
    if match is None:
        raise InputError(
            f"{frame.file_name} is no LIVECell file name (<line>_Phase_<well>_<location>_<time>_<crop>.tif); "
            "for other data use source: coco"
        )
    return match.groupdict()


def _tif(image: Image) -> str:
    return image["file_name"].removesuffix(".png") + ".tif"


def deduplicate(part: Part, params: LivecellSource, findings: Findings) -> Part:
    """One record per file within a split: the first, and with `merge` also those cells that only the others drew."""
    of_file: dict[str, list[int]] = defaultdict(list)
    for image in part.images:
        of_file[image["file_name"]].append(image["id"])
    drawn = by_image(part.annotations)
    annotations: list[Annotation] = []
    for name, (first, *others) in of_file.items():
        kept = drawn[first]
        for other in others:
            new = _unseen(kept, drawn[other], params.merge_iou) if params.dedup == "merge" else []
            findings.add(
                "annotated_twice", f"{name} in {part.name}: ids {first}, {other}; {len(new)} cells of the second"
            )
            kept = kept + [Annotation(**{**annotation, "image_id": first}) for annotation in new]
        annotations += kept
    firsts = {ids[0] for ids in of_file.values()}
    return Part(part.name, [image for image in part.images if image["id"] in firsts], annotations)


def _unseen(kept: list[Annotation], others: list[Annotation], same: float) -> list[Annotation]:
    """The annotations among `others` whose IoU with each kept one is at most `same`."""
    every = [annotation["segmentation"] for annotation in kept + others]
    seen = {max(i, j) for i, j, _ in overlapping_pairs(every, same) if min(i, j) < len(kept)}
    return [annotation for index, annotation in enumerate(others, start=len(kept)) if index not in seen]


def separate(parts: list[Part], findings: Findings) -> list[Part]:
    """Keep a file that several splits list only in the one that judges most (test, then val)."""
    taken: dict[str, str] = {}
    cleaned = []
    for part in reversed(parts):
        for image in part.images:
            if image["file_name"] in taken:
                findings.add(
                    "left_split", f"{image['file_name']}: left {part.name}, stays in {taken[image['file_name']]}"
                )
        images = [image for image in part.images if image["file_name"] not in taken]
        ids = {image["id"] for image in images}
        cleaned.append(Part(part.name, images, [a for a in part.annotations if a["image_id"] in ids]))
        taken |= {image["file_name"]: part.name for image in images}
    return cleaned[::-1]


def _file(params: LivecellSource, name: str, folder: Path) -> Path:
    """A file of the official layout, from the mirror or fetched into `folder`."""
    pin = params.pins[cast(LivecellFile, name)]
    if params.mirror is None:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        url = f"{params.url.rstrip('/')}/{name}"
        return fetch(Remote(url, url, pin, lambda p: f"{name}: {{size: {p.size}, sha256: {p.sha256}}}"), target)
    path = Path(params.mirror) / name
    if not path.is_file():
        raise InputError(f"the mirror {params.mirror} has no {name}; it must be laid out as the official data set")
    if pin.size or pin.sha256:
        verify(path, str(path), pin)
    return path


def _images(params: LivecellSource, folder: Path) -> tuple[dict[str, str], Open]:
    """Paths of the image files by base name (the archive's folders have changed over time), and how to open one."""
    unpacked = Path(params.mirror) / "images" if params.mirror else None
    if unpacked and unpacked.is_dir():
        return by_base_name(path.as_posix() for path in unpacked.rglob("*.tif")), lambda path: Path(path).read_bytes()
    path = _file(params, ARCHIVE, folder)
    archive = open_zip(path, str(path))
    return by_base_name(archive.namelist()), lambda member: read_member(archive, member)


def by_base_name(paths: Iterable[str]) -> dict[str, str]:
    """The path of each .tif by its base name, which must be there once."""
    found: dict[str, str] = {}
    for path in sorted(paths):
        name = PurePosixPath(path).name
        if name.endswith(".tif"):
            if name in found:
                raise InputError(f"{name} is there twice ({found[name]}, {path}); remove the one that doesn't belong")
            found[name] = path
    return found
