"""Whether an answer keeps to the JSON schema it was given, and its tool calls to theirs."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmsaver.compare import parsed
from llmsaver.router.asked import forced_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.router.views import Answer, Asked

__all__ = ["schema", "tool_arguments"]

_SHOWN = 160
_NONE = parsed("")  # what stands for a text that is no JSON
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def schema(asked: Asked, answer: Answer) -> str | None:
    """Return why the text of an answer is not the JSON that was asked for; None where it is, or tools are called.

    Without the ``jsonschema`` package only the outermost type and its required keys are judged.
    """
    if not asked.json or answer.calls:
        return None
    value = _json(answer.text)
    if value is _NONE:
        # One fenced block around it is no fault of the answer's where only some JSON was asked for.
        value = _NONE if asked.schema is not None else parsed(answer.text)
    if value is _NONE:
        return "its text is no JSON"
    return None if asked.schema is None else _violation(asked.schema, value)


def tool_arguments(asked: Asked, answer: Answer) -> str | None:
    """Return what is wrong with an answer's tool calls; None where nothing is.

    Wrong: a tool nobody offered, arguments that are no JSON object or break the tool's schema, and no call, or one of
    another tool, where one was forced.
    """
    forced = forced_tool(asked)
    names = [call.name for call in answer.calls]
    if forced is not None and asked.tools and not names:
        return f"it does not call {repr(forced) if forced else 'any tool'}, as it must"
    if forced and names and forced not in names:
        return f"it calls {names[0]!r} where it must call {forced!r}"
    for call in answer.calls:
        if call.name not in asked.tools:
            if "hosted_tools" in asked.needs:
                continue  # the provider may offer tools that the request does not name
            return f"it calls {call.name!r}, which is none of the tools offered"
        parameters = asked.tools[call.name]
        if parameters is None:
            continue  # free text, or arguments that the provider alone knows
        value = _json(call.arguments or "{}")
        if not isinstance(value, dict):
            return f"its arguments for {call.name!r} are no JSON object"
        why = _violation(parameters, value)
        if why is not None:
            return f"its arguments for {call.name!r}: {why}"
    return None


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return _NONE


def _refused(name: str) -> Any:
    raise ValueError(name)


def _violation(wanted: Mapping[str, Any], value: Any) -> str | None:
    try:
        check = _checker(json.dumps(wanted))
        return check(value)
    except (TypeError, ValueError, RecursionError):
        return _roughly(wanted, value)


@lru_cache(maxsize=512)
def _checker(written: str) -> Callable[[Any], str | None]:
    """Make a check, once for every schema: judging the schema itself takes milliseconds."""
    wanted = json.loads(written)

    def rough(value: Any) -> str | None:
        return _roughly(wanted, value)

    try:
        import jsonschema
        from jsonschema.validators import validator_for
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import EMPTY_REGISTRY
    except ModuleNotFoundError:
        return rough
    kind = validator_for(wanted, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(wanted)
    except jsonschema.SchemaError:
        return rough
    validator = kind(wanted, registry=EMPTY_REGISTRY)  # a registry of its own: nothing is fetched from the network

    def check(value: Any) -> str | None:
        try:
            error = next(validator.iter_errors(value), None)
        except Unresolvable:
            return rough(value)
        if error is None:
            return None
        where = "/".join(map(str, error.absolute_path))
        return f"{where}: {error.message[:_SHOWN]}" if where else error.message[:_SHOWN]

    return check


def _roughly(wanted: Mapping[str, Any], value: Any) -> str | None:
    """Judge the outermost type and the keys it must have."""
    kind = wanted.get("type")
    expected = _TYPES.get(kind) if isinstance(kind, str) else None
    if expected is not None and not isinstance(value, expected):
        return f"it is no {kind}"
    required = wanted.get("required")
    if isinstance(value, dict) and isinstance(required, list):
        missing = next((key for key in required if isinstance(key, str) and key not in value), None)
        if missing is not None:
            return f"{missing!r} is a required property"
    return None
