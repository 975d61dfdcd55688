"""What every budget allows, has spent and holds, and putting new terms in force."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import Budget
from llmsaver.ledger.budget import nano_of
from llmsaver.pricing import plain
from llmsaver.reporting.books import begun, reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.ledger import Ledger

__all__ = [
    "UNITS",
    "BudgetState",
    "Change",
    "Room",
    "as_json",
    "budget_states",
    "limits",
    "remove_budget",
    "set_budget",
    "terms",
]

UNITS = {"nano": "usd", "tokens": "tokens", "calls": "calls"}


@dataclass(frozen=True, slots=True)
class Room:
    """A limit and what is left of it, in nano-dollars, tokens or calls (``unit`` is nano, tokens or calls)."""

    unit: str
    limit: int
    spent: int
    held: int

    @property
    def remaining(self) -> int:
        """What new calls may still use."""
        return max(0, self.limit - self.spent - self.held)

    @property
    def used(self) -> float:
        """The share that is spent or held, above 1 where a soft budget is overdrawn."""
        return (self.spent + self.held) / self.limit if self.limit else 1.0


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget, one of its pots (``key`` is "" for the only one) and the window that is open.

    ``resets_at`` is seconds since the epoch, None where it never does. ``spent_low`` is the least that was spent, in
    nano-dollars: less than ``spent`` where estimates are in it, which a budget counts at their upper bound. ``alert``
    is who is told when a threshold is crossed, ``max_call`` what a call that cannot be bounded is held at, in
    nano-dollars.
    """

    budget: Budget
    key: str
    rooms: tuple[Room, ...]
    resets_at: float | None
    spent_low: int | None = None
    alert: str | None = None
    max_call: int | None = None

    @property
    def used(self) -> float:
        """The share of the limit that comes first."""
        return max(room.used for room in self.rooms)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine; dollars are exact decimal strings, times seconds since the epoch."""
        told: dict[str, Any] = {"name": self.budget.name, "key": self.key or None, **_plain_terms(self.budget)}
        told |= {"thresholds": list(self.budget.thresholds), "alert": self.alert, "resets_at": self.resets_at}
        told["max_call_usd"] = None if self.max_call is None else plain(self.max_call)
        for room in self.rooms:
            for part in ("limit", "spent", "held", "remaining"):
                value = getattr(room, part)
                told[f"{part}_{UNITS[room.unit]}"] = plain(value) if room.unit == "nano" else value
        if self.spent_low is not None:
            told["spent_low_usd"] = plain(self.spent_low)
        return told


@dataclass(frozen=True, slots=True)
class Change:
    """What setting a budget changed: ``before`` is None for a new one, ``more`` what differs beside its terms."""

    before: Budget | None
    after: Budget
    more: tuple[tuple[str, Any, Any], ...] = ()

    @property
    def differences(self) -> list[tuple[str, Any, Any]]:
        """The terms that differ, as (name, before, after); limits are in nano-dollars, tokens and calls."""
        if self.before is None:
            return []
        pairs = [(name, getattr(self.before, name), getattr(self.after, name)) for name in (*_TERMS, "thresholds")]
        return [pair for pair in (*pairs, *self.more) if pair[1] != pair[2]]


def budget_states(ledger: Ledger, now: float | None = None, name: str | None = None) -> list[BudgetState]:
    """Return every budget's pots, or one budget's, those with the least room first; raises ``LedgerUnavailable``."""
    moment = time.time() if now is None else now
    if not begun(ledger):
        return []
    with reading(ledger) as reader:
        rows = reader.budgets(moment, name)
    return sorted((_state(row, moment) for row in rows), key=lambda state: (-state.used, state.budget.name, state.key))


def set_budget(ledger: Ledger, name: str, **given: Any) -> Change:
    """Put terms in force for every program that shares the ledger; a term that is left out stays as it is.

    Terms are the fields of ``Budget``, ``alert`` (a webhook's URL) and ``max_call_nano``; a new budget is per "total"
    unless told otherwise. Raises ``ConfigurationError`` for terms that make no sense and ``LedgerUnavailable``.
    """
    state = next(iter(budget_states(ledger, name=name)), None)
    before = None if state is None else state.budget
    old: dict[str, Any] = {"alert": state.alert if state else None, "max_call_nano": state.max_call if state else None}
    new = {key: given.pop(key) if key in given else value for key, value in old.items()}
    more = tuple((key, old[key], new[key]) for key in old)
    if before is None:
        after = Budget(name, **{"per": "total", **given})
    elif not given and old == new:
        raise ConfigurationError(
            f"nothing to change in budget {name!r}; give --usd, --tokens, --calls, --per or others"
        )
    else:
        after = replace(before, **given)
    ledger.set_budget(after, **new)
    return Change(before, after, more)


def remove_budget(ledger: Ledger, name: str) -> bool:
    """Take a budget out of force for every program that shares the ledger; return whether there was one.

    Raises ``LedgerUnavailable``.
    """
    return begun(ledger) and ledger.remove_budget(name)


def as_json(states: list[BudgetState]) -> str:
    """Return the budgets as a JSON document."""
    return json.dumps([state.as_dict() for state in states], indent=2)


_TERMS = ("limit_nano", "limit_tokens", "limit_calls", "per", "tz", "scope", "hard")


def _plain_terms(budget: Budget) -> dict[str, Any]:
    return {name: getattr(budget, name) for name in _TERMS if not name.startswith("limit_")}


def _state(row: Mapping[str, Any], now: float) -> BudgetState:
    budget = Budget(row["name"], thresholds=row["thresholds"], **{name: row[name] for name in _TERMS})
    rooms = tuple(
        Room(unit, row[f"limit_{unit}"], row.get(f"spent_{unit}", 0), row.get(f"held_{unit}", 0))
        for unit in UNITS
        if row[f"limit_{unit}"] is not None
    )
    return BudgetState(
        budget, row["key"], rooms, budget.window(now).end, row.get("low_nano"), row["alert"], row["max_call_nano"]
    )


def limits(*, usd: str | None = None, tokens: str | None = None, calls: str | None = None) -> dict[str, int | None]:
    """Return limits as they are typed, under the names of ``Budget``; "none" takes a limit away, None leaves it be.

    Raises ``ConfigurationError``.
    """
    given: dict[str, int | None] = {}
    for name, text in (("nano", usd), ("tokens", tokens), ("calls", calls)):
        if text is None:
            continue
        if text.strip().lower() == "none":
            given[f"limit_{name}"] = None
        elif name == "nano":
            given["limit_nano"] = nano_of(text.strip().removeprefix("$"))
        else:
            try:
                given[f"limit_{name}"] = int(text.replace(",", "").replace("_", ""))
            except ValueError:
                raise ConfigurationError(f"--{name} must be a whole number or none; it is {text!r}") from None
    return given


def terms(
    *, thresholds: Sequence[str] | None = None, alert: str | None = None, max_call_usd: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return the other terms as they are typed, those left at None left out; "none" takes one away.

    Thresholds are shares of the limit: 0.5, or 50%. Raises ``ConfigurationError``.
    """
    given = {term: value for term, value in more.items() if value is not None}
    if thresholds:
        given["thresholds"] = tuple(sorted(_share(text) for text in thresholds if text.strip().lower() != "none"))
    if alert is not None:
        gone = alert.strip().lower() == "none"
        if not gone and not alert.startswith(("http://", "https://")):
            raise ConfigurationError(f"--alert must be a webhook's http(s) URL or none; it is {alert!r}")
        given["alert"] = None if gone else alert
    if max_call_usd is not None:
        gone = max_call_usd.strip().lower() == "none"
        given["max_call_nano"] = None if gone else nano_of(max_call_usd.strip().removeprefix("$"))
    return given


def _share(text: str) -> float:
    try:
        return float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise ConfigurationError(
            f"--threshold must be a share of the limit such as 0.5 or 50%; it is {text!r}"
        ) from None
