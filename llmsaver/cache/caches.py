"""``saver.cache``: the answers that this program remembers, the store behind them, and what users do to both."""

from __future__ import annotations

import atexit
import logging
import os
import random
import time
import weakref
from collections import Counter, deque
from contextlib import suppress
from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from llmsaver.core.background import Background
from llmsaver.core.runtime import Flight
from llmsaver.errors import ConfigurationError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from llmsaver.cache.store import Store
    from llmsaver.cache.stored import Stored

__all__ = ["Caches"]

log = logging.getLogger("llmsaver")
T = TypeVar("T")

MEMORY_BYTES = 32 << 20
STORE_BYTES = 512 << 20
# What other programs delete is forgotten here within this time.
TRUST_SECONDS = 1.0
# A store that failed is left alone for as long: each try may take what a caller would wait.
REST_SECONDS = 5.0
# Tries to write where other programs are writing; each waits as long as the store's patience is (half a second).
TRIES, AGAIN_SECONDS = 6, 0.1
_BATCH = 200
_WAITING = 10_000


class Caches:
    """Answers by key, for every layer that keeps some; thread-safe, fork-safe, and never the reason that a call fails.

    What fails is a miss: logged once, counted in ``counts["failed"]``, and the store left alone for a moment. Writes
    happen in a thread of their own; an answer can be found in this program at once. Management (``invalidate`` and the
    like) does raise: whoever calls it must know.
    """

    def __init__(
        self,
        cache: str | None = None,
        ledger: str | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        max_bytes: int = STORE_BYTES,
        tenant_bytes: int | None = None,
    ) -> None:
        from llmsaver.cache.memory import Memory
        from llmsaver.cache.store import store_of

        self.store: Store = store_of(cache, ledger, max_bytes=max_bytes, tenant_bytes=tenant_bytes)
        self.memory = Memory(memory_bytes)
        self.counts: Counter[str] = Counter()
        self._background = Background(capacity=_WAITING)
        self._told = False
        self._generation = 0
        self.after_fork(first=True)
        _all.add(self)

    def after_fork(self, *, first: bool = False) -> None:
        """Start afresh in a forked child: the parent writes what waits."""
        self._waiting: deque[tuple[Stored, bool, Flight]] = deque()
        self._hits: deque[str] = deque()
        self._scheduled = False
        self._checked_at = self._resting_until = float("-inf")
        if not first:
            self.memory.after_fork()
            self.store.place.after_fork()

    # -- what layers use: never raises --------------------------------------------------------------------------------

    def held(self, key: str) -> Stored | None:
        """Return what this program remembers, without any waiting; None where the store has to be asked."""
        if time.monotonic() - self._checked_at > TRUST_SECONDS:
            return None
        return self.memory.get(key)

    def get(self, key: str) -> Stored | None:
        """Return an answer that is not gone yet, live or stale; blocking, so await it through ``runtime.offload``."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, Stored]:
        """Return those there are, by key."""
        self._look()
        found = {key: stored for key in keys if (stored := self.memory.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        if missing:
            nothing: dict[str, Stored] = {}
            more = self.guarded(lambda: self.store.get_many(missing, time.time(), stale=True), nothing)
            for stored in more.values():
                self.memory.put(stored)
            found.update(more)
        return found

    def put(self, stored: Stored, *, replace: bool = True) -> Flight:
        """Keep an answer; the flight lands when it is in the store, or lost."""
        known = None if replace else self.memory.get(stored.key)
        if known is None or not known.live(stored.created_at):
            self.memory.put(stored)
        flight = Flight()
        if len(self._waiting) >= _WAITING:
            self.counts["refused"] += 1
            flight.land()
        else:
            self._waiting.append((stored, replace, flight))
            self._flush_soon()
        return flight

    def note_hit(self, key: str) -> None:
        """Count a hit."""
        self.counts["hits"] += 1
        self._hits.append(key)
        if len(self._hits) >= _BATCH:
            self._flush_soon()

    def forget(self, keys: Sequence[str]) -> None:
        """Drop entries that turned out to be wrong or broken."""
        for key in keys:
            self.memory.remove(key)
        self.guarded(lambda: self.store.delete(keys), 0)

    def guarded(self, work: Callable[[], T], default: T, *, tries: int = 1) -> T:
        """Return what ``work`` does with the store, or ``default`` where that fails; a store that failed is rested.

        Where nothing is wrong but that others are writing, it is tried again, ``tries`` times in all: that is for
        those whom nobody waits for.
        """
        if time.monotonic() < self._resting_until:
            return default
        for left in reversed(range(tries)):
            try:
                return work()
            except Exception as error:  # noqa: BLE001 - whatever a store raises is no reason for a call to fail
                if left and getattr(error, "busy", False):
                    self.counts["tried again"] += 1
                    time.sleep(random.uniform(0, AGAIN_SECONDS))  # noqa: S311 - spreads writers
                    continue
                self.counts["failed"] += 1
                self._resting_until = time.monotonic() + REST_SECONDS
                if not self._told:
                    self._told = True
                    log.warning("llmsaver: the cache cannot be used, calls go on without it: %s", in_words(error))
                break
        return default

    # -- what users do ------------------------------------------------------------------------------------------------

    def invalidate(
        self,
        *,
        tag: str | None = None,
        model: str | None = None,
        tenant: str | None = None,
        feature: str | None = None,
        before: float | date | None = None,
    ) -> int:
        """Delete the answers that match all that is given; return how many. Other programs follow within a second.

        ``before``: made before a moment: a ``datetime``, a ``date`` or seconds since the epoch. Raises
        ``ConfigurationError`` where nothing is given.
        """
        given = {"tag": tag, "model": model, "tenant": tenant, "feature": feature}
        what: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if before is not None:
            what["before"] = _moment(before)
        if not what:
            raise ConfigurationError("invalidate() needs one of tag=, model=, tenant=, feature=, before=; see purge()")
        return self._after_writes(lambda: self.store.invalidate(**what))

    def purge(self) -> int:
        """Delete every answer, and what was learned of them; return how many there were."""
        return self._after_writes(self.store.purge)

    def stats(self) -> dict[str, Any]:
        """Return what is stored, how often it was served, what that saved, and what this program has seen."""
        self.drain()
        seen = {name: self.counts[name] for name in ("hits", "misses", "stored", "refused", "failed")}
        memory = {"entries": len(self.memory), "bytes": self.memory.bytes}
        found = self.store.stats(time.time()) if self.store.place.there else dict(_NOTHING)
        return {"place": self.store.place.name, **found, "memory": memory, "here": seen}

    def inspect(self, key: str) -> dict[str, Any] | None:
        """Return an entry with its answer, None where there is none under this key."""
        self.drain()
        stored = self.store.inspect(key) if self.store.place.there else None
        return None if stored is None else _plain(stored)

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield every entry with its answer."""
        self.drain()
        if self.store.place.there:
            for stored in self.store.export():
                yield _plain(stored)

    def shadow(self, feature: str | None = None) -> list[dict[str, Any]]:
        """Return, by feature, what the semantic cache would have served at other promises."""
        from llmsaver.cache.shadow import STATE, shadows

        self.drain()
        return shadows(self.store.states(f"{STATE}tally:"), feature) if self.store.place.there else []

    def drain(self, seconds: float = 2.0) -> bool:
        """Wait until everything is written; return whether it is."""
        if self._waiting or self._hits:
            self._flush_soon()
        return self._background.drain(seconds)

    def close(self) -> None:
        """Write what waits, and close; the store opens again on use."""
        self.drain()
        self.store.place.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _after_writes(self, delete: Callable[[], int]) -> int:
        self.drain()
        self.memory.clear()
        gone = delete() if self.store.place.there else 0
        self.memory.clear()
        return gone

    def _look(self) -> None:
        """Forget what is remembered where somebody has deleted entries since."""
        now = time.monotonic()
        if now - self._checked_at <= TRUST_SECONDS:
            return
        generation = self.guarded(self.store.generation, self._generation)
        if generation != self._generation:
            self._generation = generation
            self.memory.clear()
        self._checked_at = now

    def _flush_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True  # before, or a thread that is quick would be taken back
            if not self._background.submit(self._flush):
                self._scheduled = False

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting or self._hits:
            self._write(_taken(self._waiting), _taken(self._hits))

    def _write(self, batch: list[tuple[Stored, bool, Flight]], hits: list[str]) -> None:
        answers = [(stored, replace) for stored, replace, _ in batch]
        lost: list[bool] = []
        try:
            if answers:
                self.counts["stored"] += sum(self.guarded(lambda: self.store.put_all(answers), lost, tries=TRIES))
            if hits:
                self.guarded(lambda: self.store.note_hits(hits), None, tries=TRIES)
        finally:
            for _, _, flight in batch:
                flight.land()


