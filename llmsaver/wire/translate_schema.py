"""Which JSON schemas each vendor keeps to strictly: both take a part of JSON Schema only, and not the same one.

Sources: "Structured outputs" in both vendors' guides, and what their SDKs' own schema helpers produce
(``openai.lib._pydantic``, ``anthropic.lib._parse._transform``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmsaver.wire.payload import as_dict, as_list
from llmsaver.wire.translate_terms import Untranslatable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_schema"]

_BOUNDS = (
    "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength maxItems uniqueItems contains "
    "minProperties maxProperties"
)
_RARE = "not if then else dependentRequired dependentSchemas patternProperties propertyNames unevaluatedProperties"
_REFUSED: Final = {
    "messages": frozenset(f"{_BOUNDS} {_RARE} prefixItems oneOf".split()),
    "chat": frozenset(f"{_RARE} allOf oneOf contains uniqueItems minProperties maxProperties".split()),
}
_LISTS: Final = ("anyOf", "allOf", "oneOf", "prefixItems")
_MAPS: Final = ("properties", "$defs", "definitions")


def check_schema(dialect: str, schema: Any, where: str) -> dict[str, Any]:
    """Return a schema to which the vendor of ``dialect`` keeps strictly; raise ``Untranslatable`` for any other."""
    if not isinstance(schema, dict):
        raise Untranslatable(f"{where} is no JSON schema: {schema!r}")
    try:
        for part, at in _parts(schema, where):
            fault = _fault(dialect, part)
            if fault is not None:
                raise Untranslatable(f"{at} has no equal in the other dialect, whose strict schemas have no {fault}")
        if dialect == "messages" and _recursive(schema):
            raise Untranslatable(f"{where} has no equal in the other dialect, whose strict schemas are not recursive")
    except RecursionError:
        raise Untranslatable(f"{where} is nested too deeply") from None
    return schema


def _parts(schema: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield a schema and every schema in it, each with its place."""
    yield schema, where
    for key in _MAPS:
        for name, part in as_dict(schema.get(key)).items():
            yield from _parts(as_dict(part), f"{where}.{key}.{name}")
    for key in _LISTS:
        for index, part in enumerate(as_list(schema.get(key))):
            yield from _parts(as_dict(part), f"{where}.{key}[{index}]")
    if isinstance(schema.get("items"), dict):
        yield from _parts(schema["items"], f"{where}.items")


def _fault(dialect: str, part: Mapping[str, Any]) -> str | None:
    refused = sorted(_REFUSED[dialect].intersection(part))
    if refused:
        return refused[0]
    if "properties" in part or "object" in _kinds(part):
        if part.get("additionalProperties") is not False:
            return "objects without additionalProperties: false"
        missing = set(as_dict(part.get("properties"))).difference(as_list(part.get("required")))
        if dialect == "chat" and missing:
            return f"optional property such as {min(missing)}"
    if dialect == "messages" and part.get("minItems") not in (None, 0, 1):
        return "minItems above 1"
    return None


def _kinds(part: Mapping[str, Any]) -> list[Any]:
    kind = part.get("type")
    return kind if isinstance(kind, list) else [kind]


def _recursive(schema: Mapping[str, Any]) -> bool:
    """Whether a definition leads back to itself, or to the whole schema."""
    leads: dict[str, set[str]] = {}
    for key in ("$defs", "definitions"):
        for name, part in as_dict(schema.get(key)).items():
            leads[f"#/{key}/{name}"] = {str(sub.get("$ref")) for sub, _ in _parts(as_dict(part), "")}
    if any(part.get("$ref") == "#" for part, _ in _parts(schema, "")):
        return True
    return any(_reaches(leads, start, start, set()) for start in leads)


def _reaches(leads: Mapping[str, set[str]], at: str, goal: str, seen: set[str]) -> bool:
    for following in leads.get(at, set()) - seen:
        seen.add(following)
        if following == goal or _reaches(leads, following, goal, seen):
            return True
    return False
