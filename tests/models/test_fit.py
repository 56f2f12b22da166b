"""The training loop: the same bytes after a kill and for any number of workers, schedules, early stop, NaN stop."""

from __future__ import annotations

import io
import json
import multiprocessing
import signal
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from monolayer.files import InputError
from monolayer.models.batches import loader
from monolayer.models.fit import Fitted, fit, rate_factor
from monolayer.models.train import EPOCH
from monolayer.params.fit import FitParams
from torch import Tensor, nn

SETTINGS = FitParams(
    epochs=4,
    batch=4,
    grad_accumulation=1,
    optimizer="AdamW",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=0.01,
    warmup_steps=3,
    schedule="cosine",
    final_lr_factor=0.0,
    milestones=[],
    max_grad_norm=1.0,
    ema_decay=0.9,
    patience=10,
    amp="none",
)


class Line:
    """Learn y = 2x + 1 through a network with dropout and batch norm, which carry state and randomness."""

    reduction: Literal["mean", "sum"] = "mean"

    def __init__(self, pause: float = 0.0, bad: int = -1, scores: list[float] | None = None) -> None:
        self.pause, self.bad, self.scores = pause, bad, list(scores or [])

    def __len__(self) -> int:
        return 22  # the last batch is smaller

    def draw(self, index: int, rng: np.random.Generator) -> tuple[str, Any]:
        x = rng.normal(size=8).astype(np.float32)
        return f"input {index}", x * (np.nan if index == self.bad else 1)

    def collate(self, samples: list[Any]) -> Any:
        return torch.from_numpy(np.stack(samples))

    def losses(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        time.sleep(self.pause)
        error = network(batch) - (2 * batch + 1)
        return {"square": error.square().mean(), "sum": 0.01 * error.abs().mean()}

    def validate(self, network: nn.Module) -> dict[str, float]:
        x = torch.linspace(-1, 1, 24).reshape(3, 8)
        with torch.no_grad():
            score = -float((network(x) - 2 * x - 1).square().mean())
        return {"score": self.scores.pop(0) if self.scores else score}


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 8))


def saved(fitted: Fitted) -> bytes:
    buffer = io.BytesIO()
    torch.save(fitted.state, buffer)
    return buffer.getvalue() + json.dumps(fitted.history).encode()


def test_loss_shrinks_and_the_best_epoch_is_marked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    fitted = fit(network(), Line(), SETTINGS, 0, tmp_path / "checkpoint.pt")
    rows = fitted.history
    told = [found for record in caplog.records if (found := EPOCH.match(record.getMessage()))]
    assert [int(one["epoch"]) for one in told] == [row["epoch"] for row in rows]
    np.testing.assert_allclose([float(one["score"]) for one in told], [row["score"] for row in rows], atol=1e-4)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[0]["loss"] == pytest.approx(rows[0]["square"] + rows[0]["sum"])
    assert [row["best"] for row in rows].count(1.0) == 1
    assert max(rows, key=lambda row: row["score"])["best"] == 1.0


