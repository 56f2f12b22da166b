"""OME-TIFF sets: one description (a .companion.ome file, or one of the TIFFs) of images whose planes lie in many files.

https://docs.openmicroscopy.org/ome-model: a TiffData says which pages of which file are planes first to last, in the
order of dimensions; a Plate, where there is one, which images are fields of which well.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from monolayer.data.plane import ImagePlane, frames_of
from monolayer.data.reading import decoding, image_files, one_plane
from monolayer.data.tiff import FILES
from monolayer.files import InputError
from monolayer.plates.about import ImageAbout, ome_about
from monolayer.plates.layout import SeriesFile
from monolayer.plates.region import WHOLE, Region

COMPANION = ".companion.ome"
ROWS = 26 * 27  # A to ZZ
Element = ElementTree.Element


class Page(NamedTuple):
    """A page of a TIFF of the set."""

    file: str
    number: int


def set_of(path: Path) -> Path | None:
    """The file that describes a set, where `path` is one, its folder, or a TIFF that names others beside itself."""
    if path.name.endswith(COMPANION):
        return path
    if path.is_dir():
        found = sorted(path.glob(f"*{COMPANION}"))
        if len(found) > 1:
            names = ", ".join(one.name for one in found[:3])
            raise InputError(f"{path} holds {len(found)} sets ({names}); give one of these files as the plate")
        return found[0] if found else None
    if path.suffix.lower() in (".tif", ".tiff") and path.is_file():
        text = _description(path) or ""
        if (master := re.search(r'<(?:\w+:)?BinaryOnly\b[^>]*\bMetadataFile="([^"]*)"', text)) is not None:
            return _master(path, unescape(master[1]))
        return path if len(set(FILES.findall(text))) > 1 else None
    return None


def _master(path: Path, name: str) -> Path:
    """The file of which a TIFF says that it describes it: by itself it would be one plane of nobody knows what."""
    if name != Path(name).name or not path.with_name(name).is_file():
        raise InputError(f"{path} is a part of a set that {name} describes; put all files of the set beside it")
    return path.with_name(name)


def _description(path: Path) -> str | None:
    """The OME-XML of a TIFF; one that is broken says nothing here, and what is wrong when it is read."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            text: str | None = tif.ome_metadata
            return text
    except (OSError, ValueError):
        return None


