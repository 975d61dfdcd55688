"""Which process asks what: a row in the cache's store for each call under way, so that others wait for its answer.

A claim lives as long as its owner renews it. On one machine a dead owner is seen at once, by its process id and start;
elsewhere its claim runs out.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import (
    Double,
    Text,
    bindparam,
    cast,
    delete,
    extract,
    func,
    or_,
    select,
    update,
)

from llmsaver.cache.owner import is_alive, this_process
from llmsaver.cache.schema import StoreUnavailable, claims, entries
from llmsaver.errors import in_words
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Dialect

    from llmsaver.cache.caches import Caches
    from llmsaver.ledger.statements import Transaction

__all__ = ["LEASE_SECONDS", "RENEW_SECONDS", "Claims", "Found"]

log = logging.getLogger("llmsaver")

Found = Literal["ours", "stored", "theirs", "free", "dead", "unknown"]

LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.0
# An owner that is seen to live may be late by so much: its machine is busy, or it was stopped.
GRACE_SECONDS = 25.0
# A store that failed is left alone for as long, as ``Caches`` does.
_REST_SECONDS = 5.0
# Tries where others are writing: each waits as long as the store's patience is.
_ATTEMPTS = 5
# Claims that could not be given back, kept to try again.
_MOST_GONE = 10_000
# The thread that renews ends after so long without a claim.
_IDLE_SECONDS = 10.0


def _now(dialect: Dialect) -> Any:
    """Return the moment: a server's own, since machines' clocks differ; the caller's for a file on its machine."""
    if dialect.name == "sqlite":
        return bindparam("now", type_=Double)
    return cast(extract("epoch", func.clock_timestamp()), Double)


def _lapsed(dialect: Dialect, grace: float = 0.0) -> Any:
    """Return the condition that a claim has run out (so long ago), or is from before the clock was set back."""
    now = _now(dialect)
    return or_(claims.c.expires_at <= now - grace, claims.c.expires_at > now + 3 * LEASE_SECONDS)


def _take(dialect: Dialect) -> Any:
    stale = or_(_lapsed(dialect), claims.c.owner == bindparam("o"), claims.c.owner == bindparam("gone"))
    values = {"owner": bindparam("o"), "expires_at": _now(dialect) + LEASE_SECONDS}
    return update(claims).where(claims.c.key == bindparam("k"), stale).values(values)


def _put(dialect: Dialect) -> Any:
    columns = select(bindparam("k", type_=Text), bindparam("o", type_=Text), _now(dialect) + LEASE_SECONDS)
    return inserted(claims)(dialect).from_select(["key", "owner", "expires_at"], columns.where(_true(dialect)))


def _true(dialect: Dialect) -> Any:
    """Return a condition that holds: without one SQLite takes ON CONFLICT for a join's."""
    return _now(dialect) > 0


def _put_new(dialect: Dialect) -> Any:
    return _put(dialect).on_conflict_do_nothing(index_elements=["key"])


def _renew(dialect: Dialect) -> Any:
    mine = claims.c.key == bindparam("k"), claims.c.owner == bindparam("o")
    return update(claims).where(*mine).values(expires_at=_now(dialect) + LEASE_SECONDS)


def _seen(dialect: Dialect) -> Any:
    return select(claims.c.owner, _lapsed(dialect), _lapsed(dialect, GRACE_SECONDS)).where(
        claims.c.key == bindparam("k")
    )


LIVE = Statement(
    select(entries.c.seq).where(entries.c.key == bindparam("k"), entries.c.expires_at > bindparam("now")), "k", "now"
)
TAKE = Statement(_take, "k", "o", "gone", "now")
PUT = Statement(_put_new, "k", "o", "now")
RENEW = Statement(_renew, "k", "o", "now")
SEEN = Statement(_seen, "k", "now")
DROP = Statement(delete(claims).where(claims.c.key == bindparam("k"), claims.c.owner == bindparam("o")), "k", "o")


