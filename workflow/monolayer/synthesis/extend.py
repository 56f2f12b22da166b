"""Synthetic images from the cells and backgrounds of training images, with their COCO truth and recipes."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from monolayer.coco.io import read_truth
from monolayer.coco.records import CELL
from monolayer.data.dataset import Sample, check_replaced, of_lines, samples
from monolayer.files import InputError, atomic_write, whole_folder
from monolayer.parallel import each
from monolayer.params.extensions import ExtendParams, TimelapseLayout
from monolayer.progress import track
from monolayer.synthesis.block import Block, Made, generator, is_whole, make

logger = logging.getLogger(__name__)


def extend(images: Path, truth: Path, params: ExtendParams, output: Path, *, workers: int) -> None:
    """Write images/ and annotations.json of an extension into `output`: the same bytes for any number of workers.

    Nothing but `truth`, a split's, and the images that it lists is read.
    """
    train = samples(read_truth(truth), images)
    check_replaced(output / "images", output / "annotations.json")
    work = blocks(train, params)
    total = sum(len(block.bases) for block in work) * params.extension.factor
    first_id = 1 + max((cell["id"] for sample in train for cell in sample.annotations), default=0)
    with whole_folder(output / "images") as folder:
        made = chain.from_iterable(each(partial(make, params=params, folder=folder), work, workers))
        shown = track(made, total, f"extend {params.name}")
        write_truth(output / "annotations.json", say_what_is_missing(shown), first_id)


def blocks(train: Sequence[Sample], params: ExtendParams) -> list[Block]:
    """Divide the images of each line into blocks, shuffled by the seed."""
    work, next_id = list[Block](), 1 + max((sample.image["id"] for sample in train), default=0)
    for line in sorted({sample.image["cell_line"] for sample in train}):
        mine = of_lines(train, [line])
        areas = [cell["area"] for sample in mine for cell in sample.annotations]
        whole = np.array([sum(is_whole(cell, sample.image) for cell in sample.annotations) for sample in mine])
        if not whole.any():
            raise InputError(
                f"cell line {line} has no whole cell in its {len(mine)} training images, whose edges cut all "
                f"{len(areas)}; extension {params.name} needs one: leave the line out or split with another seed"
            )
        density = len(areas) / sum(sample.image["height"] * sample.image["width"] for sample in mine)
        diameter = float(np.sqrt(4 * np.median(areas) / np.pi))
        order = generator(params, line, "blocks").permutation(len(mine))
        wanted = len(mine)
        if isinstance(params.extension, TimelapseLayout):
            wanted = min(wanted, params.extension.backgrounds)
        for start in range(0, wanted, params.synthesis.block):
            circle = np.roll(order, -start)
            count = min(params.synthesis.block, wanted - start)
            enough = int(np.searchsorted(np.cumsum(whole[circle]), params.synthesis.min_cells)) + 1
            donors = [mine[index] for index in circle[: max(count, enough)]]
            work.append(Block(line, start, next_id, donors[:count], donors, density, diameter))
            next_id += count * params.extension.factor
    return work


def say_what_is_missing(every: Iterable[Made]) -> Iterator[Made]:
    """Pass all on and log, line by line, how many cells found no room."""
    asked, placed = Counter[str](), Counter[str]()
    for made in every:
        asked[made.image["cell_line"]] += made.image["recipe"]["asked"]["cells"]
        placed[made.image["cell_line"]] += len(made.annotations)
        yield made
    for line, missing in (asked - placed).items():
        logger.warning("cell line %s: %d of %d cells found no room and were left out", line, missing, asked[line])


def write_truth(path: Path, every: Iterable[Made], first_id: int) -> None:
    """Stream synthetic images and their cells to one COCO file, the cells numbered from `first_id`."""
    with atomic_write(path) as unfinished, unfinished.open("w") as file, tempfile.TemporaryFile("w+") as cells:
        file.write('{"images": [')
        count = 0
        for index, made in enumerate(every):
            file.write((",\n" if index else "\n") + json.dumps(made.image, allow_nan=False))
            for annotation in made.annotations:
                annotation["id"] = first_id + count
                cells.write((",\n" if count else "\n") + json.dumps(annotation, allow_nan=False))
                count += 1
        file.write('],\n"annotations": [')
        cells.seek(0)
        shutil.copyfileobj(cells, file)
        file.write('],\n"categories": ' + json.dumps([CELL]) + "}\n")
