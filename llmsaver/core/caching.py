"""What a caller says about caching one call, in the words of HTTP's Cache-Control."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmsaver.errors import ConfigurationError

__all__ = ["NOTHING_SAID", "PAST_EVERY_CACHE", "Caching", "caching", "seconds"]

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|d|w)?", re.ASCII)
_UNITS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_LONGEST = 1_000 * 366 * 86_400
_MODES = ("default", "no-cache", "no-store", "refresh", "only-if-cached")
_KEYS = ("mode", "max_age", "tags")
_FIX = (
    f'write "{_MODES[1]}", "{_MODES[2]}", "{_MODES[3]}" or "{_MODES[4]}", several joined by commas, '
    '"max-age=60" or "tag=x" beside them, or a mapping {"mode": ..., "max_age": seconds, "tags": [...]}'
)


@dataclass(frozen=True, slots=True)
class Caching:
    """What may happen to one call.

    ``read``: a stored answer may be served; ``write``: the answer may be stored; ``replace``: in the place of one that
    is stored and live; ``only``: nothing but a stored answer will do; ``max_age``: seconds after which a stored answer
    is too old for this caller, None for its own lifetime; ``tags``: names under which the answer can be invalidated.
    """

    read: bool = True
    write: bool = True
    replace: bool = False
    only: bool = False
    max_age: float | None = None
    tags: tuple[str, ...] = ()


NOTHING_SAID = Caching()
PAST_EVERY_CACHE = Caching(read=False, write=False)


def caching(value: Any, source: str) -> Caching:
    """Read the option ``cache``: a string, a mapping, or what this function returned.

    "no-cache" wants an answer of its own and leaves a stored one in place; "no-store" keeps the answer out of the
    store, but may be served from it; "refresh" replaces what is stored; "only-if-cached" never goes upstream. Raises
    ``ConfigurationError`` with what would be right; ``source`` names the place in it.
    """
    if isinstance(value, Caching):
        return value
    if isinstance(value, str):
        return _from_words(value, source)
    if not isinstance(value, Mapping):
        raise _wrong(value, source)
    unknown = [key for key in value if key not in _KEYS]
    if unknown:
        raise ConfigurationError(
            f"option 'cache' in {source} has no key {unknown[0]!r}; its keys are {', '.join(_KEYS)}"
        )
    mode, tags = value.get("mode", "default"), value.get("tags", ())
    if not isinstance(mode, str):
        raise _wrong(mode, source)
    if isinstance(tags, str) or not _are_names(tags):
        raise ConfigurationError(f"option 'cache' in {source}: tags must be a list of non-empty strings, not {tags!r}")
    made = _from_words(mode, source)
    age = value.get("max_age")
    max_age = made.max_age if age is None else seconds(age, f"option 'cache' in {source}: max_age")
    return Caching(made.read, made.write, made.replace, made.only, max_age, (*made.tags, *tags))


def seconds(value: Any, what: str) -> float:
    """Return a stretch of time in seconds: a number, or "90s", "5m", "12h", "1d", "2w".

    Raises ``ConfigurationError`` that begins with ``what``.
    """
    found = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if math.isfinite(value) else -1.0
    elif isinstance(value, str) and (match := _SPAN.fullmatch(value.strip().lower())):
        found = float(match[1]) * _UNITS[match[2]]
    if not 0 <= found <= _LONGEST:
        raise ConfigurationError(f"{what} is no stretch of time: {value!r}; write seconds, or 90s, 5m, 12h, 1d, 2w")
    return found


def _from_words(text: str, source: str) -> Caching:
    modes: set[str] = set()
    tags: list[str] = []
    max_age: float | None = None
    for part in text.split(","):
        word, equals, value = (piece.strip() for piece in part.partition("="))
        word = word.lower().replace("_", "-")
        if equals and word == "max-age":
            max_age = seconds(value, f"option 'cache' in {source}: max-age")
        elif equals and word == "tag" and value:
            tags.append(value)
        elif not equals and word in _MODES:
            modes.add(word)
        else:
            raise _wrong(text, source)
    if {"only-if-cached"} < modes - {"default"} and modes & {"no-cache", "refresh"}:
        raise ConfigurationError(
            f"option 'cache' in {source} asks for a stored answer and for none at once: {text!r}; keep one of the two"
        )
    return Caching(
        read=not modes & {"no-cache", "refresh"},
        write="no-store" not in modes,
        replace="refresh" in modes,
        only="only-if-cached" in modes,
        max_age=max_age,
        tags=tuple(tags),
    )


def _are_names(tags: Any) -> bool:
    return isinstance(tags, list | tuple | set | frozenset) and all(isinstance(tag, str) and tag for tag in tags)


def _wrong(value: Any, source: str) -> ConfigurationError:
    return ConfigurationError(f"option 'cache' in {source} cannot be {value!r}: {_FIX}")
