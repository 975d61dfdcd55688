"""After an attempt: what it cost, on the attempt, on the call, and on the hold that was set aside for it."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from llmsaver.errors import in_words
from llmsaver.pricing import Billed
from llmsaver.pricing.hourly import time_cost

if TYPE_CHECKING:
    from llmsaver.core.entry import Attempt, Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.ledger import Hold
    from llmsaver.middleware.leases import Leases
    from llmsaver.middleware.local_time import LocalTime
    from llmsaver.pricing import Cost, PriceBook

__all__ = ["Settling", "rebased"]

log = logging.getLogger("llmsaver")

# The transport failed before a request could leave: nothing is billed.
_NEVER_LEFT = frozenset({
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "UnsupportedProtocol",
    "ProxyError",
    "LocalProtocolError",
    "InvalidURL",
})  # fmt: skip
# Flags of a figure whose token counts are not to be believed.
_COUNTED_WRONGLY = ("usage:", "aborted")


class Settling:
    """Prices attempts, and notes what their holds are to be settled at; ``Record`` writes that with the call's row.

    ``enforce``: whether hard budgets bind, so that what is not known is charged at the most it can be. A call on a tier
    with an hourly price costs its share of the tier's busy seconds, whatever its tokens and however it ended, and
    ``local`` notes what else that took. A spilled call's baseline is what the tier that was asked would have
    cost, at most what was paid.
    """

    def __init__(
        self,
        book: PriceBook,
        leases: Leases | None,
        *,
        enforce: bool,
        local: LocalTime | None = None,
    ) -> None:
        self._book = book
        self._leases = leases
        self._enforce = enforce
        self._local = local
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Make good in a forked child."""
        self._lock = threading.Lock()
        if self._local is not None:
            self._local.after_fork()

    def answered(self, request: Request, attempt: Attempt | None, hold: Hold | None, outcome: Outcome) -> None:
        """Price what came back, whole or in part."""
        entry = request.entry
        if attempt is None:
            self._due(request, hold)
            return
        hard = self._is_hard(hold)
        used = outcome.usage
        taken = self._taken(request.entry, attempt, None if used is None else used.output_tokens)
        earlier = 0 if taken is None else _earlier(request.entry, attempt)
        cost = taken or self._cost(request, outcome, hard=hard)
        self._book_cost(request, attempt, cost)
        if entry.clamped_to is not None and used is not None:
            n = request.body.get("n")
            choices = n if request.dialect == "chat" and type(n) is int else 1
            entry.truncated = used.output_tokens >= entry.clamped_to * choices
        if cost is None or hold is None:
            self._due(request, hold)
            return
        tokens = 0 if used is None else used.input_tokens + used.output_tokens
        if not 200 <= outcome.status < 300:  # noqa: PLR2004 - HTTP's success range
            tokens = 0
        elif used is None or not outcome.complete or any(flag.startswith(_COUNTED_WRONGLY) for flag in cost.flags):
            tokens = hold.tokens
        nano = earlier + (cost.high_nano if cost.estimated and hard else cost.nano_usd)
        self._due(request, hold, nano, tokens, cost.low_nano if cost.estimated else None)

    def failed(self, request: Request, attempt: Attempt | None, hold: Hold | None, error: BaseException) -> None:
        """Settle an attempt that brought no answer: at nothing where it never left, else at what it may have cost."""
        if attempt is None or attempt.error in _NEVER_LEFT:
            if attempt is not None:
                self._book_cost(request, attempt, None)
            self._due(request, hold)
            return
        attempt.error = attempt.error or type(error).__name__
        log.debug("llmsaver: an attempt ended in %s and is booked as an estimate", in_words(error))
        hard = self._is_hard(hold)
        taken = self._taken(request.entry, attempt)
        if taken is not None:  # what a machine of one's own was busy for is known, however the call ended
            nano = _earlier(request.entry, attempt) + taken.nano_usd
            self._book_cost(request, attempt, taken)
            self._due(request, hold, nano, 0 if hold is None else hold.tokens, taken.low_nano)
            return
        billed = Billed.of(request.dialect, request.url, None, body=request.body)
        cost = self._book.estimate(billed, hard=hard)
        self._book_cost(request, attempt, cost)
        if hold is not None:
            nano = hold.nano if hard else cost.nano_usd
            self._due(request, hold, nano, hold.tokens, min(cost.low_nano, nano))

    def _is_hard(self, hold: Hold | None) -> bool:
        return self._enforce and hold is not None and any(pot.claim.budget.hard for pot in hold.pots)

    def _taken(self, entry: Entry, attempt: Attempt, output_tokens: int | None = None) -> Cost | None:
        """Note what an attempt took of a local tier and return what its time cost; None where that has no price."""
        if attempt.share is None and attempt.use is not None:
            attempt.share = attempt.use.end()
        share = attempt.share
        if share is None:
            return None
        with self._lock:
            entry.busy_s = sum(each.share.seconds for each in entry.attempts if each.share is not None)
            if self._local is not None:
                self._local.ended(entry, attempt, output_tokens)
        return _time_cost(attempt)

    def _cost(self, request: Request, outcome: Outcome, *, hard: bool) -> Cost | None:
        """Return what an attempt cost; None for a reply that is never billed."""
        if not 200 <= outcome.status < 300:  # noqa: PLR2004 - HTTP's success range
            return None
        usage = outcome.usage.raw if outcome.usage is not None else None
        billed = Billed.of(
            request.dialect,
            request.url,
            outcome.facts if outcome.complete and usage is not None else outcome.message,
            body=request.body,
            usage=usage,
        )
        return self._book.cost(billed) if outcome.complete else self._book.estimate(billed, hard=hard)

    def _book_cost(self, request: Request, attempt: Attempt, cost: Cost | None) -> None:
        """Put an attempt's cost on it and add it to the call's; what the request as written would have cost beside it.

        Attempts of one call may end in several threads at once.
        """
        attempt.cost = cost
        entry = request.entry
        with self._lock:
            costs = [each.cost for each in entry.attempts if each.cost is not None]
            entry.cost_nano = sum(each.nano_usd for each in costs)
            entry.cost_low = sum(each.low_nano for each in costs)
            entry.cost_high = sum(each.high_nano for each in costs)
            entry.estimated = any(each.estimated for each in costs)
            entry.unpriced = not all(each.priced for each in costs)
            entry.flags = tuple(dict.fromkeys(flag for each in costs for flag in each.flags))
            rebased(entry)

    def _due(self, request: Request, hold: Hold | None, nano: int = 0, tokens: int = 0, low: int | None = None) -> None:
        """Note what a hold is to be settled at; all of nothing gives it back, and no call is counted."""
        if hold is None:
            return
        from llmsaver.ledger import Due

        if self._leases is not None:
            self._leases.remove(hold)
        request.entry.dues.append(Due(hold, nano, tokens, 1 if nano or tokens else 0, low))


