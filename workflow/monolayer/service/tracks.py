"""The tracks of the cells of a series, so that whoever looks at its frames sees who is who."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monolayer.compiled import Floats
from monolayer.params.steps import LinkParams
from monolayer.service.answers import FrameTracks, SegmentedFrame


def tracks(frames: Sequence[SegmentedFrame], least: float, params: LinkParams) -> list[FrameTracks]:
    """Link the cells that score so much or more; the others have no track. Frames of several sizes are no series."""
    from monolayer.tracking.lineage import lineage
    from monolayer.tracking.linking import follow

    if len({frame.labels.shape for frame in frames}) > 1:
        none = [np.zeros(len(frame.found.masks), np.int64) for frame in frames]
        return [FrameTracks(empty, empty, np.zeros(2)) for empty in none]
    chosen = [np.flatnonzero(frame.found.ranking >= least) for frame in frames]
    places, areas = list[Floats](), list[Floats]()
    for frame, cells in zip(frames, chosen, strict=True):
        x, y, area = (np.asarray(frame.columns[name]) for name in ("centroid_x_px", "centroid_y_px", "area_px2"))
        places.append(np.c_[x, y][cells])
        areas.append(area[cells])
    links, drift, _ = follow(places, areas, params)
    counts = [len(cells) for cells in chosen]
    found = lineage(np.repeat(np.arange(len(frames)), counts), links)
    made, ends = [], np.cumsum(counts)
    for frame, cells, end, at in zip(frames, chosen, ends, drift, strict=True):
        own = np.zeros((2, len(frame.found.masks)), np.int64)
        own[:, cells] = (found.track[end - len(cells) : end], found.parent[end - len(cells) : end])
        made.append(FrameTracks(own[0], own[1], at))
    return made
