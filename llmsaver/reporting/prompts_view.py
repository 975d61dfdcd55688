"""How the costliest prompts look: a table, and under each line what would make it cheaper."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import Column, columns, pointed
from llmsaver.reporting.moments import zone
from llmsaver.reporting.words import count, many, minute, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmsaver.reporting.prompts import Prompts

__all__ = ["as_text", "described"]

_NAME, _HASH, _INDENT = 10, 8, "    "


def as_text(found: Prompts, console: Console | None = None) -> None:
    """Write the prompts."""
    out = console or Console(highlight=False)
    for line in described(found, out.width, ascii_only=out.options.ascii_only):
        out.print(line, soft_wrap=True)


def described(found: Prompts, width: int = 80, *, ascii_only: bool = False) -> Iterator[Text]:
    """Yield the lines, none wider than ``width`` cells where that is 60 or more."""
    since = "" if found.since is None else f" since {minute(found.since // 60 * 60, zone('UTC'))}"
    yield Text(f"llmsaver prompts: {many(found.calls, 'call')} that a provider answered{since}", style="bold")
    if not found.lines:
        yield Text("Nothing to show: no such call in this time. Widen --since.")
        yield Text(f"ledger: {shown(found.ledger)}", style="dim")
        return
    yield Text()
    lines = found.lines
    table = [
        Column("feature", [shown(line.feature) for line in lines], left=True, least=_NAME),
        Column("model", [shown(line.model) or "(none)" for line in lines], rank=1, left=True, least=_NAME),
        Column("begins with", [line.prefix[:_HASH] or "nothing alike" for line in lines], rank=4, left=True),
        Column("calls", [count(line.calls) for line in lines]),
        Column("tokens", [count(line.input_tokens) for line in lines], rank=2),
        Column("spend", pointed([money(line.cost_nano) for line in lines])),
        Column("read %", [percent(line.read_share, cut=True) for line in lines], rank=3),
    ]
    heading, *rows = columns(table, width, ascii_only=ascii_only)
    yield Text(heading, style="bold")
    for row, line in zip(rows, lines, strict=True):
        yield Text(row)
        for advice in line.advice:
            told = textwrap.wrap(shown(advice.told), width - len(_INDENT) - 2)
            yield from (Text(f"{_INDENT}{'- ' if not at else '  '}{each}", "yellow") for at, each in enumerate(told))
    yield Text()
    if found.number > len(lines):
        yield Text(f"{found.number - len(lines):,} more; --limit shows more", style="dim")
    if found.cut:
        yield Text(f"older calls than the latest {found.calls:,} are left out", style="dim")
    yield Text(f"ledger: {shown(found.ledger)}", style="dim")
