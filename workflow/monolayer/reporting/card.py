"""The model card of an exported run: what it was trained on and how, how good it is on test, and what its files are.

Sections after Mitchell et al. 2019, arXiv:1810.03993.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from monolayer.backends.manifest import PARITY, Manifest, read_manifest
from monolayer.evaluation.definitions import DEFINITIONS, prefixes
from monolayer.params.families import YoloPredict
from monolayer.params.steps import CardParams
from monolayer.reporting import tables
from monolayer.reporting.study import SPLITS, read_census, read_history, read_result, read_run, seen_in_test, steps

QUOTE = "'"  # in place of the mark that ends a literal text
NOTHING_LEARNED = "no epoch of training made it better: what it gained is by the thresholds alone"
ENDS = ("", "_low", "_high")
SHOWN = ("mask_ap", "mask_ap50", "box_ap", "afnr", "f1_50", "precision", "recall", "pixel_f1")


def card(
    exported: Path, model: Path, scores: Path, splits: Path, params: CardParams, *, gain: Path | None = None
) -> str:
    """Markdown on the run that was exported to `exported` from what `model` (its folder in models) holds."""
    record, history, scored = read_run(model), read_history(model), read_result(scores)
    folder, manifest = read_manifest(exported)
    parity, depth = read_result(folder / PARITY), manifest.percentiles
    parts = [
        f"# {escape(manifest.run)}\n\nFinds the cells of grey images and gives a mask, a box and a score of each. "
        f"Networks see 8 bits; in images of more, intensities at the percentiles {depth.low:g} and {depth.high:g} "
        f"become 0 and 255. A model of family `{manifest.family}`, trained on the dataset `{params.dataset}` by "
        "monolayer.",
        f"## Trained on\n\n{images_by_line(splits, record['params']['lines'])}{sizes(manifest)}",
        f"## Training\n\n{table(networks(record, history))}\n\n{training_note(record)}",
        scores_on_test(scored),
        *([] if gain is None else [f"## Against its base\n\n{gained(read_result(gain), history)}"]),
        f"## Files\n\n{table(files(folder, manifest))}\n\n"
        f"Held against torch on the {parity['images']} test images:\n\n{table(parity_rows(parity['rows']))}",
        *(f"## {title}\n\n{text.strip()}" for title, text in manifest.notes.items()),
        f"## Settings\n\n{settings('finding cells', manifest.settings.model_dump())}\n\n"
        f"{settings('training', record['params']['settings'])}",
    ]
    return "\n\n".join(parts) + "\n"


def tool_card(record: Path, scores: Path, params: CardParams) -> str:
    """Markdown on the cells that another tool found in the test images."""
    known, scored = read_result(record), read_result(scores)
    took = "Its results were given as files; how long it took is not known."
    if "seconds" in known:
        took = (
            f"Its command took {tables.duration(known['seconds'])} for {known['images']} images, from its start to its "
            f"end, once, on {known['device']}, {known['measured']}:\n\n```sh\n{known['command'].strip()}\n```"
        )
    parts = [
        f"# {escape(scored['run'])}\n\nThe cells that {escape(known['tool'])} finds in the test images of the dataset "
        f"`{params.dataset}`. It was not trained here.",
        f"## Licence\n\n{escape(known['licence'])}",
        f"## How\n\n{took}",
        scores_on_test(scored),
    ]
    return "\n\n".join(parts) + "\n"


def scores_on_test(scored: dict[str, Any]) -> str:
    drawn = "wells" if scored["resample"] == "well" else "images"
    return (
        f"## Scores on test images\n\n{table(by_line(scored))}\n\n"
        f"With 95 % intervals of the bootstrap over {drawn}; F1, precision and recall at IoU .50, of cells with a "
        f"score of {scored['score_threshold']:g} or more, a threshold chosen on {scored['threshold_from']}. "
        f"Protocol: {scored['protocol']}."
    )


def gained(verdict: dict[str, Any], history: pd.DataFrame) -> str:
    """The verdict of `gain` as a sentence, and what training did to it."""
    warning = "" if verdict["better"] else " **It was exported all the same (`unproven: true`).**"
    return f"{escape(verdict['said'])}.{warning}{learned(history)}"


def learned(history: pd.DataFrame) -> str:
    """How good each network that was trained on was on val before its first step.

    Thresholds and the unit of grey values are chosen on the run's own images by then: what they bring is not learned.
    """
    said = ""
    for name, rows in history.groupby("network"):
        scores = rows.set_index("epoch")["score"]
        if 0 in scores and len(scores) > 1:
            best = int(scores.index[int(scores.argmax())])
            after = f"{scores.max():.3f} after training (epoch {best})"
            said += f" On val the network `{name}` scores {scores[0]:.3f} with the weights as given and thresholds of "
            said += f"these images, and {after if best else NOTHING_LEARNED}."
    return said


def table(rows: Sequence[dict[str, str]]) -> str:
    """Rows of texts as a Markdown table; all have the first one's columns. Markdown may hold HTML: names don't."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(
        "| " + " | ".join(escape(cell, quote=False).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def images_by_line(splits: Path, lines: str | list[str]) -> str:
    """Images and cells of each line and split; what this run did not train on says so."""
    found: dict[str, dict[str, str]] = {}
    for split in SPLITS:
        for line, rows in read_census(splits / f"{split}.json").images.groupby("cell_line"):
            found.setdefault(str(line), {})[split] = f"{len(rows)} images, {rows['cells'].sum()} cells"
    for line, texts in found.items():
        if "train" in texts and isinstance(lines, list) and line not in lines:
            texts["train"] = "not used"
    empty = dict.fromkeys(SPLITS, "–")
    return table([{"cell line": line} | empty | texts for line, texts in sorted(found.items())])


def sizes(manifest: Manifest) -> str:
    """How large its cells were, and what to do with others, as a paragraph."""
    if (diameters := manifest.diameters) is None:
        return ""
    cure = "For cells of other sizes give their usual diameter (`--diameter`)."
    if isinstance(manifest.settings, YoloPredict):  # which scales every image to one size, and takes no diameter
        cure = "Every image is scaled to one size: give images of fields as large as those of training."
    return (
        f"\n\nThe median training cell has a diameter of {diameters.median:.1f} px (of the circle of its area); "
        f"medians of nine in ten images of each line lie between {diameters.low:.1f} and {diameters.high:.1f} px. "
        f"{cure}"
    )


def networks(record: dict[str, Any], history: pd.DataFrame) -> list[dict[str, str]]:
    taken = steps(history)
    return [
        {
            "network": name,
            "began with": str(facts["initial"]),
            "images": str(facts["train_images"]),
            "of them synthetic": str(facts["synthetic_images"]),
            "cells": str(facts["train_cells"]),
            "steps": str(taken[name]),
            "best epoch": str(facts["best_epoch"]),
            "time": tables.duration(facts["seconds"]) if "seconds" in facts else "not recorded",
            **seen_in_test(record),
        }
        for name, facts in record["networks"].items()
    ]


def training_note(record: dict[str, Any]) -> str:
    """Where and when, as a sentence."""
    versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    commit = f", commit {record['commit'][:10]}" if record["commit"] else ""
    changed = " with uncommitted changes" if record["uncommitted_changes"] else ""
    return f"{record['device']}{commit}{changed}; {versions}."


def by_line(scores: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for line, prefix in prefixes(scores).items():
        row = {"cell line": line, "images": str(scores[f"{prefix}images"]), "cells": str(scores[f"{prefix}cells"])}
        for name in SHOWN:
            row[DEFINITIONS[name].title] = with_interval(*(scores.get(f"{prefix}{name}{end}") for end in ENDS))
        rows.append(row)
    return rows


def with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else "")


def files(folder: Path, manifest: Manifest) -> list[dict[str, str]]:
    """What the manifest names, which is less than an earlier export may have left there."""
    found = sorted(folder / name for name in manifest.files())
    return [{"file": path.name, "MB": f"{path.stat().st_size / 1e6:.1f}"} for path in found]


def parity_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Parity of each backend and dtype."""
    return [
        {
            "backend": f"{row['backend']} {row['dtype']}",
            "mask AP": f"{row['ap']:.4f}" if "ap" in row else "–",
            "with torch": f"{row['ap_torch']:.4f}" if "ap_torch" in row else "–",
            "mean mask IoU of the worst image": f"{row['mask_iou']:.4f}" if "mask_iou" in row else "not run",
            "products": ", ".join(f"{n} in {dtype}" for dtype, n in row.get("products", {}).items()) or "–",
        }
        for row in rows
    ]


def settings(title: str, values: dict[str, Any]) -> str:
    """Parameters as a sentence, nested ones with their path."""
    return (
        f"For {title}: "
        + "; ".join(f"`{name}: {str(value).replace('`', QUOTE)}`" for name, value in tables.flattened(values, "."))
        + "."
    )
