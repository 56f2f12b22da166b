"""Training, whatever the network: seeded draws, rate schedule, averaged weights, checkpoints, early stop.

What is random follows from (seed, epoch, index) alone: neither the number of loader processes nor a kill changes it.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monolayer.files import FORMAT, InputError, atomic_write, check_format
from monolayer.models import Trained
from monolayer.models.batches import Task, loader, loader_workers
from monolayer.models.beginnings import Beginning
from monolayer.params.fit import FitParams
from monolayer.progress import track

logger = logging.getLogger(__name__)

CHECK_EVERY = 10  # steps between looks at the losses: each look makes the CPU wait for the GPU


@dataclass(frozen=True)
class Fitted:
    """The weights of the best epoch, on the CPU, and a row for each epoch (`best` is 1 for that one, else 0).

    `seconds` are those of all epochs that count, also where training went on from a checkpoint; `precision` is that of
    the products in forward and backward passes.
    """

    state: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    precision: str

    @property
    def best(self) -> dict[str, float]:
        """The row of the best epoch."""
        return next(row for row in self.history if row["best"])

    def trained(self, begun: Beginning, **facts: Any) -> Trained:
        """As families hand it on, with where the first weights came from and what else there is to know."""
        facts |= {"best_epoch": self.best_epoch, "seconds": self.seconds, "precision": self.precision}
        return Trained(self.state, self.history, begun.said, begun.seen, facts)


def fit(
    network: nn.Module, task: Task, settings: FitParams, seed: int, checkpoint: Path, *, given: bool = False
) -> Fitted:
    """Train until the last epoch, or until `patience` epochs brought no better score.

    Weights that were given are epoch 0: where no later one is better on val, they are kept.

    `checkpoint` is written after each epoch; called again with the same arguments, training goes on from there and
    ends with the weights (on the CPU: the same bytes) of a run that was never interrupted. Its name must follow from
    the arguments: what it holds is believed.
    """
    if not settings.epochs and not given:
        raise InputError("fit.epochs is 0, and `weights` fit only a part of the network; train it, or name a whole one")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # channels last is what half precision wants, and less time in float32 too
    training = Training(network.to(device, memory_format=torch.channels_last), settings)  # type: ignore[call-overload]
    if checkpoint.exists():
        training.load(checkpoint)
        logger.info("going on after epoch %d of %d", training.epoch, settings.epochs)
    elif given:
        training.keep({"epoch": 0, "step": 0, "rate": 0.0} | task.validate(training.averaged.eval()))
        logger.info("as given: score %.4f", training.history[0]["score"])
    batches = loader(task, settings.batch, seed, loader_workers(training.device))
    while training.epoch < settings.epochs and not training.is_stale():
        started = time.monotonic()
        row = training.run_epoch(task, batches, seed)
        training.end_epoch(row | task.validate(training.averaged.eval()))
        training.seconds += time.monotonic() - started
        training.save(checkpoint)
        _log_epoch(training, len(batches))
    history = [row | {"best": float(row["epoch"] == training.best_epoch)} for row in training.history]
    precision = str(training.autocast or torch.float32).removeprefix("torch.")
    return Fitted(training.best, history, training.best_epoch, round(training.seconds, 1), precision)


def _log_epoch(training: Training, steps: int) -> None:
    row, epochs, seconds = training.history[-1], training.settings.epochs, training.seconds / training.epoch
    left = timedelta(seconds=round(seconds * (epochs - training.epoch)))
    best = ", the best" if training.best_epoch == training.epoch else ""
    values = f"loss {row['loss']:.4f}, score {row['score']:.4f}{best}"
    # steps/s with validation
    logger.info("epoch %d of %d: %s; %.2f steps/s, %s left", training.epoch, epochs, values, steps / seconds, left)


# ---- steps ---------------------------------------------------------------------------------------


def rate_factor(step: int, steps: int, settings: FitParams) -> float:
    """What learning_rate is multiplied by at this step of so many: a linear warm-up, then the schedule."""
    if step < settings.warmup_steps:
        return (step + 1) / (settings.warmup_steps + 1)
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    final = settings.final_lr_factor
    if settings.schedule == "linear":
        return 1 + (final - 1) * done
    if settings.schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
    if settings.schedule == "steps":
        return final ** sum(step >= milestone * steps for milestone in settings.milestones)
    return 1.0


def _part(network: nn.Module, name: str) -> nn.Module:
    """A part by its name; what a network has none of is an error that says what it has."""
    try:
        return network.get_submodule(name)
    except AttributeError:
        known = ", ".join(part for part, _ in network.named_modules() if part.count(".") == name.count(".") and part)
        raise InputError(f"fit.frozen names {name}, which this network has not; it has {known}") from None


def _optimizer(network: nn.Module, settings: FitParams) -> torch.optim.Optimizer:
    """Weight decay acts on kernels only; biases and norms have one dimension."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if not trained:
        raise InputError("fit.frozen names every part of the network; leave one to train")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if settings.optimizer == "SGD":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(settings.momentum, 0.999), fused=True)


def half_precision(amp: str, device: str) -> torch.dtype | None:
    """The type that FitParams.amp means on a device (cuda or cpu); none: float32."""
    if device == "cuda":
        return {"auto": torch.float16, "float16": torch.float16, "bfloat16": torch.bfloat16}.get(amp)
    native = amp == "auto" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return torch.bfloat16 if amp == "bfloat16" or native else None


