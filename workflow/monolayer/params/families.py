"""Sections on the families of networks: how they are built, trained and asked."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from monolayer.params.fit import FitParams
from monolayer.params.section import Fraction, LocalPath, Name, Range, Section, unset
from monolayer.params.tools import CommandTool, ResultsTool

Family = TypeVar("Family")
Train = TypeVar("Train")
Predict = TypeVar("Predict")


class AtScale(Section, Generic[Train, Predict]):
    train: Train
    """How it is built and trained."""
    predict: Predict
    """How it is asked for cells."""

    @model_validator(mode="after")
    def _begins(self) -> AtScale[Train, Predict]:
        train: Any = self.train
        if train.fit.epochs == 0 and train.weights == "none":
            raise ValueError("train.fit.epochs is 0, which keeps weights as they are, and train.weights is none")
        return self


class FamilyModel(Section, Generic[Family, Train, Predict]):
    family: Family
    """Which code trains and asks it."""
    quick: AtScale[Train, Predict]
    """For 2 CPU cores, minutes."""
    full: AtScale[Train, Predict]
    """The documents' sizes, for a GPU."""


class YoloPredict(Section):
    imgsz: Annotated[int, Field(ge=32, multiple_of=32)]
    """px, the longer side of the network's input; a multiple of 32."""
    batch: PositiveInt
    """Images in the network at once."""
    score_min: Fraction
    """Cells with a lower score, in [0, 1], are dropped."""
    nms_iou: Fraction
    """Of two boxes that overlap by more, in [0, 1], the better one stays."""
    max_det: PositiveInt
    """Cells of an image, at most."""


class YoloTrain(Section):
    architecture: Name
    """One of ultralytics', such as yolo11n-seg."""
    weights: LocalPath
    """none; pretrained (the library's file, fetched or an error); or the path of one, or of a run's weights.pt."""
    imgsz: Annotated[int, Field(ge=32, multiple_of=32)]
    """px, the longer side that images are scaled to, but for scale_jitter; a multiple of 32."""
    crop: Annotated[int, Field(ge=32, multiple_of=32)] | None
    """px, the side of the square that is cut from a scaled image; a multiple of 32; null: imgsz."""
    balance: bool
    """true: an epoch draws each cell line equally often; false: each image once."""
    scale_jitter: Annotated[float, Field(ge=0, lt=1)]
    """Images are scaled by 1 ± this, in [0, 1)."""
    gamma: Range
    """Lowest and highest exponent of grey values, in [0, 1], drawn for each image."""
    contrast: Range
    """Lowest and highest factor of grey values, drawn for each image."""
    mask_ratio: Literal[1, 2, 4]
    """Truth masks are compared at 1 / this size."""
    best_by: Literal["precision", "ap"]
    """What chooses the epoch: val's mask AP, or precision among epochs whose recall reaches recall_floor."""
    recall_floor: Fraction
    """In [0, 1]."""
    fit: FitParams
    """How it is trained."""
    val_images: PositiveInt
    """Evenly over val, looked at after each epoch."""
    val_predict: YoloPredict
    """How these are asked for cells."""


class AugmentParams(Section):
    """How far a training patch may differ from its image; 0 switches one off."""

    gamma: NonNegativeFloat
    """Exponent 2^±this."""
    contrast: NonNegativeFloat
    """Factor 2^±this."""
    brightness: NonNegativeFloat
    """Standard deviation, in units of the images' contrast."""
    blur: NonNegativeFloat
    """px: Gaussian of up to this, in about a third of the patches."""
    noise: NonNegativeFloat
    """Up to this, in half of the patches, in units of the images' contrast."""
    zoom: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Factor 2^±this in size: other cells, or another objective."""


class UnetPredict(Section):
    batch: PositiveInt
    """Images read at once, and tiles in the network at once."""
    tile: Annotated[int, Field(ge=64, multiple_of=64)]
    """px at most, the side of a tile; a multiple of 64."""
    overlap: NonNegativeInt
    """px at least that neighbouring tiles share and blend over."""
    tta: Literal[1, 2, 4, 8]
    """Test-time augmentation: the mean over so many turned copies; 4: quarter turns; 8: mirrored too."""
    saddle_ratio: Fraction
    """A saddle between two markers, shallower than this times the shallower one, parts them; 0: never. In [0, 1]."""

    @model_validator(mode="after")
    def _advances(self) -> UnetPredict:
        if 2 * self.overlap > self.tile:
            raise ValueError(f"overlap ({self.overlap}) must be at most half of tile ({self.tile})")
        return self


class SearchParams(Section):
    """Thresholds among which val chooses."""

    foreground: Annotated[list[Fraction], Field(min_length=1)]
    """Least probabilities, in [0, 1], of a cell's pixel."""
    marker: Annotated[list[Fraction], Field(min_length=1)]
    """Relative distances to the edge (of `separated`: probabilities), in [0, 1], that one cell reaches in one place."""


Target = Literal["foreground", "separated", "foreground+distance"]


