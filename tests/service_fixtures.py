"""A running service on this machine whose network is a threshold, and images whose cells are known."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import tifffile
from monolayer.coco.instances import Instances
from monolayer.models.pipeline import Check, unchecked
from monolayer.models.unet.watershed import instances
from monolayer.params.data import MasksSource, Percentiles
from monolayer.params.steps import NeighbourParams
from monolayer.service import connections
from monolayer.service.app import create
from monolayer.service.state import ServedModel, Settings
from numpy.typing import NDArray
from PIL import Image as PillowImage
from scipy import ndimage

SIZE = (120, 160)
DEEP, NEAR = Percentiles(low=0.5, high=99.8), NeighbourParams(gap=1, radius=100)


def by_threshold(
    images: Sequence[NDArray[np.uint8]], cell_line: str | None, check: Check = unchecked
) -> list[Instances]:
    """Connected pixels above 127; the brighter, the higher the score."""
    maps = [image[None].astype(np.float32) / np.float32(255) for image in images]
    return [instances(map_, ndimage.label(map_[0] > 0.5)[0]) for map_ in maps]


def field(count: int, size: tuple[int, int] = SIZE, light: int = 255) -> NDArray[np.uint8]:
    """So many squares of 5 px that do not touch, their brightness falling from `light` to 128."""
    image = np.zeros(size, np.uint8)
    columns = size[1] // 8
    for number in range(count):
        y, x = divmod(number, columns)
        level = light - (light - 128) * number // max(1, count - 1)
        image[8 * y + 1 : 8 * y + 6, 8 * x + 1 : 8 * x + 6] = level
    return image


def png(image: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def tiff(image: NDArray[np.generic], **how: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, **{"photometric": "minisblack", **how})  # type: ignore[arg-type]
    return buffer.getvalue()


def model(name: str = "squares", lines: Sequence[str] = (), batch: int = 4) -> ServedModel:
    return ServedModel(
        name, "unet", list(lines), "fp32", 0.5, DEEP, NEAR, by_threshold, batch, line_required=bool(lines)
    )


@contextlib.contextmanager
def running(models: Sequence[ServedModel], settings: Settings) -> Iterator[str]:
    """The address of a service that is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = create(list(models), settings)
    server = connections.server(app, app.state.service, "127.0.0.1", port)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    for _ in range(600):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/ready").status_code == 200:
                break
        time.sleep(0.1)
    else:
        raise TimeoutError("the service did not become ready in a minute")
    yield url
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def resident_mb() -> float:
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def masks_source(folder: Path) -> MasksSource:
    """What the page's editor saved in a folder, as a user's `source: masks` would have it."""
    return MasksSource(
        source="masks",
        images=str(folder / "images"),
        masks=str(folder / "masks"),
        cell_line="mine",
        well=None,
        time=None,
        percentiles=Percentiles(low=0.5, high=99.8),
        channel=None,
        z=None,
        max_images=None,
    )
