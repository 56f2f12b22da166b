"""How fast a run finds cells here, by backend, dtype and batch: from the file to masks as COCO run lengths."""

from __future__ import annotations

import logging
import math
import os
import platform
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monolayer.backends import Backend, cuda
from monolayer.backends.manifest import read_manifest
from monolayer.coco.instances import Instances
from monolayer.coco.io import read_truth
from monolayer.data.dataset import Sample, evenly, samples
from monolayer.deployment.calibration import Feed, Recorder
from monolayer.files import InputError, write_json
from monolayer.machine import cpu_name
from monolayer.models import predictor
from monolayer.models.predict import frames
from monolayer.models.predictor import Frame, Predictor
from monolayer.parallel import apart, prefetch
from monolayer.params.steps import BenchmarkParams, BenchmarkSettings, Dtype

logger = logging.getLogger(__name__)
VERSIONS = ("numpy", "torch", "onnxruntime", "onnxruntime-gpu", "tensorrt-rtx-cu13", "tensorrt")


class Case(NamedTuple):
    """What a row of timings is of: a run on these images, by a backend in a dtype and a batch of images."""

    weights: Path
    exported: Path
    todo: list[Sample]
    params: BenchmarkParams
    backend: str
    dtype: Dtype
    batch: int


def benchmark(weights: Path, exported: Path, images: Path, truth: Path, params: BenchmarkParams) -> dict[str, Any]:
    """The timings of a run on this machine, and what the machine is."""
    todo = evenly(samples(read_truth(truth), images), params.settings.images)
    folder, manifest = read_manifest(exported)
    device = describe(params.settings.threads)
    ways: list[tuple[str, Dtype]] = [("torch", "fp32"), *manifest.variants()]
    cases = [Case(weights, folder, todo, params, *way, batch) for way in ways for batch in params.settings.batches]
    rows = []
    for row in apart(measured, cases):
        logger.info("%s", row)
        rows.append(row)
    shapes = sorted({f"{sample.image['width']}x{sample.image['height']}" for sample in todo})
    return {"run": manifest.run, **device, "images": len(todo), "sizes": shapes, "rows": rows}


def measured(case: Case) -> dict[str, Any]:
    """A row of timings, or why there is none; in a process that did nothing before, what memory it takes is its own."""
    row: dict[str, Any] = {"backend": case.backend, "dtype": case.dtype, "batch": case.batch}
    try:
        with Memory() as memory:
            run = opened(case)
            every = full_batches(run, list(frames(case.todo)))
            cells = [len(found.masks) for found in run.stream(every)]  # warms up
        if case.backend == "torch":
            row["dtype"] = precision(run)
        row |= {"on_gpu": on_gpu(run), "cells": float(np.mean(cells))} | timed(run, every, case.params.settings)
    except InputError as error:
        return row | {"not_run": str(error)}
    return row | {"memory_mb": memory.host_mb, "gpu_memory_mb": memory.gpu_mb if row["on_gpu"] else None}


def opened(case: Case) -> Predictor:
    settings = case.params.predict.model_copy(update={"batch": case.batch})
    threads = case.params.settings.threads
    if case.backend == "torch":
        return predictor.from_weights(case.weights, settings, threads)
    return predictor.load(case.exported, case.backend, case.dtype, threads, settings)


