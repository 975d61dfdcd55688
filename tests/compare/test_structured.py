"""JSON values of two texts."""

import json
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.compare.structured import Absent, json_equal, parsed, strings_paired

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ('{"a": 1, "b": [true, null]}', '{"b":[true,null],"a":1.0}', True),
        ('```json\n{"a": 1}\n```', '{"a": 1}', True),
        ("```\n[1]```", "[1]", True),
        ("1", "1.0", True),
        ("1", "true", False),
        ("[0]", "[false]", False),
        ("[1, 2]", "[2, 1]", False),
        ("[1]", "[1, 1]", False),
        ('{"a": 1}', '{"b": 1}', False),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": 1}', "[1]", False),
        ("[1]", '{"a": 1}', False),
        ('{"a": 1', '{"a": 1', False),
        ("0.1", "0.10000000000000000555", False),
        ("NaN", "NaN", False),
        ("```", "```", False),
        ("", "", False),
    ],
)
def test_json_equal(one: str, other: str, *, equal: bool) -> None:
    assert json_equal(one, other) is equal


def test_parsed() -> None:
    assert parsed("null") is None
    assert parsed("nil") is Absent
    assert parsed("1.10") == Decimal("1.1")
    assert parsed("1e99999999999999999999") is Absent
    assert parsed("9" * 5000) is Absent
    assert parsed("[" * 200_000) is Absent


def test_nested_too_deep_to_compare() -> None:
    depth = sys.getrecursionlimit() - 100
    text = "[" * depth + '"a"' + "]" * depth
    other = text.replace("a", "b")
    assert not json_equal(text, other)
    assert strings_paired(parsed(text), parsed(other)) in (None, [("a", "b")])


def test_strings_paired() -> None:
    left: Any = {"a": ["x", 1], "b": {"c": "y"}}
    assert strings_paired(left, {"b": {"c": "z"}, "a": ["w", 1]}) == [("x", "w"), ("y", "z")]
    assert strings_paired(left, {"a": ["x", 2], "b": {"c": "y"}}) is None
    assert strings_paired(left, {"a": ["x"], "b": {"c": "y"}}) is None
    assert strings_paired(["1"], [1]) is None
    assert strings_paired({"a": 1}, {"b": 1}) is None


@given(VALUES)
def test_any_value_equals_itself_written_otherwise(value: Any) -> None:
    assert json_equal(json.dumps(value), f"```json\n{json.dumps(value, indent=2)}\n```")


@given(st.text(), st.text())
def test_any_text(one: str, other: str) -> None:
    assert json_equal(one, other) == json_equal(other, one)
    parsed(one)
