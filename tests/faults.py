"""Fail the n-th of all calls that bring something to the disk: write, fsync, rename, truncate, unlink."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """What no handler of the program catches, as it catches no kill."""


def disk_full() -> BaseException:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_at(
    number: int, patch: pytest.MonkeyPatch, folder: Path, fault: Callable[[], BaseException] = Killed
) -> list[str]:
    """Let call `number` of all on files in `folder` fail, a write with half of it done; each call by its name."""
    calls: list[str] = []

    def due(name: str, path: Any) -> bool:
        if not str(path).startswith(str(folder)):
            return False
        calls.append(f"{name} {Path(path).name}")
        return len(calls) - 1 == number

    class File(io.FileIO):
        def write(self, content: Any, /) -> int:
            if due("write", self.name):
                super().write(memoryview(content).cast("B")[: len(content) // 2])
                raise fault()
            return super().write(content) or 0

    opened = io.open

    def open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        if not set(mode) & set("wax") or "+" in mode or not str(file).startswith(str(folder)):
            return opened(file, mode, buffering, *rest, **more)
        file = File(file, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return file
        raw = io.BufferedWriter(file)
        names = ("encoding", "errors", "newline")
        if "b" in mode:
            return raw
        how = dict(zip(names, rest, strict=False)) | more
        how["encoding"] = how.get("encoding") or "utf-8"
        how.pop("closefd", None)
        how.pop("opener", None)
        return io.TextIOWrapper(raw, **how)

    def failing(name: str, call: Callable[..., Any], of: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*given: Any, **more: Any) -> Any:
            if due(name, of(*given)):
                raise fault()
            return call(*given, **more)

        return replacement

    def target(number: int, *_: Any) -> str:
        return os.readlink(f"/proc/self/fd/{number}") if isinstance(number, int) else str(number)

    patch.setattr(io, "open", open_file)
    patch.setattr(builtins, "open", open_file)
    patch.setattr(os, "fsync", failing("fsync", os.fsync, target))
    patch.setattr(os, "truncate", failing("truncate", os.truncate, target))
    patch.setattr(Path, "replace", failing("replace", Path.replace, lambda path, to: to))
    patch.setattr(Path, "rename", failing("rename", Path.rename, lambda path, to: to))
    return calls


def hold(run: Callable[[Path], object], folder: Path, patch: pytest.MonkeyPatch) -> int:
    """Fail each call of `run(output)` that writes, once by a kill and once by a full disk; then `run` has to give the
    bytes of an unbroken run. How many calls there are."""
    with patch.context() as context:
        calls = fail_at(-1, context, folder / "unbroken")
        run(folder / "unbroken")
    whole = contents(folder / "unbroken")
    for number, call in enumerate(calls):
        for fault in (Killed, disk_full):
            output = folder / f"{fault.__name__} at {number}"
            with patch.context() as context:
                fail_at(number, context, output, fault)
                with pytest.raises((Killed, OSError)):
                    run(output)
            run(output)
            assert contents(output) == whole, f"{fault.__name__} at {call}"
    return len(calls)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, those that a kill left half-written too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
