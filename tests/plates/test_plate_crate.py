"""The RO-Crate beside a plate's results: all that it names is there, and other programs read it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import plate_samples as made
import pytest
from monolayer.files import name_of_file
from monolayer.plates.crate import CRATE, write_crate
from test_plates import run

ROCRATE = """
import sys
from rocrate.rocrate import ROCrate
crate = ROCrate(sys.argv[1])
print(crate.root_dataset["name"])
print(len(crate.data_entities), len(crate.root_dataset["hasPart"]))
print(crate.get("#segmentation")["instrument"]["name"])
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plate")
    return run(made.incucyte(folder / "VID7", wells=2, fields=1, times=2), folder / "out")


def test_what_it_names_is_there_and_has_these_sums(results: Path) -> None:
    """What RO-Crate 1.1 asks of each entity: a root with name, description, date and licence, and no loose ends."""
    crate = json.loads((results / CRATE).read_text())
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    root = entities["./"]
    assert entities[CRATE]["about"] == {"@id": "./"}
    assert {"name", "description", "datePublished", "license"} <= set(root)
    assert len(root["datePublished"]) == len("2026-11-29")
    for entity in crate["@graph"]:
        assert "@type" in entity
        for value in entity.values():
            for part in value if isinstance(value, list) else [value]:
                if isinstance(part, dict) and not part["@id"].startswith("http"):
                    assert part["@id"] in entities, f"{entity['@id']} names {part['@id']}"
        if entity["@type"] == "File" and "sha256" in entity:
            assert hashlib.sha256((results / entity["@id"]).read_bytes()).hexdigest() == entity["sha256"]
    parts = [part["@id"] for owner in ("./", "cells.parquet/") for part in entities[owner]["hasPart"]]
    assert all((results / part).exists() for part in parts)
    written = {path.name for path in results.iterdir() if path.suffix in (".csv", ".json", ".parquet", ".zarr")}
    assert written == {part.rstrip("/") for part in parts if "/" not in part.rstrip("/")} | {CRATE}


def test_files_of_wells_are_found_by_their_addresses(tmp_path: Path) -> None:
    """A well that is called after a file in a subfolder is one, as `cells.parquet/sub%2Fa b.parquet`."""
    name = f"cells.parquet/{name_of_file('sub/a b')}.parquet"
    manifest = {
        "plate": {"path": "x", "images": 1},
        "cells": 0,
        "model": {"run": "unet", "files": {}},
        "settings": {},
        "versions": {"monolayer": "1"},
        "files": {name: "0" * 64},
    }
    write_crate(tmp_path, manifest, "none", "2026-11-29")
    crate = json.loads((tmp_path / CRATE).read_text())
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    [part] = entities["cells.parquet/"]["hasPart"]
    assert part in entities["./"]["hasPart"]
    assert entities[part["@id"]]["sha256"] == "0" * 64
    assert " " not in part["@id"]
    assert unquote(part["@id"]) == name


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_package_rocrate_reads_it(results: Path) -> None:
    """In an environment of its own."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the PATH")
    command = ["uv", "run", "-q", "--no-project", "--isolated", "--python", sys.executable, "--with", "rocrate"]
    done = subprocess.run(
        [*command, "python", "-c", ROCRATE, str(results)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    name, counts, program = done.stdout.splitlines()
    assert (name, program) == ("Cells of the plate VID7", "monolayer")
    entities, parts = map(int, counts.split())
    assert entities == parts
