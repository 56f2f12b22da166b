"""Large files over an unreliable network: resumed, verified, with progress; and zips that can be trusted.

Resuming follows RFC 9110, 13.1.5 and 14 (Range, If-Range). A whole file is checked against its pin in params.yaml or,
where there is none, against what the first download noted in pins.json beside the file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
import stat
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import requests
import urllib3

from monolayer.files import InputError, check_disk, write_json
from monolayer.params.data import Pin
from monolayer.progress import track

TIMEOUT = (30, 60)  # s to connect, s without a byte
WAITS = (1, 2, 4, 8, 16)  # s before each new try; counted anew whenever bytes came
CHUNK = 1 << 20
NO_ADDRESS = (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)
RECORD = "pins.json"
MEMBER_LIMIT = 2 << 30  # bytes; no image or annotation file of a dataset is larger
RATIO_LIMIT = 1100  # deflate can't pack better than 1032:1


class CutError(Exception):
    """The transfer ended early; what came is kept."""


@dataclass(frozen=True)
class Remote:
    """A file to fetch. `shown` stands for the URL in messages, which may hold a key; `pinned` is params.yaml's line."""

    url: str
    shown: str
    pin: Pin
    pinned: Callable[[Pin], str]


def fetch(remote: Remote, target: Path) -> Path:
    """Have the whole, verified file at `target`, resuming a download that was cut."""
    if target.exists():
        verify(target, remote.shown, remote.pin)
        return target
    partial = target.with_name(target.name + ".partial")
    _transfer(remote, partial)
    try:
        found = verify(partial, remote.shown, remote.pin, target.name)
    except InputError:
        _discard(partial)
        raise
    _note(target, found)
    partial.replace(target)
    _discard(partial)
    if remote.pin.sha256 is None:
        logging.info("%s has no pin; to hold it to these bytes, put into params.yaml:", remote.shown)
        logging.info("  %s", remote.pinned(found))
    return target


def verify(path: Path, shown: str, pin: Pin, name: str | None = None) -> Pin:
    """Size and sum of a file; a difference from its pin or from the record of its first download is an error."""
    noted = _noted(path.parent).get(name or path.name)
    size = path.stat().st_size
    wanted = pin.size or (noted.size if noted else None)
    if wanted is not None and size != wanted:
        raise InputError(
            f"{shown} has {size} bytes, {wanted} were expected; delete {path} to fetch it again, "
            "or correct its pin in params.yaml"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    wanted_digest = pin.sha256 or (noted.sha256 if noted else None)
    if wanted_digest not in (None, digest):
        raise InputError(
            f"{shown} has the sha256 {digest}, {wanted_digest} was expected; delete {path} to fetch it again, "
            "or correct its pin in params.yaml if the publisher changed it"
        )
    return Pin(size=size, sha256=digest)


def _noted(folder: Path) -> dict[str, Pin]:
    record = folder / RECORD
    return {n: Pin.model_validate(p) for n, p in json.loads(record.read_text()).items()} if record.exists() else {}


def _note(target: Path, found: Pin) -> None:
    noted = _noted(target.parent) | {target.name: found}
    write_json(target.parent / RECORD, {name: pin.model_dump() for name, pin in sorted(noted.items())}, indent=2)


def _state(partial: Path) -> Path:
    """Where it is noted which version of the remote file the partial one belongs to."""
    return partial.with_name(partial.name + ".json")


def _discard(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _state(partial).unlink(missing_ok=True)


def _transfer(remote: Remote, partial: Path) -> None:
    """Receive until the file is whole; a cut is tried again from where it happened."""
    tries = 0
    while True:
        before = _size(partial)
        try:
            return _receive(remote, partial)
        except NO_ADDRESS:
            fault = f"{remote.shown} is no address to fetch from; it begins with http:// or https://"
            raise InputError(fault) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, CutError) as error:
            came = _size(partial)
            tries = 0 if came > before else tries
            if tries == len(WAITS):
                # `from None`: the library's text holds the URL, and that may hold a key
                reason = str(error) if isinstance(error, CutError) else type(error).__name__
                raise InputError(
                    f"{remote.shown} can't be fetched ({reason}); {came} bytes are kept in {partial}: "
                    "check the network and run again, it goes on from there"
                ) from None
            logging.info("%s was cut after %d bytes; trying again in %d s", remote.shown, came, WAITS[tries])
            time.sleep(WAITS[tries])
            tries += 1
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise InputError(f"the disk of {partial.parent} is full; free some space and run again") from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(remote: Remote, partial: Path) -> None:
    """One request: the rest of the file, or all of it where the server or the file's version leave no choice."""
    state: dict[str, Any] = json.loads(_state(partial).read_text()) if _state(partial).exists() else {}
    start = _size(partial) if state.get("validator") or remote.pin.sha256 else 0
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        headers |= {"If-Range": state["validator"]} if state.get("validator") else {}
    with requests.get(remote.url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", response.headers.get("Content-Range", ""))
        if response.status_code == 416 and span and int(span[2]) == start:
            return
        if response.status_code == 416 or (response.status_code == 206 and (not span or span[1] != str(start))):
            _discard(partial)
            raise CutError("the server's file is not the one that the download began with")
        if response.status_code == 200:
            start = 0
        elif response.status_code in (408, 429) or response.status_code >= 500:
            raise CutError(f"the server answers {response.status_code} {response.reason}")
        elif response.status_code != 206:
            answer = f"{response.status_code} {response.reason}"
            raise InputError(f"{remote.shown}: the server answers {answer}; check its address")
        rest = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        check_disk(partial.parent, rest or 0, remote.shown)
        if start == 0:
            _discard(partial)  # first, so that old bytes never stand beside the new version's validator
            etag = response.headers.get("ETag", "")  # If-Range may carry a strong one, else the date of the last change
            validator = etag if etag.startswith('"') else response.headers.get("Last-Modified")
            write_json(_state(partial), {"validator": validator})
        _save(response, partial, rest, remote.shown)
    if rest is not None and _size(partial) != start + rest:
        raise CutError(f"{start + rest - _size(partial)} bytes are missing")


def _save(response: requests.Response, partial: Path, rest: int | None, shown: str) -> None:
    chunks = response.raw.stream(CHUNK, decode_content=False)
    if rest is not None:
        logging.info("%s: %.1f MiB to fetch", shown, rest / CHUNK)
        chunks = track(chunks, -(-rest // CHUNK), f"fetch {shown.rsplit('/', 1)[-1]}, MiB")
    with partial.open("ab") as file:
        for chunk in chunks:
            file.write(chunk)


def open_zip(path: Path, shown: str) -> zipfile.ZipFile:
    """A zip whose members all stay inside a folder, are plain files and have sane sizes."""
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{shown} is no readable zip ({error}); fetch or export it again") from None
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))
        kind = stat.S_IFMT(member.external_attr >> 16)
        if name.is_absolute() or ".." in name.parts or ":" in member.filename.split("/")[0]:
            fault = "leads out of the folder"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            fault = "is a link or a device, not a file"
        elif member.flag_bits & 1:
            fault = "is encrypted"
        elif member.file_size > MEMBER_LIMIT or member.file_size > RATIO_LIMIT * max(member.compress_size, 1):
            fault = f"claims {member.file_size} bytes from {member.compress_size}"
        else:
            continue
        archive.close()
        raise InputError(f"{shown}: its member {member.filename!r} {fault}; this is not the archive that it should be")
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member, whose checksum is verified."""
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise InputError(f"{archive.filename}: its member {name} is damaged ({error}); fetch it again") from None
