"""Where answers are kept: one table in SQLite or PostgreSQL, bounded in bytes, the least worth a byte going first.

Eviction is GreedyDual-Size-Frequency (Cherkasova 1998): an entry's worth is what a byte of it saves in dollars per hit,
times its hits, over the worth of what was evicted last, so that what was valuable long ago ages.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from llmsaver.cache import store_rows as rows
from llmsaver.cache.store_file import StoreFile
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from llmsaver.cache.stored import Stored
    from llmsaver.ledger.statements import Transaction

__all__ = ["Place", "Store", "place_of", "store_of"]

T = TypeVar("T")

_PAGE = 500
# An entry of a local model saves time instead of dollars.
LEAST_WORTH_NANO = 1_000
_EVICTED_AT_ONCE = 64
_LARGEST_SHARE = 8
# Evicting below the bound, so that not every write has to.
_ROOM = 0.95


class Place(Protocol):
    """A database; every failure of it is a ``StoreUnavailable``."""

    @property
    def name(self) -> str:
        """Where it is, for people."""

    @property
    def there(self) -> bool:
        """Whether anything has been stored there."""

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction that may write."""

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work``, which only reads."""

    def wipe(self) -> None:
        """Give freed space back."""

    def close(self) -> None:
        """Close; it opens again on use."""

    def after_fork(self) -> None:
        """Make good in a forked child."""


def place_of(cache: str | Path | None, ledger: str | Path | None = None) -> Place:
    """Return the place that a setting means: a path, a SQLAlchemy URL, or for None ``cache.db`` beside the ledger.

    Beside a ledger on a server that is the file in the user's data folder. Raises ``ConfigurationError``.
    """
    from llmsaver.ledger.store import default_path

    given = ledger if cache is None else cache
    beside = cache is None
    if given is None:
        return StoreFile(default_path().with_name("cache.db"))
    if not str(given):
        raise ConfigurationError("the cache's path is empty; leave it out for the default")
    if isinstance(given, Path) or "://" not in given:
        path = Path(given).expanduser().absolute()
        return StoreFile(path.with_name("cache.db") if beside else path)
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(given)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"the cache's URL cannot be read: {error}") from None
    if url.get_backend_name() == "sqlite":
        if url.database in {None, "", ":memory:"}:
            raise ConfigurationError("a cache in memory needs no URL; give a path: sqlite:////path/cache.db")
        path = Path(str(url.database)).absolute()
        return StoreFile(path.with_name("cache.db") if beside else path)
    if beside:
        return StoreFile(default_path().with_name("cache.db"))
    from llmsaver.cache.store_server import StoreServer

    return StoreServer(url)


def store_of(
    cache: str | Path | None, ledger: str | Path | None = None, *, max_bytes: int, tenant_bytes: int | None = None
) -> Store:
    """Return the store that a setting means: SQL at ``place_of``, or for ``diskcache:PATH`` that library's folder."""
    if isinstance(cache, str) and cache.startswith("diskcache:"):
        from llmsaver.cache.store_disk import PREFIX, DiskStore

        # Not a kind of Store: it shares what that does, and none of how.
        return cast("Store", DiskStore(cache.removeprefix(PREFIX), max_bytes=max_bytes, tenant_bytes=tenant_bytes))
    return Store(place_of(cache, ledger), max_bytes=max_bytes, tenant_bytes=tenant_bytes)


