"""Hard budgets around a run at a provider: what each job can cost is set aside before it is begun.

A job's hold is *reserved* while it is planned, and goes back where its program dies; it is *sent* from just before the
job is begun until its answers are booked, and is then settled at what they cost, in the window in which it was made.
Who fetches the answers does not charge the budgets that it stands under once more. A hold is named after its job, so
that whoever goes on with a run, or cancels it, finds it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from llmsaver.batch.outcome import BatchInterrupted
from llmsaver.core.entry import entry_within
from llmsaver.core.options import current_options
from llmsaver.core.rule import settled_apart
from llmsaver.ledger.holds import Hold, Refusal
from llmsaver.middleware.reserving import amount_to_hold, exceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from llmsaver.batch.requests import Row
    from llmsaver.core.rule import Rule
    from llmsaver.errors import BudgetExceeded
    from llmsaver.ledger import Claim, Ledger
    from llmsaver.ledger.batches import BatchPart
    from llmsaver.pricing import Bound
    from llmsaver.saver import Saver

__all__ = ["NOTHING", "Holding", "Spent", "budgets_around"]

# A planned job is sent within minutes; one that was begun ends within a day and is fetched soon, or when somebody asks.
_PLANNED_SECONDS = 1800.0
_SENT_SECONDS = 3 * 86_400.0
_RENEW_SECONDS = 3600.0
# Rows of answers are written by the ledger's own thread.
_BOOKED_SECONDS = 60.0


class Spent(NamedTuple):
    """What a job's answers cost."""

    nano: int = 0
    tokens: int = 0
    calls: int = 0


NOTHING = Spent()


def budgets_around(saver: Saver) -> list[tuple[Rule, Claim]]:
    """Return the hard budgets that a run which is driven from here draws on, with their pots."""
    options, settings = current_options.get(), saver.settings
    entry = entry_within(options, "batch", None, feature=settings.feature, tenant=settings.tenant)
    return saver.hard_claims(entry, options.rules)


class Holding:
    """Holds for one run; without ``budgets`` it gives back what others held. ``bound`` bounds a request."""

    def __init__(
        self,
        ledger: Ledger,
        budgets: Sequence[tuple[Rule, Claim]] = (),
        bound: Callable[[Row], Bound] | None = None,
    ) -> None:
        self._ledger, self._bound = ledger, bound
        self._rules, self._claims = [rule for rule, _ in budgets], [claim for _, claim in budgets]
        self._amounts: dict[int, tuple[int, int]] = {}
        self._held: dict[str, Hold] = {}
        self._renewed: dict[str, float] = {}

    def that_fit(self, rows: Sequence[Row]) -> list[Row]:
        """Return those of ``rows``, from the first on, that every budget has room for now.

        Raises ``BudgetExceeded`` for a request that nothing bounds.
        """
        if not self._claims:
            return list(rows)
        left = list(self._ledger.room(self._claims))
        for at, row in enumerate(rows):
            left = [room - asked for room, asked in zip(left, (*self._amount(row), 1), strict=True)]
            if min(left) < 0:
                return list(rows[:at])
        return list(rows)

    def why_not(self, rows: Iterable[Row]) -> BudgetExceeded | None:
        """Return the error that tells why not all of ``rows`` fit; None where they do."""
        nano, tokens, calls = self._sum(rows)
        found = self._ledger.reserve(self._claims, nano=nano, tokens=tokens, calls=calls)
        if isinstance(found, Refusal):
            return exceeded(found)
        self._ledger.release(found)
        return None

    def take(self, part: BatchPart, rows: Iterable[Row]) -> BudgetExceeded | None:
        """Set aside what a job can cost; return why that cannot be, None where it is done."""
        if not self._claims:
            return None
        self._ledger.settle_named(_name(part))
        nano, tokens, calls = self._sum(rows)
        found = self._ledger.reserve(
            self._claims, nano=nano, tokens=tokens, calls=calls, lease_s=_PLANNED_SECONDS, hold_id=_name(part)
        )
        if isinstance(found, Refusal):
            return exceeded(found)
        self._held[part.token] = found
        return None

    def sending(self, part: BatchPart, rows: Iterable[Row]) -> None:
        """See that what a job can cost is set aside for as long as it may take; raises ``BatchInterrupted``."""
        if not self._claims:
            return
        hold = self._held.get(part.token)
        if hold is None or not self._goes(hold):
            why = self.take(part, rows)
            hold = self._held.get(part.token)
            if why is not None or hold is None or not self._goes(hold):
                raise BatchInterrupted(
                    f"a job was not begun: {why or 'what was set aside for it is gone'}. Run the same command again "
                    "to go on",
                    part.batch,
                ) from why

    def _goes(self, hold: Hold) -> bool:
        """Mark a hold sent, or see that it is, for as long as a job may take; False where it is gone."""
        self._ledger.mark_sent(hold)
        return self._ledger.renew(hold, lease_s=_SENT_SECONDS)[0]

    def follow(self, part: BatchPart) -> None:
        """Keep the hold of a job that is under way."""
        if time.monotonic() - self._renewed.get(part.token, float("-inf")) > _RENEW_SECONDS:
            self._ledger.renew(Hold(_name(part), (), 0, 0, 0, 0.0), lease_s=_SENT_SECONDS)
            self._renewed[part.token] = time.monotonic()

    @contextmanager
    def fetching(self, part: BatchPart) -> Iterator[None]:
        """Let answers that are fetched in this block not be charged to the budgets that a job's hold stands under."""
        token = settled_apart.set(self._ledger.held_under(_name(part)))
        try:
            yield
        finally:
            settled_apart.reset(token)

    def end(self, part: BatchPart, spent: Spent = NOTHING) -> None:
        """Settle what is held for a job at what its answers cost, once they are booked; it may have been settled."""
        self._held.pop(part.token, None)
        self._ledger.drain(_BOOKED_SECONDS)
        self._ledger.settle_named(_name(part), spent.nano, spent.tokens, spent.calls)

    def _amount(self, row: Row) -> tuple[int, int]:
        """Return the nano-dollars and tokens that a request can take."""
        found = self._amounts.get(row.number)
        if found is None:
            assert self._bound is not None  # noqa: S101 - told to the type checker
            bound = self._bound(row)
            found = self._amounts[row.number] = amount_to_hold(bound, self._rules), bound.tokens
        return found

    def _sum(self, rows: Iterable[Row]) -> tuple[int, int, int]:
        nano = tokens = calls = 0
        for row in rows:
            amount = self._amount(row)
            nano, tokens, calls = nano + amount[0], tokens + amount[1], calls + 1
        return nano, tokens, calls


def _name(part: BatchPart) -> int:
    """Return the number of a job's hold."""
    token = f"{part.batch} {part.token}".encode()
    return int.from_bytes(blake2b(token, digest_size=8, person=b"llmsaver.hold").digest(), "big") >> 1
