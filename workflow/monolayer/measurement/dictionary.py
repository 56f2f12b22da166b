"""The data dictionary: unit, type and meaning of every column that `measure` and the service write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Column(NamedTuple):
    unit: str
    type: str  # text, whole, number or flag, as a spreadsheet would say; numbers may be empty
    meaning: str


GREY = "grey value"

IMAGE = {
    "image_id": Column("", "whole", "The image's id in the COCO file that lists it."),
    "file_name": Column("", "text", "The image's file."),
    "cell_line": Column("", "text", "The image's cell line."),
    "well": Column("", "text", "Well, field or region; images of one are frames of one culture."),
    "timestamp": Column("", "text", "When the image was taken, as its source says it."),
    "frame": Column("", "number", "Number of the frame, of time stamps such as t007."),
    "time_h": Column("h", "number", "Time of the image; empty where neither the time stamp nor frame_hours tells it."),
    "pixel_size_um": Column("µm", "number", "Side of a pixel; where it is empty, so are all columns in µm and mm."),
}

CELL = {
    "cell": Column("", "whole", "Number of the cell in its image, best score first: its value in the label image."),
    "score": Column("", "number", "How sure the model is, 0 to 1; 1 for true cells."),
    "touches_border": Column("", "flag", "Whether the cell reaches the image's edge, so that a part may be missing."),
    "box_x_px": Column("px", "whole", "Left column of the mask."),
    "box_y_px": Column("px", "whole", "Upper row of the mask."),
    "box_width_px": Column("px", "whole", "Columns that the mask spans."),
    "box_height_px": Column("px", "whole", "Rows that the mask spans."),
    "centroid_x_px": Column("px", "number", "Mean column of the mask's pixels; 0 is the centre of the leftmost."),
    "centroid_y_px": Column("px", "number", "Mean row of the mask's pixels; 0 is the centre of the upmost."),
    "area_px2": Column("px²", "number", "Pixels of the mask."),
    "perimeter_px": Column("px", "number", "Length of the outline, holes' too (Crofton's formula, 4 directions)."),
    "feret_px": Column("px", "number", "Largest Feret diameter: the largest distance of two points of the outline."),
    "major_axis_px": Column("px", "number", "Longer axis of the ellipse with the mask's second moments."),
    "minor_axis_px": Column("px", "number", "Shorter axis of that ellipse."),
    "eccentricity": Column("", "number", "Of that ellipse: 0 a circle, 1 a line."),
    "solidity": Column("", "number", "Area over that of the convex hull; 1 has no dents."),
    "circularity": Column("", "number", "4π area / perimeter², at most 1: a circle."),
    "orientation_deg": Column("°", "number", "From the x axis to the longer axis, counter-clockwise, in (-90, 90]."),
    "intensity_mean": Column(GREY, "number", "Mean over the mask, in the image's own grey values."),
    "intensity_std": Column(GREY, "number", "Standard deviation over the mask."),
    "intensity_min": Column(GREY, "number", "Darkest pixel of the mask."),
    "intensity_median": Column(GREY, "number", "Median over the mask."),
    "intensity_max": Column(GREY, "number", "Brightest pixel of the mask."),
    "nearest_neighbour_px": Column("px", "number", "From the centroid to the next one; empty for a cell alone."),
    "touching_neighbours": Column("", "whole", "Cells with at most `gap` px of background between."),
    "local_density_per_mpx": Column(
        "1/Mpx", "number", "Cells, itself included, within `radius` px, per area of that disk that the image shows."
    ),
}

GROWTH = {
    "well": Column("", "text", "A well, or `all`: one rate for all wells of the line, each with its own start."),
    "quantity": Column("", "text", "What grows: cells, or confluence."),
    "images": Column("", "whole", "Images that the fit stands on."),
    "times": Column("", "whole", "Different times among them; fewer than 3 are not fitted."),
    "time_unit": Column("", "text", "h, or frame where hours are not known: of every time in this row."),
    "rate_per_time": Column("1/time_unit", "number", "Exponential growth rate."),
    "rate_low_per_time": Column("1/time_unit", "number", "Lower end of its 95 % interval."),
    "rate_high_per_time": Column("1/time_unit", "number", "Upper end of its 95 % interval."),
    "doubling_time": Column("time_unit", "number", "ln 2 / rate; empty where the rate is not above 0."),
    "doubling_time_low": Column("time_unit", "number", "Lower end of its 95 % interval."),
    "doubling_time_high": Column("time_unit", "number", "Upper end; inf where no growth is as likely."),
    "start": Column("as quantity", "number", "Fitted value per image at the first time; empty for `all`."),
    "start_time": Column("time_unit", "number", "The first time."),
    "end_time": Column("time_unit", "number", "The last time."),
}

OF_IMAGE = {
    "width_px": Column("px", "whole", "Columns of the image."),
    "height_px": Column("px", "whole", "Rows of the image."),
    "cells": Column("", "whole", "Cells, those at the edge included, without those found where nobody annotated."),
    "confluence": Column("", "number", "Part of the image, or of what is annotated of it, that cells cover, 0 to 1."),
    "density_per_mpx": Column("1/Mpx", "number", "Cells per megapixel, or per megapixel that is annotated."),
}
MEDIANS = (
    "area_px2",
    "feret_px",
    "eccentricity",
    "solidity",
    "circularity",
    "intensity_mean",
    "nearest_neighbour_px",
)


def in_um(name: str) -> str | None:
    """The column that holds the same in µm or mm; None where there is none."""
    for end, metric in (("_px2", "_um2"), ("_per_mpx", "_per_mm2"), ("_px", "_um")):
        if name.endswith(end) and not name.startswith("box_") and name not in OF_IMAGE.keys() - {"density_per_mpx"}:
            return name.removesuffix(end) + metric
    return None


def with_um(columns: dict[str, Column]) -> dict[str, Column]:
    """These columns and, behind them, their counterparts in µm."""
    units = {"px": "µm", "px²": "µm²", "1/Mpx": "1/mm²"}
    metric = {other: (name, columns[name]) for name in columns if (other := in_um(name))}
    return columns | {
        other: Column(units[column.unit], column.type, f"As {name}.") for other, (name, column) in metric.items()
    }


_CELLS = with_um(CELL)
_MEDIANS = {
    f"median_{name}": Column(column.unit, "number", f"Median of {name} over cells that the edge does not cut.")
    for name, column in with_um({name: CELL[name] for name in CELL if name in MEDIANS}).items()
}
TABLES: dict[str, dict[str, Column]] = {
    "cells": IMAGE | _CELLS,
    "images": IMAGE | with_um(OF_IMAGE) | _MEDIANS,
    "growth": {"cell_line": IMAGE["cell_line"]} | GROWTH,
}


def rows(tables: Mapping[str, Mapping[str, Column]] = TABLES) -> list[dict[str, str]]:
    """A dictionary as a table."""
    return [
        {"table": table, "column": name, "unit": column.unit, "type": column.type, "meaning": column.meaning}
        for table, columns in tables.items()
        for name, column in columns.items()
    ]
