"""8-bit values stay, deeper ones are scaled by percentiles, colours become luma: for every file type alike."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from monolayer.data.images import eight_bit, grey, scale
from monolayer.files import InputError
from monolayer.params.data import Percentiles
from paths import ROOT
from PIL import Image as PillowImage

ALL = Percentiles(low=0, high=100)
MODELS_OWN = Percentiles(low=0.5, high=99.8)  # as an exported run brings them
RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (20, 30), np.uint8)
SIXTEEN = RNG.integers(900, 5000, (20, 30)).astype(np.uint16)
STRETCHED = scale(SIXTEEN, SIXTEEN.min(), SIXTEEN.max())


def png(image: PillowImage.Image, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


def tif(pixels: Any, **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def stacked(pixels: Any, count: int) -> Any:
    return np.stack([pixels] * count, -1)


ALPHA = np.full_like(EIGHT, 7)
SAME_8 = {
    "PNG": png(PillowImage.fromarray(EIGHT)),
    "PNG RGB": png(PillowImage.fromarray(stacked(EIGHT, 3))),
    "PNG RGBA": png(PillowImage.fromarray(np.dstack([EIGHT, EIGHT, EIGHT, ALPHA]))),
    "PNG LA": png(PillowImage.fromarray(np.dstack([EIGHT, ALPHA]))),
    "PNG palette": png(PillowImage.fromarray(EIGHT).convert("P")),
    "TIFF": tif(EIGHT),
    "TIFF LZW": tif(EIGHT, compression="lzw", predictor=True),
    "TIFF deflate tiles": tif(EIGHT, compression="deflate", tile=(16, 16)),
    "TIFF RGB": tif(stacked(EIGHT, 3), photometric="rgb"),
    "TIFF RGB planes": tif(np.stack([EIGHT] * 3), photometric="rgb", planarconfig="separate"),
    "TIFF RGBA": tif(np.dstack([EIGHT, EIGHT, EIGHT, ALPHA]), photometric="rgb", extrasamples=["unassalpha"]),
    "TIFF white is 0": tif(255 - EIGHT, photometric="miniswhite"),
    "BigTIFF": tif(EIGHT, bigtiff=True),
    "OME-TIFF": tif(EIGHT, ome=True, metadata={"axes": "YX"}),
}
SAME_16 = {
    "PNG": bytes(imagecodecs.png_encode(SIXTEEN)),
    "PNG RGB": bytes(imagecodecs.png_encode(stacked(SIXTEEN, 3))),
    "TIFF": tif(SIXTEEN),
    "TIFF big-endian": tif(SIXTEEN, byteorder=">"),
    "TIFF RGB": tif(stacked(SIXTEEN, 3), photometric="rgb"),
    "TIFF white is 0": tif(65535 - SIXTEEN, photometric="miniswhite"),
    "TIFF int32": tif(SIXTEEN.astype(np.int32) - 3000),
    "TIFF float": tif(SIXTEEN.astype(np.float32) / 7 - 100),
}


@pytest.mark.parametrize("kind", SAME_8)
def test_8_bits_stay_what_they_are(kind: str) -> None:
    assert np.array_equal(grey(SAME_8[kind], "a", None), EIGHT)


@pytest.mark.parametrize("kind", SAME_16)
def test_more_bits_are_stretched(kind: str) -> None:
    pixels = grey(SAME_16[kind], "a", ALL)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - STRETCHED).max() <= (1 if kind == "TIFF float" else 0)
    with pytest.raises(InputError, match="this source has 8-bit images only"):
        grey(SAME_16[kind], "a", None)


def test_colours_become_luma() -> None:
    colours = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    image = PillowImage.fromarray(colours)
    assert np.abs(grey(png(image), "a", None).astype(int) - np.asarray(image.convert("L"))).max() <= 1
    assert np.array_equal(grey(tif(colours, photometric="rgb"), "a", None), grey(png(image), "a", None))


def test_two_greys_become_black_and_white() -> None:
    mask = EIGHT > 100
    for data in (png(PillowImage.fromarray(mask)), tif(mask, photometric="minisblack")):
        assert np.array_equal(grey(data, "a", None), mask * np.uint8(255))


def test_jpeg_keeps_the_picture() -> None:
    smooth = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    file = BytesIO()
    PillowImage.fromarray(stacked(smooth, 3)).save(file, format="JPEG", quality=95)
    assert np.abs(grey(file.getvalue(), "a", None).astype(int) - smooth).max() <= 3


def test_percentiles_clip_the_outliers() -> None:
    pixels = np.full((100, 100), 1000, np.uint16)
    pixels[:50] = 2000
    pixels[0, 0], pixels[0, 1] = 0, 65535  # a dead and a hot pixel
    scaled = grey(tif(pixels), "a", Percentiles(low=0.5, high=99.5))
    assert set(np.unique(scaled)) == {0, 255}
    assert (scaled[60:] == 0).all()


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 65535))
def test_scale_is_monotonous_and_within_bounds(a: int, b: int, low: int, high: int) -> None:
    first, second = scale(np.array([min(a, b), max(a, b)]), low, high)
    assert 0 <= first <= second <= 255
    if low < high:
        assert scale(np.array([low, high]), low, high).tolist() == [0, 255]


def test_one_grey_value_becomes_black() -> None:
    assert not grey(tif(np.full((5, 5), 700, np.uint16)), "a", ALL).any()


# ---- the depth of a file decides nothing -----------------------------------------------------------


def noise(deviation: float) -> Any:
    """Smooth noise around 128, as an empty field of phase contrast has it."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.random.default_rng(1).standard_normal((200, 240)), 3)
    return 128 + deviation * smooth / smooth.std()


