"""What a plate costs: its verbs on more and more images, and a shard beside the bare network.

    python tests/benchmarks/plates.py [--images 1000 10000 100000] [--real 16]

First plates of so many images of 96 x 128 px. Of a plate of 200 the pretrained model finds the cells; all plates have
these images again and again, and so their parts and label images, but for those of the last shard, which is segmented
beside all others. CPU seconds and the largest memory of each verb, a process of its own; and what an image costs from
the plan to the page, all shards as dear as the last, beside what it costs on the first of these plates.

Then, on so many images of 704 x 520 px, the pretrained model alone and in a shard, which reads, measures, and writes
labels too; and the time to read a 16-bit OME-Zarr plate beside that of plain TIFFs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).parents[1]))

import plate_samples as made
from monolayer.backends.manifest import pretrained
from monolayer.models import predictor
from monolayer.models.predictor import Frame
from monolayer.params.plates import shards
from monolayer.plates import plan, segment
from monolayer.plates.labels import ARRAY, CELLS, STORE
from monolayer.plates.parts import PART, PARTS
from monolayer.plates.plan import PlateImage, read_about, read_plan
from monolayer.plates.reader import PlateReader

TIMES, BLOCK, SHARD = 100, 200, 200
WELLS = 250


def names(count: int) -> list[str]:
    """Files named as an Incucyte's, as a plan orders them: TIMES of each field of up to WELLS wells."""
    fields = sorted((number % WELLS, number // WELLS) for number in range(count // TIMES))
    wells = [(f"{'ABCDEFGHIJKLMNOP'[well // 24]}{1 + well % 24}", 1 + place) for well, place in fields]
    days = [f"{frame // 12:02d}d{frame % 12 * 2:02d}h00m" for frame in range(TIMES)]
    return [f"VID1_{well}_{place}_{day}.tif" for well, place in wells for day in days]


class Spent(NamedTuple):
    """CPU seconds and the largest memory of a process."""

    seconds: float
    memory_mb: float


# In between, since a process is told to have had at least the memory of the one that started it.
MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
sys.exit(code)
"""


def verb(name: str, params: Any, *words: str | Path) -> Spent:
    command = [sys.executable, "-m", "monolayer", name, "--params", params.model_dump_json(), *map(str, words)]
    measured = [sys.executable, "-S", "-c", MEASURED, *command]
    done = subprocess.run(measured, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return Spent(*map(float, done.stdout.split()))


def block(folder: Path) -> None:
    """A plate of BLOCK images, from 2 to 20 cells in each field, segmented."""
    (folder / "VID1").mkdir(parents=True)
    for number, name in enumerate(names(BLOCK)):
        cells = round(2 * 10 ** (number % TIMES / TIMES))
        tifffile.imwrite(folder / "VID1" / name, made.field(cells, number))
    plan.plan(folder / "VID1", made.reading(), folder / "out")
    segment.segment(folder / "out", made.finding(), (1, BLOCK), 1)


def records(part: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    with part.open("rb") as file:
        file.readline()
        while line := file.readline():
            about = json.loads(line)
            yield about, file.read(about["bytes"])


def planes_of(field: str) -> Path:
    return Path(STORE) / field / CELLS / ARRAY / "c"


def multiply(known: Path, output: Path) -> None:
    """The parts and label images of a planned plate, but for the last shard's: those of the block again and again."""
    part = known / PARTS / f"1-{BLOCK}{PART}"
    every, images = list(records(part)), read_plan(output)
    with part.open("rb") as file:
        head = file.readline().replace(str(known.parent).encode(), str(output.parent).encode())
    reader, places = PlateReader(read_about(output)), [image.labels for image in read_plan(known)]
    (output / PARTS).mkdir()
    for name in shards(len(images), SHARD)[:-1]:
        first, last = map(int, name.split("-"))
        with (output / PARTS / f"{name}{PART}").open("wb") as file:
            file.write(head)
            for image in images[first - 1 : last]:
                about, cells = every[(image.number - 1) % BLOCK]
                key = segment.key_of(image, reader.state(image))
                file.write(json.dumps(about | {"key": key}).encode() + b"\n" + cells)
        fields = list(dict.fromkeys(image.labels for image in images[first - 1 : last]))
        (output / PARTS / f"{name}.json").write_text(json.dumps({"fields": fields}))
    for image in images[:-SHARD:TIMES]:
        like = planes_of(places[(image.number - 1) % BLOCK])
        (output / planes_of(image.labels)).symlink_to(known / like)


def growth(counts: Sequence[int]) -> None:
    """What each verb costs on plates of so many images."""
    print("images | CPU s: plan, a shard, tables, page | CPU ms an image, beside the first | MB of each")
    first = 0.0
    with tempfile.TemporaryDirectory() as name:
        known = Path(name) / "block"
        block(known)
        for count in counts:
            spent = plate(known, Path(name) / str(count), count)
            seconds = [one.seconds for one in spent]
            each = (sum(seconds) + seconds[1] * (count / SHARD - 1)) / count
            first = first or each
            took = " ".join(f"{one:7.1f}" for one in seconds)
            memory = " ".join(f"{one.memory_mb:5.0f}" for one in spent)
            print(f"{count:6d} | {took} | {1000 * each:7.1f} {each / first:7.2f} | {memory}", flush=True)


def plate(known: Path, folder: Path, count: int) -> list[Spent]:
    """A plan, the last shard, the tables and the page."""
    plate, output = folder / "VID1", folder / "out"
    plate.mkdir(parents=True)
    files = [known / "VID1" / name for name in names(BLOCK)]
    for number, name in enumerate(names(count)):
        os.link(files[number % BLOCK], plate / name)
    settings = made.settings()
    planned = verb("plan-plate", made.reading(), "--plate", plate, "--output", output)
    multiply(known / "out", output)
    last = shards(count, SHARD)[-1]
    shard = verb("segment-plate", made.finding(), "--plan", output, "--shard", last, "--threads", "1")
    tables = verb("tabulate-plate", settings, "--plan", output, "--images-per-shard", str(SHARD))
    page = verb("report-plate", settings, "--plan", output, "--output", output / "report.html")
    return [planned, shard, tables, page]


def beside_the_network(count: int) -> None:
    """CPU seconds of an image in a shard, and of the network alone on the same pixels."""
    with tempfile.TemporaryDirectory() as name:
        plate, output = Path(name) / "VID1", Path(name) / "out"
        plate.mkdir()
        for number in range(count):
            tiles = np.tile(made.field(12, number), (6, 6))[:520, :704]
            tifffile.imwrite(plate / f"VID1_A1_1_00d{number:02d}h00m.tif", tiles)
        plan.plan(plate, made.reading(), output)
        model = segment.load_model(made.finding(), 1)
        reader = PlateReader(read_about(output))
        images = [reader.read(image) for image in read_plan(output)]
        frames = [Frame(str(n), None, partial(np.asarray, image)) for n, image in enumerate(images)]
        alone = replace(predictor.load(pretrained(), threads=1), batch=1)  # it looks at no single view
        list(alone.stream(frames[:2]))  # warm
        list(model.predictor.stream(frames[:2]))
        began = time.process_time(), time.perf_counter()
        list(alone.stream(frames))
        bare = time.process_time() - began[0], time.perf_counter() - began[1]
        began = time.process_time(), time.perf_counter()
        with mock.patch.object(segment, "load_model", return_value=model):
            segment.segment(output, made.finding(), (1, count), 1)
        whole = time.process_time() - began[0], time.perf_counter() - began[1]
    print(f"network alone {bare[0] / count:.3f} CPU s, {bare[1] / count:.3f} s an image")
    print(f"in a shard    {whole[0] / count:.3f} CPU s, {whole[1] / count:.3f} s an image")
    print(f"throughput    {bare[1] / whole[1]:.2f} of the network's, CPU time {whole[0] / bare[0]:.2f} of it")


def reading(count: int = 40) -> None:
    """CPU seconds to read the planes of a 16-bit OME-Zarr plate and of plain TIFFs of the same pixels."""
    import zarr

    with tempfile.TemporaryDirectory() as name:
        store = made.hcs_plate(Path(name) / "p.ome.zarr", wells=("A/1",), frames=1)
        pixels = np.tile(made.field(12, 0), (6, 6))[:520, :704].astype(np.uint16) * 257
        field = zarr.open_group(store / "A/1/0", mode="r+")
        array = field.create_array(
            "0", shape=(count, 1, 520, 704), chunks=(1, 1, 520, 704), dtype=np.uint16, overwrite=True
        )
        array[:] = np.broadcast_to(pixels, array.shape)
        for number in range(count):
            tifffile.imwrite(Path(name) / f"{number}.tif", pixels, compression="zlib")
        image = PlateImage(1, "A1", "0", "", 0, "t000", 0.0, 0.0, "A/1/0", 0, 520, 704, "A/1/0", "")
        about = plan.PlateAbout(str(store), "zarr", count, 1, [""], None, None, "", "h", "", [])
        spent = {}
        for kind, of in (("TIFF", about._replace(path=name, kind="files")), ("OME-Zarr", about)):
            reader = PlateReader(of)
            began = time.process_time()
            for number in range(count):
                own = image._replace(file=f"{number}.tif") if kind == "TIFF" else image._replace(plane=number)
                reader.read(own)
            spent[kind] = (time.process_time() - began) / count
        print(", ".join(f"{kind} {1000 * seconds:.1f} CPU ms a plane" for kind, seconds in spent.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    many = "small images, hundreds of them"
    parser.add_argument("--images", type=int, nargs="*", default=[1000, 10000, 100000], metavar="N", help=many)
    parser.add_argument("--real", type=int, default=16, metavar="N", help="images that the pretrained model sees")
    args = parser.parse_args()
    growth(args.images)
    reading()
    beside_the_network(args.real)


if __name__ == "__main__":
    main()