def _taken(waiting: deque[T]) -> list[T]:
    """Take what waits, as much as one transaction should hold."""
    taken: list[T] = []
    with suppress(IndexError):
        while len(taken) < _BATCH:
            taken.append(waiting.popleft())
    return taken


_NOTHING: dict[str, Any] = {
    "entries": 0,
    "live": 0,
    "bytes": 0,
    "hits": 0,
    "saved_nano": 0,
    "oldest": None,
    "newest": None,
    "models": [],
}


def _plain(stored: Stored) -> dict[str, Any]:
    whole = asdict(stored)
    for name in ("body", "vector", "_content"):
        del whole[name]
    return {**whole, "message": stored.message}


def _moment(before: float | date) -> float:
    if isinstance(before, datetime):
        return before.timestamp()
    if isinstance(before, date):
        return datetime(before.year, before.month, before.day).astimezone().timestamp()
    given: Any = before
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    raise ConfigurationError(f"before= must be a datetime, a date or seconds since the epoch, not {before!r}")


_all: weakref.WeakSet[Caches] = weakref.WeakSet()


def _after_fork() -> None:
    for caches in list(_all):
        caches.after_fork()


def _drain_all() -> None:
    until = time.monotonic() + 2.0
    for caches in list(_all):
        caches.drain(max(0.0, until - time.monotonic()))


atexit.register(_drain_all)
os.register_at_fork(after_in_child=_after_fork)