def test_bfloat16_learns_too_and_repeats_itself(tmp_path: Path) -> None:
    seen = []

    class Narrow(Line):
        def losses(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
            seen.append(network(batch).dtype)
            return super().losses(network, batch)

    narrow = SETTINGS.model_copy(update={"amp": "bfloat16"})
    first, again = (fit(network(), Narrow(), narrow, 0, tmp_path / f"{i}.pt") for i in range(2))
    assert set(seen) == {torch.bfloat16}
    assert saved(first) == saved(again)
    assert first.history[-1]["loss"] < first.history[0]["loss"]
    assert {tensor.dtype for tensor in first.state.values() if tensor.is_floating_point()} == {torch.float32}


def test_seed_decides(tmp_path: Path) -> None:
    first, same, other = (
        fit(network(), Line(), SETTINGS, seed, tmp_path / f"{i}.pt") for i, seed in enumerate([0, 0, 1])
    )
    assert saved(first) == saved(same) != saved(other)


def test_batches_do_not_depend_on_the_number_of_workers() -> None:
    def drawn(workers: int) -> list[tuple[list[str], bytes]]:
        batches = loader(Line(), 4, seed=3, workers=workers)
        found = []
        for epoch in range(2):
            batches.sampler.epoch = epoch  # type: ignore[attr-defined]
            found += [(names, batch.numpy().tobytes()) for names, batch in batches]
        return found

    alone = drawn(0)
    assert alone == drawn(2)
    assert alone[0] != alone[6]  # the next epoch draws anew
    assert len({name for names, _ in alone[:6] for name in names}) == len(Line())


@pytest.mark.parametrize("accumulation", [1, 4])  # of 6 batches an epoch: a step goes on in the next one
def test_unfinished_run_goes_on_where_it_was(tmp_path: Path, accumulation: int) -> None:
    settings = SETTINGS.model_copy(update={"grad_accumulation": accumulation})
    unbroken = fit(network(), Line(), settings, 0, tmp_path / "a.pt")

    class Killed(Line):
        def validate(self, network: nn.Module) -> dict[str, float]:
            if (tmp_path / "b.pt").exists():
                raise KeyboardInterrupt
            return super().validate(network)

    with pytest.raises(KeyboardInterrupt):
        fit(network(), Killed(), settings, 0, tmp_path / "b.pt")
    assert saved(fit(network(), Line(), settings, 0, tmp_path / "b.pt")) == saved(unbroken)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_batches_of_a_step_are_as_one_large_batch(tmp_path: Path, reduction: Literal["mean", "sum"]) -> None:
    class Squares(Line):
        def __len__(self) -> int:
            return 24

        def losses(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
            squares = (network(batch) - (2 * batch + 1)).square().mean(1)
            return {"square": squares.mean() if self.reduction == "mean" else squares.sum()}

    def learnt(batch: int, accumulation: int) -> Tensor:
        torch.manual_seed(1)
        task, changes = Squares(), {"batch": batch, "grad_accumulation": accumulation, "optimizer": "SGD"}
        task.reduction = reduction
        changes |= {"ema_decay": 0.999, "warmup_steps": 0, "schedule": "flat", "max_grad_norm": 0.0, "epochs": 1}
        path = tmp_path / f"{batch}.pt"
        return fit(nn.Linear(8, 8), task, SETTINGS.model_copy(update=changes), 0, path).state["weight"]

    torch.testing.assert_close(learnt(2, 4), learnt(8, 1))


def test_a_checkpoint_of_the_first_format_is_refused_with_the_cure(tmp_path: Path) -> None:
    torch.save({"kept": {}, "counts": {}}, tmp_path / "a.pt")
    with pytest.raises(
        InputError, match=r"a\.pt is of format 1, and this version reads 2; delete it, and the training"
    ):
        fit(network(), Line(), SETTINGS, 0, tmp_path / "a.pt")


def _run(folder: Path, pause: float) -> None:
    fitted = fit(network(), Line(pause), SETTINGS, 0, folder / "checkpoint.pt")
    (folder / "done").write_bytes(saved(fitted))


def test_kill_9_in_an_epoch_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join([str(Path(__file__).parent), *sys.path]))
    processes = multiprocessing.get_context("forkserver")  # imports once for all three
    processes.set_forkserver_preload(["test_fit", "torch._dynamo"])

    def start(folder: Path, pause: float) -> multiprocessing.process.BaseProcess:
        folder.mkdir(exist_ok=True)
        process = processes.Process(target=_run, args=(folder, pause))
        process.start()
        return process

    unbroken = start(tmp_path / "unbroken", 0.0)
    broken = start(tmp_path / "broken", 0.1)  # 6 steps an epoch
    while not (tmp_path / "broken" / "checkpoint.pt").exists():
        assert broken.is_alive()
        time.sleep(0.01)
    time.sleep(0.2)  # into the second epoch
    broken.kill()
    broken.join()
    assert broken.exitcode == -signal.SIGKILL
    assert not (tmp_path / "broken" / "done").exists()
    again = start(tmp_path / "broken", 0.0)
    for process in (again, unbroken):
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "broken" / "done").read_bytes() == (tmp_path / "unbroken" / "done").read_bytes()


