"""What verbs read and write: an output over an input, or with another suffix, is refused before any work."""

from __future__ import annotations

import argparse
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")  # as the reader's, which would bring numpy along


class Written:
    """An output: what the help says of it; how a file's name may end; what a folder's files are called.

    `apart` are folders that are read, in which such files may lie too, so that the output has to be another.
    """

    def __init__(self, about: str, *suffixes: str, inside: tuple[str, ...] = (), apart: tuple[str, ...] = ()) -> None:
        self.about, self.suffixes, self.inside, self.apart = about, suffixes, inside, apart

    def over(self, path: Path, read: dict[str, list[Path]]) -> str:
        """Which input would be written over; '' if none is."""
        for name, inputs in read.items():
            for one in inputs:
                same = name in self.apart and one.resolve() == path.resolve()
                for output in [path / file for file in self.inside] or [path]:
                    if same or one.resolve().is_relative_to(output.resolve()):
                        option = name.replace("_", "-")
                        return f"{output} would be written over, and --{option} reads {one}; name another"
        return ""


RESULTS = ".json", ".json.gz"
LOG = Written("write what is shown on the terminal there too")


def unreadable(args: argparse.Namespace) -> Iterable[str]:
    """What is wrong with inputs, as errors of their options."""
    checks = dict.fromkeys(("images", "folder"), _no_folder) | dict.fromkeys(args.models, _no_model)
    for name, found in _paths(args).items():
        if name in checks and name not in args.written:
            yield from (f"argument --{name}: {why}" for path in found if (why := checks[name](path)))


def unwritable(args: argparse.Namespace, written: dict[str, Written]) -> Iterable[str]:
    """What is wrong with these outputs, as errors of their options."""
    read = {name: found for name, found in _paths(args).items() if name not in args.written | written}
    for name, what in written.items():
        for path in _paths(args).get(name, []):
            if why := _wrong_name(path, what.suffixes) or what.over(path, read) or _other(path, what.suffixes):
                yield f"argument --{name}: {why}"


def _paths(args: argparse.Namespace) -> dict[str, list[Path]]:
    lists = {name: value if isinstance(value, list) else [value] for name, value in vars(args).items()}
    return {name: [one for one in value if isinstance(one, Path)] for name, value in lists.items()}


def _no_folder(path: Path) -> str:
    if path.is_file():
        return f"{path} is a file; give the folder that it is in"
    return "" if path.is_dir() else f"{path} is not there; give the folder that the images are in"


def _no_model(path: Path) -> str:
    if path.suffix == ".pt":
        return "" if path.exists() else f"{path} is not there; give the weights.pt of a run, or an exported run"
    if path.is_file() or (path / "model.json").is_file():
        return ""
    return f"{path} holds no model.json; give the folder of an exported run"


def _wrong_name(path: Path, suffixes: tuple[str, ...]) -> str:
    """Why a file is not to be called so: an image may be there, or nobody would know it again; '' if it may."""
    name = path.name.lower()
    if suffixes and path.is_dir():
        return f"{path} is a folder; name a file that ends in {' or '.join(suffixes)}"
    if name.endswith(suffixes) if suffixes else path.is_dir() or not name.endswith(IMAGES):
        return ""
    return f"{path} must end in {' or '.join(suffixes)}" if suffixes else f"{path} ends as an image does; name another"


def _other(path: Path, suffixes: tuple[str, ...]) -> str:
    """Why a file that is there is not to be written over: results are a list, and truth, say, is none; '' if it may."""
    if suffixes != RESULTS or not path.is_file():
        return ""
    import gzip

    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        begins = file.read(1024).lstrip()[:1]
    return "" if begins in (b"", b"[") else f"{path} exists and holds no COCO results, so it is kept; name another"
