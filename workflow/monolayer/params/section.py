"""What every section of params.yaml is: frozen, typed, and strict about its keys."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_validator
from pydantic_core import PydanticCustomError


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"{list(ends)} must be [lowest, highest]")
    return ends


def _no_home(path: str) -> str:
    """Snakemake, DVC and the verbs would look for a folder that is called ~, or make one."""
    if path.startswith("~"):
        raise ValueError(f"only a shell knows what ~ stands for; write the whole path, as {os.path.expanduser(path)}")
    return path


Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]  # becomes part of a path
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LocalPath = Annotated[str, AfterValidator(_no_home)]  # of the user's own files, in every section
Url = Annotated[str, Field(pattern=r"^https?://[^?#]+$")]
Scale = Literal["quick", "full"]


def unset(value: object) -> Any:
    """A key that rows and weights of before it was there lack: at this value it is left out of what a verb is given,
    and no training runs again for it."""
    return Field(default=value, exclude_if=lambda given: bool(given == value))


class ParamsError(ValueError):
    """params.yaml, or what --configfile and --config made of it, can't be used."""


class Section(BaseModel):
    """A frozen part of params.yaml; a key that it does not know is an error that lists those it knows.

    What stands below a key is its description in editors (params/schema.py).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    raise PydanticCustomError(
                        "unknown_key",
                        "{hint}allowed here: {allowed}",
                        {
                            "key": str(key),
                            "hint": f"unknown key, did you mean '{near[0]}'? " if near else "unknown key, ",
                            "allowed": ", ".join(cls.model_fields),
                        },
                    )
        return data

    @model_validator(mode="before")
    @classmethod
    def _refuse_switches_for_numbers(cls, data: Any) -> Any:
        """Pydantic takes true for 1; who writes `max_grad_norm: yes` means no norm of 1."""
        for name in _of_numbers(cls) if isinstance(data, Mapping) else ():
            if _has_switch(data.get(name)):
                text = "a truth value, as YAML takes true, yes, on and their like, where a number stands"
                raise PydanticCustomError("switch_for_number", text, {"key": name})
        return data


@cache
def _of_numbers(section: type[Section]) -> list[str]:
    """The keys that take a number and no truth value."""
    types = {name: _types(field.annotation) for name, field in section.model_fields.items()}
    return [name for name, of in types.items() if bool not in of and of & {int, float}]


def _types(annotation: Any) -> set[Any]:
    """A type and all that it is made of; of a Literal's value its type."""
    own = type(annotation) if isinstance(annotation, int | float | str) else annotation
    return {own}.union(*map(_types, get_args(annotation)))


def _has_switch(value: Any) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return isinstance(value, bool) or any(map(_has_switch, parts))


def faults(error: ValidationError) -> list[str]:
    """A line for each fault of a section."""
    return [_one_line(fault) for fault in error.errors()]


def _one_line(fault: Any) -> str:
    """`models.yolo.quick.train.epochs is -3: Input should be greater than 0`."""
    context = fault.get("ctx", {})
    if fault["type"] == "dangling_name":
        return str(fault["msg"])
    parts = [str(part) for part in fault["loc"]]
    if parts[:1] in (["datasets"], ["extensions"], ["models"]):
        del parts[2:3]  # pydantic puts source, law or family into the path: datasets.mine.coco.images
    if parts[:1] == ["datasets"] and parts[2:3] == ["parts"]:
        del parts[4:5]  # the source of a part
    if fault["type"] in ("unknown_key", "switch_for_number"):  # found in a section, whose key they name
        parts.append(str(context["key"]))
        return f"{'.'.join(parts)}: {fault['msg']}"
    where = ".".join(parts)
    if fault["type"].startswith("union_tag"):
        key = context["discriminator"].strip("'")
        allowed = f"; allowed here: {context['expected_tags']}" if "tag" in context else ""
        return f"{where}.{key} is {context.get('tag', 'missing')!r}{allowed}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    value = fault["input"]
    if fault["type"] == "string_type" and not isinstance(value, str | Mapping | list):
        # YAML has read something else than what was written, and nobody can tell any more what that was
        return (
            f"{where} is {value!r}, no text: YAML takes 007, 1e5, 2024_01_15, no, on and null for numbers, truth "
            "values and nothing. Write it in quotes into params.yaml or a file for --configfile: --config and "
            "`dvc exp run -S` take quotes away"
        )
    shown = f" is {value!r}" if isinstance(value, str | int | float | bool | None) else ""
    return f"{where}{shown}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")  # of several sections
