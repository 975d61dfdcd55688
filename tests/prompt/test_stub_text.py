"""What a stub says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.stub_text import stub_of


def told(text: str, name: str = "bash", *, tool: bool = False) -> str:
    return stub_of(text, name, "llmsaver:o-1", tool=tool)


def test_it_says_what_it_was_and_how_to_have_it_again() -> None:
    text = "total 3\nfile.py ABC-123\nuser jo@example.com 9f86d081884c\ndone"
    assert told(text) == (
        "[output of bash, 61 characters, left out here: it was read in earlier turns. "
        'First of 4 lines: "total 3". Last line: "done". Ids in it: ABC-123, jo@example.com, 9f86d081884c. '
        "For the whole text: reference llmsaver:o-1]"
    )
    assert told(text, "", tool=True).startswith("[a tool's output, 61 characters")
    assert told(text, tool=True).endswith("call llmsaver_recall with the reference llmsaver:o-1]")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([{"id": 1, "name": "a"}] * 30, "JSON: 30 rows with the keys id, name."),
        ([], "JSON: 0 rows."),
        ({"page": 1, "rows": [1, 2]}, "JSON with the keys page, rows. rows: 2 rows."),
        ({}, "JSON with no keys."),
        ({f"k{n}": n for n in range(30)}, " and 6 more."),
    ],
)
def test_json_is_told_by_its_outline(value: Any, said: str) -> None:
    assert said in told(json.dumps(value))


def test_what_only_begins_as_json_is_told_by_its_lines() -> None:
    assert 'First of 2 lines: "[info] started". Last line: "ok".' in told("[info] started\nok\n\n")
    assert 'First of 1 lines: "{".' in told("{")
    assert "First of 1 lines:" in told("[" * 200_000)
    assert "It was blank." in told("\n \n")


def test_many_ids_are_counted() -> None:
    assert "and 8 more." in told("\n".join(f"ABC-{number}" for number in range(100, 120)))


@given(st.text(alphabet=st.characters(), max_size=400), st.text(alphabet=st.characters(), max_size=200))
def test_any_text_has_one_of_few_words(text: str, name: str) -> None:
    stub = told(text, name)
    assert stub.encode()
    assert stub == told(text, name)
    assert len(stub) < 6_000
    assert "\0" not in stub
    assert "\n" not in stub
