"""Answers of calls made before, seen as they are fetched: priced, and booked once whoever fetches them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from llmsaver.core.rule import settled_apart
from llmsaver.pricing import Billed
from llmsaver.wire import DIALECTS
from llmsaver.wire.batch_lines import BatchLines
from llmsaver.wire.usages import usage_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.request import Request
    from llmsaver.core.runtime import Flight
    from llmsaver.ledger import Claim, Ledger
    from llmsaver.ledger.late import LateCall
    from llmsaver.middleware.budget import BudgetLayer
    from llmsaver.pricing import PriceBook
    from llmsaver.wire.batch_lines import Answered
    from llmsaver.wire.retrieval import Retrieval

__all__ = ["ENDED", "Retrieved", "Watch"]

log = logging.getLogger("llmsaver")

# A run's states after which its usage does not change.
ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
# Rows that are written together, and how many such groups may wait before the file does.
GROUP: Final = 64
AHEAD: Final = 32
# Read in such pieces where all of a file is in memory.
PIECE: Final = 256 * 1024
# A response of more is a file that somebody serves under this name.
LONGEST_RUN: Final = 64 * 1024 * 1024


class Retrieved:
    """Books what is fetched: the lines of a batch under the route "batch", runs under "background".

    Each is a row of its own under an id made from the provider's, in the scope of whoever fetches it first, and charged
    to the budgets around that, whether it fits or not. A background run whose start went through this ledger has a row
    and budgets already: those are put right.
    """

    def __init__(self, book: PriceBook, ledger: Ledger | None, budget: BudgetLayer) -> None:
        self._book = book
        self._ledger = ledger
        self._budget = budget

    async def watch(self, request: Request, kind: Retrieval, *, streamed: bool) -> Watch | None:
        """Return what is to see the bytes of an answer to ``request``; None where nothing is booked."""
        if self._ledger is None:
            return None
        claims: list[Claim] = []
        try:
            apart = settled_apart.get()
            found = await self._budget.claims(request)
            claims = [claim for claim in found if (claim.budget.name, claim.key) not in apart]
        except Exception:
            log.warning("llmsaver: the budgets around a retrieval could not be found", exc_info=True)
        clerk = _Clerk(self._book, self._ledger, self._budget, request, claims)
        return _Lines(clerk) if kind == "lines" else _Run(clerk, streamed=streamed)


class _Clerk:
    """Turns answers into rows for one retrieval, and hands them to the ledger's own thread in groups."""

    def __init__(
        self, book: PriceBook, ledger: Ledger, budget: BudgetLayer, request: Request, claims: list[Claim]
    ) -> None:
        parts = urlsplit(request.url)
        self._book, self._ledger, self._budget, self._request, self._claims = book, ledger, budget, request, claims
        self._host, self._path = parts.netloc, parts.path
        self._hard = any(claim.budget.hard for claim in claims)
        self._group: list[LateCall] = []
        self._flights: list[Flight] = []

    def line(self, answered: Answered) -> None:
        """Book a batch's line."""
        from llmsaver.ledger.late import late_id

        names = (answered.id,) if answered.id else (self._path, answered.custom_id)
        self._add(late_id(self._host, *names), "batch", answered.dialect, answered.message)
        if len(self._group) >= GROUP:
            self.send()

    def run(self, message: Mapping[str, Any]) -> None:
        """Book a response that ran in the background and has ended; others were booked by the call that made them."""
        from llmsaver.ledger.late import late_id

        name, ended = message.get("id"), str(message.get("status")) in ENDED
        if message.get("background") is True and ended and isinstance(name, str):
            self._add(late_id(self._host, name), "background", "responses", message)
            self.send()

    def send(self) -> None:
        """Hand over the rows that wait."""
        if self._group:
            from llmsaver.ledger.late import book

            group, self._group = self._group, []
            self._flights.append(book(self._ledger, group, self._claims, self._budget.crossed))

    def ahead(self, *, most: int = AHEAD) -> Flight | None:
        """Return one of the groups on their way where there are more than ``most``, else None."""
        if self._flights:
            self._flights = [flight for flight in self._flights if not flight.landed]
        return self._flights[0] if len(self._flights) > most else None

    def _add(self, row_id: str, route: str, dialect: str, message: Mapping[str, Any]) -> None:
        from llmsaver.ledger import AttemptRow, CallRow
        from llmsaver.ledger.late import LateCall

        raw, entry = message.get("usage"), self._request.entry
        billed = Billed.of(dialect, self._request.url, message, route="batch" if route == "batch" else "")
        cost = self._book.cost(billed)
        used = usage_of(dialect, raw)
        tier = message.get("service_tier") or (raw.get("service_tier") if isinstance(raw, dict) else None)
        money: dict[str, Any] = {"cost_nano": cost.nano_usd, "cost_low": cost.low_nano, "cost_high": cost.high_nano}
        baseline: dict[str, Any] = {name.replace("cost", "baseline"): value for name, value in money.items()}
        counts: dict[str, Any] = {}
        if used is not None:
            names = ("input", "output", "cache_read", "cache_write", "reasoning")
            counts = {f"{name}_tokens": getattr(used, f"{name}_tokens") for name in names}
        row = CallRow(
            row_id,
            entry.started_at,
            feature=entry.feature,
            feature_path=entry.path,
            user=entry.user,
            tenant=entry.tenant,
            tags=entry.tags,
            task=entry.task,
            conversation=entry.conversation,
            dialect=dialect,
            route=route,
            model_asked=billed.model,
            model_answered=billed.model,
            service_tier=tier if isinstance(tier, str) else None,
            upstream=self._host,
            estimated=cost.estimated,
            unpriced=not cost.priced,
            flags=cost.flags,
            status=200,
            complete=True,
            attempts=(AttemptRow(self._host, billed.model, "api", 200, estimated=cost.estimated, **money),),
            **counts,
            **money,
            **baseline,
        )
        nano = cost.high_nano if cost.estimated and self._hard else cost.nano_usd
        tokens = 0 if used is None else used.input_tokens + used.output_tokens
        self._group.append(LateCall(row, nano, min(cost.low_nano, nano), tokens, told=isinstance(raw, dict)))