class UnetTrain(Section):
    width: PositiveInt
    """Channels of the first level; each level has twice the last's."""
    levels: Annotated[int, Field(ge=2, le=7)]
    """Of resolution, 2 to 7."""
    stem: Literal[1, 2, 4] = 1
    """px: the first level takes blocks of this side as channels (space to depth); 2 is a quarter of the work."""
    fine: NonNegativeInt = 0
    """Channels of the image's own resolution beside a stem, for the outlines; 0: none."""
    target: Target
    """foreground: touching cells are one; separated: it ends where they touch, and narrow gaps weigh more in the loss
    (Ronneberger et al. 2015); foreground+distance: cells part by their distance to the edge, which is best."""
    weights: LocalPath = unset("none")
    """none; pretrained (the model that comes with the package); or the path of a weights.pt or of an exported run, of
    the same width and levels."""
    diameter: PositiveFloat | None = unset(None)
    """px: images are scaled so that train's median cell has this diameter in the network; null: they are not."""
    patch: Annotated[int, Field(ge=16)]
    """px, the side of a training patch; a multiple of stem x 2^(levels - 1)."""
    patches: PositiveInt
    """Of an epoch."""
    foreground_fraction: Fraction
    """This share has a cell in the middle, the others are anywhere."""
    sampling_exponent: Fraction
    """A line's share of the patches grows with its cells to this power, in [0, 1]."""
    line_shares: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Times this for the lines named: more of one of which there is little, or whose cells are unlike the others'."""
    augment: AugmentParams
    """Besides flips and quarter turns."""
    contrast_images: PositiveInt
    """Of train at most, evenly chosen, whose contrast is the unit of grey values."""
    min_area_percentile: Annotated[float, Field(ge=0, le=100)]
    """Of the areas of train's cells, in [0, 100]."""
    min_area_factor: NonNegativeFloat
    """What is smaller than this times that percentile is no cell; 0: all are."""
    val_images: PositiveInt
    """Of val at most, evenly chosen, to score each epoch."""
    val_predict: UnetPredict
    """How these are asked for cells."""
    search: SearchParams
    """Thresholds among which each epoch's are chosen by the score on val."""
    fit: FitParams
    """How it is trained."""

    @model_validator(mode="after")
    def _halves(self) -> UnetTrain:
        stride = self.stem * 2 ** (self.levels - 1)
        if stride > 64:
            raise ValueError(f"stem {self.stem} and {self.levels} levels shrink by {stride}; tiles allow 64")
        if self.patch % stride:
            raise ValueError(
                f"patch ({self.patch}) must be a multiple of {stride} for stem {self.stem} and {self.levels} levels"
            )
        if self.fine and (self.stem == 1 or self.width % self.stem**2):
            raise ValueError(
                f"fine ({self.fine}) goes beside a stem of 2 or 4 whose square divides width ({self.width}); "
                f"stem is {self.stem}"
            )
        return self


class CenterMaskNetwork(Section):
    """What decides the shapes of the weights, and how grey values enter."""

    backbone: Literal["V-19-slim-dw", "V-19-slim", "V-19-dw", "V-19", "V-39", "V-57", "V-99"]
    """VoVNetV2."""
    norm: Literal["frozen", "batch", "group"]
    """frozen: statistics stay as imported; batch; group: where a batch is very small."""
    channels: Annotated[int, Field(ge=64, multiple_of=32)]  # 32 groups of 1 can't be normalised on a 1x1 map
    """Of pyramid and heads, a multiple of 32, at least 64."""
    convs: PositiveInt
    """In each tower and mask head."""
    pixel_mean: NonNegativeFloat
    """Of grey values, 0 to 255."""
    pixel_std: PositiveFloat
    """Of grey values, above 0."""


class DetectionLimits(Section):
    """What becomes of a detector's candidates: a class score, a number per level, overlap, a number per image."""

    score_min: Fraction
    """Candidates with a lower class score, in [0, 1], are dropped."""
    per_level: PositiveInt
    """Candidates of a pyramid level before suppression."""
    nms_iou: Fraction
    """Of two boxes that overlap by more, in [0, 1], the better one stays."""
    max_det: PositiveInt
    """Cells of an image, at most."""


class CenterMaskPredict(DetectionLimits):
    zoom: PositiveFloat
    """px of the network's input per px of the image."""
    max_side: PositiveInt
    """px; larger inputs are zoomed less."""
    batch: PositiveInt
    """Images read at a time; they pass one by one."""
    amp: bool
    """Half precision on a GPU."""


class CenterMaskTrain(Section):
    network: CenterMaskNetwork
    """Its parts."""
    weights: LocalPath
    """none; or a weights.pt of a run, or that `monolayer import-weights` made, whole or backbone alone."""
    balance: bool
    """true: an epoch draws each cell line equally often; false: each image once."""
    window: PositiveInt | None
    """px of the image, a random square of it; null: all of it."""
    symmetry: Literal["mirror", "all"]
    """mirror: left and right only; all: quarter turns too."""
    zoom: Annotated[list[PositiveFloat], Field(min_length=1)]
    """px of the network's input per px of the image, one drawn for each crop."""
    max_side: PositiveInt
    """px; larger inputs are zoomed less."""
    proposals: DetectionLimits
    """Detections that masks learn on."""
    roi_batch: PositiveInt
    """Of these and the true cells, in each image, at most."""
    nominal_batch: PositiveInt
    """Images that learning_rate is meant for; it is scaled with what a step has."""
    fit: FitParams
    """How it is trained."""
    val_images: PositiveInt
    """Evenly over val, looked at after each epoch."""
    val_predict: CenterMaskPredict
    """How these are asked for cells."""

    @model_validator(mode="after")
    def _frozen_norms_are_imported(self) -> CenterMaskTrain:
        if self.network.norm == "frozen" and self.weights == "none":
            raise ValueError("network.norm is frozen, which needs imported weights; use batch or group")
        return self


YoloModel = FamilyModel[Literal["yolo"], YoloTrain, YoloPredict]
UnetModel = FamilyModel[Literal["unet"], UnetTrain, UnetPredict]
CenterMaskModel = FamilyModel[Literal["centermask"], CenterMaskTrain, CenterMaskPredict]
Model = Annotated[YoloModel | UnetModel | CenterMaskModel | CommandTool | ResultsTool, Field(discriminator="family")]
TrainSettings = YoloTrain | UnetTrain | CenterMaskTrain
PredictSettings = YoloPredict | UnetPredict | CenterMaskPredict