@dataclass
class _Losses:
    """The losses of an epoch; looked at every few steps, then the mean of all."""

    epoch: int
    recent: list[tuple[int, list[str], dict[str, Tensor]]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, step: int, names: list[str], losses: dict[str, Tensor]) -> None:
        self.recent.append((step, names, {name: loss.detach() for name, loss in losses.items()}))

    def mean(self) -> dict[str, float]:
        """The means so far; a loss that is no number stops the training."""
        if self.recent:
            table = torch.stack([torch.stack(list(losses.values())).float() for _, _, losses in self.recent]).tolist()
            for (step, names, losses), values in zip(self.recent, table, strict=True):
                for name, value in zip(losses, values, strict=True):
                    if not math.isfinite(value):
                        raise InputError(
                            f"loss {name} is {value} at step {step} (epoch {self.epoch}), whose inputs are "
                            f"{', '.join(names)}; look at these, lower learning_rate or set max_grad_norm"
                        )
                    self.sums[name] = self.sums.get(name, 0.0) + value
            self.count += len(self.recent)
            self.recent.clear()
        means = {name: value / max(1, self.count) for name, value in self.sums.items()}
        return {"loss": sum(means.values())} | means


class Training:
    """All that a checkpoint holds: weights, averaged weights, optimizer, loss scale, history, best epoch."""

    def __init__(self, network: nn.Module, settings: FitParams) -> None:
        self.network, self.settings = network, settings
        self.frozen = [_part(network, name).requires_grad_(False) for name in settings.frozen]
        self.device = next(network.parameters()).device
        self.averaged = copy.deepcopy(network).requires_grad_(False) if settings.ema_decay else network
        self.optimizer = _optimizer(network, settings)
        self.autocast = half_precision(settings.amp, self.device.type)
        self.scaler = torch.amp.GradScaler(
            "cuda", enabled=self.autocast == torch.float16
        )  # bfloat16 has float32's range
        self.epoch, self.step = 0, 0  # how many are done
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0  # counts from 1, as the history does
        self.seconds = 0.0

    def run_epoch(self, task: Task, batches: DataLoader[Any], seed: int) -> dict[str, float]:
        """One pass; returns its row of the history: rate at its end and mean losses."""
        torch.manual_seed(int(np.random.SeedSequence([seed, self.epoch]).generate_state(1)[0]))  # dropout and the like
        batches.sampler.epoch = self.epoch  # type: ignore[attr-defined]
        self.network.train()
        for part in self.frozen:
            part.eval()  # the statistics of its norms too
        losses = _Losses(self.epoch + 1)
        for names, batch in track(batches, len(batches), f"epoch {self.epoch + 1} of {self.settings.epochs}"):
            for group in self.optimizer.param_groups:
                factor = rate_factor(self.step, self.settings.epochs * len(batches), self.settings)
                group["lr"] = self.settings.learning_rate * factor
            losses.add(self.step + 1, names, self._descend(task, batch))
            self.step += 1
            if self.step % CHECK_EVERY == 0:
                losses.mean()
        rate = float(self.optimizer.param_groups[0]["lr"])
        return {"epoch": self.epoch + 1, "step": self.step, "rate": rate} | losses.mean()

    def _descend(self, task: Task, batch: Any) -> dict[str, Tensor]:
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            losses = task.losses(self.network, batch)
        # several batches of a step are as one that holds all of their images
        parts = self.settings.grad_accumulation if task.reduction == "mean" else 1
        self.scaler.scale(torch.stack(list(losses.values())).sum() / parts).backward()  # type: ignore[no-untyped-call]
        if (self.step + 1) % self.settings.grad_accumulation:
            return losses
        if self.settings.max_grad_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.max_grad_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        if self.averaged is not self.network:
            self._average()
        return losses

    @torch.no_grad()
    def _average(self) -> None:
        """Exponential mean of the weights; its decay grows from 0.1, so that the first steps are soon forgotten.

        It grows with the optimizer's steps: with batches, of which a step may have many, it would forget them slowly.
        """
        done = self.step // self.settings.grad_accumulation
        decay = min(self.settings.ema_decay, (1 + done) / (10 + done))
        both = (self.averaged, self.network)
        mean, new = ([*n.parameters(), *(b for b in n.buffers() if b.is_floating_point())] for n in both)
        torch._foreach_lerp_(mean, new, 1 - decay)

    def end_epoch(self, row: dict[str, float]) -> None:
        """Count the epoch."""
        self.epoch += 1
        self.keep(row)

    def keep(self, row: dict[str, float]) -> None:
        """Note the row of an epoch, and its weights if no earlier score was as good."""
        if not self.best or row["score"] > max(earlier["score"] for earlier in self.history):
            self.best_epoch = self.epoch
            self.best = {name: value.detach().cpu().clone() for name, value in self.averaged.state_dict().items()}
        self.history.append(row)

    def is_stale(self) -> bool:
        return self.epoch - self.best_epoch >= self.settings.patience

    def save(self, path: Path) -> None:
        kept = {name: getattr(self, name).state_dict() for name in ("network", "averaged", "optimizer", "scaler")}
        counts = {name: getattr(self, name) for name in ("epoch", "step", "history", "best", "best_epoch", "seconds")}
        with atomic_write(path) as partial:
            # of a step that goes on in the next epoch
            gradients = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
            torch.save({"format": FORMAT, "kept": kept, "counts": counts, "gradients": gradients}, partial)

    def load(self, path: Path) -> None:
        saved = torch.load(path, map_location=self.device, weights_only=True)
        check_format(path, saved.get("format"), "delete it, and the training begins anew")
        for name, state in saved["kept"].items():
            getattr(self, name).load_state_dict(state)
        for name, value in saved["counts"].items():
            setattr(self, name, value)
        for name, value in saved.get("gradients", {}).items():  # a version before kept none
            self.network.get_parameter(name).grad = value
        self.best = {name: value.cpu() for name, value in self.best.items()}
