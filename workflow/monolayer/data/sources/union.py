"""Several sources as one dataset, each collected as if it stood alone; lines of `train_only` judge nothing."""

from __future__ import annotations

from pathlib import Path

from monolayer.coco.findings import Findings
from monolayer.coco.records import Truth
from monolayer.data.sources import Read, source_of
from monolayer.data.sources.truth import Part, join
from monolayer.files import InputError
from monolayer.params.data import UnionSource


def collect(params: UnionSource, folder: Path) -> tuple[Truth, Read]:
    """Truth of all parts under new ids; a file name that two parts share is an error, since images lie in one folder.

    A part's splits stay where its source fixes them; what a source leaves open is dealt by `split`.
    """
    findings, parts, readers = Findings(), list[Part](), dict[str, Read]()
    for name, settings in params.parts.items():
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        truth, read = source_of(settings).collect(settings, own)
        if shared := sorted(readers.keys() & {image["file_name"] for image in truth["images"]}):
            raise InputError(f"{shared[0]} is a file name in {name} and in a part before it; rename one of them")
        readers |= dict.fromkeys((image["file_name"] for image in truth["images"]), read)
        findings.include(truth.get("findings", []))
        parts.append(Part(name, truth["images"], truth["annotations"]))
    lines = {image["cell_line"] for part in parts for image in part.images}
    for line in params.train_only:
        if line not in lines:
            raise InputError(f"train_only names {line}, but the cell lines are {', '.join(sorted(lines))}")
    note_shared_wells(parts, findings)
    joined = join(parts, findings)
    for image in joined["images"]:
        if image["cell_line"] in params.train_only:
            image["split"], image["train_only"] = "train", True

    return joined, lambda image: readers[image["file_name"]](image)


def note_shared_wells(parts: list[Part], findings: Findings) -> None:
    """Wells that have one name and cell line in several parts: of one plate they are one well, of two they are not."""
    named: dict[tuple[str, str], list[str]] = {}
    for part in parts:
        for place in dict.fromkeys((image["cell_line"], image["well"]) for image in part.images):
            named.setdefault(place, []).append(part.name)
    for (line, well), names in named.items():
        if len(names) > 1:
            findings.add("same_well", f"{line} {well}: {', '.join(names)}")
