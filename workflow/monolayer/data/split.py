"""Train, val and test: by seed, line by line, whole wells and fields: no near-copy of an image is in another split."""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from monolayer.coco.io import read_truth
from monolayer.coco.records import Image, Truth, cells_in
from monolayer.files import InputError, read_json, write_json
from monolayer.params.data import SplitParams

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
ORDER: tuple[Split, ...] = ("train", "test", "val")  # of importance, where a line has too few groups for all


@dataclass(frozen=True)
class Group:
    """Images that stay together. size: its cells, and one for each image, so that images without cells count too."""

    line: str
    images: tuple[int, ...]
    size: int


def split(annotations: Path, audit: Path, params: SplitParams, output: Path) -> None:
    """Write train.json, val.json and test.json (COCO truth) into the folder `output`; `audit` knows the near-copies."""
    truth = read_truth(annotations)
    found = read_json(audit, "what audit wrote", "run `monolayer audit` again")
    fields = [field["images"] for field in found["near_copies"]]
    splits = assign(truth, params, fields)
    warn_of_near_copies(truth, fields, splits)
    for name in SPLITS:
        part = select(truth, splits, name)
        write_json(output / f"{name}.json", part)
        lines = Counter(image["cell_line"] for image in part["images"])
        of_lines = ", ".join(f"{line} {count}" for line, count in sorted(lines.items()))
        cells = len(cells_in(part["annotations"]))
        logging.info("%s: %d images, %d cells (%s)", name, len(part["images"]), cells, of_lines)


def select(truth: Truth, splits: Mapping[int, Split], name: Split) -> Truth:
    """The images of one split and their annotations."""
    return Truth(
        images=[{**image, "split": name} for image in truth["images"] if splits[image["id"]] == name],
        annotations=[cell for cell in truth["annotations"] if splits[cell["image_id"]] == name],
        categories=truth["categories"],
    )


def warn_of_near_copies(truth: Truth, fields: Sequence[Sequence[str]], splits: Mapping[int, Split]) -> None:
    """Say how many fields are in several splits, as official lists or `group: well` have them."""
    of = {image["file_name"]: splits[image["id"]] for image in truth["images"]}
    apart = [sorted({of[name] for name in field}) for field in fields]
    for together, count in sorted(Counter(" and ".join(names) for names in apart if len(names) > 1).items()):
        logging.warning("%d fields have frames in %s: scores flatter (near_copies in audit.json)", count, together)


def assign(truth: Truth, params: SplitParams, fields: Sequence[Sequence[str]] = ()) -> dict[int, Split]:
    """The split of each image id; `fields` are the file names of near-copies.

    What the source fixed stays, and what it left open is dealt. Where it fixed all and lacks a split (an export
    without test, say), that split is taken from its train, but for what may only train. What stays together with an
    image that is not dealt is not dealt either: it goes where that one is.
    """
    fixed = {image["split"] for image in truth["images"]}
    if None not in fixed and "train" not in fixed:
        raise InputError(
            f"the source fixes {', '.join(sorted(map(str, fixed)))} but no train; there is nothing to learn"
        )
    fractions: dict[Split, float] = {"val": params.val, "test": params.test}
    wanted = {name: fraction for name, fraction in fractions.items() if None in fixed or name not in fixed}
    open_to_all = None if None in fixed else "train"
    free = {image["id"] for image in truth["images"] if image["split"] == open_to_all and not image.get("train_only")}
    splits = {image["id"]: cast(Split, image["split"]) for image in truth["images"] if image["split"] is not None}
    lines: dict[str, list[Group]] = defaultdict(list)
    for one in group(truth, params.group, fields) if wanted else ():
        if not (held := [splits[image] for image in one.images if image not in free]):
            lines[one.line].append(one)
        elif open_to_all is None:  # of several splits the one that judges most
            splits |= dict.fromkeys(free.intersection(one.images), max(held, key=SPLITS.index))
    for line, members in lines.items():
        for name, one in deal(members, {"train": 1 - sum(wanted.values()), **wanted}, f"{params.seed}/{line}"):
            splits |= dict.fromkeys(one.images, name)
    for name in SPLITS:
        if name not in splits.values():
            raise InputError(
                f"{name} gets no image: no cell line has enough wells and fields; add images, or let `well` in "
                "params.yaml name smaller groups that don't share near-copies"
            )
    return splits


def group(truth: Truth, by: Literal["content", "well", "both"], fields: Sequence[Sequence[str]]) -> list[Group]:
    """Images by cell line and well, by field, or both; groups that hold the same picture are one, of the line of most
    of its cells."""
    cells = Counter(cell["image_id"] for cell in cells_in(truth["annotations"]))
    root: dict[object, object] = {}

    def find(node: object) -> object:
        while root.setdefault(node, node) != node:
            node = root[node]
        return node

    for image in truth["images"]:
        picture = find(("content", image.get("content", image["file_name"])))
        root[find(("file", image["file_name"]))] = picture
        if by != "content":
            root[picture] = find(("well", image["cell_line"], image["well"]))
    for field in fields if by != "well" else ():
        for name in field:
            root[find(("file", name))] = find(("file", field[0]))
    members: dict[object, list[Image]] = defaultdict(list)
    for image in truth["images"]:
        members[find(("file", image["file_name"]))].append(image)
    groups = []
    for together in members.values():
        sizes = Counter[str]()
        for image in together:
            sizes[image["cell_line"]] += cells[image["id"]] + 1
        line = max(sorted(sizes), key=lambda line: sizes[line])
        groups.append(Group(line, tuple(image["id"] for image in together), sizes.total()))
    return groups


def deal(groups: list[Group], fractions: Mapping[Split, float], seed: str) -> list[tuple[Split, Group]]:
    """Deal the groups of one cell line, large ones first, each to the split that lacks most of its share of the cells.

    Webster's rule of seats by votes, with cells for seats: large and small groups (dense and sparse images) reach all
    splits alike, where dealing by missing cells would put all the dense ones into train.

    With as many groups as splits or more, every split gets one. With fewer, train comes first, then test, then val.
    """
    order = sorted(groups, key=lambda one: min(one.images))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda one: -one.size.bit_length())  # within a factor of 2 the seed decides
    names = [name for name in ORDER if name in fractions][: len(order)]
    if len(names) < len(fractions):
        logging.warning(
            "cell line %s has %d groups (wells); it is only in %s", order[0].line, len(order), " and ".join(names)
        )
    filled = Counter[str]()
    dealt: list[tuple[Split, Group]] = []
    for position, one in enumerate(order):
        empty = [name for name in names if name not in {name for name, _ in dealt}]
        choice = empty if len(order) - position == len(empty) else names
        name = min(choice, key=lambda name: (filled[name] + one.size / 2) / fractions[name])
        filled[name] += one.size
        dealt.append((name, one))
    return dealt
