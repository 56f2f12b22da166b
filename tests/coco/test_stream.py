"""Reading piece by piece gives what reading at once gives, wherever the pieces are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monolayer.coco import stream
from monolayer.coco.stream import JsonFile, NoJsonError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def read(text: str) -> dict[str, Any]:
    members = JsonFile(StringIO(text)).members()
    return {key: list(values) if isinstance(values, Iterator) else values for key, values in members}


@given(st.dictionaries(st.text(max_size=4), VALUES), st.integers(1, 9), st.sampled_from([None, 1]), st.booleans())
def test_pieces_are_the_whole(data: dict[str, Any], chunk: int, indent: int | None, ascii_only: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "CHUNK", chunk)
        assert read(json.dumps(data, indent=indent, ensure_ascii=ascii_only)) == data


@given(st.dictionaries(st.text(max_size=4), VALUES, min_size=1), st.data())
def test_a_cut_file_is_never_taken_for_whole(data: dict[str, Any], draw: st.DataObject) -> None:
    text = json.dumps(data)
    with pytest.raises(NoJsonError):
        read(text[: draw.draw(st.integers(0, len(text) - 1))])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it ends too early: character 0"),
        ('{"a": 1} x', "the object is closed, but the file goes on: character 9"),
        ('{"a": 1,}', "a name in quotes is expected: character 8"),
        ("{1: 2}", "a name in quotes is expected: character 1"),
        ('{"a": [1 2]}', "2 stands where one of ,] is expected: character 9"),
        ('{"a": [1,]}', "Expecting value: character 9"),
        (
            '{"a": ' + 5000 * "1" + "}",
            "Exceeds the limit (4300 digits)",
        ),
        ('{"a" 1}', "1 stands where one of : is expected: character 5"),
    ],
)
def test_what_is_no_json_is_said_where(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1, 3, 100):
        monkeypatch.setattr(stream, "CHUNK", chunk)
        with pytest.raises(NoJsonError) as error:
            read(text)
        assert str(error.value).startswith(message)
