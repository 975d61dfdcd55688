"""Answers in a folder of the diskcache library's: for applications that have one already. JSON only, never pickle.

diskcache unpickles what a row says is pickled, whoever wrote that row (CVE-2025-69872); this store reads no such row.
Against ``Store`` it has no bounds by tenant, no eviction by worth (the answers used longest ago go first), no claims
(identical calls of several processes are each made), and statistics take a walk over everything.
"""

from __future__ import annotations

import base64
import time
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from llmsaver.cache.schema import StoreUnavailable
from llmsaver.cache.store_rows import merged
from llmsaver.cache.stored import Stored
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["PREFIX", "DiskStore"]

T = TypeVar("T")

PREFIX = "diskcache:"
_ANSWER, _STATE, _SPACE = "a:", "s:", "n:"
_LARGEST_SHARE = 8
_PICKLE = 4  # the library's MODE_PICKLE


class _Folder:
    """The folder, as ``Caches`` and claims see a place; it holds no tables."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        if find_spec("diskcache") is None:
            raise ConfigurationError("a cache in diskcache's form needs its library: pip install diskcache")
        self.path = path
        self.name = f"{PREFIX}{path}"
        self._max_bytes = max_bytes
        self._opened: Any = None

    @property
    def there(self) -> bool:
        """Whether anything has been stored there."""
        return (self.path / "cache.db").exists()

    @property
    def cache(self) -> Any:
        """The library's cache, opened at first use."""
        if self._opened is None:
            library = import_module("diskcache")
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._opened = library.Cache(
                str(self.path),
                disk=_disk_of(library),
                size_limit=self._max_bytes,
                eviction_policy="least-recently-used",
                timeout=0.5,
            )
        return self._opened

    def transact(self, work: Callable[[Any], T]) -> T:  # noqa: ARG002 - the protocol's shape
        """Raise: there are no tables here, so that claims go on without."""
        raise StoreUnavailable(f"{self.name} has no tables")

    read = transact

    def wipe(self) -> None:
        """Do nothing more: what is deleted is gone."""

    def close(self) -> None:
        """Close; it opens again on use."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def after_fork(self) -> None:
        """Do nothing: the library opens its connections by process."""


def _disk_of(library: Any) -> Any:
    """Return the library's JSON disk, less what reads pickles."""

    class Disk(library.JSONDisk):  # type: ignore[misc]  # the base is known at run time only
        def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
            if mode == _PICKLE:
                _refuse()
            return super().fetch(mode, filename, value, read)

        def get(self, key: Any, raw: bool) -> Any:
            return super().get(key, raw) if raw else _refuse()

    return Disk


def _refuse() -> NoReturn:
    raise ValueError("a pickled row, which this library never writes, is not read")