def test_early_stop_keeps_the_best_epoch(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"epochs": 9, "patience": 2})
    fitted = fit(network(), Line(scores=[0.1, 0.5, 0.4, 0.5, 0.9]), settings, 0, tmp_path / "a.pt")
    assert len(fitted.history) == 4
    assert fitted.best_epoch == 2


def test_nan_stops_and_names_step_and_inputs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"loss square is nan at step \d+ \(epoch 1\).*input 5[,;]"):
        fit(network(), Line(bad=5), SETTINGS, 0, tmp_path / "a.pt")


def test_rate_warms_up_and_follows_its_schedule() -> None:
    def factors(**changed: Any) -> list[float]:
        settings = SETTINGS.model_copy(update={"final_lr_factor": 0.1} | changed)
        return [rate_factor(step, 103, settings) for step in range(103)]

    for schedule in ("flat", "linear", "cosine", "steps"):
        assert factors(schedule=schedule, milestones=[0.5])[:4] == [0.25, 0.5, 0.75, 1.0]
    assert set(factors(schedule="flat")[3:]) == {1.0}
    assert factors(schedule="linear")[53] == pytest.approx(0.55)
    assert factors(schedule="cosine")[53] == pytest.approx(0.55)
    assert factors(schedule="linear")[-1] == pytest.approx(0.1, abs=0.01)
    assert factors(schedule="cosine")[-1] == pytest.approx(0.1, abs=0.01)
    steps = factors(schedule="steps", milestones=[0.5, 0.8], warmup_steps=0)
    assert [steps[0], steps[60], steps[90]] == pytest.approx([1.0, 0.1, 0.01])


def test_frozen_parts_stay_as_they_were_given(tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in network().state_dict().items()}
    fitted = fit(network(), Line(), SETTINGS.model_copy(update={"frozen": ["0", "1"]}), 0, tmp_path / "checkpoint.pt")
    kept = {name for name, value in before.items() if torch.equal(fitted.state[name], value)}
    assert kept == {name for name in before if name.startswith(("0.", "1."))}


def test_a_part_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"frozen": ["down.0"]})
    with pytest.raises(InputError, match=r"frozen names down.0, which this network has not"):
        fit(network(), Line(), settings, 0, tmp_path / "checkpoint.pt")
    every = SETTINGS.model_copy(update={"frozen": ["0", "1", "4"]})
    with pytest.raises(InputError, match="leave one to train"):
        fit(network(), Line(), every, 0, tmp_path / "checkpoint.pt")


def test_given_weights_are_kept_where_training_makes_them_worse(tmp_path: Path) -> None:
    begun = network()
    fitted = fit(begun, Line(scores=[0.9, 0.1, 0.2, 0.3, 0.4]), SETTINGS, 0, tmp_path / "checkpoint.pt", given=True)
    assert [row["epoch"] for row in fitted.history] == [0, 1, 2, 3, 4]
    assert fitted.best_epoch == fitted.best["epoch"] == 0
    assert all(torch.equal(value, fitted.state[name]) for name, value in network().state_dict().items())


def test_no_epochs_leave_given_weights_as_they_are(tmp_path: Path) -> None:
    none = SETTINGS.model_copy(update={"epochs": 0})
    fitted = fit(network(), Line(), none, 0, tmp_path / "checkpoint.pt", given=True)
    assert [row["epoch"] for row in fitted.history] == [0]
    assert all(torch.equal(value, fitted.state[name]) for name, value in network().state_dict().items())
    with pytest.raises(InputError, match="epochs is 0"):
        fit(network(), Line(), none, 0, tmp_path / "other.pt")
