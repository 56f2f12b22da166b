"""Image files as programs write them, and what each entry point does with them: one reader, so one answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tifffile
from inputs import InputCase
from numpy.typing import NDArray
from PIL import Image as PillowImage

HEIGHT, WIDTH = 40, 60
# a ramp each, so that no two planes have one mean
PLANES = np.add.outer(40 * np.arange(6), np.add.outer(np.arange(HEIGHT) // 4, np.arange(WIDTH) // 6)).astype(np.uint8)
GREY: dict[str, Any] = {"photometric": "minisblack"}
NO_AXES: dict[str, Any] = GREY | {"metadata": None}


class ImageFile(NamedTuple):
    """A file: what is read of it (frames of PLANES), or the words with which it is refused, by entry point."""

    name: str
    data: Callable[[], bytes]
    read: tuple[int, ...] = ()  # planes of PLANES, one for each frame
    refused: str = ""
    channel: int | None = None
    z: int | None = None


def tif(pixels: NDArray[Any], **how: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **how)
    return file.getvalue()


def pages(*parts: tuple[NDArray[Any], dict[str, Any]], **how: Any) -> bytes:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **how) as writer:
        for pixels, own in parts:
            writer.write(pixels, **own)
    return file.getvalue()


def pillow(image: PillowImage.Image, kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def imagej(axes: str, *shape: int) -> bytes:
    return tif(stack(*shape), imagej=True, metadata={"axes": axes})


def ome(axes: str, *shape: int, **about: Any) -> bytes:
    return tif(stack(*shape), ome=True, metadata={"axes": axes} | about, **GREY)


def stack(*shape: int) -> NDArray[np.uint8]:
    return PLANES[: int(np.prod(shape))].reshape(*shape, HEIGHT, WIDTH)


def samples(count: int, **how: Any) -> bytes:
    return tif(np.moveaxis(stack(count), 0, -1), planarconfig="contig", **GREY, **how)


def member_of_a_set(files: int) -> bytes:
    """One file of an OME-TIFF of one frame in each of so many files."""
    uuid = "urn:uuid:00000000-0000-0000-0000-{:012}".format
    planes = "".join(
        f'<TiffData FirstT="{n}" IFD="0" PlaneCount="1"><UUID FileName="t{n}.ome.tif">{uuid(n)}</UUID></TiffData>'
        for n in range(files)
    )
    about = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="{uuid(0)}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="{WIDTH}" SizeY="{HEIGHT}" SizeZ="1" SizeC="1" SizeT="{files}">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )
    return tif(PLANES[0], description=about, **NO_AXES)


def single_ifd(count: int) -> bytes:
    """An ImageJ stack as ImageJ writes large ones: one directory, the frames one behind the other."""
    about = f"ImageJ=1.54f\nimages={count}\nframes={count}\nloop=false\n"
    first = tif(PLANES[0], description=about, **NO_AXES)
    with tifffile.TiffFile(io.BytesIO(first)) as file:
        assert file.pages.first.dataoffsets[0] + PLANES[0].nbytes == len(first)
    return first + PLANES[1:count].tobytes()


def turned(kind: str) -> bytes:
    image = PillowImage.fromarray(PLANES[0])
    exif = image.getexif()
    exif[0x0112] = 6
    return pillow(image, kind, exif=exif)


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def sparse() -> bytes:
    """4 x 6 tiles, of which the last has no place in the file."""
    tiles = [PLANES[0][:16, :16]] * 23 + [None]
    return tif(iter(tiles), shape=(64, 96), dtype=np.uint8, tile=(16, 16), **NO_AXES)  # type: ignore[arg-type]


def thumbnail(**how: Any) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    return PLANES[1][::3, ::3], GREY | {"subfiletype": 1} | how


CHANNELS, Z = "has 2 channels", "has 2 planes along z"
FILES = (
    ImageFile("grey, any writer", lambda: tif(PLANES[0], **GREY), (0,)),
    ImageFile("pages that name no axes", lambda: tif(stack(3), **NO_AXES), (0, 1, 2)),
    ImageFile("such pages, one chosen", lambda: tif(stack(3), **NO_AXES), (2,), channel=3),
    ImageFile("tifffile's axes TYX", lambda: tif(stack(2), metadata={"axes": "TYX"}, **GREY), (0, 1)),
    ImageFile("tifffile's axes CYX", lambda: tif(stack(2), metadata={"axes": "CYX"}, **GREY), refused=CHANNELS),
    ImageFile("tifffile's axes ZYX", lambda: tif(stack(2), metadata={"axes": "ZYX"}, **GREY), refused=Z),
    ImageFile(
        "tifffile's axes PYX", lambda: tif(stack(2), metadata={"axes": "PYX"}, **GREY), refused="axes of which nobody"
    ),
    ImageFile("tifffile, two unnamed axes", lambda: tif(stack(2, 3), **GREY), refused="axes of which nobody knows"),
    ImageFile("ImageJ, T", lambda: imagej("TYX", 3), (0, 1, 2)),
    ImageFile("ImageJ, C", lambda: imagej("CYX", 2), refused=CHANNELS),
    ImageFile("ImageJ, C, the second", lambda: imagej("CYX", 2), (1,), channel=2),
    ImageFile("ImageJ, Z", lambda: imagej("ZYX", 2), refused=Z),
    ImageFile("ImageJ, Z, the first", lambda: imagej("ZYX", 2), (0,), z=1),
    ImageFile("ImageJ, hyperstack TC, the second", lambda: imagej("TCYX", 3, 2), (1, 3, 5), channel=2),
    ImageFile("ImageJ, hyperstack TZC", lambda: imagej("TZCYX", 1, 3, 2), (4,), channel=1, z=3),
    ImageFile("ImageJ, a single directory", lambda: single_ifd(3), (0, 1, 2)),
    ImageFile(
        "ImageJ, frames that are not there",
        lambda: imagej("TYX", 3).replace(b"frames=3", b"frames=2"),
        refused="has 3 pages and says that they are 2",
    ),
    ImageFile("ImageJ, green lookup table", lambda: tif(PLANES[0], imagej=True, colormap=green()), (0,)),
    ImageFile("OME-TIFF, T", lambda: ome("TYX", 3), (0, 1, 2)),
    ImageFile(
        "OME-TIFF, C",
        lambda: ome("CYX", 2, Channel={"Name": ["phase", "GFP"]}),
        refused="has 2 channels (1 phase, 2 GFP); say which one shows the cells",
    ),
    ImageFile("OME-TIFF, C, the second", lambda: ome("CYX", 2), (1,), channel=2),
    ImageFile("OME-TIFF, C, one too many", lambda: ome("CYX", 2), refused="channel is 3; give 1 to 2", channel=3),
    ImageFile("OME-TIFF, Z", lambda: ome("ZYX", 2), refused=Z),
    ImageFile("OME-TIFF, TZC", lambda: ome("TZCYX", 3, 2, 1), (1, 3, 5), z=2),
    ImageFile("OME-TIFF, two images", lambda: pages(*[(PLANES[0], GREY)] * 2, ome=True), refused="several pictures"),
    ImageFile("OME-TIFF, one file of two", lambda: member_of_a_set(2), refused="one file of an OME-TIFF set of 2"),
    ImageFile("OME-TIFF, a set of one file", lambda: member_of_a_set(1), (0,)),
    ImageFile(
        "OME-TIFF, a pyramid",
        lambda: pages((PLANES[0], GREY | {"subifds": 1}), (PLANES[0][::2, ::2], GREY | {"subfiletype": 1}), ome=True),
        (0,),
    ),
    ImageFile("a thumbnail behind", lambda: pages((PLANES[0], NO_AXES), thumbnail(metadata=None)), (0,)),
    ImageFile("a thumbnail before", lambda: pages(thumbnail(metadata=None), (PLANES[0], NO_AXES)), (0,)),
    ImageFile(
        "a thumbnail of full size",
        lambda: pages((PLANES[0], NO_AXES), (PLANES[1], NO_AXES | {"subfiletype": 1})),
        (0,),
    ),
    ImageFile("a thumbnail, tifffile's", lambda: pages((PLANES[0], GREY), thumbnail()), (0,)),
    ImageFile(
        "pages of several sizes",
        lambda: pages((PLANES[0], NO_AXES), (PLANES[1][:7, :9], NO_AXES)),
        refused="several pictures (YX (40, 60), YX (7, 9))",
    ),
    ImageFile("2 samples a pixel", lambda: samples(2), refused=CHANNELS),
    ImageFile("2 samples, one is alpha", lambda: samples(2, extrasamples=["unassalpha"]), (0,)),
    ImageFile("3 samples, MINISBLACK", lambda: samples(3), refused="has 3 channels"),
    ImageFile("5 samples, MINISBLACK", lambda: samples(5), refused="has 5 channels; say which one shows the cells"),
    ImageFile("5 samples, the fourth", lambda: samples(5), (3,), channel=4),
    ImageFile("5 samples, separate planes", lambda: tif(stack(5), planarconfig="separate", **GREY), (3,), channel=4),
    ImageFile("RGB, the third", lambda: tif(np.moveaxis(stack(3), 0, -1), photometric="rgb"), (2,), channel=3),
    ImageFile("RGB as PNG, the third", lambda: pillow(colours(), "png"), (2,), channel=3),
    ImageFile("palette of greys, PNG", lambda: pillow(PillowImage.fromarray(PLANES[0]).convert("P"), "png"), (0,)),
    ImageFile("palette of greys, TIFF", lambda: pillow(PillowImage.fromarray(PLANES[0]).convert("P"), "tiff"), (0,)),
    ImageFile("turned, TIFF", lambda: turned("tiff"), refused="is to be shown turned (TIFF orientation)"),
    ImageFile("turned, JPEG", lambda: turned("jpeg"), refused="is to be shown turned (EXIF orientation)"),
    ImageFile("turned, PNG", lambda: turned("png"), refused="is to be shown turned (EXIF orientation)"),
    ImageFile(
        "LZW, cut short", lambda: cut(tif(PLANES[0].repeat(9, 0).repeat(9, 1), compression="lzw")), refused="cut short"
    ),
    ImageFile("tiles, one never written", sparse, refused="holds nothing of 1 of its 24 tiles or strips"),
    ImageFile("a stack, cut short", lambda: cut(imagej("TYX", 6)), refused="cut short"),
    ImageFile("complex numbers", lambda: tif(PLANES[0].astype(np.complex64), **GREY), refused="with real numbers"),
    ImageFile("CMYK", lambda: pillow(colours().convert("CMYK"), "tiff"), refused="save it as grey or RGB"),
)


def green() -> NDArray[np.uint16]:
    table = np.zeros((3, 256), np.uint16)
    table[1] = np.arange(256) * 257
    return table


def colours() -> PillowImage.Image:
    return PillowImage.fromarray(np.ascontiguousarray(np.moveaxis(stack(3), 0, -1)))


ENTRIES = ("source: coco", "predict", "measure", "service", "watch")
SERIES = ("service", "watch")  # they take several frames in time


def case(file: ImageFile, entry: str) -> InputCase:
    """What an entry point does with a file."""
    chosen = [f"{name} {value}" for name, value in (("channel", file.channel), ("z", file.z)) if value]
    kind = ", ".join([file.name, *chosen])
    if file.refused:
        return InputCase("images", kind, entry, "refused", file.refused)
    if len(file.read) > 1 and entry not in SERIES:
        return InputCase("images", kind, entry, "refused", f"holds {len(file.read)} pages")
    return InputCase("images", kind, entry, "read", f"{len(file.read)} frame{'s' if len(file.read) > 1 else ''}")


CASES = [case(file, entry) for file in FILES for entry in ENTRIES]
