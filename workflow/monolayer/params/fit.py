"""The section on how a network is fitted, whatever its family."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from monolayer.params.section import Fraction, Section, unset


class FitParams(Section):
    """How any network of ours is trained (models/fit.py)."""

    epochs: NonNegativeInt
    """Passes: YOLO and CenterMask over the images, evenly over lines or each once; U-Net: of `patches` each. 0: the
    given weights as they are."""
    batch: PositiveInt
    """Images or patches at once."""
    grad_accumulation: PositiveInt
    """Batches of one step, which learns from them as from one large batch."""
    optimizer: Literal["SGD", "AdamW"]
    """Weight decay acts on kernels only."""
    learning_rate: PositiveFloat
    """Above 0; of the main part of the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """In [0, 1); AdamW's first beta."""
    weight_decay: NonNegativeFloat
    """0 or more."""
    warmup_steps: NonNegativeInt
    """In which the rate rises linearly."""
    schedule: Literal["flat", "linear", "cosine", "steps"]
    """Of the rate: flat; linear or cosine down to final_lr_factor; steps: times that at each milestone."""
    final_lr_factor: Fraction
    """Of learning_rate, in [0, 1]."""
    milestones: list[Fraction]
    """Of the training, as fractions (schedule: steps)."""
    max_grad_norm: NonNegativeFloat
    """Largest norm of the gradient; 0: any."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    """Decay, in [0, 1), of the weights' running mean, which is what is kept; 0: the weights themselves."""
    patience: PositiveInt
    """Epochs without a better model before training stops."""
    amp: Literal["none", "auto", "float16", "bfloat16"]
    """Half precision: none; auto: where the device is faster in it (float16 on a GPU, bfloat16 on a CPU that has
    instructions for it), else none; float16: on a GPU; bfloat16: there and on a CPU. run.json says what it was."""
    frozen: list[str] = unset([])
    """Parts of the network, by the names of its modules, that stay as they are; their norms' statistics too."""
