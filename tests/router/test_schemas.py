"""Answers held to schemas, and tool calls to theirs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from llmsaver.router import schemas
from llmsaver.router.schemas import schema, tool_arguments
from llmsaver.router.views import Answer, Asked, ToolCall

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}


def _call(arguments: str, name: str = "weather") -> Answer:
    return Answer("", (ToolCall(name, arguments),), "tools")


def test_schema() -> None:
    asked = Asked("", json=True, schema=SCHEMA)
    assert schema(asked, Answer('{"city": "Rome", "days": 2}')) is None
    assert schema(asked, Answer('{"city": "Rome", "days": 0}')) == "days: 0 is less than the minimum of 1"
    assert schema(asked, Answer('{"days": 1}')) == "'city' is a required property"
    assert schema(asked, Answer('{"city": NaN}')) == "its text is no JSON"
    assert schema(asked, Answer('```json\n{"city": "Rome"}\n```')) == "its text is no JSON"
    assert schema(asked, Answer("", (ToolCall("f", "{}"),))) is None
    assert schema(Asked(""), Answer("anything")) is None


def test_json_alone() -> None:
    asked = Asked("", json=True)
    assert schema(asked, Answer("[1, 2]")) is None
    assert schema(asked, Answer('```json\n{"a": 1}\n```')) is None
    assert schema(asked, Answer("Sure! {}")) == "its text is no JSON"


def test_tool_arguments() -> None:
    asked = Asked("", tools={"weather": SCHEMA, "free": None})
    assert tool_arguments(asked, Answer("no call")) is None
    assert tool_arguments(asked, _call('{"city": "Rome"}')) is None
    assert tool_arguments(asked, _call("anything", "free")) is None
    assert (
        tool_arguments(asked, _call('{"city": "Rome"', "weather")) == "its arguments for 'weather' are no JSON object"
    )
    assert tool_arguments(asked, _call("[1]")) == "its arguments for 'weather' are no JSON object"
    assert tool_arguments(asked, _call("")) == "its arguments for 'weather': 'city' is a required property"
    assert tool_arguments(asked, _call('{"city": 3}')) == "its arguments for 'weather': city: 3 is not of type 'string'"
    assert tool_arguments(asked, _call("{}", "wether")) == "it calls 'wether', which is none of the tools offered"
    hosted = Asked("", tools={"weather": SCHEMA}, needs=frozenset({"hosted_tools"}))
    assert tool_arguments(hosted, _call("{}", "search")) is None


def test_forced_tools() -> None:
    must = Asked("", tools={"weather": SCHEMA, "free": None}, tool_choice={"type": "tool", "name": "weather"})
    assert tool_arguments(must, Answer("It rains.")) == "it does not call 'weather', as it must"
    assert tool_arguments(must, _call("x", "free")) == "it calls 'free' where it must call 'weather'"
    assert tool_arguments(must, _call('{"city": "Rome"}')) is None
    some = Asked("", tools={"free": None}, tool_choice="required")
    assert tool_arguments(some, Answer("It rains.")) == "it does not call any tool, as it must"
    assert tool_arguments(some, _call("x", "free")) is None


@pytest.mark.parametrize(
    ("wanted", "value", "why"),
    [
        ({"type": "objekt", "required": ["a"]}, '{"b": 1}', "'a' is a required property"),  # no schema at all
        ({"$ref": "https://elsewhere.example/x", "type": "array"}, "{}", "it is no array"),
        ({"type": ["nonsense"]}, "{}", None),
        ({"type": "objekt", "required": [3]}, "{}", None),
        ({"type": "objekt", "required": "a"}, "{}", None),
        ({"$ref": "#"}, "{}", None),
    ],
)
def test_schemas_that_make_no_sense_are_judged_roughly(wanted: dict[str, Any], value: str, why: str | None) -> None:
    assert schema(Asked("", json=True, schema=wanted), Answer(value)) == why


def test_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    schemas._checker.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    asked = Asked("", json=True, schema=SCHEMA)
    try:
        assert schema(asked, Answer('{"city": 3}')) is None
        assert schema(asked, Answer("{}")) == "'city' is a required property"
        assert schema(asked, Answer("[]")) == "it is no object"
    finally:
        schemas._checker.cache_clear()
