"""Which images a report shows, and their pictures."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from monolayer.reporting.pictures import Album, Picture, compared_layers, truth_layers
from monolayer.reporting.study import Study


def spread(length: int, count: int) -> list[int]:
    """At most `count` of `length` ranks, evenly from the first to the last; one alone is the middle."""
    if count == 1 or length <= 1:
        return [(length - 1) // 2][:length]
    return sorted({step * (length - 1) // (count - 1) for step in range(count)})


def ranked(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """`count` of these test images from the best to the worst F1, with their rank in words.

    An image without a cell, true or predicted, has no F1 and no rank.
    """
    rows = rows[rows["cells_true"] + rows["cells_pred"] > 0]
    rows = rows.sort_values(["f1_50", "image_id"], ascending=[False, True])
    chosen, last = spread(len(rows), count), len(rows) - 1
    words = {last // 2: "median", last: "worst", 0: "best"} if last else {0: "the only image"}
    of = f" of {last + 1}" if last else ""
    return rows.iloc[chosen].assign(rank=[words.get(i, f"number {i + 1}") + of for i in chosen])


def compared(study: Study, album: Album, picks: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, list[Picture]]]:
    """Pictures of the picked test images with true and predicted cells, by run and cell line."""
    true = study.true_cells("test", {int(image_id) for rows in picks.values() for image_id in rows["image_id"]})
    pictures: dict[str, dict[str, list[Picture]]] = {}
    for run, rows in picks.items():
        pred = study.predicted_cells(run, {int(image_id) for image_id in rows["image_id"]})
        pictures[run] = {}
        for pick in rows.to_dict("records"):
            image, of_image = true[pick["image_id"]]
            numbers = {"F1": f"{pick['f1_50']:.2f}", "found": pick["tp"], "missed": pick["fn"], "spurious": pick["fp"]}
            layers = compared_layers(image, of_image, pred[image["id"]])
            picture = album.picture(image, pick["rank"], layers, numbers)
            pictures[run].setdefault(pick["cell_line"], []).append(picture)
    return pictures


def samples(study: Study, album: Album, by_line: Mapping[str, pd.DataFrame]) -> dict[str, list[Picture]]:
    """Training images of each line from the fewest to the most cells, with the true cells."""
    picks: dict[str, list[int]] = {}
    for line, rows in by_line.items():
        ids = rows.sort_values(["cells", "image_id"])["image_id"].tolist()
        picks[line] = [ids[index] for index in spread(len(ids), study.params.settings.samples_per_line)]
    true = study.true_cells("train", {image_id for ids in picks.values() for image_id in ids})
    return {
        line: [album.picture(true[i][0], "", truth_layers(*true[i]), {"cells": len(true[i][1].cells)}) for i in ids]
        for line, ids in picks.items()
    }
