r"""Tools' parameter schemas: as llama.cpp's grammar understands them, and as the judge of what a model wrote.

Measured on xllamacpp 2026.10: the grammar resolves ``#/$defs/Name`` and nothing else (no ``#``, no escaped pointer), it
refuses ``true`` as a schema, and it ignores in silence what it does not know: unanchored patterns and such with ``\d``
or lookaheads, bounds of non-integers, multipleOf, not, if, dependentRequired, required names that have no property.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from llmsaver.errors import LocalModelError, MissingExtra, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["answer_schema", "checker", "grammar", "one_of"]

# Keys whose value is a mapping of names to schemas, a list of schemas, or one schema.
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LISTED = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_NESTED = frozenset({
    "items",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
})  # fmt: skip
_NAMES_ONLY = frozenset({"$defs", "definitions", "$schema", "$id"})
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t\\n\\r"}
# Keys that say what a schema is without a type.
_SHAPES = frozenset({"$ref", "anyOf", "oneOf", "allOf", "const", "enum"})
_MOST_CALLS = 16
_SHOWN = 200


def grammar(name: str, schema: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a tool's schema as the local server can keep to it, references made plain; the given one is not changed.

    Its definitions are named ``prefix`` and a number. Raises ``LocalModelError`` for what cannot be: a reference to
    elsewhere, or arguments that are no object.
    """
    plain = _Plain(f"tool {name!r}: its parameters", schema, prefix)
    root = plain.of(schema)
    if root.get("type", "object") != "object":
        raise LocalModelError(f"tool {name!r}: its parameters must be an object, not {root['type']!r}")
    if not _SHAPES & root.keys():
        root["type"] = "object"
        if "additionalProperties" not in root and "patternProperties" not in root:
            root.setdefault("properties", {})  # without it the grammar allows any key
    return {**root, "$defs": plain.definitions} if plain.definitions else root


def answer_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema that a whole answer is held to as the local server can keep to it; raises as ``grammar``."""
    plain = _Plain("the answer's JSON schema", schema, "")
    root = plain.of(schema)
    return {**root, "$defs": plain.definitions} if plain.definitions else root


def one_of(schemas: Mapping[str, Mapping[str, Any]], *, parallel: bool) -> dict[str, Any]:
    """Return the schema of a call of one of several tools (a list of calls where ``parallel``), the name first."""
    definitions: dict[str, Any] = {}
    calls = []
    for number, (name, schema) in enumerate(schemas.items()):
        arguments = grammar(name, schema, f"t{number}.")
        definitions |= arguments.pop("$defs", {})
        calls.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}, "arguments": arguments},
                "required": ["name", "arguments"],
            }
        )
    call: dict[str, Any] = {"anyOf": calls} if len(calls) > 1 else calls[0]
    if parallel:
        call = {"type": "array", "items": call, "minItems": 1, "maxItems": _MOST_CALLS}
    return {**call, "$defs": definitions} if definitions else call


def checker(name: str, schema: Mapping[str, Any]) -> Callable[[str], None]:
    """Return a check of arguments in JSON against a tool's own schema.

    It raises ``LocalModelError``, as this function does for a schema that is none; ``MissingExtra`` without jsonschema.
    """
    return _checker(name, json.dumps(schema))


@lru_cache(maxsize=512)
def _checker(name: str, written: str) -> Callable[[str], None]:
    """Make a check, once for every tool: judging a schema itself takes milliseconds."""
    try:
        import jsonschema
        from jsonschema.validators import validator_for
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import EMPTY_REGISTRY
    except ModuleNotFoundError:
        raise MissingExtra("tools of local models", "local") from None

    schema = json.loads(written)
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise LocalModelError(f"tool {name!r}: its parameters are no JSON schema: {error.message[:_SHOWN]}") from None
    validator = kind(schema, registry=EMPTY_REGISTRY)  # a registry of its own: nothing is fetched from the network

    def check(arguments: str) -> None:
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            raise LocalModelError(
                f"the local model's arguments for tool {name!r} are no JSON: {arguments[:_SHOWN]!r}"
            ) from None
        try:
            wrong = next(iter(validator.iter_errors(value)), None)
        except (Unresolvable, RecursionError) as error:
            what = in_words(error)
            raise LocalModelError(f"tool {name!r}: its parameters cannot be checked ({what[:_SHOWN]})") from None
        if wrong is not None:
            raise LocalModelError(
                f"the local model's arguments for tool {name!r} do not keep to its schema: {wrong.message[:_SHOWN]} "
                f"(at {wrong.json_path}); its grammar knows no {wrong.validator!r} here, so try again or simplify it"
            )

    return check


class _Plain:
    """One schema with every reference as ``#/$defs/rN``, the names after a prefix."""

    def __init__(self, what: str, root: Mapping[str, Any], prefix: str) -> None:
        self._what = what
        self._root = root
        self._prefix = prefix
        self._known: dict[str, str] = {}
        self.definitions: dict[str, Any] = {}

    def of(self, schema: Any) -> dict[str, Any]:
        """Return a schema without its definitions, and with what it refers to noted in ``definitions``."""
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            raise LocalModelError(f"{self._what} cannot be kept to: {schema!r} is no schema that llama.cpp knows")
        plain = {key: self._member(key, value) for key, value in schema.items() if key not in _NAMES_ONLY}
        properties = plain.get("properties")
        if isinstance(properties, dict):
            for name in plain.get("required", ()):
                properties.setdefault(name, {})
        return plain

    def _member(self, key: str, value: Any) -> Any:
        """Return the plain value of one key of a schema."""
        if key == "$ref":
            return self._reference(value)
        if key in _NAMED and isinstance(value, dict):
            return {name: self.of(part) for name, part in value.items()}
        if key in _LISTED and isinstance(value, list):
            return [self.of(part) for part in value]
        if key in _NESTED and isinstance(value, dict):
            return self.of(value)
        return _spelled_out(value) if key == "pattern" and isinstance(value, str) else value

    def _reference(self, pointer: Any) -> str:
        if not isinstance(pointer, str) or (pointer != "#" and not pointer.startswith("#/")):
            raise LocalModelError(
                f"{self._what} cannot be kept to: $ref {pointer!r} leads elsewhere; put the definition under $defs"
            )
        if pointer not in self._known:
            self._known[pointer] = name = f"{self._prefix}r{len(self._known)}"
            self.definitions[name] = {}  # first, so that a schema may refer to itself
            self.definitions[name] = self.of(self._target(pointer))
        return f"#/$defs/{self._known[pointer]}"

    def _target(self, pointer: str) -> Any:
        target: Any = self._root
        try:
            for part in unquote(pointer[1:]).split("/")[1:]:
                key = part.replace("~1", "/").replace("~0", "~")
                target = target[int(key)] if isinstance(target, list) else target[key]
        except (KeyError, IndexError, ValueError, TypeError):
            raise LocalModelError(f"{self._what} cannot be kept to: $ref {pointer!r} leads to nothing") from None
        return target


def _spelled_out(pattern: str) -> str:
    r"""Return a pattern with ``\d``, ``\w`` and ``\s`` as classes; with those the grammar would drop it."""
    inside = False

    def spelled(match: re.Match[str]) -> str:
        nonlocal inside
        sign = match.group()
        if sign in {"[", "]"}:
            inside = sign == "["
            return sign
        letters = _CLASSES.get(sign[1:])
        return sign if letters is None else letters if inside else f"[{letters}]"

    return re.sub(r"\\.|[\[\]]", spelled, pattern)
