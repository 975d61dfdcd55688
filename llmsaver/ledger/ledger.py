"""The ledger: one durable row for each call, and budgets that hold across threads, tasks and programs."""

from __future__ import annotations

import atexit
import os
import time
import weakref
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from llmsaver.core.runtime import Flight
from llmsaver.errors import LLMSaverError
from llmsaver.ledger import retention
from llmsaver.ledger.calls import TASK
from llmsaver.ledger.declared import Declared
from llmsaver.ledger.evaluations import Evaluations
from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.holds import UNDER, Claim, Due, Hold, Refusal, Settlement, renew, send, settle
from llmsaver.ledger.reader import Reader
from llmsaver.ledger.refusals import Refusals
from llmsaver.ledger.reserving import Reserving
from llmsaver.ledger.rollup import fold
from llmsaver.ledger.rows import attempt_values, call_values
from llmsaver.ledger.salt import Salt
from llmsaver.ledger.servers import SERVER, server_values
from llmsaver.ledger.store import store_at
from llmsaver.ledger.writer import FOLD_ROWS, PATIENCE, Ticket, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from llmsaver.ledger.budget import Budget
    from llmsaver.ledger.rows import CallRow, TaskRow
    from llmsaver.ledger.servers import ServerRow

__all__ = ["Ledger"]

LEASE_SECONDS = 60.0
# Closing waits no longer than this for the sums; whoever writes next goes on with them.
FOLD_SECONDS = 1.0


