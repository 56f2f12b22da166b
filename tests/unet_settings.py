"""The smallest U-Net that learns something of the culture in seconds."""

from __future__ import annotations

from culture import Culture
from monolayer.coco.io import read_truth
from monolayer.data import dataset
from monolayer.data.dataset import Sample
from monolayer.params.families import UnetTrain

PRETRAINED = {"width": 32, "levels": 4, "stem": 2, "fine": 8}  # the shape of the package's model
SETTINGS = UnetTrain.model_validate(
    {
        "width": 4,
        "levels": 3,
        "target": "foreground+distance",
        "patch": 64,
        "patches": 48,
        "foreground_fraction": 0.5,
        "sampling_exponent": 0.0,
        "augment": {"gamma": 0.3, "contrast": 0.3, "brightness": 0.2, "blur": 1.0, "noise": 0.2},
        "contrast_images": 100,
        "min_area_percentile": 1.0,
        "min_area_factor": 0.5,
        "val_images": 2,
        "val_predict": {"batch": 2, "tile": 128, "overlap": 32, "tta": 1, "saddle_ratio": 0.65},
        "search": {"foreground": [0.3, 0.5, 0.7], "marker": [0.3, 0.5, 0.7]},
        "fit": {
            "epochs": 4,
            "batch": 8,
            "grad_accumulation": 1,
            "optimizer": "AdamW",
            "learning_rate": 0.02,
            "momentum": 0.9,
            "weight_decay": 0.01,
            "warmup_steps": 4,
            "schedule": "cosine",
            "final_lr_factor": 0.01,
            "milestones": [],
            "max_grad_norm": 1.0,
            "ema_decay": 0.9,
            "patience": 9,
            "amp": "float16",
        },
    }
)


def split(culture: Culture, name: str) -> list[Sample]:
    """What it learns from, or is validated on."""
    return dataset.samples(read_truth(culture.splits / f"{name}.json"), culture.images)
