"""Schemas: what each vendor keeps to strictly, by the sentence that refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from llmsaver.wire.translate import Untranslatable
from llmsaver.wire.translate_schema import check_schema


class Address(BaseModel):
    street: str
    number: int | None


class Plain(BaseModel):
    name: str
    homes: list[Address]


def test_what_each_sdk_makes_of_a_model_is_taken_by_its_own_vendor() -> None:
    from anthropic import transform_schema
    from openai.lib._pydantic import to_strict_json_schema

    ours, theirs = to_strict_json_schema(Plain), transform_schema(Plain)
    assert check_schema("chat", ours, "schema") is ours
    assert check_schema("messages", theirs, "schema") is theirs
    assert check_schema("chat", theirs, "schema")
    assert check_schema("messages", ours, "schema")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


NODE = _object(next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]})
PAIR = {
    "a": _object(b={"$ref": "#/$defs/b"}),
    "b": _object(c={"$ref": "#/$defs/c"}),
    "c": _object(x={"type": "string"}),
}
REFUSED: list[tuple[str, Any, str]] = [
    ("messages", _object(age={"type": "integer", "minimum": 0}), "schema.properties.age has no equal"),
    ("messages", _object(age={"type": "integer", "minimum": 0}), "have no minimum"),
    ("messages", _object(some={"type": "array", "items": {"type": "string", "maxLength": 3}}), "some.items"),
    ("messages", _object(some={"type": "array", "minItems": 2}), "minItems above 1"),
    ("messages", _object(one={"oneOf": []}), "oneOf"),
    ("messages", {"anyOf": [{"type": "string"}, {"type": ["object", "null"]}]}, "schema.anyOf[1]"),
    ("messages", {"type": "object"}, "additionalProperties"),
    ("messages", {**_object(), "$defs": {"node": NODE}}, "not recursive"),
    ("messages", _object(self={"$ref": "#"}), "not recursive"),
    ("messages", {**_object(), "definitions": {"x": {"type": "string", "pattern": "a", "if": {}}}}, "have no if"),
    ("chat", {**_object(), "properties": {"a": {"type": "string"}}}, "optional property such as a"),
    ("chat", _object(all={"allOf": []}), "allOf"),
    ("chat", {"type": "object", "properties": {}}, "additionalProperties"),
    ("chat", None, "no JSON schema"),
    ("chat", "object", "no JSON schema"),
]


@pytest.mark.parametrize(("dialect", "schema", "why"), REFUSED)
def test_a_schema_the_vendor_would_refuse_is_refused_here(dialect: str, schema: Any, why: str) -> None:
    with pytest.raises(Untranslatable) as found:
        check_schema(dialect, schema, "schema")
    assert why in found.value.why


TAKEN: list[tuple[str, Any]] = [
    ("chat", _object(age={"type": "integer", "minimum": 0}, word={"type": "string", "pattern": "a"})),
    ("chat", {**_object(), "$defs": {"node": NODE}}),
    ("messages", {**_object(), "properties": {"a": {"type": "string"}}}),
    ("messages", _object(some={"type": "array", "minItems": 1, "items": {"allOf": [{"type": "string"}]}})),
    ("messages", {**_object(a={"$ref": "#/$defs/a"}, b={"$ref": "#/$defs/b"}), "$defs": PAIR}),
]


@pytest.mark.parametrize(("dialect", "schema"), TAKEN)
def test_a_schema_the_vendor_takes_passes(dialect: str, schema: Any) -> None:
    assert check_schema(dialect, schema, "schema") is schema


def test_a_schema_deeper_than_the_stack_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(Untranslatable, match="too deeply"):
        check_schema("chat", schema, "schema")
