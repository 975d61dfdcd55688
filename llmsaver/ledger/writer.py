"""Getting call rows into the store: several that wait together share a transaction, and losses are counted."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from llmsaver.core.runtime import Flight
from llmsaver.ledger.calls import add_to, put_all
from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.holds import settle
from llmsaver.ledger.rollup import fold
from llmsaver.ledger.rows import tamed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.ledger.holds import Crossing, Due
    from llmsaver.ledger.statements import Transaction
    from llmsaver.ledger.store import Store

__all__ = ["Ticket", "Writer"]

log = logging.getLogger("llmsaver")

# After a failure nobody waits long again, until a write has succeeded.
PATIENCE, IMPATIENCE = 2.0, 0.05
BATCH = 256
TIDY_EVERY, FOLD_ROWS = 250, 500
# Folding a row costs as much as writing it, so it waits for a quiet moment; reports add up by themselves what is not
# folded, and this many rows do not slow them noticeably.
QUIET_SECONDS, FOLD_EVERY = 0.25, 5_000
DRAIN_SECONDS = 2.0


class Ticket:
    """A row on its way; when ``done``, ``ok`` says whether it is in the ledger and ``crossed`` what it crossed.

    ``flight`` lands then; only a submitted row has one.
    """

    __slots__ = ("attempts", "crossed", "done", "dues", "flight", "ok", "values")

    def __init__(self, values: list[Any] | None, attempts: list[list[Any]], dues: Sequence[Due]) -> None:
        self.values = values
        self.attempts = attempts
        self.dues = dues
        self.ok = self.done = False
        self.crossed: tuple[Crossing, ...] = ()
        self.flight: Flight | None = None

    def land(self, *, ok: bool) -> None:
        """Say that it is written, or lost."""
        self.ok, self.done = ok, True
        if self.flight is not None:
            self.flight.land()


class Writer:
    """Writes tickets, from the caller's thread (``write``) or from its own (``submit``); counts those it loses."""

    def __init__(self, store: Store, patience: float = PATIENCE) -> None:
        self._store = store
        self._full_patience = self._patience = patience
        self._told = False
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the parent's waiting rows and thread: the parent writes them itself."""
        self._lock = threading.Lock()
        self._waiting: deque[Ticket] = deque()
        self._queue: queue.SimpleQueue[Ticket | Callable[[], object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.lost = self._unsaved = self._since_tidy = self._unfolded = self._written = 0

    def write(self, ticket: Ticket) -> Ticket:
        """Write in this thread, together with whatever else is waiting by then; return when it is committed or lost."""
        self._waiting.append(ticket)
        with self._lock:
            if not ticket.done:
                self._commit_waiting()
        return ticket

    def submit(self, ticket: Ticket) -> Ticket:
        """Write in the writer's thread; return at once, the ticket's flight lands when it is committed or lost."""
        ticket.flight = Flight()
        self._queue.put(ticket)
        self._start()
        return ticket

    def later(self, work: Callable[[], object]) -> None:
        """Have ``work``, which must not raise, done in the writer's thread, after all that was submitted before."""
        self._queue.put(work)
        self._start()

    def run(self, work: Callable[[Transaction], object]) -> bool:
        """Do something else in a transaction, with the same promise: return whether it was done, never raise."""
        try:
            self._store.transact(work, self._patience)
        except Exception as error:  # noqa: BLE001 - whatever it is, a call goes on
            self._note(1, error)
            return False
        return True

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Let what was submitted be written, and end the thread; wait at most this long."""
        with self._starting:  # a thread that is being started cannot be joined yet
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join(seconds)

    def fold(self, patience: float) -> int:
        """Fold all rows not folded yet, in short transactions between which others get their turn."""
        total = 0
        while True:
            done = self._store.transact(lambda transaction: fold(transaction, FOLD_ROWS), patience)
            total += done
            if done < FOLD_ROWS:
                return total
            time.sleep(0.001)

    def _start(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._work, args=(self._queue,), name="llmsaver-ledger", daemon=True
                    )
                    self._thread.start()

    def _work(self, submitted: queue.SimpleQueue[Ticket | Callable[[], object] | None]) -> None:
        written = -1
        while True:
            try:
                item = submitted.get(timeout=QUIET_SECONDS if self._unfolded >= TIDY_EVERY else None)
            except queue.Empty:
                if written == self._written:  # nor did anybody write in a thread of their own
                    self._fold_rest()
                written = self._written
                continue
            if item is None:
                self._thread = None
                if submitted.empty():
                    return
                self._thread = threading.current_thread()
                submitted.put(None)
            elif isinstance(item, Ticket):
                self._commit_with(item, submitted)
            else:
                item()

    def _commit_with(self, first: Ticket, submitted: queue.SimpleQueue[Any]) -> None:
        """Write a ticket together with those that are waiting behind it."""
        self._waiting.append(first)
        with contextlib.suppress(queue.Empty):
            while len(self._waiting) < BATCH:
                more = submitted.get_nowait()
                if not isinstance(more, Ticket):
                    submitted.put(more)
                    break
                self._waiting.append(more)
        with self._lock:
            while self._waiting:
                self._commit_waiting()

    def _commit_waiting(self) -> None:
        batch: list[Ticket] = []
        with contextlib.suppress(IndexError):
            while len(batch) < BATCH:
                batch.append(self._waiting.popleft())
        if batch:
            self._commit(batch)

    def _commit(self, batch: list[Ticket]) -> None:
        """Write ``batch`` in one transaction; where its values are at fault, one by one, and then tamed."""
        try:
            crossed = self._store.transact(lambda transaction: self._put_all(transaction, batch), self._patience)
        except LedgerUnavailable as failure:
            self._lose(batch, failure)
        except Exception as error:  # noqa: BLE001 - whatever a driver says about values it cannot take
            if len(batch) > 1:
                for ticket in batch:
                    self._commit([ticket])
            elif _tame(batch[0]):
                self._commit(batch)
            else:
                self._lose(batch, error)
        else:
            self._patience, self._unsaved, self._told = self._full_patience, 0, False
            for ticket, found in zip(batch, crossed, strict=True):
                ticket.crossed = found
                ticket.land(ok=True)
            self._count(len(batch))

    def _put_all(self, transaction: Transaction, batch: list[Ticket]) -> list[tuple[Crossing, ...]]:
        put_all(transaction, [(ticket.values, ticket.attempts) for ticket in batch if ticket.values is not None])
        out = []
        for ticket in batch:
            crossed: tuple[Crossing, ...] = ()
            for due in ticket.dues:
                crossed += settle(transaction, due).crossed
            out.append(crossed)
        if self._unsaved:
            add_to(transaction, "lost", self._unsaved)
        return out

    def _lose(self, batch: list[Ticket], error: Exception) -> None:
        self._note(len(batch), error)
        for ticket in batch:
            ticket.land(ok=False)

    def _note(self, rows: int, error: Exception) -> None:
        self._patience = min(IMPATIENCE, self._full_patience)
        self.lost += rows
        self._unsaved += rows
        if not self._told:
            self._told = True
            log.warning(
                "llmsaver: a row could not be written to the ledger; calls go on, losses are counted: %s", error
            )

    def _count(self, rows: int) -> None:
        self._written += rows
        self._unfolded += rows
        self._since_tidy += rows
        if self._since_tidy >= TIDY_EVERY:
            self._since_tidy = 0
            self._queue.put(self._tidy)
            self._start()

    def _tidy(self) -> None:
        self._store.tidy()
        if self._unfolded >= FOLD_EVERY:
            self._fold_rest()

    def _fold_rest(self) -> None:
        self._unfolded = 0
        with contextlib.suppress(LedgerUnavailable):  # the next rows bring another try
            self.fold(self._full_patience)


def _tame(ticket: Ticket) -> bool:
    """Replace values that a driver refuses; False where they were tame already."""
    before = (ticket.values, ticket.attempts)
    ticket.values = None if ticket.values is None else tamed(ticket.values)
    ticket.attempts = [tamed(values) for values in ticket.attempts]
    return before != (ticket.values, ticket.attempts)
