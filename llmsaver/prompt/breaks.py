"""Prefixes that break their own cache: the same instructions but for a time, an id or a counter in them.

Only the last instructions and tools of a group are remembered, in memory; what is told of them is a kind and a place.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.prompt.volatile import changed, same_end, suspects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from llmsaver.prompt.outline import Outline

__all__ = ["Breaks", "parts_of"]

_GROUPS, _LONGEST = 500, 20_000
# Two texts that share less than this, at their beginnings and ends together, are two texts.
_LEAST_SHARED = 0.5


@dataclass(slots=True)
class _Seen:
    static: str
    parts: Mapping[str, str]
    told: str | None = None
    count: int = 0


class Breaks:
    """Compares each request's instructions with those before it; safe in threads, at most 500 groups of 20 kB."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def knows(self, group: str) -> bool:
        """Return whether a group's instructions were seen before; the first are looked at line by line."""
        with self._lock:
            return group in self._seen

    def look(self, group: str, dialect: str, body: Mapping[str, Any], outline: Outline, now: datetime) -> str | None:
        """Return what in a request's instructions breaks the cache: "timestamp in the system prompt, line 3"."""
        with self._lock:
            seen = self._seen.get(group)
            if seen is not None and seen.static == outline.static:
                self._seen.move_to_end(group)
                return None
        parts = parts_of(dialect, body)
        told = None
        if seen is not None:
            told = _difference(seen.parts, parts)
        elif outline.static_tokens:
            told = _looks(parts, now)
        with self._lock:
            count = (seen.count if seen else 0) + (told is not None)
            self._seen[group] = _Seen(outline.static, parts, told, count)
            self._seen.move_to_end(group)
            while len(self._seen) > _GROUPS:
                self._seen.popitem(last=False)
        return told

    def told(self) -> list[tuple[str, str, int]]:
        """Return group, reason and how often, of every group whose latest instructions broke its cache."""
        with self._lock:
            return [(group, seen.told, seen.count) for group, seen in self._seen.items() if seen.told is not None]


def parts_of(dialect: str, body: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts that every request of a kind begins with, by a name for people."""
    parts: dict[str, str] = {}
    if body.get("tools"):
        parts["the tools"] = json.dumps(body["tools"], indent=0, default=str)[:_LONGEST]
    system = body.get("system") if dialect == "messages" else body.get("instructions")
    texts = [_text(system)] if system else []
    turns = body.get("messages", body.get("input"))
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, dict) or turn.get("role") not in {"system", "developer"}:
            break
        texts.append(_text(turn.get("content")))
    if any(texts):
        parts["the system prompt"] = "\n".join(texts)[:_LONGEST]
    return parts


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def _difference(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """Return the first change between two requests' instructions; None where these are simply others."""
    for name, text in after.items():
        old = before.get(name)
        if old is None or old == text:
            continue
        found = changed(old, text)
        if found is None or found.start + same_end(old, text) < _LEAST_SHARED * len(text):
            return None
        return f"{found.kind} in {name}, line {found.line}"
    return None


def _looks(parts: Mapping[str, str], now: datetime) -> str | None:
    """Return what looks as if it will change, in the first request of a group."""
    system = parts.get("the system prompt", "")
    found = next(iter(suspects(system, now)), None)
    return None if found is None else f"{found.kind} in the system prompt, line {found.line}, looks as if it changes"
