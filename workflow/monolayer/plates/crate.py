"""The results of a plate as an RO-Crate (1.1): what each file is, and which program and model made it of which images.

https://w3id.org/ro/crate/1.1; written by hand: it is one JSON file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from monolayer.files import write_json
from monolayer.plates.labels import STORE

CRATE = "ro-crate-metadata.json"
PROFILE = "https://w3id.org/ro/crate/1.1"
FORMATS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
}
ABOUT = {
    "cells.parquet/": "A row for each cell, a file for each well.",
    "images.parquet": "A row for each image.",
    "curves.csv": "Count and confluence of each well over time.",
    "wells.csv": "A row for each well, with the fit of its growth.",
    "conditions.csv": "The mean growth of each row of the plate map.",
    "comparisons.csv": "Which conditions grow differently.",
    "dictionary.csv": "Unit, type and meaning of each column.",
    "plan.parquet": "The images of the plate by well, field and time.",
    "plan.json": "What holds for all images, and where it was taken from.",
    "manifest.json": "Model, settings, versions of programs and the SHA-256 of each file.",
    f"{STORE}/": "Label images, OME-Zarr 0.5: a plate whose fields hold labels/cells.",
}


def write_crate(folder: Path, manifest: Mapping[str, Any], licence: str, date: str) -> None:
    """ro-crate-metadata.json of a plate's results, from their manifest.

    `date`, YYYY-MM-DD, is the day of the newest image: the day of writing would give the same results other bytes.
    """
    plate, parts = manifest["plate"], [*manifest["files"], "manifest.json"]
    inside = [{"@id": quote(name)} for name in parts if name.startswith("cells.parquet/")]
    name = Path(plate["path"]).name or plate["path"]
    graph: list[dict[str, Any]] = [
        {
            **{"@id": CRATE, "@type": "CreativeWork"},
            **{"conformsTo": {"@id": PROFILE}, "about": {"@id": "./"}},
        },
        {
            **{"@id": "./", "@type": "Dataset", "name": f"Cells of the plate {name}"},
            "description": f"{manifest['cells']} cells in {plate['images']} images, found and measured by monolayer.",
            **{"datePublished": date, "license": {"@id": "#licence"}},
            "hasPart": [{"@id": quote(part)} for part in (*parts, "cells.parquet/", f"{STORE}/")],
            "mentions": {"@id": "#segmentation"},
        },
        {"@id": "#licence", "@type": "CreativeWork", "name": "Licence", "description": licence},
        *(_file(part, manifest["files"].get(part)) for part in parts),
        _folder("cells.parquet/") | {"hasPart": inside},
        _folder(f"{STORE}/") | {"conformsTo": {"@id": "https://ngff.openmicroscopy.org/0.5/"}},
        {
            **{"@id": "#segmentation", "@type": "CreateAction", "name": "Cells are found and measured"},
            **{"instrument": {"@id": "#monolayer"}, "object": [{"@id": "#images"}, {"@id": "#model"}]},
            **{"result": {"@id": "./"}, "additionalProperty": {"@id": "#settings"}},
        },
        {
            **{"@id": "#monolayer", "@type": "SoftwareApplication", "name": "monolayer"},
            "version": manifest["versions"]["monolayer"],
            "softwareRequirements": [f"{one} {number}" for one, number in manifest["versions"].items()],
        },
        {
            **{"@id": "#model", "@type": "CreativeWork", "name": manifest["model"]["run"]},
            "identifier": [f"{file} sha256:{value}" for file, value in manifest["model"]["files"].items()],
        },
        {
            "@id": "#images",
            "@type": "Dataset",
            "name": name,
            "description": "The images, as the microscope wrote them.",
        },
        {
            **{"@id": "#settings", "@type": "PropertyValue", "name": "plate_settings"},
            "value": json.dumps(manifest["settings"], sort_keys=True),
        },
    ]
    write_json(folder / CRATE, {"@context": f"{PROFILE}/context", "@graph": graph}, indent=1)


def newest_day(paths: Iterable[Path]) -> str:
    """The day, in UTC, on which the newest of these files was written; those that are gone since say nothing."""
    times = [path.stat().st_mtime for path in paths if path.exists()]
    return datetime.fromtimestamp(max(times, default=0.0), UTC).date().isoformat()


def _file(name: str, sha256: str | None) -> dict[str, Any]:
    about = {"description": ABOUT[name]} if name in ABOUT else {}
    return {  # a name is an address: a % in it would stand for another sign
        **{"@id": quote(name), "@type": "File", "name": name, "encodingFormat": FORMATS[Path(name).suffix]},
        **about,
        **({} if sha256 is None else {"sha256": sha256}),
    }


def _folder(name: str) -> dict[str, Any]:
    return {"@id": name, "@type": "Dataset", "name": name.rstrip("/"), "description": ABOUT[name]}
