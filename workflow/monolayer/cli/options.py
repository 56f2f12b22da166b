"""What verbs have in common: how one is added, and the types of the options that several have."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from monolayer.cli.paths import LOG, Written, unreadable, unwritable

TYPE_CHECKING = False  # see monolayer/__init__.py
if TYPE_CHECKING:
    from typing import NoReturn

    from monolayer.measurement.measure import CellSource

PROGRAM = "monolayer"
PARAMS = "the verb's own section of params.yaml as JSON (see the command lines that snakemake -p prints)"


class Parser(argparse.ArgumentParser):
    """An argument that can't be used is one line and exit code 2, a verb that isn't there help besides."""

    def error(self, message: str) -> NoReturn:
        if self.prog == PROGRAM:
            self.print_help(sys.stderr)
            message += _meant(message)
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help explains\n")


def _meant(message: str) -> str:
    """`; did you mean predict?` where a verb was misspelled."""
    import difflib
    import re

    given, *known = re.findall(r"'([\w-]+)'", message) or [""]
    near = difflib.get_close_matches(given, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


Verbs = Callable[..., Parser]  # adds the parser of a verb


class Formatter(argparse.HelpFormatter):
    """Leaves text of several lines, which are examples, as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def add_verb(
    verbs: Verbs,
    run: Callable[[argparse.Namespace], None],
    section: str = "",
    workers: bool = False,
    **paths: str | Written,
) -> Parser:
    """The parser of the verb `run`, whose docstring says what it does, and shows it; `paths` are required options.

    `section` is what --params holds, by module and name in monolayer.params; `workers`: it can use several processes.
    """
    about, _, examples = (run.__doc__ or "").partition("\n\n")
    about = " ".join(about.split())
    epilog = "\n".join(line.removeprefix("    ") for line in examples.rstrip().splitlines())
    name = run.__name__.replace("_", "-")
    verb = verbs(name, help=about, description=about, epilog=epilog, formatter_class=Formatter)
    written = {option: what for option, what in paths.items() if isinstance(what, Written)}
    for option, what in paths.items():
        text = what.about if isinstance(what, Written) else what
        verb.add_argument(f"--{option}", type=Path, required=True, metavar="PATH", help=text)
    verb.add_argument("--log", type=Path, metavar="PATH", help=LOG.about)
    if workers:
        about = "processes; they change no byte (default: 1)"
        verb.add_argument("--workers", type=whole(1), default=1, metavar="N", help=about)
    if section:
        verb.add_argument("--params", required=True, metavar="JSON", help=PARAMS)
    verb.set_defaults(run=_checked(run), verb=verb, section=section, params=None, written=written, models=())
    return verb


def _checked(run: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """The verb, which begins only if its paths can be used."""

    @functools.wraps(run)
    def checked(args: argparse.Namespace) -> None:
        for fault in (*unreadable(args), *unwritable(args, args.written)):
            args.verb.error(fault)
        run(args)

    return checked


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """The type of an option that is a whole number of this range."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(
                f"{text} is no whole number from {least} {'up' if most is None else f'to {most}'}"
            )
        return int(text)

    return number


def positive(text: str) -> float:
    """The type of an option that is a number above 0."""
    if not 0 < (number := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number above 0")
    return number


def not_negative(text: str) -> float:
    """The type of an option that is 0 or a number above."""
    if not 0 <= (number := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 up")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def pixel_size(text: str) -> float:
    """The type of an option in µm along a pixel's side."""
    from monolayer.params import pixel_size

    try:
        return pixel_size.pixel_size(_number(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def score(text: str) -> float:
    """The type of an option that is a score, from 0 to 1: in percent it would leave no cell."""
    if not 0 <= (number := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no score; give a number from 0 to 1")
    return number


def add_threads(group: argparse._ActionsContainer, about: str) -> None:
    help_ = f"{about} (default: all cores)"
    group.add_argument("--threads", type=whole(1), default=os.cpu_count(), metavar="N", help=help_)


def add_pace(group: argparse._ActionsContainer, settle: float, every: float) -> None:
    """How a folder that grows is followed."""
    about = "unchanged so long is complete (default: %(default)g)"
    group.add_argument("--settle-seconds", type=not_negative, default=settle, metavar="S", help=about)
    about = "between looks at the folder (default: %(default)g)"
    group.add_argument("--every-seconds", type=positive, default=every, metavar="S", help=about)


def add_plane(group: argparse._ActionsContainer) -> None:
    """Which plane of a file that has several."""
    about = "of files with several channels the one that shows the cells, counted from 1"
    group.add_argument("--channel", type=whole(1), metavar="N", help=about)
    group.add_argument("--z", type=whole(1), metavar="N", help="of stacks the plane along z, counted from 1")


def add_cells(verb: Parser, required: bool = False) -> None:
    """Results of any tool, and from which score up they count."""
    found = verb.add_argument_group("cells that were found")
    results = "COCO results (.json, .json.gz)"
    found.add_argument("--results", type=Path, required=required, metavar="PATH", help=results)
    least = found.add_mutually_exclusive_group(required=required)
    least.add_argument("--scores", type=Path, metavar="PATH", help="scores of `evaluate`, whose threshold is taken")
    about = "from which score up cells count"
    least.add_argument("--score-min", type=score, default=0.0, metavar="S", help=about)


def cells_of(args: argparse.Namespace) -> CellSource:
    """What the options of `add_cells` name; without --results the truth's own cells."""
    from monolayer.evaluation.threshold import score_threshold
    from monolayer.measurement.measure import CellSource

    if args.scores and not args.results:
        args.verb.error("--scores says from which score up --results count; give both")
    return CellSource(args.results, score_threshold(args.scores) if args.scores else args.score_min)


def add_exported(group: argparse._ActionsContainer) -> None:
    """How the network of an exported run is used."""
    group.add_argument("--dtype", choices=["fp32", "fp16", "int8"], default="fp32", help="default: %(default)s")
    about = "of a U-Net: turned views whose mean it takes; 1 is fastest, 8 best (default: the run's own)"
    group.add_argument("--tta", type=int, choices=[1, 2, 4, 8], help=about)
    size = "usual diameter of the cells in the images, which are brought to the scale that the model learned at"
    group.add_argument("--diameter", type=positive, metavar="PX", help=size)


def type_params(args: argparse.Namespace) -> None:
    """Make --params the section of params.yaml that its verb asks for."""
    from importlib import import_module

    from pydantic import TypeAdapter, ValidationError

    from monolayer.params.section import faults

    module, name = args.section.split(".")
    try:
        section = TypeAdapter(getattr(import_module(f"monolayer.params.{module}"), name))
        args.params = section.validate_json(args.params)
    except ValidationError as error:
        args.verb.error(f"argument --params: {'; '.join(faults(error))}")
