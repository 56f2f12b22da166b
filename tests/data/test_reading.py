"""One reader knows the axes of image files: time is read, channels and z are asked for, nothing is guessed."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from image_inputs import FILES, GREY, PLANES, ImageFile, tif
from monolayer.data.plane import ImagePlane, ReadLimits, TooLargeError
from monolayer.data.reading import read_frame, read_frames
from monolayer.files import InputError

BY_NAME = {file.name: file for file in FILES}


def read(file: ImageFile) -> Any:
    return read_frames(file.data(), "a.tif", ImagePlane(file.channel, file.z))


@pytest.mark.parametrize("name", [file.name for file in FILES if file.read])
def test_frames_are_those_of_the_plane(name: str) -> None:
    frames = read(BY_NAME[name])
    assert [frame.dtype for frame in frames] == [np.uint8] * len(frames)
    assert np.array_equal(frames, PLANES[list(BY_NAME[name].read)])


@pytest.mark.parametrize("name", [file.name for file in FILES if file.refused])
def test_what_leaves_doubt_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=re.escape(BY_NAME[name].refused)):
        read(BY_NAME[name])


def test_a_series_is_no_frame() -> None:
    with pytest.raises(InputError, match=r"holds 3 pages \(TYX \(3, 40, 60\)\), not one frame"):
        read_frame(BY_NAME["ImageJ, T"].data(), "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_spread_as_those_of_a_png(bits: int) -> None:
    """tifffile packs bits it can write; Pillow does so for PNG."""
    most = (1 << bits) - 1
    values = (PLANES[0] // 32 % (most + 1)).astype(np.uint8)
    packed = imagecodecs.packints_encode(values, bits, runlen=values.shape[1])
    data = bytearray(tif(values, metadata=None, **GREY))
    with tifffile.TiffFile(BytesIO(data)) as file:
        page = file.pages.first
        tag, place = page.tags["BitsPerSample"], page.dataoffsets[0]
        count = page.tags["StripByteCounts"]
    data[tag.valueoffset : tag.valueoffset + 2] = bits.to_bytes(2, "little")
    data[count.valueoffset : count.valueoffset + 4] = len(packed).to_bytes(4, "little")
    data[place : place + len(packed)] = packed
    assert np.array_equal(read_frame(bytes(data[: place + len(packed)]), "a.tif"), values * np.uint8(255 // most))


def test_what_a_file_costs_is_known_before_it_is_decoded() -> None:
    vast = bytearray(tif(PLANES[0], compression="zlib", **GREY))
    with tifffile.TiffFile(BytesIO(vast)) as file:
        for name in ("ImageWidth", "ImageLength"):
            tag = file.pages.first.tags[name]
            vast[tag.valueoffset : tag.valueoffset + 4] = (20_000).to_bytes(4, "little")
    with pytest.raises(TooLargeError, match="has 400,000,000 pixels; at most 268,435,456 are read: cut it into"):
        read_frames(bytes(vast), "a.tif")


def test_more_than_pillow_likes_is_read() -> None:
    """Its limit is for strangers' files; a scan of a whole well is the user's own."""
    data = imagecodecs.png_encode(np.zeros((14_000, 13_000), np.uint8), level=1)
    assert read_frame(bytes(data), "well.png").shape == (14_000, 13_000)


@pytest.mark.parametrize("way", ["jpeg", "lzma", "webp"])
def test_compressions_of_strangers_are_named(way: str) -> None:
    pixels = np.stack([PLANES[0]] * 3, -1) if way == "webp" else PLANES[0]
    data = tif(pixels, compression=way, photometric="rgb" if way == "webp" else "minisblack")
    assert read_frame(data, "a.tif").shape == PLANES[0].shape
    with pytest.raises(InputError, match=rf"is compressed with {way.upper()}, which this service does not read; save"):
        read_frames(data, "a.tif", limits=ReadLimits(stranger=True))
