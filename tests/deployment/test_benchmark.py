"""Timings are what they are called, and steps overlap in a stream."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from monolayer.coco.instances import Instances
from monolayer.deployment import benchmark
from monolayer.deployment.benchmark import Case, full_batches, keep, measured, one, passes, summary, until
from monolayer.models.predictor import Frame, Network, Predictor
from monolayer.parallel import apart
from monolayer.params.steps import BenchmarkSettings
from numpy.typing import NDArray

SETTINGS = BenchmarkSettings(threads=1, images=2, batches=[1], seconds=0.01, repeats=6)
STEP = 0.02  # s that each step takes


class Sleeper:
    """A finder whose every step takes as long, and a backend that counts its calls."""

    stride = 1
    axes: ClassVar[dict[str, tuple[int, int, int]]] = {}

    def scale(self, side: int) -> float:
        return 1.0

    def preprocess(self, image: Any) -> Any:
        time.sleep(STEP)
        return image

    def forward(self, backend: Any, prepared: Sequence[Any]) -> list[Any]:
        time.sleep(STEP)
        backend.run("graph", np.zeros(1))
        return list(prepared)

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        time.sleep(STEP)
        empty = np.zeros((0, 4), np.float32)
        return Instances(height, width, [], empty[:, :2].astype(np.int32), empty, empty[:, 0])


class Counter:
    calls = 0

    def run(self, graph: str, *given: Any) -> tuple[Any, ...]:
        self.calls += 1
        return given

    def seconds(self, graph: str, *given: Any) -> float:
        self.calls += 1
        return 0.004

    def host(self, value: Any) -> NDArray[Any]:
        return np.asarray(value)


@pytest.fixture
def run() -> Predictor:
    return Predictor({"all": Network(Sleeper(), Counter())}, 1)


FRAMES = [Frame(str(i), None, partial(np.zeros, (4, 4), np.uint8)) for i in range(4)]  # type: ignore[arg-type]


def test_stages_are_timed_apart(run: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by what each step says that it took."""
    now = [0.0]
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))

    def read() -> NDArray[np.uint8]:
        time.sleep(7 * STEP)
        return np.zeros((4, 4), np.uint8)

    steps = {"read": 7 * STEP, "prepare": STEP, "network": STEP, "masks": STEP, "encode": 0.0}
    assert one(run, Frame("0", None, read)) == pytest.approx(steps)