COPIES = {
    "uint16, as it is": lambda image: image.astype(np.uint16),
    "uint16 x 256": lambda image: image.astype(np.uint16) * 256,
    "uint16 x 257": lambda image: image.astype(np.uint16) * 257,
    "12 bits": lambda image: image.astype(np.uint16) * 16,
    "uint32 x 256": lambda image: image.astype(np.uint32) * 256,
    "float of 1": lambda image: image.astype(np.float32) / 255,
    "float of 255": lambda image: image.astype(np.float64),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("image", [EIGHT, np.rint(noise(1.5)).astype(np.uint8), np.uint8(255) * (EIGHT > 200)])
def test_an_8_bit_image_in_a_deeper_file_is_that_image(copy: str, image: Any) -> None:
    assert np.array_equal(eight_bit(COPIES[copy](image), "a", MODELS_OWN), image)


@pytest.mark.parametrize("levels", [1.0, 16.06, 199.9, 256.0])
def test_noise_stays_noise(levels: float) -> None:
    """Of more than 8 bits really: no usual multiple of 8-bit values. An 8-bit camera would have shown the same."""
    seen = eight_bit(np.rint(levels * noise(1.5)).astype(np.uint16), "a", MODELS_OWN).astype(float)
    assert seen.std() < 1.6
    assert abs(seen.mean() - 128) < 2


def test_where_cells_shine_the_percentiles_are_stretched() -> None:
    dark = np.full((200, 200), 110, np.uint16) + RNG.integers(0, 20, (200, 200)).astype(np.uint16)
    dark[50:90, 50:90] += 3000
    seen = eight_bit(dark, "a", MODELS_OWN)
    assert seen[50:90, 50:90].min() > 240
    assert np.median(seen) < 5


def test_one_grey_value_never_becomes_several() -> None:
    faint = np.full((100, 100), 5, np.uint16)
    faint[:50] = 9
    assert np.ptp(eight_bit(faint, "a", MODELS_OWN)) == 4


def test_real_images_find_the_same_cells_in_16_bits() -> None:
    """Pixel for pixel the same, so F1 is too; of 12 bits that no multiple tells, within a grey value."""
    images = sorted((ROOT.parent / "shared/data/livecell_sample/images").rglob("*.tif"))[::6]
    if not images:
        pytest.skip("the images are not here")
    for path in images:
        pixels = grey(path.read_bytes(), path.name, None)
        assert np.array_equal(eight_bit(pixels.astype(np.uint16) * 257, path.name, MODELS_OWN), pixels)
        near = eight_bit(np.rint(pixels * (4095 / 255)).astype(np.uint16), path.name, MODELS_OWN)
        assert np.abs(near.astype(int) - pixels).max() <= 1
