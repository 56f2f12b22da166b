"""A block of a line's images becomes synthetic ones: taken apart, mixed by a layout policy, put together, described."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from monolayer.coco.labels import rles_from_labels
from monolayer.coco.records import Annotation, Image
from monolayer.coco.rle import Placed, annotation, crop_from_rle, decoded
from monolayer.data.dataset import Sample, read_image
from monolayer.files import InputError, write_bytes
from monolayer.params.extensions import ExtendParams, TimelapseLayout
from monolayer.synthesis import policies
from monolayer.synthesis.composite import Composite, Plan, compose
from monolayer.synthesis.culture import Culture
from monolayer.synthesis.cutouts import Cutouts, cut_out, joined
from monolayer.synthesis.scene import Float, Scene, background, halo_end, take_apart, texture_of


class SyntheticImage(Image):
    """A synthetic frame in COCO truth; the recipe says how it came about."""

    synthetic: bool
    recipe: dict[str, Any]


class Made(NamedTuple):
    image: SyntheticImage
    annotations: list[Annotation]  # their ids are given when they are written


class Block(NamedTuple):
    """A unit of work: images of one line whose cells, layouts and textures are mixed."""

    line: str
    start: int  # the first base's place among the line's images
    first_id: int  # of the synthetic images
    bases: list[Sample]  # on the background of each, `factor` synthetic images are made
    donors: list[Sample]  # give cells and layouts: the bases and, if these have too few whole cells, more
    density: float  # cells per px² in the line's images
    diameter: float  # px, of the line's median cell


class Base(NamedTuple):
    """What the synthetic images of one real image share."""

    sample: Sample
    place: int  # among the line's images
    background: Float  # (H, W) residual
    illumination: Float  # (H, W)
    texture_id: int  # the image that its background was mended from
    layout: policies.Layout
    own: NDArray[np.int64]  # the cutouts that come from it


class Parts(NamedTuple):
    """A block taken apart: scenes of the bases, cutouts and layouts of all donors."""

    scenes: list[Scene]
    cutouts: Cutouts
    source: NDArray[np.int64]  # (N,) the donor that each cutout comes from
    layouts: list[policies.Layout]


def generator(params: ExtendParams, line: str, what: str, index: int = 0) -> np.random.Generator:
    """Random numbers that depend on the seed, the extension, the line, their purpose and an index, on nothing else."""
    words = [zlib.crc32(text.encode()) for text in (params.name, line, what)]
    return np.random.default_rng([params.seed, *words, index])


def is_whole(cell: Annotation, image: Image) -> bool:
    """Whether the image's edge does not cut the cell."""
    x, y, width, height = cell["bbox"]
    return 0 < x < image["width"] - width and 0 < y < image["height"] - height and cell["area"] > 0


def make(block: Block, params: ExtendParams, folder: Path) -> list[Made]:
    """Make the synthetic images of a block: write the pixels into `folder`, return the truth."""
    made, parts = list[Made](), dissect(block, params)
    line = policies.Line(block.density, block.diameter, parts.layouts, parts.cutouts.areas.astype(np.float64))
    for base in bases(block, parts, params):
        first = block.first_id + len(made)
        for step, (layout, plan, tracks) in enumerate(plans(base, line, parts.cutouts, params, block)):
            composite = compose(base.background, base.illumination, parts.cutouts, plan, params.synthesis.overlap)
            image = describe_image(first + step, base, composite, plan)
            image["recipe"] |= {"extension": params.name, "seed": params.seed, "step": step, "layout": layout}
            image["recipe"]["cells"] = describe_cells(composite, plan, parts.cutouts)
            seen = rles_from_labels(composite.labels)  # the truth: exactly what is seen of each cell
            cells = [annotation(0, image["id"], rle) for rle in seen]
            if tracks is not None:
                name, stamp = f"{params.name}_{first}", f"t{step:04d}"
                image |= {"file_name": f"{name}_{stamp}.png", "well": name, "timestamp": stamp}
                for cell, numbers in zip(cells, tracks[composite.placed[:, 0]].tolist(), strict=True):
                    cell["track_id"], cell["parent_id"] = numbers
            made.append(Made(image, cells))
            # Huffman codes alone: of noise, smaller than Pillow's level 1, in a third of the time
            strategy, averages = imagecodecs.PNG.STRATEGY.HUFFMAN_ONLY, imagecodecs.PNG.FILTER.AVG
            png = bytes(imagecodecs.png_encode(composite.pixels, strategy=strategy, filter=averages))
            write_bytes(folder / image["file_name"], png)
    return made


Planned = tuple[int | None, Plan, NDArray[np.int64] | None]  # image that is repeated, plan, (N, 2) track and mother's


def plans(base: Base, line: policies.Line, cutouts: Cutouts, params: ExtendParams, block: Block) -> Iterator[Planned]:
    """The plan of each synthetic image on one background; where they are frames of one time-lapse, with its tracks."""
    layout_policy, pool = params.extension, policies.Pool(cutouts, base.own, block.diameter)
    culture = generator(params, block.line, "culture", base.place)
    if isinstance(layout_policy, TimelapseLayout):
        size = np.array(base.layout.size, np.float64)
        for frame in Culture(layout_policy, line, pool, params.synthesis, size, culture).film():
            yield None, frame.plan, np.c_[frame.numbers, frame.parents]
        return
    for step in range(layout_policy.factor):
        rng = generator(params, block.line, "image", base.place * layout_policy.factor + step)
        culture = generator(params, block.line, "culture", base.place)
        wanted = policies.ask(layout_policy, line, base.layout, step, (culture, rng))
        yield wanted.layout, policies.plan(wanted, pool, params.synthesis, rng), None


