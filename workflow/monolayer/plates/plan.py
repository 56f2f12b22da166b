"""The plan of a plate: a row for each image, with all that is known before a pixel is read; jobs take rows of it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monolayer.data.plane import ImagePlane
from monolayer.files import InputError, atomic_write, read_json, write_json
from monolayer.params.plates import PlateReading
from monolayer.plates.about import ImageAbout, pixel_size_of
from monolayer.plates.alike import asked_plane, channel_of, usual
from monolayer.plates.labels import label_paths, make_store
from monolayer.plates.region import WHOLE, Region, tiles
from monolayer.plates.source import Fields, Kind, PlateSource, abouts_of, path_of, source_of
from monolayer.plates.times import Field, Moment, check_times, times_of

logger = logging.getLogger(__name__)
TABLE, ABOUT = "plan.parquet", "plan.json"
NOT_STORED = "none of its chunks is stored"
GROUP = 1 << 12  # images of a row group: a shard reads those of its own


class PlateImage(NamedTuple):
    """An image of a plate: where it lies, when it was taken, and why it can't be used, if so."""

    number: int  # from 1, by well, field and time
    well: str
    field: str
    line: str
    frame: int  # from 0, of its field
    timestamp: str
    time: float  # in the plate's unit, the same for all images of a moment
    time_h: float  # as it is said; NaN where it is not known
    file: str
    plane: int  # of the frames of its file; -1: the file has this one alone
    height: int
    width: int
    labels: str  # its field in the label images
    fault: str
    tiled: bool = False  # whether it is a part of the file's frame, whose first row and column are these
    top: int = 0
    left: int = 0

    @property
    def region(self) -> Region:
        return Region(self.top, self.left, self.height, self.width) if self.tiled else WHOLE

    @property
    def name(self) -> str:
        """What an error calls it."""
        return f"well {self.well}, field {self.field}, frame {self.frame} ({self.file})"


class PlateAbout(NamedTuple):
    """What holds for all images of a plate, and where it was taken from."""

    path: str
    kind: Kind
    images: int
    channel: int
    channels: list[str]
    z: int | str | None
    pixel_size_um: float | None
    pixel_size_from: str
    time_unit: str  # h or frame
    times_from: str
    missing: list[str]

    @property
    def which(self) -> ImagePlane:
        return ImagePlane(self.channel if len(self.channels) > 1 else None, self.z)  # type: ignore[arg-type]


def plan(path: Path, settings: PlateReading, output: Path, only: set[str] | None = None) -> None:
    """Write plan.parquet and plan.json, and the label images without a label yet; of these files only, if given."""
    source = source_of(path, settings, only)
    files = source.files
    abouts = dict(abouts_of(source, asked_plane(settings)))
    check_times(files, abouts, settings)
    common = usual(abouts, settings)
    sizes = {key: about if isinstance(about, ImageAbout) else common for key, about in abouts.items()}
    times = times_of(files, sizes, settings, str(path))
    size, of = pixel_size_of(settings.pixel_size_um, common)
    about = PlateAbout(
        path=str(source.path),
        kind=source.kind,
        images=0,
        channel=channel_of(common, settings, path),
        channels=list(common.channels),
        z=settings.z,
        pixel_size_um=size,
        pixel_size_from=of,
        time_unit=times.unit,
        times_from=times.said_by,
        missing=[],
    )
    stored, lost = _stored(source, times.fields, abouts, about.which)
    rows = list(_rows(stored, abouts, sizes, settings))
    about = about._replace(images=len(rows), missing=_missing(stored, lost))
    for text in about.missing[:5]:
        logger.warning("%s has no image of %s", path, text)
    if len(about.missing) > 5:
        logger.warning("%s has no image of %d more; %s lists them", path, len(about.missing) - 5, output / ABOUT)
    make_store(output, path, rows, size)
    _write_rows(output / TABLE, rows)
    write_json(output / ABOUT, about._asdict(), indent=1)
    wells = len({row.well for row in rows})
    logger.info("%d images of %d wells; pixel size from %s; times from %s", len(rows), wells, of, about.times_from)


def _stored(
    source: PlateSource, fields: Mapping[Field, Sequence[Moment]], abouts: Fields, which: ImagePlane
) -> tuple[dict[Field, list[Moment]], dict[Field, list[Moment]]]:
    """The images that are there, and those of which an OME-Zarr has nothing: they would read as the fill value."""
    stored, lost = dict[Field, list[Moment]](), dict[Field, list[Moment]]()
    for key, moments in fields.items():
        empty = set[int]()
        if not isinstance(abouts[key], str):
            empty = source.not_stored(moments[0].file, [moment.plane for moment in moments], which)
        for moment in moments:
            (lost if moment.plane in empty else stored).setdefault(key, []).append(moment)
    if not stored:
        count = sum(map(len, lost.values()))
        raise InputError(f"{source.path}: no chunk of its {count} images is stored; copy it again, as a whole")
    return stored, lost