def test_images_that_differ_are_no_uncertainty(run: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a fast and a slow image the median lay anywhere between, and its interval went from one to the other."""
    now = [0.0]
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    for other in ("network_alone", "passes"):
        monkeypatch.setattr(benchmark, other, lambda *_: [1.0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))

    def read(seconds: float) -> NDArray[np.uint8]:
        time.sleep(seconds)
        return np.zeros((4, 4), np.uint8)

    frames = [Frame(str(seconds), None, partial(read, seconds)) for seconds in (0.001, 0.009)]
    found = benchmark.timed(run, frames, SETTINGS)
    latency = 5 + 3000 * STEP
    ends = {name: found["latency_ms"][name] for name in ("median", "low", "high", "p95")}
    assert ends == pytest.approx({"median": latency, "low": latency, "high": latency, "p95": latency + 4})
    assert found["stages_ms"]["read"] == pytest.approx(5)
    assert sum(found["stages_ms"].values()) == pytest.approx(latency)


class Meeting(Sleeper):
    """A finder whose steps wait for each other: an image's cells, the next one's network, the third one's input."""

    def __init__(self, count: int) -> None:
        self.barriers = [threading.Barrier(3, timeout=60) for _ in range(count - 3)]

    def meet(self, number: int) -> None:
        if 0 <= number < len(self.barriers):
            self.barriers[number].wait()

    def preprocess(self, image: Any) -> Any:
        self.meet(int(image[0, 0]) - 3)
        return image

    def forward(self, backend: Any, prepared: Sequence[Any]) -> list[Any]:
        self.meet(int(prepared[0][0, 0]) - 1)
        return list(prepared)

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        self.meet(int(outputs[0, 0]))
        return super().postprocess(outputs, height, width)


def test_steps_of_a_stream_overlap() -> None:
    """The cells of an image, the network of the next and the input of one that comes later, all at the same time."""
    frames = [Frame(str(i), None, partial(np.full, (4, 4), i, np.uint8)) for i in range(9)]
    run = Predictor({"all": Network(Meeting(len(frames)), Counter())}, 1)
    assert len(list(run.stream(frames))) == len(frames)


@pytest.mark.parametrize("count", [1, 4])
def test_images_that_come_out_at_once_at_the_end_do_not_count(run: Predictor, count: int) -> None:
    rates = passes(run, FRAMES[:count], SETTINGS)
    assert len(rates) >= SETTINGS.repeats
    assert max(rates) < 1.5 / STEP  # each step takes so long


class Batching(Sleeper):
    """Only the network takes time, and an image as much in a batch as alone."""

    def preprocess(self, image: Any) -> Any:
        return image

    def forward(self, backend: Any, prepared: Sequence[Any]) -> list[Any]:
        time.sleep(STEP * len(prepared))
        return list(prepared)

    def postprocess(self, outputs: Any, height: int, width: int) -> Instances:
        empty = np.zeros((0, 4), np.float32)
        return Instances(height, width, [], empty[:, :2].astype(np.int32), empty, empty[:, 0])


@pytest.mark.parametrize(("count", "batch"), [(2, 4), (3, 2), (4, 1)])
def test_images_of_a_batch_that_come_out_at_once_are_no_throughput(count: int, batch: int) -> None:
    run = Predictor({"all": Network(Batching(), Counter())}, batch)
    rates = passes(run, full_batches(run, FRAMES[:count]), SETTINGS)
    assert len(rates) >= SETTINGS.repeats
    assert np.median(rates) < 1.5 / STEP  # the median, as a busy machine makes one late and the next one early


def test_the_network_alone_is_what_the_backend_says_of_its_graphs(run: Predictor) -> None:
    found = benchmark.network_alone(run, FRAMES, SETTINGS)
    assert found == pytest.approx([4.0] * len(found))
    assert len(found) >= SETTINGS.repeats


class Whole(Batching):
    """A finder whose graph is given all images of a batch at once."""

    def forward(self, backend: Any, prepared: Sequence[Any]) -> list[Any]:
        backend.run("graph", np.zeros(len(prepared)))
        return list(prepared)


class Sizes(Counter):
    """A backend that remembers how many images it was timed with; one takes it 3 ms."""

    def __init__(self) -> None:
        self.timed: list[int] = []

    def seconds(self, graph: str, *given: Any) -> float:
        self.timed.append(len(given[0]))
        return 0.003 * len(given[0])


@pytest.mark.parametrize(("lines", "batch"), [("aa", 4), ("aaa", 2), ("ab", 4), ("aba", 2), ("aabbb", 3), ("abab", 1)])
def test_a_batch_has_as_many_images_as_it_is_called_after_of_every_network(lines: str, batch: int) -> None:
    """Two images were the `batch` of four, and of several networks that of the first image alone was timed."""
    backends = {"a": Sizes(), "b": Sizes()}
    run = Predictor({name: Network(Whole(), backend) for name, backend in backends.items()}, batch)
    shown = full_batches(run, [frame._replace(cell_line=line) for frame, line in zip(FRAMES * 2, lines, strict=False)])
    assert benchmark.network_alone(run, shown, SETTINGS)[0] == pytest.approx(3)
    assert {size for backend in backends.values() for size in backend.timed} == {batch}
    counts = {name: sum(backend.timed) for name, backend in backends.items()}
    assert counts["a"] * lines.count("b") == counts["b"] * lines.count("a")  # each image as often


def test_what_runs_on_the_cpu_takes_no_memory_of_the_gpu_that_is_there(
    run: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "opened", lambda case: run)
    monkeypatch.setattr(benchmark, "frames", lambda todo: todo)
    monkeypatch.setattr(benchmark, "cuda", SimpleNamespace(capability=lambda: "SM86", used_bytes=lambda: 7))
    settings = SimpleNamespace(settings=SETTINGS)
    row = measured(Case(Path(), Path(), FRAMES[:1], settings, "onnxruntime", "fp32", 1))  # type: ignore[arg-type]
    assert (row["on_gpu"], row["gpu_memory_mb"], row["cells"]) == (False, None, 0.0)
    run.network(None).backend.on_gpu = True  # type: ignore[attr-defined]
    row = measured(Case(Path(), Path(), FRAMES[:1], settings, "onnxruntime", "fp32", 1))  # type: ignore[arg-type]
    assert (row["on_gpu"], row["gpu_memory_mb"]) == (True, 0.0)


DONE: list[int] = []


def number(item: int) -> list[int]:
    DONE.append(item)
    return DONE


def test_each_row_is_measured_in_a_process_that_begins_with_it() -> None:
    """What an earlier one loaded was no memory of the later: torch had 744 MB in batches of 1, and 33 in those of 4."""
    assert list(apart(number, [1, 2])) == [[1], [2]]


def test_single_images_have_a_latency_and_batches_have_none(run: Predictor) -> None:
    settings = SETTINGS.model_copy(update={"seconds": 0.001})
    assert set(benchmark.timed(run, FRAMES[:1], settings)) == {
        "latency_ms",
        "stages_ms",
        "network_ms",
        "throughput",
    }
    batched = Predictor(run.networks, 2)
    assert "latency_ms" not in benchmark.timed(batched, FRAMES[:2], settings)


@pytest.mark.parametrize(("half", "shown"), [(True, "fp16"), (False, "fp32")])
def test_torch_in_half_precision_is_not_called_fp32(half: bool, shown: str) -> None:
    assert benchmark.precision(Predictor({"all": Network(Sleeper(), SimpleNamespace(half=half))}, 1)) == shown


def test_rounds_go_on_until_both_limits_are_met() -> None:
    assert len(list(until([1, 2], SETTINGS.model_copy(update={"seconds": 1e-9})))) == 12
    started = time.perf_counter()
    rounds = len(list(until([None], SETTINGS.model_copy(update={"seconds": 0.1}))))
    assert rounds > 6
    assert time.perf_counter() - started >= 0.1


def test_a_summary_brackets_its_median() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        found = summary(rng.exponential(1.0, 25).tolist())
        held += found["low"] <= np.log(2) <= found["high"]
    assert held >= 0.93 * 400
    assert summary([3.0] * 6) == {"median": 3.0, "low": 3.0, "high": 3.0, "p95": 3.0, "count": 6}


HELD = """
import numpy as np
from monolayer.deployment.benchmark import Memory
with Memory() as memory:
    held = np.ones(60_000_000, np.uint8)
    del held
print(memory.host_mb)
"""


def test_memory_sees_what_was_freed_again() -> None:
    """In a process of its own: one that ran other tests has freed memory to give."""
    shown = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True).stdout.strip()
    if shown == "None":
        pytest.skip("this system does not tell a process's memory")
    assert 55 < float(shown) < 200


def test_timings_are_kept_under_the_devices_name(tmp_path: Path) -> None:
    keep({"device": "NVIDIA GeForce RTX 3060 (12 GB)", "rows": []}, tmp_path / "benchmark/unet.json")
    kept = tmp_path / "benchmark/unet.NVIDIA-GeForce-RTX-3060-12-GB.json"
    assert json.loads(kept.read_text()) == json.loads((tmp_path / "benchmark/unet.json").read_text())


def test_the_machine_is_named() -> None:
    found = benchmark.describe(2)
    assert found["device"]
    assert found["versions"]["onnxruntime"]
    assert found["threads"] == 2
