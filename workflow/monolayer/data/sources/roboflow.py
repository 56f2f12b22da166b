"""A Roboflow export in COCO-segmentation format: train, valid and test as given (docs.roboflow.com, "Exporting data").

Exports hold augmented copies (`<original>.rf.<hash>.jpg`): the original is what must not be in two splits, so it is the
well. They also open with a parent category that has no annotations; only categories in use count here.
"""

from __future__ import annotations

import logging
import os
import re
import time
import zipfile
from io import BytesIO, TextIOWrapper
from pathlib import Path, PurePosixPath
from typing import Any

import requests

from monolayer.coco.findings import Findings
from monolayer.coco.reader import check
from monolayer.coco.records import Image, Truth
from monolayer.data.images import Pixels, grey
from monolayer.data.sources import Read
from monolayer.data.sources.fetch import TIMEOUT, Remote, fetch, open_zip, read_member, verify
from monolayer.data.sources.listed import cells
from monolayer.data.sources.truth import Part, cell_lines, flat_names, join
from monolayer.files import InputError
from monolayer.params.data import Pin, RoboflowSource

SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}
ANNOTATIONS = "_annotations.coco.json"
COPY = re.compile(r"(?P<original>.+)\.rf\.[^.]+")
KEY = "ROBOFLOW_API_KEY"
EXPORT_WAIT = 5  # s between questions whether the export is made
EXPORT_LIMIT = 1800  # s


def collect(params: RoboflowSource, folder: Path) -> tuple[Truth, Read]:
    """Truth of the export; the annotations' areas are those of their masks (exports give the box's)."""
    findings = Findings()
    archive = open_archive(params, folder)
    members = set(archive.namelist())
    parts = []
    for path in sorted(members):
        location = PurePosixPath(path)
        if location.name == ANNOTATIONS:
            if location.parent.name not in SPLITS:
                raise InputError(
                    f"{archive.filename} has annotations in {location.parent}/, which is no split; "
                    f"name the folder one of {', '.join(SPLITS)}, or use source: coco for them"
                )
            parts.append(read_part(archive, location, params.cell_line, findings))
    if not parts:
        raise InputError(f"{archive.filename} has no train/{ANNOTATIONS}; export it as COCO Segmentation")
    truth = join([part for part, _ in parts], findings)
    names = {png: member for _, found in parts for png, member in found.items()}
    missing = sorted(names[image["file_name"]] for image in truth["images"] if names[image["file_name"]] not in members)
    if missing:
        raise InputError(f"{archive.filename} lacks {len(missing)} images, e.g. {missing[0]}; export it again")

    def read_image(image: Image) -> Pixels:
        name = names[image["file_name"]]
        return grey(read_member(archive, name), name, None)

    return truth, read_image


def read_part(
    archive: zipfile.ZipFile, path: PurePosixPath, line_rule: str, findings: Findings
) -> tuple[Part, dict[str, str]]:
    """One split, and the archive's member of each of its images."""
    records = check(
        lambda: TextIOWrapper(BytesIO(read_member(archive, str(path))), "utf-8-sig"), f"{archive.filename}: {path}"
    )
    lines = cell_lines(records, line_rule, findings)
    names = flat_names(f"{path.parent.name}/{frame.file_name}" for frame in records.frames.values())
    images = [
        Image(
            id=frame.id,
            file_name=names[f"{path.parent.name}/{frame.file_name}"],
            width=frame.width,
            height=frame.height,
            cell_line=lines[frame.id],
            well=original(frame.file_name),
            timestamp=None,
            split=SPLITS[path.parent.name],
        )
        for frame in records.frames.values()
        if frame.id in lines
    ]
    annotations = list(cells(records, set(lines), findings, keep_area=False))
    members = {png: str(path.parent.parent / name) for name, png in names.items()}
    return Part(records.name, images, annotations), members


def original(file_name: str) -> str:
    """The name of the image that a file is an augmented copy of."""
    stem = PurePosixPath(file_name).stem
    match = COPY.fullmatch(stem)
    return match["original"] if match else stem


def open_archive(params: RoboflowSource, folder: Path) -> zipfile.ZipFile:
    """The export on disk, fetched once if params name none."""
    pin = Pin(size=None, sha256=params.sha256)
    if params.zip is not None:
        path = Path(params.zip)
        if not path.is_file():
            raise InputError(f"there is no {path}; set `zip` to the export, or to null to fetch it with {KEY}")
        if params.sha256:
            verify(path, str(path), pin)
        return open_zip(path, str(path))
    shown = f"Roboflow export {params.workspace}/{params.project}/{params.version}"
    target = folder / f"{params.workspace}.{params.project}.{params.version}.zip"
    link = "" if target.exists() else export_link(params, shown)
    return open_zip(fetch(Remote(link, shown, pin, lambda p: f"sha256: {p.sha256}"), target), shown)


def export_link(params: RoboflowSource, shown: str) -> str:
    """Ask for the export and wait until it is made. Neither the key nor the link, which is signed, is ever shown."""
    key = os.environ.get(KEY)
    if not key:
        raise InputError(
            f"{shown} needs your API key in the environment variable {KEY} (Roboflow: Settings, API Keys); "
            "or export it by hand as COCO Segmentation and set `zip`"
        )
    url = f"{params.url.rstrip('/')}/{params.workspace}/{params.project}/{params.version}/coco-segmentation"
    deadline = time.monotonic() + EXPORT_LIMIT
    while time.monotonic() < deadline:
        status, answer = _ask(url, key, shown)
        if status == 200:
            return str(answer["export"]["link"])
        logging.info("%s is being made: %.0f %%", shown, 100 * float(answer.get("progress") or 0))
        time.sleep(EXPORT_WAIT)
    raise InputError(f"{shown} was not made within {EXPORT_LIMIT} s; look at it on the site and run again")


def _ask(url: str, key: str, shown: str) -> tuple[int, dict[str, Any]]:
    try:
        response = requests.get(url, params={"api_key": key}, timeout=TIMEOUT)
        answer = response.json()
    except requests.RequestException as error:  # its text holds the key
        raise InputError(f"{shown}: {url} can't be asked ({type(error).__name__}); check network and `url`") from None
    if response.status_code == 202 or (response.status_code == 200 and "link" in answer.get("export", {})):
        return response.status_code, answer
    reason = str(answer.get("message") or answer.get("error") or response.reason).replace(key, "***")
    raise InputError(
        f"{shown}: the server answers {response.status_code} ({reason}); check {KEY}, workspace and version"
    )
