"""What an image file says of itself besides its pixels: axes, names of channels, pixel size, time between frames."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from monolayer.data.plane import TIME
from monolayer.data.reading import decoding
from monolayer.files import InputError
from monolayer.params.pixel_size import pixel_size

MICROMETRES = {
    **{"nm": 1e-3, "nanometer": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0},
    **{"micrometer": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6},
}
HOURS = {
    **{"ms": 1 / 3.6e6, "millisecond": 1 / 3.6e6, "s": 1 / 3600, "sec": 1 / 3600, "second": 1 / 3600},
    **{"min": 1 / 60, "minute": 1 / 60, "h": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0},
}
IN_PX = "lengths are in px; plate_settings.pixel_size_um gives it"
CENTIMETRE = 3  # of TIFF's ResolutionUnit; inches are a printer's, and what programs write that know nothing


FILES = re.compile(r'<(?:\w+:)?UUID\b[^>]*\bFileName="([^"]*)"')  # that an OME-TIFF names


class ImageAbout(NamedTuple):
    """Size of a frame and number of frames, and what is known of the rest; channels have a name each, maybe empty."""

    frames: int
    height: int
    width: int
    channels: tuple[str, ...] = ("",)
    pixel_size_um: float | None = None
    frame_hours: float | None = None


def pixel_size_of(setting: float | None, about: ImageAbout) -> tuple[float | None, str]:
    """µm along a pixel's side, and who says so; what files say is not believed where no microscope has such pixels."""
    if setting is not None:
        return setting, "setting"
    if about.pixel_size_um is None:
        return None, f"nowhere: {IN_PX}"
    try:
        return pixel_size(about.pixel_size_um), "the files"
    except ValueError:
        return None, f"nowhere, for the files say {about.pixel_size_um:g} µm, which no microscope has: {IN_PX}"


def scaled(value: Any, unit: Any, units: dict[str, float]) -> float | None:
    """A length in µm or a time in hours; None where there is none, or in a unit that nobody knows."""
    try:
        number = float(value) * units[str(unit).replace("\\u00B5", "µ")]
    except (KeyError, TypeError, ValueError):
        return None
    return number if number > 0 and math.isfinite(number) else None


def about_file(path: Path) -> ImageAbout:
    """What a PNG, JPEG or TIFF says of itself."""
    with decoding(str(path)):
        if path.suffix.lower() not in (".tif", ".tiff"):
            from PIL import Image

            with Image.open(path) as image:
                return ImageAbout(1, image.height, image.width)
        import tifffile

        with tifffile.TiffFile(path) as tif:
            return _about_tiff(tif)


def _about_tiff(tif: Any) -> ImageAbout:
    series = tif.series[0]
    lengths = dict(zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True))
    frames = math.prod(lengths.get(axis, 1) for axis in TIME)
    count = lengths.get("C", 1)
    names, size, hours = ("",) * count, None, None
    if tif.is_ome:
        if len(set(FILES.findall(tif.ome_metadata))) > 1:
            raise InputError(f"{tif.filename} is one of a set of files; give it, not its folder, as the plate")
        root = ElementTree.fromstring(tif.ome_metadata)
        about = ome_about(next(element for element in root.iter() if element.tag.endswith("}Pixels")))
        names = about.channels if len(about.channels) == count else names
        size, hours = about.pixel_size_um, about.frame_hours
    elif tif.is_imagej:
        said = tif.imagej_metadata or {}
        size = _resolution(tif.pages[0], MICROMETRES.get(str(said.get("unit", "")).replace("\\u00B5", "µ")))
        hours = scaled(said.get("finterval"), said.get("tunit", "sec"), HOURS)
    elif "ResolutionUnit" in tif.pages[0].tags and tif.pages[0].tags["ResolutionUnit"].value == CENTIMETRE:
        size = _resolution(tif.pages[0], MICROMETRES["cm"])
    return ImageAbout(frames, lengths["Y"], lengths["X"], names, size, hours)


def _resolution(page: Any, unit_um: float | None) -> float | None:
    """µm along a pixel's side, from the pixels along a unit."""
    if unit_um is None or "XResolution" not in page.tags:
        return None
    pixels, units = page.tags["XResolution"].value
    return unit_um * units / pixels if pixels and pixels != units else None


def ome_about(pixels: ElementTree.Element) -> ImageAbout:
    """What OME-XML says of an image, in the element Pixels."""
    names = [element.get("Name", "") for element in pixels if element.tag.endswith("}Channel")]
    size = scaled(pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeXUnit", "µm"), MICROMETRES)
    hours = scaled(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"), HOURS)
    if hours is None:
        hours = _plane_hours([element for element in pixels if element.tag.endswith("}Plane")])
    count, height, width, channels = (int(pixels.get(f"Size{axis}", 1)) for axis in "TYXC")
    return ImageAbout(count, height, width, tuple(names) if len(names) == channels else ("",) * channels, size, hours)


def _plane_hours(planes: list[ElementTree.Element]) -> float | None:
    """Hours from frame to frame, of the times that planes bear."""
    found = dict[int, float]()
    for plane in planes:
        hours = scaled(plane.get("DeltaT"), plane.get("DeltaTUnit", "s"), HOURS)
        if hours is not None or plane.get("DeltaT") in ("0", "0.0"):
            found.setdefault(int(plane.get("TheT", 0)), hours or 0.0)
    last = max(found, default=0)
    return (found[last] - found[0]) / last if last and 0 in found else None
