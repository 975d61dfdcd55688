"""Schemas as llama.cpp's grammar understands them, and the judge of what came out."""

from __future__ import annotations

import json
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import LocalModelError, MissingExtra
from llmsaver.local.tools_schema import answer_schema, checker, grammar, one_of

NUMBER = {"type": "integer"}
TREE = {"type": "object", "properties": {"v": NUMBER, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}}


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, of()),
        ({"type": "object"}, of()),
        ({"type": "object", "additionalProperties": NUMBER}, {"type": "object", "additionalProperties": NUMBER}),
        ({"$schema": "x", "$id": "y", **of(a=True)}, of(a={})),
        ({**of(), "required": ["a"]}, {**of(a={}), "required": ["a"]}),
        (of(a={"pattern": r"^\d{2}[\w-]\.\\$"}), of(a={"pattern": r"^[0-9]{2}[A-Za-z0-9_-]\.\\$"})),
        (of(a={"pattern": 3}), of(a={"pattern": 3})),
        (of(a={"prefixItems": [True], "items": False}), of(a={"prefixItems": [{}], "items": False})),
        (of(**{"$ref": NUMBER, "enum": NUMBER}), of(**{"$ref": NUMBER, "enum": NUMBER})),
        (of(a={"enum": [{"$ref": "#/no"}]}), of(a={"enum": [{"$ref": "#/no"}]})),
        ({"anyOf": [of(a=NUMBER)]}, {"anyOf": [of(a=NUMBER)]}),
    ],
)
def test_a_schema_is_made_plain(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    before = json.dumps(schema)
    assert grammar("look", schema) == expected
    assert json.dumps(schema) == before


def test_every_reference_becomes_a_definition_by_name() -> None:
    schema = {
        **of(
            a={"$ref": "#/$defs/A~1~0b"},
            b={"$ref": "#/properties/a"},
            c={"$ref": "#/anyOf/0"},
            d={"$ref": "#/$defs/%41"},
        ),
        "anyOf": [NUMBER],
        "$defs": {"A/~b": NUMBER, "A": {"items": {"$ref": "#/$defs/A"}}},
    }
    assert grammar("look", schema) == {
        **of(a={"$ref": "#/$defs/r0"}, b={"$ref": "#/$defs/r1"}, c={"$ref": "#/$defs/r2"}, d={"$ref": "#/$defs/r3"}),
        "anyOf": [NUMBER],
        "$defs": {
            "r0": NUMBER,
            "r1": {"$ref": "#/$defs/r0"},
            "r2": NUMBER,
            "r3": {"items": {"$ref": "#/$defs/r4"}},
            "r4": {"items": {"$ref": "#/$defs/r4"}},
        },
    }


def test_a_whole_answer_may_be_more_than_an_object() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/A"}, "$defs": {"A": {"pattern": r"^\d$"}}}
    assert answer_schema(schema) == {
        "type": "array",
        "items": {"$ref": "#/$defs/r0"},
        "$defs": {"r0": {"pattern": "^[0-9]$"}},
    }
    assert answer_schema({"type": "string"}) == {"type": "string"}
    with pytest.raises(LocalModelError, match="the answer's JSON schema cannot be kept to"):
        answer_schema({"$ref": "https://example.com"})


def test_a_schema_that_holds_itself() -> None:
    plain = grammar("look", TREE)
    assert plain["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/r0"}
    assert plain["$defs"]["r0"]["properties"]["next"]["anyOf"][0] == {"$ref": "#/$defs/r0"}
    jsonschema.validate({"v": 1, "next": {"v": 2, "next": None}}, plain)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (of(a={"$ref": "https://example.com/x.json"}), "leads elsewhere"),
        (of(a={"$ref": "#anchor"}), "leads elsewhere"),
        (of(a={"$ref": 1}), "leads elsewhere"),
        (of(a={"$ref": "#/$defs/No"}), "leads to nothing"),
        ({**of(a={"$ref": "#/anyOf/7"}), "anyOf": []}, "leads to nothing"),
        ({"type": "array"}, "must be an object, not 'array'"),
        ({"type": ["object", "null"]}, "must be an object"),
        (of(a=False), "no schema that llama.cpp knows"),
    ],
)
def test_what_cannot_be_is_told(schema: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalModelError, match=says):
        grammar("look", schema)


def test_a_call_of_one_of_several_says_the_name_first() -> None:
    schema = one_of({"a": TREE, "b": {}}, parallel=False)
    assert [list(call["properties"]) for call in schema["anyOf"]] == [["name", "arguments"]] * 2
    assert list(schema["$defs"]) == ["t0.r0"]
    jsonschema.validate({"name": "a", "arguments": {"v": 1, "next": {"v": 2}}}, schema)
    for wrong in ({"name": "c", "arguments": {}}, {"name": "a", "arguments": {"v": "x"}}, {"name": "a"}):
        assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)
    one = one_of({"a": {}}, parallel=False)
    assert one["properties"]["name"] == {"const": "a"}
    several = one_of({"a": {}}, parallel=True)
    assert (several["items"], several["minItems"], several["maxItems"]) == (one, 1, 16)


SCALARS = st.sampled_from(
    [{"type": "integer"}, {"type": "string"}, {"type": "null"}, {"enum": ["a", 1]}, {"$ref": "#"}]
)
SCHEMAS = st.recursive(
    SCALARS,
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda given: of(**given))
        | inner.map(lambda given: {"type": "array", "items": given})
        | st.lists(inner, min_size=1, max_size=2).map(lambda given: {"anyOf": given})
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from("ab"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("abc"), SCHEMAS, max_size=3), st.dictionaries(st.sampled_from("abc"), VALUES))
def test_a_plain_schema_means_the_same(properties: dict[str, Any], value: dict[str, Any]) -> None:
    schema = of(**properties)
    plain = jsonschema.Draft202012Validator(grammar("look", schema)).is_valid(value)
    wrapped = one_of({"look": schema, "other": schema}, parallel=False)
    call = {"name": "look", "arguments": value}
    assert jsonschema.Draft202012Validator(schema).is_valid(value) == plain
    assert jsonschema.Draft202012Validator(wrapped).is_valid(call) == plain


def test_arguments_are_checked_against_the_tools_own_schema() -> None:
    check = checker("look", {**of(a={"type": "integer", "multipleOf": 7}), "required": ["a"]})
    check('{"a": 14}')
    for text, says in (
        ('{"a": 15}', r"15 is not a multiple of 7 \(at \$\.a\)"),
        ("{}", "'a' is a required property"),
        ('{"a": ', "are no JSON"),
        ("[" * 100_000, "are no JSON"),
    ):
        with pytest.raises(LocalModelError, match=says):
            check(text)


def test_references_of_a_tools_schema_are_followed_but_never_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *_: pytest.fail("it was fetched"))
    checker("look", TREE)('{"v": 1, "next": {"v": 2}}')
    with pytest.raises(LocalModelError, match=r"cannot be checked .*example\.com"):
        checker("look", of(a={"$ref": "https://example.com/x.json"}))('{"a": 1}')


def test_a_schema_that_is_nothing_but_itself_is_told() -> None:
    with pytest.raises(LocalModelError, match="cannot be checked"):
        checker("look", {"$ref": "#"})("{}")


def test_a_schema_that_is_none_is_told() -> None:
    with pytest.raises(LocalModelError, match="are no JSON schema: 'nope' is not valid"):
        checker("look", {"type": "nope"})


def test_without_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(MissingExtra, match=r"llmsaver\[local\]"):
        checker("look", {"title": "never seen before"})
