"""How the cache looks on a terminal: what is stored, what that saved, and one answer in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import Column, columns
from llmsaver.reporting.words import count, lasting, many, minute, money, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["entry_as_text", "stats_as_text"]

_KIB, _MIB = 1 << 10, 1 << 20
_TOP = 20


def stats_as_text(stats: Mapping[str, Any], now: float, console: Console | None = None) -> None:
    """Write what is stored, and the models with the most hits."""
    out = console or Console(highlight=False)
    if not stats["entries"]:
        _say(out, f"nothing is stored in {stats['place']}")
        return
    stale = stats["entries"] - stats["live"]
    _say(out, f"{many(stats['entries'], 'answer')} in {stats['place']}, {_bytes(stats['bytes'])}")
    _say(out, f"since {minute(stats['oldest'])} UTC, the latest {lasting(now - stats['newest'])} ago")
    if stale:
        _say(out, f"{many(stale, 'answer')} too old to be served")
    _say(out, f"{many(stats['hits'], 'hit')} saved {money(stats['saved_nano'])}")
    models = stats["models"][:_TOP]
    table = [
        Column("model", [shown(str(each["model"] or "-")) for each in models], left=True, least=12),
        Column("answers", [count(each["entries"]) for each in models], rank=1),
        Column("size", [_bytes(each["bytes"]) for each in models], rank=2),
        Column("hits", [count(each["hits"]) for each in models]),
        Column("saved", [money(each["saved_nano"]) for each in models]),
    ]
    _say(out, "")
    for line in columns(table, out.width, ascii_only=out.options.ascii_only):
        _say(out, line)
    if len(stats["models"]) > _TOP:
        _say(out, f"{len(stats['models']) - _TOP:,} more models; --json shows all")


def entry_as_text(entry: Mapping[str, Any], now: float, console: Console | None = None) -> None:
    """Write one stored answer: what it is, what it saves, and its message."""
    out = console or Console(highlight=False)
    age, left = now - entry["created_at"], entry["expires_at"] - now
    facts = [
        ("key", entry["key"]),
        ("model", f"{entry['model'] or '-'} ({entry['dialect']})"),
        ("feature", entry["feature"]),
        ("tenant", "-" if entry["tenant"] is None else entry["tenant"]),
        ("tags", ", ".join(entry["tags"]) or "-"),
        ("stored", f"{lasting(age)} ago, {'expires in ' + lasting(left) if left > 0 else 'expired'}"),
        ("hits", f"{count(entry['hits'])}, each saves {money(entry['cost_nano'])}"),
    ]
    for name, value in facts:
        _say(out, f"{name:<8} {shown(str(value))}")
    if entry["text"]:
        _say(out, f"question {shown(entry['text'])}")
    _say(out, json.dumps(entry["message"], indent=2))


def _say(out: Console, text: str) -> None:
    out.print(Text(text), soft_wrap=True)


def _bytes(size: int) -> str:
    if size >= _MIB:
        return f"{size / _MIB:,.1f} MiB"
    return f"{size / _KIB:,.1f} KiB" if size >= _KIB else f"{size} bytes"
