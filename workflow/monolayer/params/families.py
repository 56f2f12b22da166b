"""Sections on the families of networks: how they are built, trained and asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from monolayer.params.section import Fraction, Name, Section


class FitParams(Section):
    """How any network of ours is trained (models/fit.py)."""

    epochs: PositiveInt
    batch: PositiveInt
    grad_accumulation: PositiveInt
    optimizer: Literal["SGD", "AdamW"]
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: NonNegativeFloat
    warmup_steps: NonNegativeInt
    schedule: Literal["flat", "linear", "cosine", "steps"]
    final_lr_factor: Fraction
    milestones: list[Fraction]
    max_grad_norm: NonNegativeFloat
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    patience: PositiveInt
    amp: Literal["none", "float16", "bfloat16"]


class YoloPredict(Section):
    imgsz: Annotated[int, Field(ge=32, multiple_of=32)]
    batch: PositiveInt
    score_min: Fraction
    nms_iou: Fraction
    max_det: PositiveInt


class YoloTrain(Section):
    architecture: Name
    weights: str
    imgsz: Annotated[int, Field(ge=32, multiple_of=32)]
    scale_jitter: Annotated[float, Field(ge=0, lt=1)]
    mask_ratio: Literal[1, 2, 4]
    best_by: Literal["precision", "ap"]
    recall_floor: Fraction
    fit: FitParams
    val_predict: YoloPredict


class YoloScale(Section):
    train: YoloTrain
    predict: YoloPredict


class YoloModel(Section):
    family: Literal["yolo"]
    quick: YoloScale
    full: YoloScale


class AugmentParams(Section):
    """How far a training patch may differ from its image; 0 switches one off."""

    gamma: NonNegativeFloat
    contrast: NonNegativeFloat
    brightness: NonNegativeFloat
    blur: NonNegativeFloat
    noise: NonNegativeFloat


class UnetPredict(Section):
    batch: PositiveInt
    tile: Annotated[int, Field(ge=64, multiple_of=64)]
    overlap: NonNegativeInt
    tta: Literal[1, 2, 4, 8]
    saddle_ratio: Fraction

    @model_validator(mode="after")
    def _advances(self) -> UnetPredict:
        if 2 * self.overlap > self.tile:
            raise ValueError(f"overlap ({self.overlap}) must be at most half of tile ({self.tile})")
        return self


class SearchParams(Section):
    """Thresholds among which val chooses."""

    foreground: Annotated[list[Fraction], Field(min_length=1)]
    marker: Annotated[list[Fraction], Field(min_length=1)]


class UnetTrain(Section):
    width: PositiveInt
    levels: Annotated[int, Field(ge=2, le=7)]
    target: Literal["foreground", "foreground+distance"]
    patch: Annotated[int, Field(ge=16)]
    patches: PositiveInt
    foreground_fraction: Fraction
    sampling_exponent: Fraction
    augment: AugmentParams
    val_images: PositiveInt
    val_predict: UnetPredict
    search: SearchParams
    fit: FitParams

    @model_validator(mode="after")
    def _halves(self) -> UnetTrain:
        if self.patch % 2 ** (self.levels - 1):
            raise ValueError(
                f"patch ({self.patch}) must be a multiple of {2 ** (self.levels - 1)} for {self.levels} levels"
            )
        return self


class UnetScale(Section):
    train: UnetTrain
    predict: UnetPredict


class UnetModel(Section):
    family: Literal["unet"]
    quick: UnetScale
    full: UnetScale


class CenterMaskNetwork(Section):
    """What decides the shapes of the weights, and how grey values enter."""

    backbone: Literal["V-19-slim-dw", "V-19-slim", "V-19-dw", "V-19", "V-39", "V-57", "V-99"]
    norm: Literal["frozen", "batch", "group"]
    channels: Annotated[int, Field(ge=64, multiple_of=32)]  # 32 groups of 1 can't be normalised on a 1x1 map
    convs: PositiveInt
    pixel_mean: NonNegativeFloat
    pixel_std: PositiveFloat


class DetectionLimits(Section):
    """What becomes of a detector's candidates: a class score, a number per level, overlap, a number per image."""

    score_min: Fraction
    per_level: PositiveInt
    nms_iou: Fraction
    max_det: PositiveInt


class CenterMaskPredict(DetectionLimits):
    zoom: PositiveFloat
    max_side: PositiveInt
    batch: PositiveInt
    amp: bool


class CenterMaskTrain(Section):
    network: CenterMaskNetwork
    weights: str
    balance: bool
    window: PositiveInt | None
    symmetry: Literal["mirror", "all"]
    zoom: Annotated[list[PositiveFloat], Field(min_length=1)]
    max_side: PositiveInt
    proposals: DetectionLimits
    roi_batch: PositiveInt
    nominal_batch: PositiveInt
    fit: FitParams
    val_images: PositiveInt
    val_predict: CenterMaskPredict

    @model_validator(mode="after")
    def _frozen_norms_are_imported(self) -> CenterMaskTrain:
        if self.network.norm == "frozen" and self.weights == "none":
            raise ValueError("network.norm is frozen, which needs imported weights; use batch or group")
        return self


class CenterMaskScale(Section):
    train: CenterMaskTrain
    predict: CenterMaskPredict


class CenterMaskModel(Section):
    family: Literal["centermask"]
    quick: CenterMaskScale
    full: CenterMaskScale


Model = Annotated[YoloModel | UnetModel | CenterMaskModel, Field(discriminator="family")]
TrainSettings = YoloTrain | UnetTrain | CenterMaskTrain
PredictSettings = YoloPredict | UnetPredict | CenterMaskPredict
