"""Unit, type and meaning of every column that `track` writes besides those of the measured cells."""

from __future__ import annotations

from monolayer.measurement import dictionary
from monolayer.measurement.dictionary import Column

WELL = {
    "cell_line": dictionary.IMAGE["cell_line"],
    "well": dictionary.IMAGE["well"],
    "timelapse": Column("", "text", "Images of one well and field; its files are called so."),
}
CELL = {
    "track": Column("", "whole", "Number of the cell's track in its time-lapse; empty for a cell of no time-lapse."),
    "parent": Column("", "whole", "Track of the cell's mother; empty where none was seen to divide."),
    "generation": Column("", "whole", "Divisions since the first cell of this lineage that was seen: 0, 1, ..."),
}
FRAME = {
    **WELL,
    "image_id": dictionary.IMAGE["image_id"],
    "file_name": dictionary.IMAGE["file_name"],
    "frame": Column("", "whole", "Number of the frame in its time-lapse, from 0 on; a missing image has one too."),
    "drift_x_px": Column("px", "number", "How far the stage has moved the cells to the right since the first frame."),
    "drift_y_px": Column("px", "number", "How far it has moved them down."),
    "cells": Column("", "whole", "Cells of the image."),
    "linked": Column("", "whole", "Of them, those with a link to a later frame."),
}
TRACK = {
    **WELL,
    **CELL,
    "first_frame": Column("", "whole", "Number of the first frame that shows the cell."),
    "last_frame": Column("", "whole", "Number of the last frame that shows it."),
    "frames": Column("", "whole", "Frames that show it."),
    "missing_frames": Column("", "whole", "Frames in between that do not."),
    "ends": Column("", "text", "divides; end: of the time-lapse; edge: last seen at the image's edge; lost."),
    "time_unit": Column("", "text", "h, or frame where hours are not known: of every time in this row."),
    "start_time": Column("time_unit", "number", "When the cell was first seen."),
    "end_time": Column("time_unit", "number", "When it was last seen."),
    "lifetime": Column("time_unit", "number", "From then to its daughters' first frame, else to its own last."),
    "division_time": Column("time_unit", "number", "From birth to division; empty where one of them was not seen."),
    "censored": Column("", "flag", "Whether birth or division was not seen."),
    "path_px": Column("px", "number", "Length of the way from frame to frame, the stage's drift taken out."),
    "net_move_px": Column("px", "number", "From the first place to the last."),
    "speed_px_per_time": Column("px/time_unit", "number", "Path over time."),
    "path_um": Column("µm", "number", "As path_px."),
    "net_move_um": Column("µm", "number", "As net_move_px."),
    "speed_um_per_time": Column("µm/time_unit", "number", "As speed_px_per_time."),
    "first_area_px2": Column("px²", "number", "Area when first seen."),
    "last_area_px2": Column("px²", "number", "Area when last seen."),
    "mean_area_px2": Column("px²", "number", "Mean area over its frames."),
    "area_rate_per_time": Column("1/time_unit", "number", "Exponential growth rate of its area; from 3 frames on."),
}
DIVISION = {
    "cell_line": dictionary.IMAGE["cell_line"],
    "well": Column("", "text", "A well, or `all` wells of the line together."),
    "time_unit": Column("", "text", "h, or frame where hours are not known."),
    "time": Column("time_unit", "number", "Age of a cell, since its mother divided; 0, then each age of a division."),
    "born": Column("", "whole", "Cells whose birth was seen: what the curve stands on."),
    "divided": Column("", "whole", "Of them, those whose division was seen; the others are censored."),
    "undivided": Column("", "number", "Kaplan-Meier estimate of the share of cells that have not divided by then."),
    "undivided_low": Column("", "number", "Lower end of its 95 % interval."),
    "undivided_high": Column("", "number", "Upper end; where all have divided, that of the step before."),
}
SCORE = {
    **WELL,
    "tracker": Column("", "text", "What linked the cells."),
    "true_cells": Column("", "whole", "True cells over all frames."),
    "true_tracks": Column("", "whole", "True tracks; one with a gap counts once for each part."),
    "true_divisions": Column("", "whole", "True cells that divide."),
    "seg": Column("", "number", "CTC's SEG: mean IoU of true cells with what covers more than half of them, else 0."),
    "det": Column("", "number", "CTC's DET: 1 less the cost of mending the cells, over that of making them all."),
    "tra": Column("", "number", "CTC's TRA: as DET, with the links."),
    "complete_tracks": Column("", "number", "CT: F1 of tracks that are right from the first to the last frame."),
    "track_fractions": Column("", "number", "TF: longest right part of a true track, mean over those of which any is."),
    "branching": Column("", "number", "BC: F1 of divisions, found within the tolerance with both daughters."),
    "cell_cycle": Column("", "number", "CCA: likeness of the distributions of life times from division to division."),
    "division_tp": Column("", "whole", "Divisions found."),
    "division_fp": Column("", "whole", "Divisions that are none."),
    "division_fn": Column("", "whole", "Divisions missed."),
}
TABLES: dict[str, dict[str, Column]] = {
    "cells": dictionary.TABLES["cells"] | CELL,
    "tracks": TRACK,
    "frames": FRAME,
    "divisions": DIVISION,
    "scores": SCORE,
}
