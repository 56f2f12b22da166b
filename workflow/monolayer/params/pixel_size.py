"""What a microscope's pixel can be: another number is one of another unit, and every length in µm would be wrong."""

from __future__ import annotations

LOW, HIGH = 0.01, 100.0  # µm: finer than light resolves, coarser than a cell


def pixel_size(um: float) -> float:
    """The same number, or a ValueError that says what is wrong with it.

    >>> pixel_size(1.24)
    1.24
    >>> pixel_size(650)
    Traceback (most recent call last):
    ValueError: 650 is no pixel size in µm, which is from 0.01 to 100; give µm along a pixel's side, as 0.65 for 650 nm
    """
    if not LOW <= um <= HIGH:
        limits = f"which is from {LOW:g} to {HIGH:g}"
        raise ValueError(f"{um:g} is no pixel size in µm, {limits}; give µm along a pixel's side, as 0.65 for 650 nm")
    return um
