"""Label images as OME-TIFF: axes and pixel size stand in it as the format says them."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

WHOLE = 2**16  # labels from here on need 32 bits


def ome_tiff(labels: Sequence[NDArray[np.int32]], pixel_size_um: float | None, name: str) -> bytes:
    """Label images of one size, a frame each, as an OME-TIFF called `name`; the same labels give the same bytes."""
    import tifffile

    frames = np.stack(labels)
    frames = frames.astype(np.uint16 if frames.max(initial=0) < WHOLE else np.uint32)
    about: dict[str, Any] = {"axes": "TYX", "Name": name, "Creator": "monolayer"}
    about["UUID"] = str(uuid.UUID(bytes=hashlib.sha256(frames.tobytes()).digest()[:16]))
    if pixel_size_um is not None:
        for axis in "XY":
            about |= {f"PhysicalSize{axis}": pixel_size_um, f"PhysicalSize{axis}Unit": "µm"}
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        frames,
        ome=True,
        photometric="minisblack",
        compression="zlib",
        metadata=about,
        resolution=(1e4 / pixel_size_um, 1e4 / pixel_size_um) if pixel_size_um else None,
        resolutionunit="CENTIMETER" if pixel_size_um else None,
    )
    return buffer.getvalue()
