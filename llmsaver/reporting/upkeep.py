"""Deleting rows of a ledger: what is old, and what belongs to a user; what would go is counted first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.ledger.rollup import DAY
from llmsaver.reporting.books import begun, reading
from llmsaver.reporting.words import money

if TYPE_CHECKING:
    from llmsaver.ledger import Ledger, Line
    from llmsaver.ledger.mending import Mended

__all__ = ["Doomed", "delete_user", "of_user", "older_than", "prune", "repair", "upgrade"]


@dataclass(frozen=True, slots=True)
class Doomed:
    """The calls that a deletion takes, and what they cost, in nano-dollars; ``partly``: some have no known price."""

    calls: int
    spend: int | None
    before: float | None = None
    partly: bool = False

    @classmethod
    def of(cls, line: Line, before: float | None = None) -> Doomed:
        """Return the deletion of a line's calls, refused ones among them."""
        spend = None if line.unpriced and not line.cost_nano else line.cost_nano
        return cls(line.calls + line.refused, spend, before, bool(line.unpriced))

    @property
    def told(self) -> str:
        """What they cost, in words: never $0 where it is not known."""
        more = " and what has no known price" if self.partly and self.spend is not None else ""
        return ("at a cost that is not known" if self.spend is None else money(self.spend)) + more


def older_than(ledger: Ledger, before: float) -> Doomed:
    """Count the calls begun before the UTC day of ``before`` (seconds since the epoch): pruning takes whole days."""
    day = before // DAY * DAY
    if not begun(ledger):
        return Doomed(0, 0, day)
    with reading(ledger) as reader:
        line = reader.totals(until=day)
    return Doomed.of(line, day)


def of_user(ledger: Ledger, user: str) -> Doomed:
    """Count a user's calls."""
    if not begun(ledger):
        return Doomed(0, 0)
    stored = ledger.hide(user)
    with reading(ledger) as reader:
        line = next((line for line in reader.lines("user") if line.name == stored), None)
    return Doomed(0, 0) if line is None else Doomed.of(line)


def prune(ledger: Ledger, before: float) -> int:
    """Delete calls begun before the UTC day of ``before``, with their sums, tasks and closed windows; return how many.

    Nothing is made where there is no ledger. Raises ``LedgerUnavailable``.
    """
    return ledger.prune(before) if begun(ledger) else 0


def delete_user(ledger: Ledger, user: str) -> int:
    """Delete a user's calls, tasks and sums; return how many calls. Raises ``LedgerUnavailable``."""
    return ledger.delete_user(user) if begun(ledger) else 0


def repair(ledger: Ledger, *, accept: bool = False) -> Mended:
    """Carry budgets over from a broken file that was moved aside (``mending.mend``); raises ``LedgerUnavailable``."""
    with ledger:
        return ledger.repair(accept=accept)


def upgrade(ledger: Ledger) -> bool:
    """Bring an older ledger's schema up to date; return whether there is one. Raises ``LedgerUnavailable``."""
    if not begun(ledger):
        return False
    with ledger:
        return True