class Ledger(Declared, Evaluations):
    """The books of every program that shares one file or database. Safe in threads, after a fork, and across processes.

    ``place`` is a path, a SQLAlchemy URL of SQLite or PostgreSQL, or None for the default. Making one touches nothing:
    it opens at first use, or at ``open``, which raises where that fails. With ``hash_ids`` users and tenants are stored
    as salted hashes; without ``record_text`` the prompt and answer of a row are left out.

    Writing rows never raises: what cannot be written is counted in ``lost``. Budgets do raise ``LedgerUnavailable``,
    because the caller must know that nothing guards the call.
    """

    def __init__(
        self,
        place: str | Path | None = None,
        *,
        hash_ids: bool = False,
        record_text: bool = False,
        salt: Salt | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self.store = store_at(place)
        self.salt = salt or Salt()
        self._hash_ids = hash_ids
        self._record_text = record_text
        self._patience = patience
        self._hidden: dict[str, str] = {}
        self._writer = Writer(self.store, patience)
        self._reserving = Reserving(self.store, patience)
        self._refusals = Refusals()
        self._wrote = False
        _all.add(self)

    def open(self) -> Self:
        """Open now; raises ``LedgerUnavailable``, or ``LedgerTooNew`` for one that a newer version has written."""
        self.store.open(self._patience)
        return self

    def close(self) -> None:
        """Write what was submitted, fold what this process wrote, and close; the ledger opens again on use."""
        self._write_rest()
        self._writer.drain()
        if self._wrote and self.store.there:
            with suppress(LLMSaverError):
                self._fold_for(FOLD_SECONDS)
        self._wrote = False
        self.store.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lost(self) -> int:
        """How many rows this process could not write; ``Reader.meta`` has the count of all processes."""
        return self._writer.lost

    # -- rows ---------------------------------------------------------------------------------------------------------

    def write(self, row: CallRow | None, settle: Sequence[Due] = ()) -> Ticket:
        """Write a call and settle its holds in one transaction; return when both are durable, or lost.

        The ticket's ``ok`` says which, ``crossed`` which thresholds were passed. A call written again under its id
        replaces the earlier row. Never raises.
        """
        self._wrote = True
        if row is not None and row.refused:
            row = self._refusals.take(row)
            if row is None and not settle:
                return _counted()
        return self._writer.write(self._ticket(row, settle))

    def submit(self, row: CallRow | None, settle: Sequence[Due] = ()) -> Ticket:
        """Do the same in the ledger's own thread; then ``await runtime.wait(ticket.flight)``."""
        self._wrote = True
        if row is not None and row.refused:
            row = self._refusals.take(row)
            if row is None and not settle:
                return _counted()
        return self._writer.submit(self._ticket(row, settle))

    def write_task(self, row: TaskRow) -> bool:
        """Write a task, or how one has ended; return whether it is in the ledger."""
        values = (
            row.id,
            row.started_at,
            row.ended_at,
            row.outcome,
            row.feature,
            self.hide(row.user),
            self.hide(row.tenant),
        )
        return self._quietly(TASK, values)

    def write_server(self, row: ServerRow) -> bool:
        """Write what a local server was up and busy for by now; return whether it is in the ledger. Never raises."""
        return self._quietly(SERVER, server_values(row))

    def hide(self, name: str | None) -> str | None:
        """Return a user's or tenant's id as it is stored: as given, or its salted hash with ``hash_ids``."""
        if name is None or not self._hash_ids:
            return name
        hidden = self._hidden.get(name)
        if hidden is None:
            if len(self._hidden) > 10_000:  # noqa: PLR2004 - a cache's bound, not a rule
                self._hidden.clear()
            hidden = self._hidden[name] = self.salt.hide(name)
        return hidden

    # -- budgets ------------------------------------------------------------------------------------------------------

    def claim(
        self,
        budget: Budget,
        *,
        user: str | None = None,
        tenant: str | None = None,
        tags: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Claim:
        """Return which pot of ``budget`` a call draws on; ``more`` are the other fields of ``Claim``."""
        return Claim(budget, budget.key(user=self.hide(user), tenant=self.hide(tenant), tags=tags), **more)

    def reserve(  # noqa: PLR0913 - the words of one sentence, by keyword
        self,
        claims: Iterable[Claim],
        *,
        nano: int,
        tokens: int = 0,
        calls: int = 1,
        least: tuple[int, int] | None = None,
        now: float | None = None,
        lease_s: float = LEASE_SECONDS,
        sent: bool = False,
        about: Mapping[str, Any] | None = None,
        hold_id: int | None = None,
    ) -> Hold | Refusal:
        """Set upper bounds aside in every budget claimed, or in none: nano-dollars, tokens and calls.

        ``least`` (nano, tokens) accepts less where the full amounts do not fit; the hold says what was granted.
        ``sent`` marks the hold sent at once. ``about`` are fields of ``CallRow`` known by now, ``id`` among them: the
        row that is booked if the program dies and the hold lapses into spend. ``hold_id`` names the hold, for who must
        find it again after being killed; there must be none of that name.
        """
        note = None if about is None else dict(about)
        if note is not None and self._hash_ids:
            note |= {"user": self.hide(note.get("user")), "tenant": self.hide(note.get("tenant"))}
        now = time.time() if now is None else now
        claims, asked = list(claims), (nano, tokens, calls)
        generation = self.store.generation
        guarded = any(asked) and any(claim.budget.hard for claim in claims)
        if guarded:
            self._see_that_nothing_is_forgotten()
        found = self._reserving.reserve(
            claims, asked, least, now=now, lease_s=lease_s, sent=sent, about=note, hold_id=hold_id
        )
        if guarded and self.store.generation != generation:
            try:
                self._see_that_nothing_is_forgotten()
            except LedgerUnavailable:
                if isinstance(found, Hold):
                    self.release(found)
                raise
        return found

    def room(self, claims: Iterable[Claim], *, now: float | None = None) -> tuple[int, int, int]:
        """Return the nano-dollars, tokens and calls left under all of ``claims``; ``UNLIMITED`` where unbound."""
        return self._reserving.room(list(claims), time.time() if now is None else now)

    def mark_sent(self, hold: Hold) -> bool:
        """Mark that the request is about to leave; False: the lease ran out, the amount is gone, do not send."""
        return not hold.pots or self.store.transact(lambda transaction: send(transaction, hold), self._patience)

    def settle(
        self, hold: Hold, nano: int, tokens: int = 0, *, calls: int | None = None, low_nano: int | None = None
    ) -> Settlement:
        """Turn a hold into what was spent; a ``low_nano`` below it marks an estimate. A second time does nothing."""
        due = Due(hold, nano, tokens, calls, low_nano)
        if not hold.pots:
            return Settlement(settled=True)
        return self.store.transact(lambda transaction: settle(transaction, due), self._patience)

    def release(self, hold: Hold) -> bool:
        """Give a hold back whose request never left, or whose reply proves that nothing is billed."""
        return self.settle(hold, 0, 0, calls=0).settled

    def settle_named(self, hold_id: int, nano: int = 0, tokens: int = 0, calls: int = 0) -> bool:
        """Turn the hold of this name, whoever made it, into what was spent; False where there is none (any more)."""
        due = Due(Hold(hold_id, (), 0, 0, 0, 0.0), nano, tokens, calls)
        return self.store.transact(lambda transaction: settle(transaction, due), self._patience).settled

    def held_under(self, hold_id: int) -> frozenset[tuple[str, str]]:
        """Return the budgets, by name and key, under which the hold of this name stands."""
        rows = self.store.transact(lambda transaction: transaction.rows(UNDER, hold_id), self._patience)
        return frozenset((str(budget), str(key)) for budget, key in rows)

    def renew(self, *found: Hold, now: float | None = None, lease_s: float = LEASE_SECONDS) -> list[bool]:
        """Extend the leases of calls still under way; False for one that has lapsed."""
        until = (time.time() if now is None else now) + lease_s
        return self.store.transact(lambda transaction: renew(transaction, found, until), self._patience)

    def reap(self, now: float | None = None) -> int:
        """Deal with every lease that ran out, as any ``reserve`` does; return how many windows they were in."""
        return self._reserving.reap(time.time() if now is None else now)

    # -- looking and tidying ------------------------------------------------------------------------------------------

    def reader(self) -> Reader:
        """Return what reports are read with, on connections of its own; close it."""
        return Reader(self.store, self.salt if self._hash_ids else None)

    def fold(self) -> int:
        """Fold rows into the sums that make reports quick; programs that write do it by themselves."""
        return self._writer.fold(self._patience)

    def prune(self, before: float) -> int:
        """Delete calls begun before the UTC day of ``before`` (seconds since the epoch); return how many."""
        return retention.prune(self.store, before, self._patience)

    def delete_user(self, user: str) -> int:
        """Delete every row of a user; return how many calls. What was spent stays in the sums that name no user."""
        self.fold()
        return retention.delete_user(self.store, self.hide(user) or "", self._patience)

    def after_fork(self) -> None:
        """Start afresh in a forked child."""
        self.store.after_fork()
        self._writer.after_fork()
        self._reserving.after_fork()
        self._refusals = Refusals()

    def drain(self, seconds: float) -> None:
        """Let what was submitted be written."""
        self._write_rest()
        self._writer.drain(seconds)

    def _ticket(self, row: CallRow | None, dues: Sequence[Due]) -> Ticket:
        dues = [due for due in dues if due.hold.pots]
        if row is None:
            return Ticket(None, [], dues)
        if self._hash_ids:
            row = replace(row, user=self.hide(row.user), tenant=self.hide(row.tenant))
        values = call_values(row)
        if not self._record_text:
            values[-1] = values[-2] = None
        return Ticket(values, [attempt_values(attempt) for attempt in row.attempts], dues)

    def _write_rest(self) -> None:
        for row in self._refusals.rest():
            self._writer.write(self._ticket(row, ()))

    def _fold_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.store.transact(lambda transaction: fold(transaction, FOLD_ROWS), self._patience) < FOLD_ROWS:
                return

    def _quietly(self, statement: Any, values: Sequence[Any]) -> bool:
        return self._writer.run(lambda transaction: transaction.run(statement, *values))


def _counted() -> Ticket:
    """Return the ticket of a refused call that a later row will count."""
    ticket = Ticket(None, [], [])
    ticket.flight = Flight()
    ticket.land(ok=True)
    return ticket


_all: weakref.WeakSet[Ledger] = weakref.WeakSet()


def _drain_all() -> None:
    until = time.monotonic() + 2.0
    for ledger in list(_all):
        ledger.drain(max(0.0, until - time.monotonic()))


def _after_fork() -> None:
    for ledger in list(_all):
        ledger.after_fork()


atexit.register(_drain_all)
os.register_at_fork(after_in_child=_after_fork)
