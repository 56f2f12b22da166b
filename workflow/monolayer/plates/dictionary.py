"""The data dictionary of a plate's tables: unit, type and meaning of every column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monolayer.measurement import dictionary as measured
from monolayer.measurement.dictionary import Column

IMAGE = {
    "image_id": Column("", "whole", "Number of the image on the plate, by well, field and time."),
    "file_name": Column("", "text", "The image's file, or its image in an OME-Zarr or an OME-TIFF set."),
    "well": Column("", "text", "Its well; of files without wells in their names the file."),
    "field": Column("", "text", "Its field of view in the well; 1.1, 1.2, ... are parts of a large one."),
    "left_px": Column("px", "whole", "Where it begins in the file's frame: its first column; 0 but for parts."),
    "top_px": Column("px", "whole", "Its first row there."),
    "cell_line": Column("", "text", "The cell line that its name tells."),
    "timestamp": Column("", "text", "When it was taken, as its name says it; t000 is the first frame of its file."),
    "frame": Column(
        "", "whole", "Number of the frame of its field, from 0 in the order of time; its plane of the labels."
    ),
    "time": Column(
        "",
        "number",
        "Its time in the plate's unit, as in `curves`: hours where they are known, else the number that its name says, "
        "or of its frame; one for all images of a moment.",
    ),
    "time_h": measured.IMAGE["time_h"],
    "pixel_size_um": measured.IMAGE["pixel_size_um"],
}
QUALITY = {
    "sharpness": Column("", "number", "Variance of detail of 1 to 2 px over that of 2 to 8 px; blur lowers it."),
    "light_range": Column(
        "",
        "number",
        "5th to 95th percentile of the medians of 8 x 8 blocks, over their median; empty if that is not above 0.",
    ),
    "saturated": Column("", "number", "Share of pixels that have the image's largest value."),
    "not_stored": Column(
        "", "number", "Share of its chunks in an OME-Zarr that are not stored and read as the fill value; 0 of files."
    ),
    "median_diameter_px": Column("px", "number", "Median diameter of circles of the cells' areas."),
    "mean_score": Column("", "number", "Mean score of its cells."),
    "doubt": Column(
        "",
        "number",
        "1 - the mean score, by area, of all that the network found, cells below the threshold too; empty if nothing.",
    ),
    "disagreement": Column(
        "",
        "number",
        "1 - F1 of the cells of one turned or mirrored view with those of the others; empty where the network has one.",
    ),
    "distance": Column(
        "",
        "number",
        "From the images that expected F1 was fitted on: root mean square of grey values' features, in their spreads.",
    ),
    "expected_f1": Column(
        "",
        "number",
        "F1 at IoU .5 that images with such scores, views and sizes had; empty without cells or a fit.",
    ),
    "expected_f1_low": Column(
        "", "number", "Lower end of its 90 % interval; 0 where views, scores or sizes are worse than any fitted on."
    ),
    "expected_f1_high": Column("", "number", "Upper end."),
}
FLAGS = {"flags": Column("", "text", "What is odd about it: words of the table `flags`, with a space between.")}
WORDS = {
    "empty": "No cell was found.",
    "out_of_focus": "Its sharpness is far below the plate's median.",
    "uneven_light": "The brightness of its ground varies much.",
    "saturated": "Many pixels have the largest value.",
    "not_stored": "Some of its chunks in the OME-Zarr are not stored and read as the fill value, as a rule black: a "
    "copy that is not whole, or no more than the empty tiles of a mosaic.",
    "dense": "So many cells that they may not be told apart.",
    "other_size": "Its cells are larger or smaller than those that the model learned from.",
    "unlike": "It looks unlike the images that expected F1 was fitted on, or its views, scores or sizes are worse.",
    "low_f1": "Its expected F1 is low.",
}


def _but_image(table: str) -> dict[str, Column]:
    return {name: column for name, column in measured.TABLES[table].items() if name not in measured.IMAGE}


RATE = {
    "rate_per_time": measured.GROWTH["rate_per_time"],
    "rate_low_per_time": measured.GROWTH["rate_low_per_time"],
    "rate_high_per_time": measured.GROWTH["rate_high_per_time"],
    "doubling_time": measured.GROWTH["doubling_time"],
    "doubling_time_low": measured.GROWTH["doubling_time_low"],
    "doubling_time_high": measured.GROWTH["doubling_time_high"],
}
CELLS = _but_image("cells")  # of a part: where an image lies is the plan's to say
TABLES: dict[str, dict[str, Column]] = {
    "cells": IMAGE | CELLS,
    "images": IMAGE | _but_image("images") | QUALITY | FLAGS,
    "curves": {
        "well": IMAGE["well"],
        "time": Column("time_unit", "number", "Time of the images."),
        "time_unit": measured.GROWTH["time_unit"],
        "images": Column("", "whole", "Images of the well at that time, one of each field."),
        "cells_per_image": Column("", "number", "Their mean count of cells: a field that is missing changes no scale."),
        "cells_per_image_low": Column(
            "",
            "number",
            "Lower bound of the true mean, unless an image's F1 is below expected_f1_low; empty where one has none.",
        ),
        "cells_per_image_high": Column("", "number", "Upper bound; inf where expected_f1_low is 0."),
        "confluence": Column("", "number", "Their mean confluence, 0 to 1."),
        "expected_f1": Column("", "number", "Mean expected F1 of those that have one."),
        "flagged": Column("", "whole", "How many of them are flagged."),
    },
    "wells": {
        "well": IMAGE["well"],
        "condition": Column("", "text", "Its row of the plate map, without the well; empty without a map."),
        "images": Column("", "whole", "Its images."),
        "fields": Column("", "whole", "Its fields."),
        "times": Column("", "whole", "Its different times."),
        "time_unit": measured.GROWTH["time_unit"],
        "first_cells_per_image": Column("", "number", "Mean count of cells at its first time."),
        "last_cells_per_image": Column("", "number", "Mean count at its last time."),
        "first_confluence": Column("", "number", "Mean confluence at its first time."),
        "last_confluence": Column("", "number", "Mean confluence at its last time."),
        "start_cells_per_image": Column("", "number", "Fitted mean count at its first time."),
        "lag_time": Column(
            "time_unit",
            "number",
            "From its first time to where its fitted growth begins; empty where Akaike's criterion, corrected for few "
            "and scattered counts, takes growth from the start.",
        ),
        "lag_time_low": Column("time_unit", "number", "Lower end of its 95 % interval (profile likelihood)."),
        "lag_time_high": Column("time_unit", "number", "Upper end."),
        **RATE,
        "expected_f1": Column("", "number", "Mean expected F1 of its images that have one."),
        "flagged": Column("", "whole", "Images that are flagged."),
    },
    "conditions": {
        "condition": Column("", "text", "A row of the plate map, without the well."),
        "wells": Column("", "whole", "Its wells whose growth could be fitted: the number that its interval stands on."),
        "time_unit": measured.GROWTH["time_unit"],
        "rate_per_time": Column("1/time_unit", "number", "Mean of its wells' growth rates of counts."),
        "rate_low_per_time": Column(
            "1/time_unit", "number", "Lower end of its 95 % interval (Student's t over wells)."
        ),
        "rate_high_per_time": Column("1/time_unit", "number", "Upper end; both are empty for a well alone."),
        "doubling_time": Column("time_unit", "number", "ln 2 over that mean; empty where it is not above 0."),
    },
    "comparisons": {
        "condition_a": Column("", "text", "A condition."),
        "condition_b": Column("", "text", "Another one."),
        "rate_difference_per_time": Column("1/time_unit", "number", "Mean rate of b less that of a."),
        "low_per_time": Column("1/time_unit", "number", "Lower end of its 95 % interval (Welch, over wells)."),
        "high_per_time": Column("1/time_unit", "number", "Upper end."),
        "p": Column("", "number", "Of Welch's test over wells."),
        "p_holm": Column("", "number", "The same, after Holm's correction for all pairs of this table."),
    },
}


def schema(table: str | Mapping[str, Column]) -> Any:
    """Arrow's schema of a table, in which each column bears its unit and meaning."""
    import pyarrow as pa

    columns = TABLES[table] if isinstance(table, str) else table
    types = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
    return pa.schema(
        [
            pa.field(name, types[about.type], metadata={"unit": about.unit, "meaning": about.meaning})
            for name, about in columns.items()
        ]
    )


def rows() -> list[dict[str, str]]:
    """The dictionary as a table, with the words of `flags`."""
    words = [{"table": "flags", "column": w, "unit": "", "type": "text", "meaning": m} for w, m in WORDS.items()]
    return [*measured.rows(TABLES), *words]
