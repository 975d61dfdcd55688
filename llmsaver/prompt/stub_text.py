"""What stands in the place of an output that was left out: what it was, and how to have it again."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["RECALL", "stub_of"]

RECALL = "llmsaver_recall"
_LINE, _KEYS, _IDS = 160, 24, 12
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
# What later turns refer to: uuids, hashes, tickets and numbers of some length, addresses.
_ID = re.compile(
    r"\b(?:[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|(?=[0-9a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{7,40}"
    r"|[A-Za-z]{2,12}[-_#]\d{2,}|\d{5,19}|[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{2,63})\b"
)
# Ids are looked for in this much of a text: a stub says what it was, and is no index of it.
_LOOKED = 200_000
_DEEPEST = 1 << 20


def stub_of(text: str, name: str, reference: str, *, tool: bool) -> str:
    """Return the stub of a tool's output; ``tool``: whether the model can call for the original itself."""
    what = f"output of {_clean(name)}" if name else "a tool's output"
    told = [f"[{what}, {len(text):,} characters, left out here: it was read in earlier turns. {_described(text)}"]
    ids = list(dict.fromkeys(_ID.findall(text[:_LOOKED])))
    if ids:
        more = f" and {len(ids) - _IDS:,} more" if len(ids) > _IDS else ""
        told.append(f"Ids in it: {', '.join(ids[:_IDS])}{more}.")
    how = f"call {RECALL} with the reference {reference}" if tool else f"reference {reference}"
    told.append(f"For the whole text: {how}]")
    return " ".join(told)


def _described(text: str) -> str:
    if text.lstrip()[:1] in {"{", "["} and len(text) <= _DEEPEST:
        try:
            return _json(json.loads(text))
        except (ValueError, RecursionError):
            pass  # no JSON, though it begins as such
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return "It was blank."
    first = f"First of {len(lines):,} lines: {_quoted(lines[0])}."
    return first if len(lines) == 1 else f"{first} Last line: {_quoted(lines[-1])}."


def _json(value: Any) -> str:
    if isinstance(value, list):
        rows = [row for row in value if isinstance(row, dict)]
        keys = f" with {_keys(rows[0])}" if rows else ""
        return f"JSON: {len(value):,} rows{keys}."
    told = [f"JSON with {_keys(value)}."]
    lists = [(key, part) for key, part in value.items() if isinstance(part, list)]
    told += [f"{_clean(key)}: {len(part):,} rows." for key, part in lists[:_KEYS]]
    return " ".join(told)


def _keys(row: dict[str, Any]) -> str:
    names = [_clean(key) for key in list(row)[:_KEYS]]
    more = f" and {len(row) - _KEYS:,} more" if len(row) > _KEYS else ""
    return f"the keys {', '.join(names)}{more}" if names else "no keys"


def _quoted(line: str) -> str:
    line = line.strip()
    return json.dumps(_tame(line[:_LINE]) + ("..." if len(line) > _LINE else ""), ensure_ascii=False)


def _clean(name: str) -> str:
    return _tame(name)[:_LINE]


def _tame(text: str) -> str:
    """Return a text without control characters and without what has no UTF-8."""
    return _CONTROL.sub(" ", text).encode("utf-8", "replace").decode()
