"""Tiles: they cover every image, their weights leave what is constant constant, and their borders don't show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monolayer.models.dihedral import turn, turn_back
from monolayer.models.unet.tiling import Float, Tiles, axis, blend, blend_tta
from scipy import ndimage


@given(length=st.integers(1, 900), side=st.integers(1, 8), overlap=st.integers(0, 128), levels=st.integers(0, 5))
def test_tiles_cover_the_axis_on_the_stride(length: int, side: int, overlap: int, levels: int) -> None:
    tiles = Tiles(64 * side, min(overlap, 32 * side), 2**levels)
    cut = axis(length, tiles)
    assert length <= cut.padded < length + tiles.stride
    assert cut.side <= max(tiles.side, tiles.stride)
    assert all(position % tiles.stride == 0 for position in (cut.side, *cut.starts))
    assert cut.starts[0] == 0
    assert cut.starts[-1] + cut.side == cut.padded
    steps = np.diff(cut.starts)
    assert (steps > 0).all()
    assert (cut.side - steps >= tiles.overlap).all()
    assert (cut.total() > 0).all()


def test_tiles_are_no_larger_than_they_need_to_be() -> None:
    """A frame of LIVECell in tiles of up to 512 px: a quarter more pixels than it has, not three times as many."""
    wide, high = axis(704, Tiles(512, 64, 8)), axis(520, Tiles(512, 64, 8))
    assert (wide.starts, wide.side) == ([0, 320], 384)
    assert (high.starts, high.side) == ([0, 224], 296)


@pytest.mark.parametrize("shape", [(7, 9), (64, 64), (200, 333), (65, 640)])
def test_what_is_local_comes_back_as_it_was(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    [found] = blend([image], lambda x: np.concatenate([x, 2 * x], axis=1), Tiles(64, 16, 8), batch=3)
    assert found.shape == (2, *shape)
    np.testing.assert_allclose(found, np.stack([image, 2 * image]), rtol=0, atol=1e-5)


def smooth(tiles: Float) -> Float:
    """A network whose answer at a pixel hangs on pixels up to 12 px away."""
    blurred: Float = ndimage.gaussian_filter(tiles, (0, 0, 3, 3), truncate=4)
    return blurred


def test_seams_do_not_show() -> None:
    """Tiled or whole: the same but for what a tile does not see across its edge, which the blend weighs down."""
    image = np.random.default_rng(1).normal(size=(150, 260)).astype(np.float32)
    [whole] = blend([image], smooth, Tiles(512, 0, 8), batch=1)
    [tiled] = blend([image], smooth, Tiles(64, 32, 8), batch=4)
    [rough] = blend([image], smooth, Tiles(64, 0, 8), batch=4)
    assert np.abs(tiled - whole).max() < 0.25 * np.abs(rough - whole).max()
    np.testing.assert_allclose(tiled[:, :20, :20], whole[:, :20, :20], atol=1e-5)  # seen by the first tile alone


def test_images_of_different_sizes_share_batches() -> None:
    rng = np.random.default_rng(2)
    images = [rng.normal(size=shape).astype(np.float32) for shape in [(50, 60), (50, 60), (130, 70), (64, 64)]]
    sizes: list[int] = []

    def forward(tiles: Float) -> Float:
        sizes.append(len(tiles))
        return tiles

    found = blend(images, forward, Tiles(64, 16, 8), batch=4)
    for image, maps in zip(images, found, strict=True):
        np.testing.assert_allclose(maps[0], image, atol=1e-5)
    assert max(sizes) <= 4
    assert sizes[0] == 2  # both of 50x60


@pytest.mark.parametrize("way", range(8))
def test_turning_back_gives_what_was_turned(way: int) -> None:
    maps = np.random.default_rng(way).normal(size=(2, 5, 7)).astype(np.float32)
    assert np.array_equal(turn_back(turn(maps, way), way), maps)


def test_the_eight_ways_are_eight() -> None:
    square = np.arange(9, dtype=np.float32).reshape(3, 3)
    assert len({turn(square, way).tobytes() for way in range(8)}) == 8


def test_a_mean_over_views_has_no_favourite_direction() -> None:
    """A network that looks to the left only: over four or eight views it looks everywhere alike."""

    def left(tiles: Float) -> Float:
        return np.roll(tiles, 3, axis=-1)

    image = np.zeros((33, 41), np.float32)
    image[16, 20] = 8
    tiles = Tiles(64, 16, 8)
    [four] = blend_tta([image], left, tiles, batch=2, tta=4)
    assert sorted(map(tuple, np.argwhere(four[0] > 0.5).tolist())) == [(13, 20), (16, 17), (16, 23), (19, 20)]
    [eight] = blend_tta([image], left, tiles, batch=2, tta=8)
    np.testing.assert_allclose(eight, four, atol=1e-6)
    assert np.array_equal(blend_tta([image], left, tiles, 2, 1)[0], blend([image], left, tiles, 2)[0])


@pytest.mark.parametrize(("height", "width"), [(21, 13), (1, 40), (16, 32)])
def test_what_lacks_to_the_stride_is_the_image_mirrored(height: int, width: int) -> None:
    """A flat strip at the edge would be ground that the network never saw."""
    image = np.random.default_rng(0).random((height, width), np.float32)
    seen = list[Float]()

    def forward(tiles: Float) -> Float:
        seen.append(tiles[0, 0])
        return tiles

    blend([image], forward, Tiles(64, 0, 16), 1)
    [given] = seen
    mirrored = [
        np.abs((np.arange(new) + old - 1) % max(1, 2 * (old - 1)) - (old - 1))
        for new, old in zip(given.shape, image.shape, strict=True)
    ]
    assert np.array_equal(given, image[np.ix_(*mirrored)])
