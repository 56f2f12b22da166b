"""The smallest U-Net that learns something of the culture in seconds."""

from monolayer.params.families import UnetTrain

SETTINGS = UnetTrain.model_validate(
    {
        "width": 4,
        "levels": 3,
        "target": "foreground+distance",
        "patch": 64,
        "patches": 48,
        "on_cells": 0.5,
        "balance": 0.0,
        "augment": {"gamma": 0.3, "contrast": 0.3, "brightness": 0.2, "blur": 1.0, "noise": 0.2},
        "val_images": 2,
        "val_predict": {"batch": 2, "tile": 128, "overlap": 32, "views": 1, "neck": 0.65},
        "search": {"foreground": [0.3, 0.5, 0.7], "core": [0.3, 0.5, 0.7]},
        "fit": {
            "epochs": 4,
            "batch": 8,
            "accumulate": 1,
            "optimizer": "AdamW",
            "learning_rate": 0.02,
            "momentum": 0.9,
            "weight_decay": 0.01,
            "warmup_steps": 4,
            "schedule": "cosine",
            "final_rate": 0.01,
            "milestones": [],
            "clip": 1.0,
            "average": 0.9,
            "patience": 9,
            "amp": "float16",
        },
    }
)