class Claims:
    """One process's claims in a store; a store that fails makes every process go on by itself."""

    def __init__(self, caches: Caches, renew_every: float = RENEW_SECONDS) -> None:
        self._caches = caches
        self._every = renew_every
        self.after_fork()
        _all.add(self)

    def after_fork(self) -> None:
        """Own nothing in a forked child: what the parent holds is the parent's."""
        self.owner = this_process()
        self._lock = threading.Lock()
        self._held: dict[str, weakref.ref[Any]] = {}
        self._gone: list[str] = []
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._resting_until = float("-inf")

    def claim(self, key: str, holder: object) -> Found:
        """Claim a key for as long as ``holder`` lives, or say why not; blocking.

        "ours": nobody else asks meanwhile; "stored": there is an answer by now; "theirs": another process is asking;
        "unknown": the store cannot be used, go on without.
        """
        found = self._guarded(lambda transaction: self._claim(transaction, key))
        if found == "ours":
            with self._lock:
                self._held[key] = weakref.ref(holder)
                self._work()
        return found

    def look(self, key: str) -> Found:
        """Say what has become of another's claim: "stored", "theirs" still, "free" where it ended, "dead"; blocking."""
        found: Found = "free"  # a store that cannot be read is for ``claim`` to find out
        with suppress(StoreUnavailable):
            found, _ = self._caches.store.place.read(lambda transaction: self._look(transaction, key))
        return found

    def holds(self, key: str, holder: object) -> bool:
        """Whether ``holder`` has claimed a key."""
        found = self._held.get(key)
        return found is not None and found() is holder

    def release(self, key: str) -> None:
        """Give a key back, soon."""
        with self._lock:
            if self._held.pop(key, None) is not None:
                self._gone.append(key)
                self._wake.set()

    def close(self) -> None:
        """Give back everything now."""
        with self._lock:
            self._gone += self._held
            self._held.clear()
            thread = self._thread
        if thread is not None:
            self._renew()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _guarded(self, work: Callable[[Transaction], Found]) -> Found:
        """Run a transaction; one that other writers did not let in is tried again, for a guess would cost a call."""
        if time.monotonic() < self._resting_until:
            return "unknown"
        for attempt in range(_ATTEMPTS):
            try:
                return self._caches.store.place.transact(work)
            except Exception as error:  # noqa: BLE001 - whatever a store raises is no reason for a call to fail
                failure = error
            if not getattr(failure, "busy", False):
                break
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - spreads waiters
        self._resting_until = time.monotonic() + _REST_SECONDS
        log.debug("llmsaver: the cache cannot be asked who else makes a call: %s", in_words(failure))
        return "unknown"

    def _claim(self, transaction: Transaction, key: str) -> Found:
        found, owner = self._look(transaction, key)
        if found == "stored" or (found == "theirs" and owner != self.owner):
            return found
        now = time.time()
        if owner is not None and transaction.run(TAKE, key, self.owner, owner, now).rowcount == 1:
            return "ours"
        return "ours" if transaction.run(PUT, key, self.owner, now).rowcount == 1 else "theirs"

    def _look(self, transaction: Transaction, key: str) -> tuple[Found, str | None]:
        now = time.time()
        if transaction.row(LIVE, key, now) is not None:
            return "stored", None
        row = transaction.row(SEEN, key, now)
        if row is None:
            return "free", None
        owner, lapsed, long_ago = row
        alive = is_alive(owner)
        return ("dead" if long_ago or alive is False or (lapsed and alive is None) else "theirs"), owner

    def _work(self) -> None:
        """See to it that the thread runs; under the lock."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="llmsaver-claims", daemon=True)
            self._thread.start()

    def _keep(self) -> None:
        idle_since = time.monotonic()
        while True:
            self._wake.wait(self._every)
            self._wake.clear()
            with self._lock:
                if self._held or self._gone:
                    idle_since = time.monotonic()
                elif time.monotonic() - idle_since > _IDLE_SECONDS:
                    self._thread = None
                    return
            self._renew()

    def _renew(self) -> None:
        """Renew what is held, and give back what is not."""
        with self._lock:
            for key, holder in list(self._held.items()):
                if holder() is None:  # dropped unread, and collected
                    del self._held[key]
                    self._gone.append(key)
            gone, self._gone = self._gone, []
            held = list(self._held)
        if not (gone or held):
            return
        now = time.time()

        def work(transaction: Transaction) -> Found:
            for key in gone:
                transaction.run(DROP, key, self.owner)
            for key in held:
                transaction.run(RENEW, key, self.owner, now)
            return "ours"

        if self._guarded(work) == "unknown":
            log.debug("llmsaver: claims could not be renewed; they run out")
            with self._lock:
                # While their owner lives, others wait for a claim beyond its end: what was not given back is to be.
                self._gone = [*gone, *self._gone][-_MOST_GONE:]


_all: weakref.WeakSet[Claims] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_all):
        each.after_fork()


def _close_all() -> None:
    for each in list(_all):
        each.close()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
