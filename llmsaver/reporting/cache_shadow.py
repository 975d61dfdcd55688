"""How the semantic cache's shadow looks on a terminal: hits against wrong answers, promise by promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import Column, columns
from llmsaver.reporting.words import count, many, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["shadow_as_text"]


def shadow_as_text(found: Sequence[Mapping[str, Any]], console: Console | None = None) -> None:
    """Write a table for each feature."""
    out = console or Console(highlight=False)
    if not found:
        _say(out, "nothing is known yet; let traffic pass through SemanticCache(shadow=True) first")
    for number, each in enumerate(found):
        if number:
            _say(out, "")
        _say(out, f"{shown(each['feature'])}: {many(each['known'], 'question')} with a known truth")
        if each["served"]:
            audits = f"{count(each['audited'])} checked, {count(each['audited_wrong'])} of them wrong"
            _say(out, f"{many(each['served'], 'hit')} served, {audits}; the rest of them is not below")
        points = each["curve"]
        table = [
            Column("max_wrong", [f"{point['max_wrong']:.1%}" for point in points]),
            Column("hits", [count(point["hits"]) for point in points], rank=1),
            Column("hit rate", [f"{point['hit_rate']:.1%}" for point in points]),
            Column("wrong", [count(point["wrong"]) for point in points], rank=2),
            Column("wrong/served", [f"{point['wrong_rate']:.2%}" for point in points]),
        ]
        for line in columns(table, out.width, ascii_only=out.options.ascii_only):
            _say(out, line)


def _say(out: Console, text: str) -> None:
    out.print(Text(text), soft_wrap=True)
