"""From checked COCO records to truth: cell lines and wells by rule, names of images, even samples, unique ids."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from monolayer.coco.findings import Findings
from monolayer.coco.reader import ListedImage, Records
from monolayer.coco.records import CELL, Annotation, Image, Truth
from monolayer.files import InputError

Key = TypeVar("Key", int, str)


@dataclass
class Part:
    """What one COCO file adds to the truth; ids may be those of another part's images."""

    name: str
    images: list[Image]
    annotations: list[Annotation]


def cell_lines(records: Records, rule: str, findings: Findings) -> dict[int, str]:
    """The cell line of each image id by `category`, `regex:<pattern with group line>`, or one name for all.

    By category, an image without annotations has a line only if all the others are of one line.
    """
    if rule.startswith("regex:"):
        found = {frame.id: by_pattern(rule, "line", frame, records.name) for frame in records.frames.values()}
        return _one_kind(records, found, findings)
    if rule != "category":
        return _one_kind(records, dict.fromkeys(records.frames, rule), findings)
    if not records.categories:
        raise InputError(
            f"{records.name} has no 'categories' to tell cell lines; set cell_line to a regex: or one name"
        )
    lines = {}
    every = set[str]().union(*records.lines.values())
    for image, frame in records.frames.items():
        names = set(records.lines.get(image, ())) or every
        if len(names) == 1:
            lines[image] = next(iter(names))
        elif records.lines.get(image):
            raise InputError(
                f"{records.name}: {frame.file_name} has cells of {' and '.join(sorted(names))}; "
                "an image is of one cell line, so set cell_line to a regex: over file names or to one name for all"
            )
        else:
            findings.add("no_line", frame.file_name)
    return lines


def _one_kind(records: Records, lines: dict[int, str], findings: Findings) -> dict[int, str]:
    """The lines as they are; those whose annotations are of several categories, all taken as cells, are noted."""
    of_line: dict[str, Counter[str]] = defaultdict(Counter)
    for image, counts in records.lines.items():
        of_line[lines[image]] += counts
    for line, counts in of_line.items():
        if len(counts) > 1:
            named = ", ".join(f"{count} {name}" for name, count in counts.most_common())
            findings.add("categories", f"{records.name}: {line} has {named}")
    return lines


def by_pattern(rule: str, group: str, frame: ListedImage, name: str) -> str:
    """What `regex:<pattern>` finds as `group` in an image's file name."""
    match = re.search(rule.removeprefix("regex:"), frame.file_name)
    if match is None or not match[group]:
        raise InputError(f"{name}: {rule} finds no {group} in the file name {frame.file_name}; correct the pattern")
    return str(match[group])


def flat_names(file_names: Iterable[str]) -> dict[str, str]:
    """The name in data/images of each file: stem and .png, sub-folders joined with __; refuses to give one twice."""
    flat: dict[str, str] = {}
    for name in file_names:
        png = "__".join(PurePosixPath(name).with_suffix("").parts) + ".png"
        if png in flat:
            raise InputError(f"{flat[png]} and {name} would both become {png}; give every image a name of its own")
        flat[png] = name
    return {name: png for png, name in flat.items()}


def sample(lines: Mapping[Key, str], wanted: int | None) -> set[Key]:
    """So many of these images, evenly over cell lines, and evenly spaced (so over wells and times) within a line."""
    if wanted is None or wanted >= len(lines):
        return set(lines)
    members: dict[str, list[Key]] = defaultdict(list)
    for key in sorted(lines):
        members[lines[key]].append(key)
    chosen: set[Key] = set()
    for position, line in enumerate(sorted(members, key=lambda line: (len(members[line]), line))):
        # small lines first: what they lack is left to the larger ones
        take = min(len(members[line]), (wanted - len(chosen)) // (len(members) - position))
        chosen |= {members[line][index * len(members[line]) // take] for index in range(take)}
    return chosen


def join(parts: list[Part], findings: Findings) -> Truth:
    """One truth of several COCO files: ids stay unless two share one, and there is one category."""
    images: list[Image] = []
    annotations: list[Annotation] = []
    for part in parts:
        shift = _shift(part, {image["id"] for image in images}, findings)
        images += [Image(**{**image, "id": image["id"] + shift}) for image in part.images]
        for annotation in part.annotations:
            annotation["image_id"] += shift
            annotation["category_id"] = CELL["id"]
        annotations += part.annotations
    if not annotations:
        raise InputError(
            f"no annotation of {', '.join(part.name for part in parts)} has a mask with a pixel inside its image; "
            "coordinates must be in px of the image"
        )
    if len({annotation["id"] for annotation in annotations}) < len(annotations):
        findings.add("ids_renumbered", f"annotation ids of {', '.join(part.name for part in parts)}")
        for index, annotation in enumerate(annotations, start=1):
            annotation["id"] = index
    return Truth(images=images, annotations=annotations, categories=[CELL], findings=findings.records())


def _shift(part: Part, taken: set[int], findings: Findings) -> int:
    """What to add to the image ids of a part so that none is taken."""
    ids = {image["id"] for image in part.images}
    if not ids & taken:
        return 0
    findings.add("ids_renumbered", f"image ids of {part.name}, which another file uses too")
    return max(taken) + 1 - min(ids)