def full_batches(run: Predictor, every: Sequence[Frame]) -> list[Frame]:
    """The images, those of a network together, each so often that no batch has fewer than it is called after."""
    of_network: dict[int, list[Frame]] = {}
    for frame in every:
        of_network.setdefault(id(run.network(frame.cell_line, frame.name)), []).append(frame)
    times = math.lcm(*(run.batch // math.gcd(len(own), run.batch) for own in of_network.values()))
    return [frame for own in of_network.values() for frame in own * times]


def precision(run: Predictor) -> str:
    """That of the products of a run in torch: a GPU computes in fp16 where the run's settings let it."""
    return "fp16" if any(getattr(network.backend, "half", False) for network in run.networks.values()) else "fp32"


def on_gpu(run: Predictor) -> bool:
    """Whether its networks are on a GPU: where one is, what has no way to it runs on the CPU."""
    return any(getattr(network.backend, "on_gpu", False) for network in run.networks.values())


def keep(timings: dict[str, Any], output: Path) -> None:
    """Write the timings, and once more under the device's name: that file is kept in git, so that the table grows."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", timings["device"]).strip("-")
    for path in (output, output.with_suffix(f".{slug}.json")):
        write_json(path, timings, indent=1)


def timed(run: Predictor, every: Sequence[Frame], settings: BenchmarkSettings) -> dict[str, Any]:
    """Latency of single images with its stages, the network alone, and throughput of the stream, of full batches.

    A value of each is the mean over all images; latency's 95th percentile is of single ones.
    """
    timings: dict[str, Any] = {}
    if run.batch == 1:
        parts = [one(run, frame) for frame in until(every, settings)]
        ms = 1000 * np.array([list(part.values()) for part in parts])  # (images, stages)
        rounds = ms.reshape(-1, len(every), ms.shape[1]).mean(axis=1)  # images differ, and that is no uncertainty
        timings["latency_ms"] = summary(rounds.sum(axis=1)) | {"p95": float(np.percentile(ms.sum(axis=1), 95))}
        timings["stages_ms"] = dict(zip(parts[0], np.median(rounds, axis=0).tolist(), strict=True))
    timings["network_ms"] = summary(network_alone(run, every, settings))
    timings["throughput"] = summary(passes(run, every, settings))
    return timings


def one(run: Predictor, frame: Frame) -> dict[str, float]:
    """Seconds that each step takes for one image."""
    network = run.network(frame.cell_line, frame.name)
    marks = [time.perf_counter()]

    def mark(value: Any) -> Any:
        marks.append(time.perf_counter())
        return value

    image = mark(frame.read())
    prepared = mark(network.pipeline.preprocess(image))
    [outputs] = mark(network.pipeline.forward(network.backend, [prepared]))
    cells: Instances = mark(network.pipeline.postprocess(outputs, *image.shape))
    mark(list(cells.results(1)))
    return dict(zip(("read", "prepare", "network", "masks", "encode"), np.diff(marks).tolist(), strict=True))


def passes(run: Predictor, every: Sequence[Frame], settings: BenchmarkSettings) -> list[float]:
    """Images a second of each pass over all of them, while they stream; the first one fills the pipeline.

    The images of a batch come out at once, so that a pass has to end with one, as those of full batches do.

    When the last image was read, three batches and three images wait with nothing left to do but to come out, all at
    once: the passes that they are of don't count.
    """
    held = math.ceil(3 * (run.batch + 1) / len(every))
    streamed = prefetch(lambda cells: list(cells.results(1)), run.stream(until(every, settings, spare=1 + held)))
    at = [time.perf_counter() for _ in streamed][len(every) - 1 :: len(every)]
    return [len(every) / seconds for seconds in np.diff(at)[:-held].tolist()]


def network_alone(run: Predictor, every: Sequence[Frame], settings: BenchmarkSettings) -> list[float]:
    """ms an image of the graphs alone, in batches, with everything in place that they are given."""
    calls: list[tuple[Backend, str, Feed]] = []
    for network, part in run.batches(every):
        recorder = Recorder(network.backend, defaultdict(list))
        network.pipeline.forward(recorder, [network.pipeline.preprocess(frame.read()) for frame in part])
        calls += [(network.backend, graph, feed) for graph, feeds in recorder.feeds.items() for feed in feeds]
    rounds = until([None], settings)
    return [1000 * sum(backend.seconds(graph, *feed) for backend, graph, feed in calls) / len(every) for _ in rounds]


def until(items: Sequence[Any], settings: BenchmarkSettings, spare: int = 0) -> Iterator[Any]:
    """The items again and again, whole rounds, until they have been measured for long and often enough."""
    started, rounds = time.perf_counter(), 0
    while rounds < settings.repeats + spare or time.perf_counter() - started < settings.seconds:
        yield from items
        rounds += 1


def summary(values: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """Median with its 95 % interval, 95th percentile and number of values.

    The interval goes from one order statistic to another (Conover, Practical Nonparametric Statistics, 3.2).
    """
    ordered, count = np.sort(values), len(values)
    reach = 0.98 * math.sqrt(count)
    low, high = max(0, math.floor(count / 2 - reach)), min(count - 1, math.ceil(count / 2 + reach))
    median, p95 = np.percentile(ordered, [50, 95]).tolist()
    ends = {"low": float(ordered[low]), "high": float(ordered[high])}
    return {"median": median, **ends, "p95": p95, "count": count}


class Memory:
    """The most that this process held beyond what it held before, in MB; null where the system does not tell."""

    host_mb: float | None = None
    gpu_mb: float | None = None

    def __enter__(self) -> Memory:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
            self.before = _status("VmRSS")
        except OSError:
            self.before = math.nan
        self.gpu_before = cuda.used_bytes() if cuda.capability() else None
        return self

    def __exit__(self, *_: object) -> None:
        if not math.isnan(self.before):
            self.host_mb = round(_status("VmHWM") - self.before, 1)
        if self.gpu_before is not None:
            self.gpu_mb = round((cuda.used_bytes() - self.gpu_before) / 1e6, 1)


def _status(key: str) -> float:
    """MB of a line of /proc/self/status."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:")]
    return int(line.split()[1]) * 1024 / 1e6


def describe(threads: int) -> dict[str, Any]:
    """Device, driver, versions and load; `device` is the GPU's name or the CPU's with the threads in use."""
    gpu = gpu_name()
    versions = {"python": platform.python_version()}
    for name in VERSIONS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "device": gpu[0] if gpu else f"{cpu_name()}, {threads} threads",
        "driver": gpu[1] if gpu else None,
        "cpu": cpu_name(),
        "threads": threads,
        "load": round(os.getloadavg()[0], 2),
        "measured": datetime.now(UTC).date().isoformat(),
        "versions": versions,
    }


def gpu_name() -> tuple[str, str] | None:
    """Name and driver of the GPU in use, which need not be the first that nvidia-smi lists."""
    if cuda.capability() is None:
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]  # all have the same one
    done = subprocess.run(query, capture_output=True, text=True, check=True)
    return cuda.name(), done.stdout.splitlines()[0].strip()
