"""How budgets look: two lines each, a bar in the second."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import bar, clip
from llmsaver.reporting.words import lasting, many, money, percent, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.ledger import Budget
    from llmsaver.reporting.budgets import BudgetState, Change, Room

__all__ = ["as_text", "told"]

_BAR, _SHORT = 20, 8
_NONE = "No budgets yet. Declare one in code, @budget('support-bot', usd=5, per='day'), or here:"
_HOW = "  llmsaver budgets set support-bot --usd 5 --per day"
_TIGHT, _FULL = 0.8, 1.0


def as_text(states: Sequence[BudgetState], now: float, console: Console | None = None, *, top: int = 20) -> None:
    """Write the ``top`` budgets with the least room left."""
    out = console or Console(highlight=False)
    if not states:
        out.print(Text(_NONE), soft_wrap=True)
        out.print(Text(_HOW), soft_wrap=True)
    for state in states[:top]:
        for line in _lines(state, now, out.width, ascii_only=out.options.ascii_only):
            out.print(line, soft_wrap=True)
    if len(states) > top:
        out.print(Text(f"{len(states) - top:,} more with more room; --top shows more", style="dim"))


def told(change: Change) -> str:
    """Return what setting a budget changed, in a line."""
    name = shown(change.after.name)
    if change.before is None:
        return f"budget {name}: new, {_terms(change.after)}"
    if not change.differences:
        return f"budget {name}: unchanged, {_terms(change.after)}"
    parts = [
        f"{_WORDS.get(term, f'{term} ')}{_value(term, old)} -> {_value(term, new)}"
        for term, old, new in change.differences
    ]
    return f"budget {name}: {', '.join(parts)}; in force now for every program that shares the ledger"


_WORDS = {
    "limit_nano": "",
    "limit_tokens": "tokens ",
    "limit_calls": "calls ",
    "hard": "",
    "max_call_nano": "held for a call without a bound ",
}


def _value(term: str, value: object) -> str:
    if term == "hard":
        return "hard" if value else "soft"
    if term == "thresholds":
        return ", ".join(percent(share) for share in value) if isinstance(value, tuple) and value else "none"
    if value is None:
        return "no limit" if term.startswith("limit") else "none"
    if isinstance(value, int):
        return money(value) if term.endswith("_nano") else f"{value:,}"
    return shown(str(value))


def _terms(budget: Budget) -> str:
    limits = [
        money(budget.limit_nano) if budget.limit_nano is not None else "",
        many(budget.limit_tokens, "token") if budget.limit_tokens is not None else "",
        many(budget.limit_calls, "call") if budget.limit_calls is not None else "",
    ]
    said = " and ".join(limit for limit in limits if limit)
    per = "in total" if budget.per == "total" else f"per {budget.per}"
    zone = f" ({budget.tz})" if budget.per in {"day", "month"} else ""
    scope = "" if budget.scope == "feature" else f", {'the whole ' if budget.scope == 'organisation' else 'each '}"
    scope += "" if budget.scope == "feature" else shown(budget.scope.removeprefix("tag:"))
    return f"{said} {per}{zone}{scope}, {'hard' if budget.hard else 'soft'}"


def _lines(state: BudgetState, now: float, width: int, *, ascii_only: bool) -> list[Text]:
    name = shown(state.budget.name) + (f" [{shown(state.key)}]" if state.key else "")
    resets = "never resets" if state.resets_at is None else f"resets in {lasting(state.resets_at - now)}"
    terms = f"  {_terms(state.budget)}; {resets}"
    rooms = [_room(room, state, width, ascii_only=ascii_only) for room in state.rooms]
    if cell_len(name) + len(terms) > width:
        return [Text(clip(name, width, ascii_only=ascii_only), style="bold"), Text(terms), *rooms]
    return [Text(name, style="bold").append(terms, style="not bold"), *rooms]


def _room(room: Room, state: BudgetState, width: int, *, ascii_only: bool) -> Text:
    def amount(value: int) -> str:
        return money(value) if room.unit == "nano" else many(value, room.unit.removesuffix("s"))

    parts = [f"spent {amount(room.spent)}"]
    if room.unit == "nano" and state.spent_low is not None and state.spent_low < room.spent:
        parts[0] += f" (at least {money(state.spent_low)})"
    if room.held:
        parts.append(f"held {amount(room.held)}")
    words = ", ".join([*parts, f"left {amount(room.remaining)}"])
    style = "red" if room.used >= _FULL else "yellow" if room.used >= _TIGHT else "green"
    cells = min(_BAR, max(_SHORT, width - len(words) - 13))
    drawn = bar(room.used, cells, ascii_only=ascii_only)
    line = Text("  [").append(drawn, style=style)
    return line.append(" " * (cells - len(drawn)) + f"] {percent(room.used):>6}  {words}")
