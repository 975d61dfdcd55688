"""The outermost layer: what was asked, who answered, how it ended, and a row of it in the ledger."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from llmsaver.core.scope import booked_by
from llmsaver.errors import BudgetExceeded, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.runtime import Flight
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Ledger, Ticket

__all__ = ["Record"]

log = logging.getLogger("llmsaver")

RECENT = 1_000


class Record:
    """Keeps the entries of the most recent calls in memory, completes each when its answer ends, and books it.

    The row, and what the call's holds are settled at, are in the ledger before the last bytes of the answer are handed
    on. Without a ``ledger`` nothing leaves memory. ``text`` also stores what was asked and answered. ``told`` gets the
    tickets of rows that crossed a budget's threshold.
    """

    name = "record"

    def __init__(
        self,
        ledger: Ledger | None = None,
        *,
        recent: int = RECENT,
        text: bool = False,
        told: Callable[[Ticket], None] | None = None,
    ) -> None:
        self._recent = recent
        self._ledger = ledger
        self._text = text
        self._salted = False
        self._told = told
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()
        if ledger is not None:
            booked_by(self._note_task)
        if ledger is not None:  # an import in a function costs a microsecond each time
            from llmsaver.ledger.rows import CallRow

            self._row_of = CallRow.of

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Open the call's entry, pass on, and settle the entry exactly once."""
        entry = request.entry
        self._keep(entry)
        if request.options.work is not None and self._ledger is not None:
            request.options.work.tell(self._note_task)
            request.options.work.of(entry)
        # The SDK's retry of a call that failed is the same call, live again.
        entry.status = entry.complete = entry.error = entry.latency_s = entry.rebook = None
        try:
            response = await call_next(request)
        except BaseException as error:
            entry.complete, entry.error, entry.latency_s = False, in_words(error), entry.elapsed()
            refused = isinstance(error, BudgetExceeded) and not entry.attempts
            if refused:  # nothing left, so nothing is what it cost
                entry.cost_nano = entry.cost_low = entry.cost_high = 0
            if self._ledger is not None and (entry.attempts or entry.dues or refused):
                self._book_failed(request, refused=refused)
            raise
        entry.status = response.status
        ok = response.ok  # a callback that held the response would keep an unread one from being collected at once

        def settle(outcome: Outcome) -> object:
            entry.usage, entry.complete, entry.error = outcome.usage, outcome.complete, outcome.error
            if not entry.attempts:
                entry.estimated = False
                if entry.cost_nano is None:  # a layer answered: nobody bills that
                    entry.cost_nano = entry.cost_low = entry.cost_high = 0
            elif entry.cost_nano is None:
                entry.estimated = outcome.usage is None and ok
            entry.latency_s = entry.elapsed()
            return None if self._ledger is None else self._book(request, outcome)

        response.on_complete(settle)
        return response

    def entry(self, entry_id: str) -> Entry | None:
        """Return the entry with this id, or None where it is unknown or too long ago."""
        with self._lock:
            return self._entries.get(entry_id)

    def recent(self, count: int) -> list[Entry]:
        """Return the latest entries, newest first."""
        with self._lock:
            return list(islice(reversed(self._entries.values()), max(0, count)))

    def _keep(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.id] = entry
            if len(self._entries) > self._recent:
                self._entries.popitem(last=False)

    async def _book(self, request: Request, outcome: Outcome) -> None:
        """Write the row, in the caller's thread or in the ledger's own, and wait until it is durable."""
        if request.runtime.blocks:
            self._write(request, outcome)
        else:
            if not self._salted:
                await request.runtime.offload(self._read_salt)  # once: no file is read on an event loop
            await request.runtime.wait(self._submit(request, outcome))

    def _read_salt(self) -> None:
        self._salted = self._ledger is None or bool(self._ledger.salt.value)

    def _book_failed(self, request: Request, *, refused: bool) -> None:
        """Write the row of a call without an answer; an event loop does not wait: the task may be on its way out."""
        if request.runtime.blocks:
            self._write(request, None, refused=refused)
        else:
            self._submit(request, None, refused=refused)

    def _write(self, request: Request, outcome: Outcome | None, *, refused: bool = False) -> None:
        self._tell(self._ledger.write(*self._row(request, outcome, refused=refused)))  # type: ignore[union-attr]  # asked before

    def _submit(self, request: Request, outcome: Outcome | None, *, refused: bool = False) -> Flight:
        """Have the row written by the ledger's own thread, which also tells what it crossed: the task may be gone."""
        ticket = self._ledger.submit(*self._row(request, outcome, refused=refused))  # type: ignore[union-attr]  # asked before
        flight: Flight = ticket.flight  # type: ignore[assignment]  # what is submitted has one
        flight.add_callback(lambda: self._tell(ticket))
        return flight

    def _tell(self, ticket: Ticket) -> None:
        if ticket.crossed and self._told is not None:
            self._told(ticket)

    def _row(self, request: Request, outcome: Outcome | None, *, refused: bool = False) -> tuple[Any, list[Any]]:
        """Return the call as a row, and the dues to settle with it."""
        entry = request.entry
        if entry.under_way:  # an attempt that nobody waited for, of a hedge or a step aside
            entry.rebook = partial(self._rebook, request, outcome)
        dues = []
        with suppress(IndexError):
            while True:
                dues.append(entry.dues.pop(0))
        fingerprint, chain = self._prints(request.body)
        text: dict[str, Any] = {}
        if refused:
            text = {"refused": 1}
        if self._text:
            text |= {"prompt": _dumped(request.body), "answer": _dumped(outcome.message) if outcome else None}
        return self._row_of(entry, fingerprint=fingerprint, chain=chain, **text), dues

    def _rebook(self, request: Request, outcome: Outcome | None) -> None:
        """Write the row anew, with an attempt in it that ended after it was written."""
        self._submit(request, outcome)

    def _prints(self, body: Any) -> tuple[str | None, list[str]]:
        """Return the salted fingerprints of a request: of all of it, and of each message with all before it."""
        try:
            return self._ledger.salt.prints(body)  # type: ignore[union-attr]  # asked before
        except (TypeError, ValueError, RecursionError):
            log.debug("llmsaver: a request has no fingerprint", exc_info=True)
            return None, []

    def _note_task(self, task: Any) -> None:
        """Write how a unit of work ended."""
        from llmsaver.ledger import TaskRow

        outcome = None if task.resolved is None else "resolved" if task.resolved else "failed"
        self._ledger.write_task(  # type: ignore[union-attr]  # asked before
            TaskRow(
                task.id,
                task.started_at,
                task.ended_at,
                outcome,
                feature=task.feature or "default",
                user=task.user,
                tenant=task.tenant,
            )
        )


def _dumped(value: Any) -> str | None:
    return None if value is None else json.dumps(value, default=str)
