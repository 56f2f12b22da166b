"""Plates made in code: phase-contrast-like cells that double, as files of an Incucyte, an OME-TIFF and OME-Zarr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from monolayer.params.plates import PlateFinding, PlateReading, PlateSettings
from monolayer.plates import plan
from monolayer.plates.reader import PlateReader
from numpy.typing import NDArray
from paths import ROOT

HEIGHT, WIDTH = 96, 128
SETTINGS = yaml.safe_load((ROOT / "params.yaml").read_text())["plate_settings"]
PIXEL_UM = 1.24


def settings(**changes: Any) -> PlateSettings:
    return PlateSettings(**SETTINGS | changes)


def reading(**changes: Any) -> PlateReading:
    return PlateReading(**settings(**changes).model_dump(include=set(PlateReading.model_fields)))


def finding(**changes: Any) -> PlateFinding:
    return PlateFinding(**settings(**changes).model_dump(include=set(PlateFinding.model_fields)))


def pixels_of(plate: Path, output: Path, **changes: Any) -> list[NDArray[Any]]:
    """The grey values of all images of a plate, as it is planned and read."""
    plan.plan(plate, reading(**changes), output)
    reader = PlateReader(plan.read_about(output))
    return [reader.read(image) for image in plan.read_plan(output)]


def field(cells: int, seed: int) -> NDArray[np.uint8]:
    """uint8 (H, W): bright rings with dark cores, as cells in phase contrast, on noise."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(128, 4, (HEIGHT, WIDTH))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    places = [(y, x) for y in range(12, HEIGHT - 8, 24) for x in range(12, WIDTH - 8, 24)]
    for index in rng.permutation(len(places))[:cells]:
        y, x = places[index] + rng.uniform(-3, 3, 2)
        distance = np.hypot(rows - y, columns - x)
        pixels[distance < 9] += 40
        pixels[distance < 7] -= 75
    return pixels.clip(0, 255).astype(np.uint8)


def count(well: int, time: int) -> int:
    """Cells of a field: 2, 3, 4, 6, ... as the wells' own rates have it."""
    return min(20, round(2 * 2 ** (time / (3 + well))))


def incucyte(folder: Path, wells: int = 3, fields: int = 2, times: int = 4) -> Path:
    """Single frames, named as an Incucyte exports them."""
    folder.mkdir(parents=True)
    for well in range(wells):
        for place in range(1, fields + 1):
            for time in range(times):
                seed = 1000 * well + 100 * place + time
                name = (
                    f"VID7_{'AB'[well % 2]}{1 + well // 2}_{place}_{time * 12 // 24:02d}d{time * 12 % 24:02d}h00m.tif"
                )
                tifffile.imwrite(folder / name, field(count(well, time), seed))
    return folder


def two_channels(path: Path, frames: int = 3) -> Path:
    """An OME-TIFF, TCZYX, whose second channel shows the cells in phase contrast."""
    path.parent.mkdir(parents=True, exist_ok=True)
    phase = np.stack([field(4 + 2 * time, time) for time in range(frames)]).astype(np.uint16)
    pixels = np.stack([np.full_like(phase, 7), phase], 1)[:, :, None]
    about = {
        "axes": "TCZYX",
        "Channel": {"Name": ["GFP", "Phase"]},
        "PhysicalSizeX": PIXEL_UM,
        "PhysicalSizeXUnit": "µm",
        "TimeIncrement": 7200.0,
        "TimeIncrementUnit": "s",
    }
    tifffile.imwrite(path, pixels, ome=True, metadata=about, photometric="minisblack")
    return path


def hcs_plate(path: Path, version: str = "0.5", wells: tuple[str, ...] = ("A/1", "B/2"), frames: int = 3) -> Path:
    """A plate of one field a well, TCYX in 16 bits, with the metadata of the public package yaozarrs."""
    import yaozarrs
    import zarr

    models: Any = yaozarrs.v05 if version == "0.5" else yaozarrs.v04
    names = {
        "rows": sorted({well.split("/")[0] for well in wells}),
        "columns": sorted({w.split("/")[1] for w in wells}),
    }
    plate = {
        **{kind: [{"name": name} for name in found] for kind, found in names.items()},
        "name": "made",
        "wells": [
            {
                "path": well,
                "rowIndex": names["rows"].index(well.split("/")[0]),
                "columnIndex": names["columns"].index(well.split("/")[1]),
            }
            for well in wells
        ],
    }
    axes = [
        {"name": "t", "type": "time", "unit": "hour"},
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "micrometer"} for name in "yx"),
    ]
    scale = [{"type": "scale", "scale": [2.0, 1.0, PIXEL_UM, PIXEL_UM]}]
    image = {
        "multiscales": [
            {"name": "f", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
            | ({} if version == "0.5" else {"version": version})
        ],
        "omero": {"channels": [{"label": "GFP", "color": "00FF00"}, {"label": "Phase", "color": "FFFFFF"}]},
    }
    form = 3 if version == "0.5" else 2

    def group(place: Path, ome: dict[str, Any]) -> Any:
        content = {"ome": {"version": version} | ome} if form == 3 else ome
        return zarr.create_group(place, zarr_format=form, attributes=content, overwrite=True)  # type: ignore[arg-type]

    models.Plate.model_validate({"version": version, "plate": plate})
    group(path, {"plate": plate | ({} if form == 3 else {"version": version})})
    for row in names["rows"]:
        zarr.create_group(path / row, zarr_format=form, overwrite=True)  # type: ignore[arg-type]
    for number, well in enumerate(wells):
        group(path / well, {"well": {"images": [{"path": "0"}]} | ({} if form == 3 else {"version": version})})
        root = group(path / well / "0", image)
        phase = np.stack([field(4 + 2 * time, 10 * number + time) for time in range(frames)]).astype(np.uint16) * 257
        pixels = np.stack([np.full_like(phase, 7), phase], 1)
        array = root.create_array("0", shape=pixels.shape, chunks=(1, 1, HEIGHT, WIDTH), dtype=pixels.dtype)
        array[:] = pixels
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all results by path, but for parts, which shards name."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "parts" not in path.parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def about(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return found
