"""Instances of JSON schemas."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from llmsaver.testing.schema import example


class Leaf(BaseModel):
    kind: Literal["a", "b"]
    share: float
    note: str | None


class Tree(BaseModel):
    leaf: Leaf
    leaves: list[Leaf]
    on: bool


def test_it_satisfies_pydantics_schemas() -> None:
    assert Tree.model_validate(example(Tree.model_json_schema())).leaf.kind == "a"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, None),
        ({"const": 3}, 3),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "array"}, []),
        ({"properties": {"x": {"type": "boolean"}}}, {"x": True}),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"type": "string", "enum": ["z"]}, "z"),
    ],
)
def test_small_schemas(schema: dict[str, Any], value: Any) -> None:
    assert example(schema) == value


def test_recursion_ends() -> None:
    assert example({"type": "array", "items": {"$ref": "#"}}) is not None
    assert example({"$ref": "#"}) is None