def dissect(block: Block, params: ExtendParams) -> Parts:
    """Take the donors apart."""
    how, opened = params.synthesis, [open_sample(sample) for sample in block.donors]
    covered = [(pixels, masks + regions) for pixels, masks, regions in opened]
    low, high = (max(round(diameters * block.diameter), 2) for diameters in (how.margin.low, how.margin.high))
    margin = halo_end([one for one in covered if one[1]][: len(block.bases)], low, high)
    scenes, cutouts, layouts = list[Scene](), list[Cutouts](), list[policies.Layout]()
    for sample, (pixels, masks, regions) in zip(block.donors, opened, strict=True):
        scene = take_apart(pixels, masks + regions, margin, how.illumination * block.diameter)
        # without background in sight, nobody knows what a cell's brightness is a difference from
        bright = scene.free.any()
        whole = [place for place, cell in enumerate(sample.annotations) if bright and is_whole(cell, sample.image)]
        ids = [sample.annotations[place]["id"] for place in whole]
        cutouts.append(cut_out(scene, [masks[place] for place in whole], ids, margin))
        layouts.append(policies.of(sample.image["id"], pixels.shape, masks))
        if len(scenes) < len(block.bases):
            scenes.append(scene)
    source = np.repeat(np.arange(len(cutouts)), [len(part.ids) for part in cutouts])
    if not len(source) or not any(scene.free.any() for scene in scenes):
        names = ", ".join(sample.image["file_name"] for sample in block.donors)
        raise InputError(
            f"cell line {block.line}: cells cover all of {names}; extension {params.name} needs background between "
            "them: mix more images (synthesis.block), or leave the line out"
        )
    return Parts(scenes, joined(cutouts), source, layouts)


def open_sample(sample: Sample) -> tuple[NDArray[np.uint8], list[Placed], list[Placed]]:
    """An image, its cells, and its crowds: cells that nobody took apart, which are not to become background.

    Raise InputError if a mask is not one of this image.
    """
    pixels, image = read_image(sample.path), sample.image
    size = list(pixels.shape)
    for cell in sample.annotations + sample.crowds:
        if cell["segmentation"]["size"] != size or decoded(cell["segmentation"])[2]:
            raise InputError(
                f"cell line {image['cell_line']}: the mask of annotation {cell['id']}, of an image of "
                f"{cell['segmentation']['size']} px (height, width), is none of {image['file_name']}, which has "
                f"{size}; download the data again"
            )
    masks, regions = (
        [crop_from_rle(cell["segmentation"]) for cell in cells] for cells in (sample.annotations, sample.crowds)
    )
    return pixels, masks, regions


def bases(block: Block, parts: Parts, params: ExtendParams) -> list[Base]:
    """The images without their cells; one that cells cover altogether gets light and texture of the calmest."""
    textures = [texture_of(scene, round(params.synthesis.texture * block.diameter)) for scene in parts.scenes]
    calmest = min(range(len(textures)), key=lambda i: (textures[i].unrest, -textures[i].free.mean()))
    found = []
    for index, (sample, scene) in enumerate(zip(block.bases, parts.scenes, strict=True)):
        calm = textures[index].unrest <= params.synthesis.restless * textures[calmest].unrest < np.inf
        source = index if calm else calmest
        place, own = block.start + index, np.flatnonzero(parts.source == index)
        empty = background(scene, textures[source], generator(params, block.line, "background", place))
        texture_id = block.bases[source].image["id"]
        light = scene.illumination if scene.free.any() else parts.scenes[calmest].illumination
        found.append(Base(sample, place, empty, light, texture_id, parts.layouts[index], own))
    return found


def describe_image(image_id: int, base: Base, composite: Composite, plan: Plan) -> SyntheticImage:
    """The record of a synthetic image, with its background's and the number of its cells in the recipe."""
    real, room = base.sample.image, composite.labels.size
    asked, seen = float(plan.areas.sum()), int(np.count_nonzero(composite.labels))
    return SyntheticImage(
        id=image_id,
        file_name=f"{image_id}.png",
        width=real["width"],
        height=real["height"],
        cell_line=real["cell_line"],
        well=real["well"],
        timestamp=None,
        split="train",
        synthetic=True,
        recipe={
            "background": real["id"],
            "texture": base.texture_id,
            "asked": {"cells": len(plan.areas), "confluence": round(asked / room, 4)},
            "placed": {"cells": len(composite.placed), "confluence": round(seen / room, 4)},
        },
    )


def describe_cells(composite: Composite, plan: Plan, cutouts: Cutouts) -> list[list[float]]:
    """For each cell: annotation that it comes from, y, x, degrees, scale, 1 if mirrored, contrast."""
    which, option, y, x = composite.placed.T
    a, b, c, d = plan.poses[which, option].T
    turn = np.degrees(np.arctan2(-b, a)) % 360
    scale = 1 / np.sqrt(np.abs(a * d - b * c))
    ids, mirrored = cutouts.ids[plan.cells[which, option]], a * d < b * c
    columns = (ids, y, x, turn.round(2), scale.round(4), mirrored.astype(int), plan.gains[which].round(4))
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
