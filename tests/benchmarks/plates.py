"""What a plate costs beside the bare network: planning, reading, label images, tables, the page.

    python tests/benchmarks/plates.py [--images 1000 10000 100000] [--stages 1000 4000] [--real 16]

First the plan of so many images, whose files are empty but for the first of each well: seconds and largest memory of a
process of its own. Then the stages behind the network on plates of so many images of 96 x 128 px, whose cells are found
by a threshold: CPU seconds per 1,000 images, which stay the same where the cost is linear, and the largest memory of a
process of its own. Last, on so many images of 704 x 520
px, the pretrained model alone and in a shard, which reads, measures, and writes labels too; and the time to read a
16-bit OME-Zarr plate beside that of plain TIFFs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest import mock

import numpy as np
import tifffile
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

import plate_samples as made
from monolayer.backends.manifest import pretrained
from monolayer.coco.instances import Instances
from monolayer.models import predictor
from monolayer.models.predictor import Frame
from monolayer.plates import plan, report, segment, tabulate
from monolayer.plates.plan import PlateImage, read_about, read_plan
from monolayer.plates.reader import PlateReader
from numpy.typing import NDArray

TIMES = 100
PLAN = """
import resource, sys, time
sys.path.insert(0, {path!r})
import plate_samples as made
from pathlib import Path
from monolayer.plates import plan
began = time.process_time()
plan.plan(Path(sys.argv[1]), made.reading(), Path(sys.argv[2]))
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def names(folder: Path, count: int) -> None:
    """Files named as an Incucyte's: TIMES of each well and field; only the first holds an image."""
    folder.mkdir(parents=True)
    for well in range(-(-count // TIMES)):
        row, column, place = "ABCDEFGHIJKLMNOP"[well // 24 % 16], 1 + well % 24, 1 + well // 384
        for frame in range(min(TIMES, count - well * TIMES)):
            file = folder / f"VID1_{row}{column}_{place}_{frame // 12:02d}d{frame % 12 * 2:02d}h00m.tif"
            if frame:
                file.touch()
            else:
                tifffile.imwrite(file, made.field(2, well))


def planning(counts: list[int]) -> None:
    print("images   plan CPU s   largest MB")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            names(Path(name) / "VID1", count)
            code = PLAN.format(path=sys.path[0])
            command = [sys.executable, "-c", code, f"{name}/VID1", f"{name}/out"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds, memory = map(float, done.stdout.split())
        print(f"{count:6d} {seconds:12.1f} {memory:12.0f}", flush=True)


class Threshold:
    """In the place of a predictor: bright pixels that touch are a cell."""

    def __init__(self, like: Any) -> None:
        self.network = like.network

    def stream(self, frames: Iterator[Frame]) -> Iterator[Instances]:
        for frame in frames:
            yield found(frame.read())


def found(image: NDArray[np.uint8]) -> Instances:
    labels = ndimage.label(image > 150)[0]
    boxes = [(labels[box] == n, box) for n, box in enumerate(ndimage.find_objects(labels), 1)]
    corners = np.array([(box[1].start, box[0].start) for _, box in boxes], np.int32).reshape(-1, 2)
    ends = np.array([(box[1].stop, box[0].stop) for _, box in boxes], np.float32).reshape(-1, 2)
    masks = [mask for mask, _ in boxes]
    boxes_xyxy = np.c_[corners, ends].astype(np.float32)
    height, width = image.shape
    return Instances(height, width, masks, corners, boxes_xyxy, np.ones(len(masks), np.float32))


def stages(counts: list[int]) -> None:
    """What surrounds the network, on growing plates, each in a process of its own."""
    print("images   shard   tables   page   CPU s per 1,000 images   largest MB")
    for count in counts:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            spent, memory = pool.apply(stage, (count,))
        print(f"{count:6d} {spent[0]:7.1f} {spent[1]:8.1f} {spent[2]:6.1f} {memory:37.0f}", flush=True)


def stage(count: int) -> tuple[list[float], float]:
    """CPU seconds per 1,000 images of a shard, the tables and the page; the process's largest memory."""
    model = segment.load_model(made.finding(), 1)
    fake = model._replace(predictor=cast(Any, Threshold(model.predictor)), score_min=0.0)
    with tempfile.TemporaryDirectory() as name, mock.patch.object(segment, "load_model", return_value=fake):
        plate, output = made.incucyte(Path(name) / "VID1", count // TIMES, 1, TIMES), Path(name) / "out"
        plan.plan(plate, made.reading(), output)
        began = [time.process_time()]
        segment.segment(output, made.finding(), (1, count), 1)
        began.append(time.process_time())
        tabulate.tabulate(output, count, made.settings())
        began.append(time.process_time())
        report.report(output, made.settings(), output / "report.html")
        began.append(time.process_time())
    spent = [float(seconds) / count * 1000 for seconds in np.diff(began)]
    return spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


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
        image = PlateImage(1, "A1", "0", "", 0, "t000", 0.0, "A/1/0", 0, 520, 704, "A/1/0", "")
        about = plan.PlateAbout(str(store), "zarr", count, 1, [""], None, None, "", "", [])
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
    parser.add_argument("--images", type=int, nargs="*", default=[1000, 10000, 100000], metavar="N")
    few = "small images whose cells a threshold finds, hundreds of them"
    parser.add_argument("--stages", type=int, nargs="*", default=[1000, 4000], metavar="N", help=few)
    parser.add_argument("--real", type=int, default=16, metavar="N", help="images that the pretrained model sees")
    args = parser.parse_args()
    planning(args.images)
    stages(args.stages)
    reading()
    beside_the_network(args.real)


if __name__ == "__main__":
    main()
