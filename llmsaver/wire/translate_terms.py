"""What both directions of a translation share: the refusal, and the checks that lead to it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = [
    "CALL_ID",
    "DEFAULT_MAX_TOKENS",
    "EFFORTS",
    "NAME",
    "Untranslatable",
    "json_object",
    "limit_of",
    "objects",
    "refuse_others",
]

# The messages dialect has no "as many as the model can": what a chat request without a limit gets there. Every model
# since Claude 3.5 allows it, and an answer that needs more says so ("length"), where it can be judged.
DEFAULT_MAX_TOKENS: Final = 8192
# The levels of reasoning_effort and of output_config.effort that have one name.
EFFORTS: Final = frozenset({"low", "medium", "high", "xhigh", "max"})
# Names of tools that both vendors take (Anthropic's may have 128 characters), and ids of calls that Anthropic takes.
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")


class Untranslatable(Exception):  # noqa: N818 - reads as what it says
    """A request or an answer has no equal in the other dialect; ``why`` is one sentence that names the field."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def refuse_others(
    given: Mapping[str, Any], where: str, known: Collection[str], neutral: Mapping[str, Collection[Any]] | None = None
) -> None:
    """Raise ``Untranslatable`` for a key outside ``known`` that says something.

    Null, an empty list or object, and the values that ``neutral`` lists for a key ask for nothing.
    """
    for key, value in given.items():
        if key in known or value is None or value in ([], {}):
            continue
        if neutral is None or value not in neutral.get(key, ()):
            raise Untranslatable(f"{where}{key} has no equal in the other dialect: {_short(value)}")


def objects(value: Any, where: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects, empty for null; raise ``Untranslatable`` for anything else."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Untranslatable(f"{where} is no list of objects: {_short(value)}")
    return value


def json_object(text: Any, where: str) -> dict[str, Any]:
    """Return the JSON object that ``text`` holds, an empty one for none; raise ``Untranslatable`` for anything else."""
    if text in (None, ""):
        return {}
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (TypeError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Untranslatable(f"{where} is no JSON object: {_short(text)}")
    return value


def limit_of(value: Any, where: str) -> int:
    """Return a limit in tokens; raise ``Untranslatable`` for what is none (0 included)."""
    if type(value) is not int or value < 1:
        raise Untranslatable(f"{where} is no number of tokens above 0: {_short(value)}")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - as much as a sentence bears