def _rows(
    fields: Mapping[Field, Sequence[Moment]], abouts: Fields, sizes: Mapping[Field, ImageAbout], settings: PlateReading
) -> Iterator[PlateImage]:
    """The images of each field in the order of time."""
    parts = [(*key, part) for key in fields for part in _parts(sizes[key], settings.tile)]
    places = label_paths([(well, _part_name(field, part)) for well, field, part in parts])
    number = 0
    for well, field, part in parts:
        about, size, name = abouts[well, field], sizes[well, field], _part_name(field, part)
        fault = about if isinstance(about, str) else ""
        where = Region(0, 0, size.height, size.width) if part is None else part.region
        for frame, moment in enumerate(fields[well, field]):
            number += 1
            one, plane = moment.file, moment.plane
            who = number, well, name, one.line, frame, moment.stamp, moment.time, moment.hours
            what = one.file, plane, where.height, where.width, places[well, name], fault
            yield PlateImage(*who, *what, part is not None, where.top, where.left)


class FieldPart(NamedTuple):
    """A part of a frame that is too large to be taken at once: a field of its own."""

    number: int  # from 1
    region: Region


def _parts(size: ImageAbout, side: int) -> list[FieldPart | None]:
    """The parts of each frame; None is all of it."""
    if max(size.height, size.width) <= side:
        return [None]
    return [FieldPart(number, region) for number, region in enumerate(tiles(size.height, size.width, side), 1)]


def _part_name(field: str, part: FieldPart | None) -> str:
    return field if part is None else f"{field}.{part.number}"


def _missing(stored: Mapping[Field, Sequence[Moment]], lost: Mapping[Field, Sequence[Moment]]) -> list[str]:
    """Fields and times that other wells have, or of which nothing is stored, and these lack."""
    here, gone = (
        {key: {moment.stamp for moment in moments} for key, moments in fields.items()} for fields in (stored, lost)
    )
    times = set[str]().union(*here.values(), *gone.values())
    keys = here | gone
    lines = []
    for well in dict.fromkeys(well for well, _ in keys):
        own = [field for known, field in keys if known == well]
        lines += [f"well {well}, field {field}" for field in sorted({field for _, field in keys} - set(own))]
        for key in ((well, field) for field in own):
            for stamp in sorted(times - here.get(key, set())):
                why = f": {NOT_STORED}" if stamp in gone.get(key, ()) else ""
                lines.append(f"well {well}, field {key[1]}, time {stamp}{why}")
    return lines


def _write_rows(path: Path, rows: Sequence[PlateImage]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {name: [getattr(row, name) for row in rows] for name in PlateImage._fields}
    with atomic_write(path) as partial:
        parquet.write_table(pa.table(columns), partial, compression="zstd", row_group_size=GROUP)


def read_plan(folder: Path, first: int = 1, last: int | None = None) -> list[PlateImage]:
    """The images of a plan, from the first to the last number."""
    return list(plan_rows(folder, first, last))


def plan_rows(folder: Path, first: int = 1, last: int | None = None) -> Iterator[PlateImage]:
    """The same one after the other: few are in memory at once."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(folder / TABLE) as file:
            number = 1
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if number + count > first and (last is None or number <= last):
                    table = file.read_row_group(group).slice(max(first - number, 0))
                    table = table.slice(0, None if last is None else last - max(first, number) + 1)
                    columns = (table[name].to_pylist() for name in PlateImage._fields)
                    yield from map(PlateImage, *columns)
                number += count
    except (OSError, ValueError, KeyError) as error:  # as a plan of an earlier version
        raise InputError(f"{folder / TABLE} is not readable ({error}); plan the plate again") from error


def read_about(folder: Path) -> PlateAbout:
    values = read_json(folder / ABOUT, "a plate's plan", "plan the plate again")
    if not isinstance(values, dict) or set(values) != set(PlateAbout._fields):
        raise InputError(f"{folder / ABOUT} is no plan of this version; plan the plate again")
    return PlateAbout(**values)


def source_files(about: PlateAbout, images: Iterable[PlateImage]) -> list[Path]:
    """The files that these images lie in; of an OME-Zarr or a set, what describes it."""
    plate = Path(about.path)
    if about.kind == "set":
        return [plate]
    if about.kind == "zarr":
        return [plate / name for name in ("zarr.json", ".zattrs", ".zgroup")]
    return [path_of(plate, file) for file in dict.fromkeys(image.file for image in images)]


def described(image: PlateImage, pixel_size_um: float | None) -> dict[str, Any]:
    """What the plan says of an image in both tables."""
    return {
        "image_id": image.number,
        "file_name": image.file,
        "well": image.well,
        "field": image.field,
        "left_px": image.left,
        "top_px": image.top,
        "cell_line": image.line,
        "timestamp": image.timestamp,
        "frame": image.frame,
        "time": image.time,
        "time_h": image.time_h,
        "pixel_size_um": float("nan") if pixel_size_um is None else pixel_size_um,
    }