class Store:
    """Answers by key. Thread-safe; raises ``StoreUnavailable`` and ``StoreTooNew``, which ``Caches`` turns into misses.

    ``max_bytes`` bounds all of it and ``tenant_bytes`` each tenant; where there is no room, the tenant with the most
    bytes gives first.
    """

    def __init__(self, place: Place, *, max_bytes: int, tenant_bytes: int | None = None) -> None:
        self.place = place
        self._max_bytes = max_bytes
        self._tenant_bytes = max_bytes if tenant_bytes is None else min(tenant_bytes, max_bytes)

    def get(self, key: str, now: float, *, stale: bool = False) -> Stored | None:
        """Return an answer that is live at ``now``, or with ``stale`` one that is not gone yet; None for a broken row.

        One that claims to be from the future (a clock was set back) is none.
        """
        found = self.get_many([key], now, stale=stale)
        return found.get(key)

    def get_many(self, keys: Sequence[str], now: float, *, stale: bool = False) -> dict[str, Stored]:
        """Return those there are, by key."""
        found = self.place.read(
            lambda transaction: [row for key in keys for row in transaction.rows(rows.GET, key)],
        )
        answers = {}
        for row in found:
            stored = rows.stored_from(row)
            if stored is not None and stored.live(now, stale=stale):
                answers[stored.key] = stored
        return answers

    def put(self, stored: Stored, *, replace: bool = True) -> bool:
        """Keep an answer; return whether it is kept. Without ``replace`` a live one under its key stays."""
        return self.put_all([(stored, replace)])[0]

    def put_all(self, answers: Sequence[tuple[Stored, bool]]) -> list[bool]:
        """Keep several in one transaction."""

        def work(transaction: Transaction) -> list[bool]:
            floor = float(rows.value_of(transaction, "floor", "0"))
            kept = [self._put(transaction, stored, floor, replace=replace) for stored, replace in answers]
            self._make_room(transaction, answers[-1][0].created_at if answers else 0.0)
            return kept

        return self.place.transact(work)

    def newer(self, namespace: str, after_seq: int) -> list[Stored]:
        """Return the entries of a namespace written after ``after_seq``, oldest first: an index is made of them."""
        found = self.place.read(lambda transaction: transaction.rows(rows.NEWER, namespace, after_seq))
        return [stored for stored in map(rows.stored_from, found) if stored is not None]

    def delete(self, keys: Iterable[str]) -> int:
        """Delete entries; return how many there were."""

        def work(transaction: Transaction) -> int:
            gone = self._drop_all(transaction, keys)
            if gone:
                rows.bump(transaction)
            return gone

        return self.place.transact(work)

    def invalidate(self, **what: Any) -> int:
        """Delete entries that match all of ``tag``, ``model``, ``tenant``, ``feature`` and ``before`` (in seconds)."""
        statement, values = rows.matching(what)
        return self._delete_many(statement, values)

    def purge(self) -> int:
        """Delete everything, what was learned too; return how many entries there were."""
        gone = self._delete_many(*rows.matching({}), states=True)
        self.place.wipe()
        return gone

    def generation(self) -> int:
        """Return a number that grows with every deletion, for those who remember entries."""
        return int(self.place.read(lambda transaction: rows.value_of(transaction, "generation", "0")))

    def note_hits(self, keys: Iterable[str]) -> None:
        """Count hits, for statistics and eviction."""

        def work(transaction: Transaction) -> None:
            floor = float(rows.value_of(transaction, "floor", "0"))
            for key in keys:
                transaction.run(rows.HIT, floor, key)

        self.place.transact(work)

    def note_hit(self, key: str) -> None:
        """Count one."""
        self.note_hits([key])

    def note_verdict(self, key: str, *, right: bool) -> None:
        """Count what an audit found of an entry."""
        statement = rows.RIGHT if right else rows.WRONG
        self.place.transact(lambda transaction: transaction.run(statement, key))

    def state(self, name: str) -> Mapping[str, Any] | None:
        """Return what was learned under a name."""
        found = self.place.read(lambda transaction: transaction.row(rows.STATE, name))
        if found is None:
            return None
        value = json.loads(found[0])
        return value if isinstance(value, dict) else None

    def states(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        """Return all that was learned under names that begin with ``prefix``; what is no object is left out."""
        found = self.place.read(lambda transaction: list(transaction.rows(rows.STATES)))
        told = {name: _object(value) for name, value in found if name.startswith(prefix)}
        return {name: value for name, value in told.items() if value is not None}

    def set_state(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep what was learned under a name."""
        text = json.dumps(dict(value))
        self.place.transact(lambda transaction: transaction.run(rows.SET_STATE, name, text))

    def stats(self, now: float) -> dict[str, Any]:
        """Return counts and sums: entries, bytes, live, hits, dollars saved (nano), and the same by model."""
        return self.place.read(lambda transaction: rows.stats(transaction, now))

    def inspect(self, key: str) -> Stored | None:
        """Return an entry whatever its age."""
        found = self.place.read(lambda transaction: transaction.row(rows.GET, key))
        return None if found is None else rows.stored_from(found)

    def export(self) -> Iterator[Stored]:
        """Yield every entry, oldest first, a page at a time."""
        after = 0
        while True:
            page = self.place.read(lambda transaction, seq=after: transaction.rows(rows.PAGE, seq, _PAGE))  # type: ignore[misc]  # the default binds it
            for row in page:
                stored = rows.stored_from(row)
                after = row[-1]
                if stored is not None:
                    yield stored
            if len(page) < _PAGE:
                return

    def _put(self, transaction: Transaction, stored: Stored, floor: float, *, replace: bool) -> bool:
        row = transaction.row(rows.GET, stored.key)
        known = None if row is None else rows.stored_from(row)
        if known is not None and not replace and known.live(stored.created_at):
            return False
        if row is not None:
            self._drop_all(transaction, [stored.key])
        if stored.size > self._max_bytes // _LARGEST_SHARE:
            return False
        rows.add(transaction, rows.merged(stored, known), floor, LEAST_WORTH_NANO)
        return True

    def _drop_all(self, transaction: Transaction, keys: Iterable[str]) -> int:
        found = [rows.known_from(row) for key in keys for row in transaction.rows(rows.BRIEF, key)]
        return sum(rows.drop(transaction, row) for row in found)

    def _make_room(self, transaction: Transaction, now: float) -> None:
        """Evict where a bound is passed: what is gone anyway, then of too large tenants, then of the largest."""
        used = rows.used_bytes(transaction)
        if sum(used.values()) <= self._max_bytes and all(size <= self._tenant_bytes for size in used.values()):
            return
        for row in map(rows.known_from, transaction.rows(rows.GONE, now)):
            rows.drop(transaction, row)
        used = rows.used_bytes(transaction)
        floor = float(rows.value_of(transaction, "floor", "0"))
        for tenant in [tenant for tenant, size in used.items() if size > self._tenant_bytes]:
            while used[tenant] > _ROOM * self._tenant_bytes:
                floor = max(floor, self._evict(transaction, tenant, used))
        if sum(used.values()) > self._max_bytes:
            while sum(used.values()) > _ROOM * self._max_bytes:
                floor = max(floor, self._evict(transaction, max(used, key=lambda each: used[each]), used))
        rows.set_value(transaction, "floor", repr(floor))

    def _evict(self, transaction: Transaction, tenant: str, used: dict[str, int]) -> float:
        """Drop a few of the least valuable entries of a tenant; return the worth of the last one."""
        worth, freed = 0.0, 0
        for row in map(rows.known_from, transaction.rows(rows.WORST, tenant, _EVICTED_AT_ONCE)):
            rows.drop(transaction, row)
            worth, freed = row.worth, freed + row.size
            if freed > self._max_bytes * (1 - _ROOM):
                break
        # A count that was wrong (nothing there to drop) must not keep anybody waiting.
        used[tenant] = used[tenant] - freed if freed else 0
        return worth

    def _delete_many(self, statement: Any, values: Sequence[Any], *, states: bool = False) -> int:
        def work(transaction: Transaction) -> int:
            gone = transaction.run(statement, *values).rowcount
            if states:
                transaction.run(rows.FORGET_STATES)
            rows.recount(transaction)
            rows.bump(transaction)
            return gone

        return self.place.transact(work)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