class DiskStore:
    """What ``Store`` is, in diskcache; raises ``StoreUnavailable``."""

    def __init__(self, path: str | Path, *, max_bytes: int, tenant_bytes: int | None = None) -> None:
        if tenant_bytes is not None:
            raise ConfigurationError("a cache in diskcache's form has no bounds by tenant; leave tenant_bytes out")
        self.place = _Folder(Path(path).expanduser().absolute(), max_bytes)
        self._largest = max_bytes // _LARGEST_SHARE

    def get_many(self, keys: Sequence[str], now: float, *, stale: bool = False) -> dict[str, Stored]:
        """Return the live ones there are (with ``stale`` those that are not gone), by key."""
        found = self._guarded(lambda cache: [self._read(cache, key) for key in keys])
        return {each.key: each for each in found if each is not None and each.live(now, stale=stale)}

    def put_all(self, answers: Sequence[tuple[Stored, bool]]) -> list[bool]:
        """Keep several; return which are kept. Without ``replace`` a live one under its key stays."""

        def work(cache: Any) -> list[bool]:
            with cache.transact():
                return [self._put(cache, stored, replace=replace) for stored, replace in answers]

        return self._guarded(work)

    def newer(self, namespace: str, after_seq: int) -> list[Stored]:
        """Return a namespace's entries written after ``after_seq``, oldest first."""

        def work(cache: Any) -> list[Stored]:
            keys = [key for key, seq in (cache.get(_SPACE + namespace) or {}).items() if seq > after_seq]
            found = [self._read(cache, key) for key in keys]
            return sorted((each for each in found if each is not None and each.vector), key=lambda each: each.seq)

        return self._guarded(work)

    def delete(self, keys: Iterable[str]) -> int:
        """Delete entries; return how many there were."""

        def work(cache: Any) -> int:
            with cache.transact():
                gone = sum(bool(cache.delete(_ANSWER + key)) for key in keys)
                if gone:
                    _next(cache, "generation")
                return gone

        return self._guarded(work)

    def invalidate(self, **what: Any) -> int:
        """Delete entries that match all of ``tag``, ``model``, ``tenant``, ``feature`` and ``before`` (in seconds)."""
        return self.delete([each.key for each in self.export() if _matches(each, what)])

    def purge(self) -> int:
        """Delete everything, what was learned too; return how many entries there were."""
        count = sum(1 for _ in self.export())

        def work(cache: Any) -> None:
            generation = cache.get("generation", 0)
            cache.clear()
            cache.set("generation", generation + 1)

        self._guarded(work)
        return count

    def generation(self) -> int:
        """Return a number that grows with every deletion."""
        return self._guarded(lambda cache: int(cache.get("generation", 0)))

    def note_hits(self, keys: Iterable[str]) -> None:
        """Count hits."""
        for key in keys:
            self._count(key, "hits")

    def note_verdict(self, key: str, *, right: bool) -> None:
        """Count what an audit found of an entry."""
        self._count(key, "right" if right else "wrong")

    def state(self, name: str) -> Mapping[str, Any] | None:
        """Return what was learned under a name."""
        value = self._guarded(lambda cache: cache.get(_STATE + name))
        return value if isinstance(value, dict) else None

    def states(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        """Return all that was learned under names that begin with ``prefix``."""
        names = self._guarded(lambda cache: [key for key in cache if str(key).startswith(_STATE + prefix)])
        told = {name.removeprefix(_STATE): self.state(name.removeprefix(_STATE)) for name in names}
        return {name: value for name, value in told.items() if value is not None}

    def set_state(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep what was learned under a name."""
        self._guarded(lambda cache: cache.set(_STATE + name, dict(value)))

    def stats(self, now: float) -> dict[str, Any]:
        """Return counts and sums of everything stored, as ``Store`` does."""
        every = list(self.export())
        models: dict[str | None, list[Stored]] = {}
        for each in every:
            models.setdefault(each.model, []).append(each)
        return {
            **_sums(every),
            "live": sum(each.live(now) for each in every),
            "oldest": min((each.created_at for each in every), default=None),
            "newest": max((each.created_at for each in every), default=None),
            "models": sorted(
                ({"model": name, **_sums(each)} for name, each in models.items()),
                key=lambda row: (-row["hits"], -row["entries"]),
            ),
        }

    def inspect(self, key: str) -> Stored | None:
        """Return an entry whatever its age."""
        return self._guarded(lambda cache: self._read(cache, key))

    def export(self) -> Iterator[Stored]:
        """Yield every entry."""
        keys = self._guarded(lambda cache: [key for key in cache if str(key).startswith(_ANSWER)])
        for key in keys:
            found = self.inspect(key.removeprefix(_ANSWER))
            if found is not None:
                yield found

    def _put(self, cache: Any, stored: Stored, *, replace: bool) -> bool:
        known = self._read(cache, stored.key)
        if known is not None and not replace and known.live(stored.created_at):
            return False
        if stored.size > self._largest:
            cache.delete(_ANSWER + stored.key)
            return False
        stored = merged(stored, known)
        stored.seq = _next(cache, "seq")
        lasts = max(stored.drop_at - stored.created_at, 0.001)
        cache.set(_ANSWER + stored.key, _written(stored), expire=lasts)
        if stored.namespace is not None:
            space = cache.get(_SPACE + stored.namespace) or {}
            cache.set(_SPACE + stored.namespace, {**space, stored.key: stored.seq})
        return True

    def _read(self, cache: Any, key: str) -> Stored | None:
        return _stored(cache.get(_ANSWER + key))

    def _count(self, key: str, name: str) -> None:
        def work(cache: Any) -> None:
            with cache.transact():
                value, expires = cache.get(_ANSWER + key, expire_time=True)
                if isinstance(value, dict):
                    left = None if expires is None else max(expires - time.time(), 0.001)
                    cache.set(_ANSWER + key, {**value, name: value.get(name, 0) + 1}, expire=left)

        self._guarded(work)

    def _guarded(self, work: Callable[[Any], T]) -> T:
        try:
            return work(self.place.cache)
        except Exception as error:
            # The library's Timeout is others' writing; what else it raises is a broken folder.
            busy = type(error).__name__ == "Timeout"
            raise StoreUnavailable(f"{self.place.name}: {error}", busy=busy) from error


def _next(cache: Any, name: str) -> int:
    """Count on, in a transaction; the library's own counting cannot read JSON."""
    value = int(cache.get(name, 0)) + 1
    cache.set(name, value)
    return value


def _written(stored: Stored) -> dict[str, Any]:
    value = asdict(stored)
    del value["_content"]
    vector = stored.vector
    return {
        **value,
        "body": stored.body.decode("utf-8"),
        "vector": None if vector is None else base64.b64encode(vector).decode(),
        "digest": stored.digest.hex(),
    }


def _stored(value: Any) -> Stored | None:
    """Return the entry in a value; None where it is not what was written."""
    try:
        told = dict(value)
        digest, vector = told.pop("digest"), told.pop("vector")
        told["body"], told["tags"] = told["body"].encode(), tuple(told["tags"])
        stored = Stored(**told, vector=None if vector is None else base64.b64decode(vector))
        return stored if stored.digest.hex() == digest else None
    except (TypeError, ValueError, AttributeError, KeyError):
        return None


def _matches(stored: Stored, what: Mapping[str, Any]) -> bool:
    same = all(getattr(stored, name) == what[name] for name in ("model", "tenant", "feature") if name in what)
    tagged = "tag" not in what or what["tag"] in stored.tags
    return same and tagged and ("before" not in what or stored.created_at < what["before"])


def _sums(answers: Sequence[Stored]) -> dict[str, int]:
    return {
        "entries": len(answers),
        "bytes": sum(each.size for each in answers),
        "hits": sum(each.hits for each in answers),
        "saved_nano": sum(each.hits * (each.cost_nano or 0) for each in answers),
    }
