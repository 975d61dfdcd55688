"""Two texts as JSON: equal whatever the order of keys, or leaf by leaf where only their strings differ."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Absent", "json_equal", "parsed", "strings_paired"]

_FENCE = "```"


class Absent:
    """Stands for a text that is no JSON, since ``null`` is."""


def parsed(text: str) -> Any:
    """Return the JSON value that a text is, alone or in one fenced block; ``Absent`` where it is none.

    Numbers with a point are ``Decimal``, so that none is rounded to another; NaN and Infinity are no JSON.
    """
    try:
        return json.loads(_unfenced(text), parse_float=Decimal, parse_constant=_refused)
    except (ValueError, ArithmeticError, RecursionError):
        return Absent


def json_equal(one: str, other: str) -> bool:
    """Tell whether both texts are JSON and of equal value: order of keys and white space do not count, 1 is 1.0."""
    left, right = parsed(one), parsed(other)
    if left is Absent or right is Absent:
        return False
    try:
        return _equal(left, right)
    except RecursionError:
        return False


def strings_paired(left: Any, right: Any) -> list[tuple[str, str]] | None:
    """Return the strings at the same places of two values; None where anything but a string differs."""
    try:
        return list(_pairs(left, right))
    except (_Differs, RecursionError):
        return None


class _Differs(Exception):  # noqa: N818 - says that a value has another shape, which is no fault
    """Something other than a string differs."""


def _pairs(left: Any, right: Any) -> Iterator[tuple[str, str]]:
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key, value in left.items():
            yield from _pairs(value, right[key])
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for one, other in zip(left, right, strict=True):
            yield from _pairs(one, other)
    elif isinstance(left, str) and isinstance(right, str):
        yield left, right
    elif not _equal(left, right):
        raise _Differs


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(_equal(value, right[key]) for key, value in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_equal, left, right))
    # To Python, True is 1.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _refused(name: str) -> Any:
    raise ValueError(name)


def _unfenced(text: str) -> str:
    text = text.strip()
    if not (text.startswith(_FENCE) and text.endswith(_FENCE) and len(text) >= 2 * len(_FENCE)):
        return text
    # What follows the opening fence is the language's name, if anything.
    return text[: -len(_FENCE)].partition("\n")[2]