@dataclass(frozen=True)
class OmeSet:
    """The images of a set, by what its description calls them."""

    path: Path

    @cached_property
    def _root(self) -> Element:
        with decoding(str(self.path)):
            is_xml = self.path.name.endswith(COMPANION)
            text = self.path.read_text(encoding="utf-8") if is_xml else _description(self.path)
            if text is None:
                raise InputError(f"{self.path} says nothing of a set in OME-XML; export it again")
            return ElementTree.fromstring(text)

    @cached_property
    def _images(self) -> dict[str, Element]:
        return {one.get("ID", ""): one for one in self._root if _is(one, "Image")}

    def listed(self) -> list[SeriesFile]:
        """A series for each image: a field of a well where the set has a plate, else a well by its own name."""
        self._check_scans()
        found = list[SeriesFile]()
        for well in (one for one in self._root.iter() if _is(one, "Well")):
            samples = [one for one in well.iter() if _is(one, "ImageRef")]
            name = self._place(well)
            found += [SeriesFile(ref.get("ID", ""), name, str(n)) for n, ref in enumerate(samples, 1)]
        if not found:
            names = Counter(one.get("Name", "") for one in self._images.values())
            own = {key: one.get("Name", "") for key, one in self._images.items()}
            found = [SeriesFile(key, name if name and names[name] == 1 else key, "1") for key, name in own.items()]
        for one in found:
            if one.file not in self._images:
                raise InputError(f"{self.path}: well {one.well} names {one.file}, which it lacks; export the set again")
            self._pages(one.file)
        if not found:
            raise InputError(f"{self.path} describes no image; export the set again")
        return found

    def _check_scans(self) -> None:
        """Refuse several scans of one plate: the images of a spot would be taken for fields side by side."""
        for plate in (one for one in self._root if _is(one, "Plate")):
            scans = [one for one in plate if _is(one, "PlateAcquisition") and len(one)]
            if len(scans) > 1:
                names = ", ".join(one.get("Name") or one.get("ID") or "unnamed" for one in scans[:3])
                said = f"{self.path}: {plate.get('ID', 'its plate')} was scanned {len(scans)} times ({names})"
                raise InputError(f"{said}; export each scan by itself")

    def _place(self, well: Element) -> str:
        row, column = (well.get(name, "0") for name in ("Row", "Column"))
        if not (row.isdecimal() and column.isdecimal()) or int(row) >= ROWS:
            said = f"{self.path}: {well.get('ID', 'a well')} is in row {row}, column {column}"
            raise InputError(f"{said}; they are whole numbers from 0 on, rows below {ROWS}; export the set again")
        return f"{_letters(int(row))}{int(column) + 1}"

    def others(self) -> list[str]:
        """The image files beside the description that hold none of its planes."""
        own = {page.file for image in self._images for page in self._pages(image).values()}
        found, _ = image_files(self.path.parent, self.path.parent.iterdir())
        return [name for name in found if name not in own and name != self.path.name]

    def about(self, image: str) -> ImageAbout:
        """What the description says of an image."""
        with decoding(str(self.path)):
            return ome_about(self._pixels(image))

    def files(self, image: str, frame: int) -> list[Path]:
        """The files that the planes of a frame lie in."""
        pages = self._pages(image)
        return sorted({self.path.with_name(page.file) for (t, _, _), page in pages.items() if t == frame})

    def frame(self, image: str, frame: int, which: ImagePlane, region: Region = WHOLE) -> NDArray[Any]:
        """The plane (H, W) that is meant of one frame, in its own grey values; other planes are not read."""
        pixels, pages = self._pixels(image), self._pages(image)
        channels = [which.channel - 1] if which.channel else range(int(pixels.get("SizeC", 1)))
        depths = [which.z - 1] if isinstance(which.z, int) else range(int(pixels.get("SizeZ", 1)))
        planes = []
        for c in channels:
            for z in depths:
                if (frame, c, z) not in pages:
                    raise InputError(f"{self.path.name} names no file for channel {c + 1}, plane {z + 1} of it")
                planes.append(self._read(pages[frame, c, z], region))
        stack = np.stack(planes).reshape(len(channels), len(depths), *planes[0].shape)
        shown = ImagePlane(None, which.z if isinstance(which.z, str) and len(depths) > 1 else None)
        axes = "ZYX" if len(depths) > 1 else "YX"
        one = stack[0] if len(depths) > 1 else stack[0, 0]
        (found,) = frames_of(one, axes, shown, self.path.name)
        return found

    def _read(self, page: Page, region: Region) -> NDArray[Any]:
        from monolayer.plates.tiff_region import page_region

        return one_plane(page_region(self.path.with_name(page.file), page.number, region))

    def _pixels(self, image: str) -> Element:
        return next(one for one in self._images[image] if _is(one, "Pixels"))

    @cached_property
    def _known(self) -> dict[str, dict[tuple[int, int, int], Page]]:
        return {}

    def _pages(self, image: str) -> dict[tuple[int, int, int], Page]:
        """Where the plane of each (t, c, z) lies."""
        if image not in self._known:
            with decoding(str(self.path)):
                self._known[image] = _planes(self._pixels(image), self.path.name)
        return self._known[image]


def _planes(pixels: Element, own: str) -> dict[tuple[int, int, int], Page]:
    """Where the plane of each (t, c, z) lies; without a name it is in the file that says so, `own`."""
    sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in "TCZ"}
    order = [axis for axis in pixels.get("DimensionOrder", "XYCZT") if axis in sizes]  # the first changes fastest
    found = dict[tuple[int, int, int], Page]()
    for data in (one for one in pixels if _is(one, "TiffData")):
        file = next((one.get("FileName", "") for one in data if _is(one, "UUID")), own)
        if file != Path(file).name:
            raise InputError(f"{own} names {file or 'a file without a name'}: put all files of the set beside it")
        first = {axis: int(data.get(f"First{axis}", 0)) for axis in sizes}
        total = sizes["T"] * sizes["C"] * sizes["Z"]
        count = int(data.get("PlaneCount", 1 if data.get("IFD") else total))
        place = first[order[0]] + sizes[order[0]] * (first[order[1]] + sizes[order[1]] * first[order[2]])
        for step in range(min(count, total - place)):
            rest, at = place + step, dict[str, int]()
            for axis in order:
                rest, at[axis] = divmod(rest, sizes[axis])
            found[at["T"], at["C"], at["Z"]] = Page(file, int(data.get("IFD", 0)) + step)
    return found


def _is(element: Element, name: str) -> bool:
    return element.tag.endswith(f"}}{name}")


def _letters(row: int) -> str:
    """The letters of a row, from 0.

    >>> [_letters(row) for row in (0, 25, 26, 31)]
    ['A', 'Z', 'AA', 'AF']
    """
    return ("" if row < 26 else chr(64 + row // 26)) + chr(65 + row % 26)
