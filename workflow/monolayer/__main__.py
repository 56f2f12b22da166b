"""`monolayer`: a verb is run, and what goes wrong is told in a line and an exit code."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path

from monolayer.cli import parser
from monolayer.cli.options import type_params
from monolayer.cli.paths import LOG, unwritable

AGAIN = "and give the same command again"
CURES = {  # of what the disk refuses
    errno.ENOSPC: f"free some space {AGAIN}",
    errno.EDQUOT: f"free some of your quota {AGAIN}",
    errno.EROFS: f"mount it writable {AGAIN}",
    errno.EACCES: f"give yourself the right {AGAIN}",
    errno.ENOENT: "check the path",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder",
    errno.EEXIST: "name a folder",
}
PLATES = ("plan_plate", "segment_plate", "tabulate_plate", "report_plate", "watch_plate", "expect")
EXTRAS = {  # what a verb that lacks a package needs; others have torch to train with
    **dict.fromkeys(("serve", "watch"), "service"),
    **dict.fromkeys(PLATES, "plates"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: input or disk that can't be used; 2: a wrong command, or a bug; 130: interrupted."""
    whole = parser()
    args, unknown = whole.parse_known_args(argv)
    if args.version:
        from importlib.metadata import version

        print(f"monolayer {version('monolayer')}")
        return 0
    if args.verb is None:
        whole.error("a verb is missing")
    if unknown:
        args.verb.error(f"unrecognized arguments: {' '.join(unknown)}")
    for fault in unwritable(args, {"log": LOG}):
        args.verb.error(fault)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    import logging

    from monolayer.files import InputError

    name = args.verb.prog
    try:
        _start_log(args.log)
        if args.params is not None:
            type_params(args)
        args.run(args)
    except InputError as error:
        logging.error("%s: %s", name, error)
        return 1
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(args.run.__name__, "train")
        logging.error("%s: %s; pip install 'monolayer[%s]'", name, error, extra)
        return 1
    except KeyboardInterrupt:
        logging.error("%s: interrupted", name)
        return 130
    except Exception as error:
        if told := _told(error):
            logging.error("%s: %s", name, told)
            return 1
        logging.exception("%s failed; this is a bug or a broken environment, not your data", name)
        return 2
    return 0


def _told(error: Exception) -> str:
    """What is wrong with the disk or the name of a file, and the cure; nothing of a bug."""
    if isinstance(error, OSError) and error.errno in CURES:
        return f"{error}; {CURES[error.errno]}"
    if isinstance(error, UnicodeEncodeError) and "\ud800" <= error.object[error.start] <= "\udfff":
        # a name's bytes that are no text, where a table should have it
        around = error.object[max(0, error.start - 40) : error.end + 20].encode("utf-8", "backslashreplace").decode()
        return f"the name of a file is not UTF-8 (... {around} ...); rename it {AGAIN}"
    return ""


def _start_log(path: Path | None) -> None:
    import faulthandler
    import logging

    logging.raiseExceptions = False  # a log on a full disk is no reason to fail
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[logging.StreamHandler()], force=True)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(path, mode="w")
        logging.getLogger().addHandler(file)
        faulthandler.enable(file.stream)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
