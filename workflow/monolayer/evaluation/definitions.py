"""What each column of the tables means, in the words that stand beside the numbers; scores as a terminal shows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Definition(NamedTuple):
    title: str
    text: str
    source: str = ""


COCO = "Lin et al. 2014, arXiv:1405.0312; pycocotools"
LIVECELL = "Edlund et al. 2021, doi:10.1038/s41592-021-01249-6; github.com/sartorius-research/LIVECell"
AT_THRESHOLD = "Predictions above the score threshold"
SIZES = "small below 18², medium to 31², large above (coco: 32², 96²) px²"

DEFINITIONS: dict[str, Definition] = {
    "run": Definition("Run", "A row of `runs` in params.yaml, or the name of a file of scores."),
    "cell_line": Definition("Cell line", "`all` pools the predictions of all images; it is no mean of the lines."),
    "images": Definition("Images", "Test images, also those without cells."),
    "cells": Definition("True cells", "True cells of the test images; crowd regions don't count."),
    "protocol": Definition(
        "Protocol",
        "Whose constants: livecell counts 2,000 predictions an image and all categories as one; coco counts 100, and "
        "takes the mean over categories.",
        LIVECELL,
    ),
    "score_threshold": Definition(
        "Score threshold", "The score with the best F1 at IoU 0.5 on val; what precision, recall and F1 are taken at."
    ),
    "threshold_from": Definition(
        "Threshold from", "The images that the threshold was chosen on; on test itself it flatters."
    ),
    "mask_ap": Definition(
        "Mask AP",
        "Area under the precision-recall curve (101 recalls), mean over mask IoU .50:.05:.95. Predictions are ranked "
        "by mask_score where a model gives one.",
        COCO,
    ),
    "mask_ap50": Definition("Mask AP50", "Mask AP at IoU 0.50: cells found, whatever their outline.", COCO),
    "mask_ap75": Definition("Mask AP75", "Mask AP at IoU 0.75: cells found and outlined well.", COCO),
    "box_ap": Definition("Box AP", "As mask AP, of the detector's boxes.", COCO),
    "box_ap50": Definition("Box AP50", "Box AP at IoU 0.50.", COCO),
    "box_ap75": Definition("Box AP75", "Box AP at IoU 0.75.", COCO),
    "ap_size": Definition(
        "AP small, medium, large",
        f"AP among true cells of one range of areas: {SIZES}.",
        "LIVECell, coco_evaluation.py",
    ),
    "ar": Definition(
        "AR at N",
        "Share of true cells found by the N best predictions of each image, mean over IoU .50:.05:.95, no threshold; "
        "of small, medium and large cells by the most that the protocol counts.",
        COCO,
    ),
    "afnr": Definition(
        "AFNR",
        "Average false negative ratio of masks: FN / (TP + FN), mean over IoU .50:.05:.95, with every prediction up to "
        "the protocol's cap and no score threshold; 1 - AR.",
        "named in Edlund et al. 2021, doi:10.1038/s41592-021-01249-6; their code has it not, so this reading is ours",
    ),
    "box_afnr": Definition("Box AFNR", "As AFNR, of the detector's boxes.", "as AFNR"),
    "f1_50": Definition(
        "Instance F1",
        f"{AT_THRESHOLD}: 2 TP / (2 TP + FP + FN) at mask IoU 0.5. Not the pixel F1.",
        "Caicedo et al. 2019, Cytometry A, PMC6771982",
    ),
    "f1": Definition(
        "Instance F1, all IoU", "As instance F1, mean over mask IoU .50:.05:.95.", "Caicedo et al. 2019, as above"
    ),
    "precision": Definition("Precision", f"{AT_THRESHOLD}: TP / (TP + FP) at mask IoU 0.5."),
    "recall": Definition("Recall", f"{AT_THRESHOLD}: TP / (TP + FN) at mask IoU 0.5."),
    "pixel_f1": Definition(
        "Pixel F1",
        f"{AT_THRESHOLD}: Dice of the foreground, over the pixels of all images (what the poster calls F1).",
        "Dice 1945, Ecology 26:297",
    ),
    "pixel_f1_images": Definition("Pixel F1 of images", "Pixel F1 of each image, mean over images.", "as pixel F1"),
    "mean_accuracy": Definition(
        "Mean accuracy",
        f"{AT_THRESHOLD}: TP / (TP + FP + FN) of each image, mean over IoU .50:.05:.95 and over images; elsewhere also "
        "called average precision. Images without true and predicted cells don't count.",
        "kaggle.com/c/data-science-bowl-2018#evaluation; cellpose.metrics.average_precision; StarDist, matching.py",
    ),
    "accuracy_50": Definition(
        "Accuracy at 0.5", "As mean accuracy, at IoU 0.5 alone (SA50, Cellpose's AP at 0.5).", "as above"
    ),
    "count_bias": Definition("Count bias", "Predicted less true cells of an image, mean over images."),
    "count_mae": Definition("Count error", "Absolute difference of predicted and true cells, mean over images."),
    "count_r2": Definition(
        "Count R²", "1 - (squared count errors) / (squared deviations of the true counts): 1 is perfect, 0 the mean."
    ),
    "capped_images": Definition(
        "Capped images",
        "Images with more predictions than the protocol lets AP and AR count, the best (livecell 2,000, coco 100); all "
        "other scores count every prediction. Only where there are any; `capped` in the table of images.",
        "pycocotools, maxDets",
    ),
    "low_high": Definition(
        "95 % interval",
        "Percentiles 2.5 and 97.5 of the bootstrap's draws of the images (or wells) within their cell lines. "
        "Frames of one well resemble each other, so that drawing images makes it rather narrow. Empty for a single "
        "image.",
        "Efron & Tibshirani 1993, chapter 13",
    ),
    "difference": Definition(
        "Difference of two runs",
        "run_a - run_b on the same draws of images, with Student's 95 % interval and two-sided p by the standard error "
        "of the draws. Real where it leaves out 0 and six images (or wells) are drawn, of lines that have several. Of "
        "twenty differences between equals, about one looks real; over all lines more do where few images of one line "
        "hold most of the cells (four, with 3 images of 1,000 cells beside 60 of 50): see the lines then.",
        "Efron & Tibshirani 1993, chapters 6 and 12",
    ),
    "density": Definition(
        "Density", "Quartiles of the test images by true cells per megapixel that is annotated; bin 1 is sparsest."
    ),
    "size": Definition(
        "Cell size",
        "Quartiles of the true cells by area in px²; bin 1 is smallest. A prediction of another size is no error.",
        "as AP by area in COCO",
    ),
    "missed": Definition(
        "Missed",
        "A true cell without a prediction at mask IoU 0.5, and none of the other kinds.",
        "Bolya et al. 2020, arXiv:2008.08115",
    ),
    "merged": Definition(
        "Merged",
        "A prediction with most of each of two or more true cells in it; the lost cells, and the prediction if it is "
        "wrong.",
        "Caicedo et al. 2019, Cytometry A, PMC6771982",
    ),
    "split": Definition(
        "Split",
        "Two or more predictions that lie mostly within one true cell; the cell if lost, and the wrong ones of them.",
        "Caicedo et al. 2019, Cytometry A, PMC6771982",
    ),
    "loose": Definition(
        "Loose outline",
        "A lost cell and a wrong prediction that belong together: mask IoU from 0.1 to 0.5.",
        "Localisation error of Bolya et al. 2020",
    ),
    "duplicate": Definition(
        "Duplicate", "A prediction at IoU 0.5 or more with a cell that a better one has taken.", "Bolya et al. 2020"
    ),
    "spurious": Definition(
        "Spurious", "A wrong prediction of none of the other kinds.", "Background error of Bolya et al. 2020"
    ),
}


def definition(column: str) -> Definition | None:
    """The definition of a column of the tables, also for mask_ap_small, box_ar_500 or afnr_low.

    >>> [definition(column).title for column in ("mask_ap", "mask_ap_small", "box_ar_500", "afnr_low")]
    ['Mask AP', 'AP small, medium, large', 'AR at N', '95 % interval']
    """
    if column in DEFINITIONS:
        return DEFINITIONS[column]
    plain, _, ending = column.rpartition("_")
    if ending in ("low", "high") and plain in DEFINITIONS:
        return DEFINITIONS["low_high"]
    if plain in ("mask_ap", "box_ap"):
        return DEFINITIONS["ap_size"]
    return DEFINITIONS["ar"] if plain in ("mask_ar", "box_ar") else None


SHOWN = (
    "mask_ap",
    "mask_ap50",
    "mask_ap75",
    "box_ap",
    "afnr",
    "f1_50",
    "precision",
    "recall",
    "mean_accuracy",
    "pixel_f1",
)


def show(scores: Mapping[str, Any], constants: str) -> None:
    """Print the scores of a run with their intervals, the constants that they go by, and what they mean."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for name in ("images", "cells", *SHOWN):
        table.add_column(DEFINITIONS[name].title.replace(" ", "\n", 1), justify="right", no_wrap=True)
    for line, prefix in prefixes(scores).items():
        table.add_row(line, *(_cell(scores, f"{prefix}{name}") for name in ("images", "cells", *SHOWN)))
    console = Console(highlight=False)
    console.width = max(console.width, 150)  # a narrower terminal breaks the lines; a cut number would be worse
    threshold = f"{scores['score_threshold']:g}, chosen on {scores['threshold_from']}"
    console.print(f"{scores['run']}, {constants}")
    console.print(
        f"Score threshold {threshold}. "
        f"Below each number: 95 % of {scores['n_resamples']} draws of {scores['resample']}s."
    )
    console.print(table)
    for name in SHOWN:
        console.print(f"{DEFINITIONS[name].title}: {DEFINITIONS[name].text}")


def prefixes(scores: Mapping[str, Any]) -> dict[str, str]:
    """What the names of the scores over all images, and of each cell line's, begin with."""
    lines = dict.fromkeys(name.rsplit("/", 1)[0] for name in scores if "/" in name)
    return {"all": ""} | {line: f"{line}/" for line in lines}


def _cell(scores: Mapping[str, Any], name: str) -> str:
    value, low, high = scores[name], scores.get(f"{name}_low"), scores.get(f"{name}_high")
    if value is None or isinstance(value, int):
        return "" if value is None else f"{value:,}"
    return f"{value:.3f}" + ("" if low is None else f"\n{low:.2f}-{high:.2f}")