def rebased(entry: Entry) -> None:
    """Put on a call what the request as written would have cost, beside what it did cost.

    A routed call's is what the tier that was asked for would have cost, also where that is less: both legs of a cascade
    are in what it did cost. What a machine of one's own costs is paid whether it works or not: a spill may cost, but it
    saves nothing. A baseline without a price is unknown.
    """
    written = entry.written_cost if entry.spilled or entry.routing is not None else None
    if entry.cost_nano is None or entry.cost_low is None or entry.cost_high is None:
        return
    figures = (entry.cost_nano, entry.cost_low, entry.cost_high)  # what was sent is what was asked
    if written is not None and entry.routing is not None:
        told = [f"baseline:{flag}" for flag in written.flags] if written.estimated else []
        entry.flags = tuple(dict.fromkeys((*entry.flags, *told)))
        if not written.priced:
            entry.baseline_nano = entry.baseline_low = entry.baseline_high = None
            return
        figures = (written.nano_usd, written.low_nano, written.high_nano)
    elif written is not None:
        figures = (
            min(written.nano_usd, entry.cost_nano),
            min(written.low_nano, entry.cost_low),
            min(written.high_nano, entry.cost_high),
        )
        entry.flags = (*entry.flags, *(("baseline:spilled",) if written.estimated else ()))
    entry.baseline_nano, entry.baseline_low, entry.baseline_high = figures


def _time_cost(attempt: Attempt) -> Cost | None:
    """Return what an attempt's share of its tier's time cost; None where that has no price."""
    hourly = None if attempt.local is None else attempt.local.hourly_usd
    if attempt.share is None or hourly is None:
        return None
    return time_cost(attempt.share.seconds, hourly, exact=attempt.share.exact)


def _earlier(entry: Entry, attempt: Attempt) -> int:
    """Price the tries that a local tier was given before ``attempt`` in the same pass; return nano-dollars.

    A server that died is looked for again below this layer, and what it was busy for until then is spent.
    """
    nano = 0
    for each in entry.attempts:
        if each is not attempt and each.cost is None and (cost := _time_cost(each)) is not None:
            each.cost = cost
            nano += cost.nano_usd
    return nano
