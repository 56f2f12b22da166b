"""Images in the order in which to annotate them: each is one that the model needs and that no earlier one is like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from monolayer.backends.manifest import CellDiameters, Manifest
from monolayer.compiled import Flags, Floats
from monolayer.finetuning.looking import ImageLook

OFTEN = 2.0  # times or part of the contrast of all training images, as single ones of a collection have it
CLIPPED = 3.0  # standard deviations: an image further off in a feature is as odd as can be


class Learned(NamedTuple):
    """What is known of the images that a model learned from: their cells' sizes, contrasts of those of its networks."""

    sizes: CellDiameters | None
    contrasts: Sequence[float]


class Chosen(NamedTuple):
    """An image's place among all, and the parts of its score = need * new.

    need: 0 to 1, the mean of views, doubt and far. far: 0 to 1, how far its cells' size and its contrast lie from those
    that the model learned from. new: how far it is from the nearest image that is annotated or comes before it, in
    standard deviations of a feature; of the first one, where none is annotated, from the mean of all.
    """

    place: int
    score: float
    need: float
    far: float
    new: float


def learned(model: Manifest) -> Learned:
    """What an exported run says of its training images."""
    constants = [network.constants for network in model.networks.values()]
    return Learned(model.diameters, [one["contrast"] for one in constants if "contrast" in one])


def choose(
    looks: Sequence[ImageLook], annotated: Sequence[ImageLook], of: Learned, count: int, copies: Flags | None = None
) -> list[Chosen]:
    """So many of the images in their order, the best first; of equals the first.

    copies (N + K, N + K) says which of the images, and after them the annotated ones, show one field.
    """
    far = [distance_of(look, of) for look in looks]
    need = [(look.views + look.doubt + away) / 3 for look, away in zip(looks, far, strict=True)]
    points = standardised([look.features for look in [*looks, *annotated]])
    order = spread(points[: len(looks)], points[len(looks) :], np.array(need), count, copies)
    return [Chosen(place, need[place] * new, need[place], far[place], new) for place, new in order]


def distance_of(look: ImageLook, of: Learned) -> float:
    """0 to 1: 0 where the cells are as large as in training images, 0.5 where they are twice or half as large.

    Likewise by contrast, but that it is known of all training images together: single ones may have OFTEN of it. A low
    one counts only where cells are found: without any it speaks for an empty image, which teaches nothing.
    """
    octaves = [0.0]
    if of.sizes is not None and look.size > 0:
        octaves.append(max(math.log2(of.sizes.low / look.size), math.log2(look.size / of.sizes.high)))
    if of.contrasts:
        nearest = min((math.log2(look.contrast / one) for one in of.contrasts), key=abs)
        if look.cells or nearest > 0:
            octaves.append(abs(nearest) - math.log2(OFTEN))
    return 1 - 2 ** -max(octaves)


def seems_empty(look: ImageLook) -> bool:
    """Whether nothing is found in an image, turned or not, nor with a score that is nearly enough."""
    return not look.cells and look.views == 0 and look.doubt == 0


def standardised(features: Sequence[Sequence[float]]) -> Floats:
    """Features (N, F) in standard deviations of these images, within CLIPPED; what an image does not define is 0."""
    values = np.array(features, np.float64)
    known = np.where(np.isnan(values).all(0), 0, values)
    centre, deviation = np.nanmean(known, 0), np.nanstd(known, 0)
    varies = deviation > 1e-9 * np.maximum(np.abs(centre), 1)
    points: Floats = np.nan_to_num((values - centre) / np.where(varies, deviation, np.inf)).clip(-CLIPPED, CLIPPED)
    return points


def spread(
    points: Floats, given: Floats, need: Floats, count: int, copies: Flags | None = None
) -> list[tuple[int, float]]:
    """`count` of N points (N, F), and how far each is from what is given (K, F) or was chosen before it.

    Greedy k-centre, weighted: in turn the one with the largest need (N,) times distance; between copies it is 0. Where
    none is needed, as none shows cells to the model, the farthest.
    """
    size = len(points)
    same = np.zeros((size + len(given),) * 2, bool) if copies is None else copies

    def distance(others: Floats, alike: Flags) -> Floats:
        """Of each point to the nearest of these (M, F), of which it is a copy or not (N, M): root mean square."""
        return np.asarray(np.where(alike, 0, cdist(points, others) / math.sqrt(points.shape[1])).min(1))

    if len(given):
        nearest = distance(given, same[:size, size:])
    else:
        nearest = distance(points.mean(0, keepdims=True), np.zeros((size, 1), bool))
    free, chosen = np.ones(size, bool), list[tuple[int, float]]()
    for _ in range(count):
        score = np.where(free, np.round(need * nearest, 12), -1)
        best = int(np.argmax(score if score.max() > 0 else np.where(free, np.round(nearest, 12), -1)))
        chosen.append((best, float(nearest[best])))
        free[best] = False
        own = distance(points[[best]], same[:size, [best]])
        nearest = own if len(chosen) == 1 and not len(given) else np.minimum(nearest, own)
    return chosen
