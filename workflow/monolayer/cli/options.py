"""What verbs have in common: how one is added, and the types of the options that several have."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

TYPE_CHECKING = False  # see monolayer/__init__.py
if TYPE_CHECKING:
    from typing import NoReturn

PROGRAM = "monolayer"
PARAMS = "the verb's own section of params.yaml as JSON (see the command lines that snakemake -p prints)"


class Parser(argparse.ArgumentParser):
    """An argument that can't be used is one line and exit code 2, a verb that isn't there help besides."""

    def error(self, message: str) -> NoReturn:
        if self.prog == PROGRAM:
            self.print_help(sys.stderr)
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help explains\n")


Verbs = Callable[..., Parser]  # adds the parser of a verb


class Formatter(argparse.HelpFormatter):
    """Leaves text of several lines, which are examples, as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def add_verb(
    verbs: Verbs, run: Callable[[argparse.Namespace], None], section: str = "", workers: bool = False, **paths: str
) -> Parser:
    """The parser of the verb `run`, whose docstring says what it does, and shows it; `paths` are required options.

    `section` is what --params holds, by module and name in monolayer.params; `workers`: it can use several processes.
    """
    about, _, examples = (run.__doc__ or "").partition("\n\n")
    about = " ".join(about.split())
    epilog = "\n".join(line.removeprefix("    ") for line in examples.rstrip().splitlines())
    name = run.__name__.replace("_", "-")
    verb = verbs(name, help=about, description=about, epilog=epilog, formatter_class=Formatter)
    for option, text in paths.items():
        verb.add_argument(f"--{option}", type=Path, required=True, metavar="PATH", help=text)
    verb.add_argument("--log", type=Path, metavar="PATH", help="write what is shown on the terminal there too")
    if workers:
        about = "processes; they change no byte (default: 1)"
        verb.add_argument("--workers", type=whole(1), default=1, metavar="N", help=about)
    if section:
        verb.add_argument("--params", required=True, metavar="JSON", help=PARAMS)
    verb.set_defaults(run=run, verb=verb, section=section, params=None)
    return verb


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


def add_threads(group: argparse._ActionsContainer, about: str) -> None:
    help_ = f"{about} (default: all cores)"
    group.add_argument("--threads", type=whole(1), default=os.cpu_count(), metavar="N", help=help_)


def add_plane(group: argparse._ActionsContainer) -> None:
    """Which plane of a file that has several."""
    about = "of files with several channels the one that shows the cells, counted from 1"
    group.add_argument("--channel", type=whole(1), metavar="N", help=about)
    group.add_argument("--z", type=whole(1), metavar="N", help="of stacks the plane along z, counted from 1")


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
