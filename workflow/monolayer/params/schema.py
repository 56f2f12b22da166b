"""The JSON schemas of params.yaml for editors, made of the typed sections: `python -m monolayer.params.schema`.

Editors complete keys, show what stands below them in the sections, and mark what `load` would refuse. The partial
schema is for a file that holds only what differs (--configfile): nothing is required there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from monolayer.params import families
from monolayer.params.params import Params

FOLDER = Path(__file__).parents[2]


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        """No: a title would be the key once more."""
        return False


def schemas() -> dict[str, str]:
    """The text of each schema by its file's name."""
    whole = Params.model_json_schema(schema_generator=_Untitled)
    # a shared mapping is a part of some section, so that its keys are explained and checked where they stand
    named = {name: part for name, part in whole["$defs"].items() if hasattr(families, name.partition("_")[0])}
    parts = [_partial(part) for part in (*named.values(), whole["$defs"]["Run"])]
    whole["properties"]["shared"]["additionalProperties"] = {"anyOf": parts}
    del whole["properties"]["shared"]["patternProperties"]
    found = {"params.schema.json": whole, "params.partial.schema.json": _partial(whole)}
    return {name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in found.items()}


def _partial(schema: Any) -> Any:
    """The schema without `required`; what is left of a row may then fit several families, hence anyOf."""
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        "anyOf" if key == "oneOf" else key: _partial(value)
        for key, value in schema.items()
        if key not in ("required", "minProperties", "discriminator")
    }


if __name__ == "__main__":
    for name, text in schemas().items():
        (FOLDER / name).write_text(text)
