"""What an image file says of itself besides its pixels: axes, names of channels, pixel size, time between frames."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from monolayer.data.plane import ANY, COLOURS, TIME, ImagePlane
from monolayer.data.reading import decoding
from monolayer.params.pixel_size import pixel_size
from monolayer.plates.tiff_picture import lengths_of, opened, pictured

MICROMETRES = {
    **{"nm": 1e-3, "nanometer": 1e-3, "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0},
    **{"micrometer": 1.0, "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6},
}
HOURS = {
    **{"ms": 1 / 3.6e6, "millisecond": 1 / 3.6e6, "s": 1 / 3600, "sec": 1 / 3600, "second": 1 / 3600},
    **{"min": 1 / 60, "minute": 1 / 60, "h": 1.0, "hr": 1.0, "hour": 1.0, "d": 24.0, "day": 24.0},
}
SETTING = "setting"
IN_PX = "lengths are in px; plate_settings.pixel_size_um gives it"
CENTIMETRE = 3  # of TIFF's ResolutionUnit; inches are a printer's, and what programs write that know nothing
RESOLUTIONS = ("XResolution", "YResolution")
INCH_UM, PRINTERS = 25_400, (72, 96, 100, 150, 200, 300, 600, 1200)  # dots an inch, in whatever unit they are written
SAME, SQUARE = 1e-3, 1e-2  # relative: of one number written twice; of a calibration along both sides


class ImageAbout(NamedTuple):
    """Size of a frame and number of frames, and what is known of the rest; channels have a name each, maybe empty.

    A pixel's size is that along x; the height is None where only one size is said.
    """

    frames: int
    height: int
    width: int
    channels: tuple[str, ...] = ("",)
    pixel_size_um: float | None = None
    frame_hours: float | None = None
    pixel_height_um: float | None = None
    frame_times: tuple[float, ...] = ()  # hours of each frame from the first, where the file says each

    def hours(self, frame: int) -> float | None:
        """When a frame was taken after the first; None where the file doesn't say."""
        if self.frame_times:
            return self.frame_times[frame] if frame < len(self.frame_times) else None
        return None if self.frame_hours is None else frame * self.frame_hours


def pixel_size_of(setting: float | None, about: ImageAbout) -> tuple[float | None, str]:
    """µm along a pixel's side, and who says so; what files say is not believed where no microscope has such pixels."""
    if setting is not None:
        return setting, SETTING
    if about.pixel_size_um is None:
        return None, f"nowhere: {IN_PX}"
    said = f"nowhere, for the files say {about.pixel_size_um:g} µm, which"
    for dots in PRINTERS:
        if math.isclose(about.pixel_size_um, INCH_UM / dots, rel_tol=SAME):
            return None, f"{said} is a printer's {dots} dots an inch: {IN_PX}"
    try:
        return pixel_size(about.pixel_size_um), "the files"
    except ValueError:
        return None, f"{said} no microscope has: {IN_PX}"


def unlike(about: ImageAbout, channels: tuple[str, ...], size: float | None, setting: float | None) -> str:
    """Why an image is none of a plate with such channels and pixels of `size` µm, if so."""
    if about.channels != channels:
        few, most = ", ".join(about.channels), ", ".join(channels)
        said = f"has the channels ({few}), {len(about.channels)}, where most have ({most}), {len(channels)}"
    elif setting is not None:
        return ""
    elif odd := not_square(about):
        return odd
    else:
        own, _ = pixel_size_of(None, about)
        if own == size or (own and size and math.isclose(own, size, rel_tol=SAME)):
            return ""
        said = f"has pixels of {own or 'unknown'} µm, where most have {size or 'unknown'}"
    return f"it {said}; give it a plate of its own"


def not_square(about: ImageAbout) -> str:
    """What is wrong with pixels whose sides differ, if so: areas and shapes of cells would be."""
    across, down = about.pixel_size_um, about.pixel_height_um
    if across is None or down is None or math.isclose(across, down, rel_tol=SQUARE):
        return ""
    return f"it has pixels of {across:g}x{down:g} µm; save it with square ones, or set plate_settings.pixel_size_um"


def scaled(value: Any, unit: Any, units: dict[str, float]) -> float | None:
    """A length in µm or a time in hours; None where there is none, or in a unit that nobody knows."""
    try:
        number = float(value) * factor(unit, units)
    except (TypeError, ValueError):
        return None
    return number if number > 0 and math.isfinite(number) else None


