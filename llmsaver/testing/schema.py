"""A smallest instance of a JSON schema, so that `.parse()` and forced tools work without a script."""

from collections.abc import Mapping
from typing import Any

_SCALARS: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "null": None,
    "array": [],
}
_DEEPEST = 16


def example(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """Build a value that satisfies the usual schemas of structured outputs; recursion ends after 16 levels."""
    root = schema if root is None else root
    for key in ("anyOf", "oneOf", "allOf", "enum"):
        if schema.get(key):
            return schema[key][0] if key == "enum" else example(schema[key][0], root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "$ref" in schema and depth < _DEEPEST:
        return example(_resolve(schema["$ref"], root), root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "null")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: example(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}
    items = schema.get("items") if kind == "array" and depth < _DEEPEST else None
    return _SCALARS.get(kind) if items is None else [example(items, root, depth + 1)]


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found[part] if part else found
    resolved: Mapping[str, Any] = found
    return resolved