class Watch:
    """Sees the (decoded) bytes of a retrieval as they pass; nothing that goes wrong here reaches the caller."""

    def __init__(self, clerk: _Clerk) -> None:
        self._clerk = clerk
        self.over = False

    def see(self, chunk: bytes) -> None:
        """Look at the next bytes, in pieces that no memory is short of."""
        try:
            for start in range(0, len(chunk), PIECE):
                if self.over:
                    return
                self._see(chunk[start : start + PIECE] if len(chunk) > PIECE else chunk)
                while (flight := self._clerk.ahead(most=4 * AHEAD)) is not None and flight.block(10.0):
                    pass
        except Exception as error:  # noqa: BLE001 - the answer is the caller's, whatever becomes of its row
            self.fail(error)

    def end(self, *, whole: bool) -> None:
        """Book what is left; ``whole`` is False where the answer was cut short or given up. May be called again."""
        if self.over:
            return
        try:
            self._end(whole=whole)
            self._clerk.send()
        except Exception as error:  # noqa: BLE001 - the same
            self.fail(error)
        self.over = True

    def fail(self, error: Exception) -> None:
        """Give up, and say so."""
        self.over = True
        log.warning("llmsaver: an answer that was fetched could not be read, and is not booked", exc_info=error)

    def ahead(self, *, most: int = AHEAD) -> Flight | None:
        """Return what to wait for before more is read: rows come faster than they can be written."""
        return self._clerk.ahead(most=most)

    def _see(self, chunk: bytes) -> None:
        raise NotImplementedError

    def _end(self, *, whole: bool) -> None:
        raise NotImplementedError


class _Lines(Watch):
    def __init__(self, clerk: _Clerk) -> None:
        super().__init__(clerk)
        self._lines = BatchLines()

    def _see(self, chunk: bytes) -> None:
        for answered in self._lines.feed(chunk):
            self._clerk.line(answered)
        self.over = self._lines.over

    def _end(self, *, whole: bool) -> None:
        for answered in self._lines.flush(whole=whole):
            self._clerk.line(answered)


class _Run(Watch):
    def __init__(self, clerk: _Clerk, *, streamed: bool) -> None:
        super().__init__(clerk)
        self._meter = DIALECTS["responses"].meter(streamed)
        self._size = 0

    def _see(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > LONGEST_RUN:
            self.over = True
        elif self._meter.feed(chunk):
            self.end(whole=True)

    def _end(self, *, whole: bool) -> None:  # noqa: ARG002 - an answer that is cut short is no JSON, and has no end
        message = self._meter.message()
        if message is not None:
            self._clerk.run(message)
