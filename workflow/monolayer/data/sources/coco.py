"""A folder of the user's images and one COCO file; nothing of theirs is changed."""

from __future__ import annotations

import math
from pathlib import Path

from monolayer.coco.findings import Findings
from monolayer.coco.reader import Records, read
from monolayer.coco.records import Image, Truth
from monolayer.data.images import eight_bit
from monolayer.data.plane import ImagePlane
from monolayer.data.reading import image_files, read_frame, sizes
from monolayer.data.sources import Read, Scaled
from monolayer.data.sources.listed import cells
from monolayer.data.sources.tracks import TABLE, with_parents
from monolayer.data.sources.truth import Part, by_pattern, cell_lines, flat_names, join, sample
from monolayer.files import InputError
from monolayer.params.data import CocoSource


def collect(params: CocoSource, folder: Path) -> tuple[Truth, Read]:
    """Truth of the user's file, of `max_images` images evenly over lines; `folder` is not needed."""
    findings = Findings()
    records = read(Path(params.annotations))
    names = flat_names(frame.file_name for frame in records.frames.values())
    paths = find(records, Path(params.images), findings)
    lines = cell_lines(records, params.cell_line, findings)
    wanted = sample(lines, params.max_images)
    images = []
    for frame in records.frames.values():
        if frame.id in wanted:
            name = names[frame.file_name]
            images.append(
                Image(
                    id=frame.id,
                    file_name=name,
                    width=frame.width,
                    height=frame.height,
                    cell_line=lines[frame.id],
                    well=by_pattern(params.well, "well", frame, records.name) if params.well else Path(name).stem,
                    timestamp=by_pattern(params.time, "time", frame, records.name) if params.time else None,
                    split=None,
                )
            )
    for frame in records.frames.values():  # others are compared when they are read, but masks of these take memory now
        found = sizes(path := paths[frame.file_name]) if frame.id in wanted else set()
        height, width = max(found, key=math.prod, default=(frame.height, frame.width))
        if frame.height * frame.width > height * width:
            raise InputError(
                f"{path} is {width}x{height} px, its annotations say {frame.width}x{frame.height}; masks and image "
                "don't belong together"
            )
    annotations = list(cells(records, wanted, findings, keep_area=True))
    with_parents(annotations, Path(params.annotations).with_name(TABLE))
    by_name = {names[name]: path for name, path in paths.items()}

    def read_image(image: Image) -> Scaled:
        path = by_name[image["file_name"]]
        own = read_frame(path.read_bytes(), str(path), ImagePlane(params.channel, params.z))
        return Scaled(eight_bit(own, str(path), params.percentiles), own)

    return join([Part(records.name, images, annotations)], findings), read_image


def find(records: Records, folder: Path, findings: Findings) -> dict[str, Path]:
    """The path of each listed image; missing ones are an error, images that nobody lists a finding."""
    if not folder.is_dir():
        raise InputError(
            f"{folder} is no folder; set `images` to the folder that the file names of {records.name} are in"
        )
    paths = {frame.file_name: folder / frame.file_name for frame in records.frames.values()}
    missing = [str(path) for path in paths.values() if not path.is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(paths)} images of {records.name} are missing, e.g. {', '.join(missing[:3])}; "
            "copy them there, or correct `images` or their file_name"
        )
    for name, path in image_files(folder, folder.rglob("*"))[0].items():
        if name not in paths:
            findings.add("unlisted_files", str(path))
    return paths
