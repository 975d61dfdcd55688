"""Deleting rows of a ledger: what is old, and what belongs to a user; what would go is counted first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.ledger.rollup import DAY
from llmsaver.reporting.books import begun, reading

if TYPE_CHECKING:
    from llmsaver.ledger import Ledger

__all__ = ["Doomed", "delete_user", "of_user", "older_than", "prune"]


@dataclass(frozen=True, slots=True)
class Doomed:
    """The calls that a deletion takes, and what they cost, in nano-dollars."""

    calls: int
    spend: int | None
    before: float | None = None


def older_than(ledger: Ledger, before: float) -> Doomed:
    """Count the calls begun before the UTC day of ``before`` (seconds since the epoch): pruning takes whole days."""
    day = before // DAY * DAY
    if not begun(ledger):
        return Doomed(0, 0, day)
    with reading(ledger) as reader:
        line = reader.totals(until=day)
    return Doomed(line.calls, None if line.unpriced and not line.cost_nano else line.cost_nano, day)


def of_user(ledger: Ledger, user: str) -> Doomed:
    """Count a user's calls."""
    if not begun(ledger):
        return Doomed(0, 0)
    stored = ledger.hide(user)
    with reading(ledger) as reader:
        line = next((line for line in reader.lines("user") if line.name == stored), None)
    if line is None:
        return Doomed(0, 0)
    return Doomed(line.calls, None if line.unpriced and not line.cost_nano else line.cost_nano)


def prune(ledger: Ledger, before: float) -> int:
    """Delete calls begun before the UTC day of ``before``, with their sums, tasks and closed windows; return how many.

    Nothing is made where there is no ledger. Raises ``LedgerUnavailable``.
    """
    return ledger.prune(before) if begun(ledger) else 0


def delete_user(ledger: Ledger, user: str) -> int:
    """Delete a user's calls, tasks and sums; return how many calls. Raises ``LedgerUnavailable``."""
    return ledger.delete_user(user) if begun(ledger) else 0