def factor(unit: Any, units: dict[str, float]) -> float:
    """By what a number in this unit is multiplied; NaN where nobody knows it. ImageJ escapes µ, people write plurals.

    >>> [factor(unit, HOURS) for unit in ("hour", "hours", "days", "fortnight")]
    [1.0, 1.0, 24.0, nan]
    """
    name = str(unit).strip().replace("\\u00B5", "µ")
    return units.get(name, units.get(name.removesuffix("s"), math.nan))


def about_file(path: Path, which: ImagePlane = ANY) -> ImageAbout:
    """What a PNG, JPEG or TIFF says of itself; of pages without a name, and of colours, by what is asked for."""
    with decoding(str(path)):
        if path.suffix.lower() not in (".tif", ".tiff"):
            from PIL import Image

            with Image.open(path) as image:
                grey = image.mode in ("1", "I", "I;16", "L", "LA")
                return ImageAbout(1, image.height, image.width, _colours(which, not grey))
        with opened(path) as tif:
            return _about_tiff(tif, path, which)


def _colours(which: ImagePlane, coloured: bool) -> tuple[str, ...]:
    """A colour image is grey as a whole, or one of its colours."""
    return COLOURS if coloured and which.channel is not None else ("",)


def _about_tiff(tif: Any, path: Path, which: ImagePlane) -> ImageAbout:
    series, [first, *_] = pictured(tif, path)
    lengths = lengths_of(series, which)
    frames = math.prod(lengths.get(axis, 1) for axis in TIME)
    count = lengths.get("C", 1)
    channels = ("",) * count if count > 1 else _colours(which, "S" in lengths)
    about = ImageAbout(frames, lengths["Y"], lengths["X"], channels)
    if tif.is_ome:
        root = ElementTree.fromstring(tif.ome_metadata)
        said = ome_about(next(element for element in root.iter() if element.tag.endswith("}Pixels")))
        names = said.channels if len(said.channels) == len(channels) else channels
        times = said.frame_times if said.frames == frames else ()
        return said._replace(frames=frames, frame_times=times, height=about.height, width=about.width, channels=names)
    if tif.is_imagej:
        shown = tif.imagej_metadata or {}
        unit = factor(shown.get("unit"), MICROMETRES)
        across, down = (_resolution(first, name, unit) for name in RESOLUTIONS)
        hours = scaled(shown.get("finterval"), shown.get("tunit", "sec"), HOURS)
        return about._replace(pixel_size_um=across, pixel_height_um=down, frame_hours=hours)
    if "ResolutionUnit" in first.tags and first.tags["ResolutionUnit"].value == CENTIMETRE:
        across, down = (_resolution(first, name, MICROMETRES["cm"]) for name in RESOLUTIONS)
        return about._replace(pixel_size_um=across, pixel_height_um=down)
    return about


def _resolution(page: Any, name: str, unit_um: float) -> float | None:
    """µm along a pixel's side, from the pixels along a unit; None where that is NaN."""
    if math.isnan(unit_um) or name not in page.tags:
        return None
    pixels, units = page.tags[name].value
    return unit_um * units / pixels if pixels else None


def ome_about(pixels: ElementTree.Element) -> ImageAbout:
    """What OME-XML says of an image, in the element Pixels."""
    names = [element.get("Name", "") for element in pixels if element.tag.endswith("}Channel")]
    across, down = (
        scaled(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"), MICROMETRES)
        for axis in "XY"
    )
    hours = scaled(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"), HOURS)
    count, height, width, channels = (int(pixels.get(f"Size{axis}", 1)) for axis in "TYXC")
    known = tuple(names) if len(names) == channels else ("",) * channels
    times = _plane_hours([element for element in pixels if element.tag.endswith("}Plane")], count)
    return ImageAbout(count, height, width, known, across, hours, down, times)


def _plane_hours(planes: list[ElementTree.Element], frames: int) -> tuple[float, ...]:
    """Hours of each frame from the first, as planes bear them; none where one lacks it or they don't rise."""
    found = dict[int, float]()
    for plane in planes:
        try:
            hours = float(plane.get("DeltaT", "")) * HOURS[plane.get("DeltaTUnit", "s")]
            found.setdefault(int(plane.get("TheT", 0)), hours)
        except (KeyError, ValueError):
            continue
    times = [found.get(frame, math.nan) for frame in range(frames)]
    if not all(before < after < math.inf for before, after in pairwise(times)):
        return ()
    return tuple(time - times[0] for time in times)
