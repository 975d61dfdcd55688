"""Where originals lie: a private SQLite file, or any database that SQLAlchemy reaches.

What breaks a file costs what was stored in it, never a call: it is moved aside and a fresh one begins.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event, insert, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool

from llmsaver.errors import ConfigurationError, LLMSaverError
from llmsaver.ledger.files import create, identity, rename, sound
from llmsaver.ledger.store import default_path
from llmsaver.prompt.stub_tables import VERSION, meta, metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

__all__ = ["Place", "PlaceUnavailable", "place_of"]

log = logging.getLogger("llmsaver")
T = TypeVar("T")

_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
# A prompt sent as it was is cheaper than a caller who waits long for other writers.
_PATIENCE_SECONDS, _CONNECT_SECONDS = 1.0, 5
_FILE = "originals.db"


class PlaceUnavailable(LLMSaverError):  # noqa: N818 - reads as what it says
    """The originals cannot be read or written now; ``broken``: their file is no intact database."""

    def __init__(self, message: str, *, broken: bool = False) -> None:
        super().__init__(message)
        self.broken = broken


def place_of(given: str | Path | None, beside: str | Path | None = None) -> Place:
    """Return the place that a setting means: a path, a SQLAlchemy URL, or for None ``originals.db`` beside the ledger.

    Beside a ledger on a server that is the file in the user's data folder. Raises ``ConfigurationError``.
    """
    if given is None:
        return Place(_near(beside).with_name(_FILE))
    if not str(given):
        raise ConfigurationError("the path of originals is empty; leave it out for the default")
    if isinstance(given, Path) or "://" not in given:
        return Place(Path(given).expanduser().absolute())
    try:
        url = make_url(given)
        if url.get_backend_name() == "sqlite":
            if url.database in {None, "", ":memory:"}:
                raise ConfigurationError("originals in memory are lost; give a path: sqlite:////path/originals.db")
            return Place(Path(str(url.database)).absolute())
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        return Place(url)
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigurationError(f"the URL of originals needs a driver that is not installed ({error})") from error
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"the URL of originals cannot be read: {error}") from None


def _near(beside: str | Path | None) -> Path:
    """Return the ledger's file, or where it would be."""
    if beside is None or not str(beside):
        return default_path()
    if isinstance(beside, Path) or "://" not in beside:
        return Path(beside).expanduser().absolute()
    url = make_url(beside)
    in_file = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    return Path(str(url.database)).absolute() if in_file else default_path()


class Place:
    """Transactions on one database, from any thread and, after a fork, from the child.

    Every failure of it is a ``PlaceUnavailable``. A file that was deleted or replaced while open is opened anew.
    """

    def __init__(self, where: Any) -> None:
        self.path: Path | None = where if isinstance(where, Path) else None
        self._lock = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._ready = False
        if self.path is None:
            timeout = {"connect_timeout": _CONNECT_SECONDS} if where.get_backend_name() == "postgresql" else {}
            self.engine = create_engine(where, pool_recycle=1800, connect_args=timeout)
        else:
            self.engine = _engine_of(self.path)
        self.name = where.render_as_string(hide_password=True) if self.path is None else str(self.path)
        _all.add(self)

    @property
    def there(self) -> bool:
        """Whether anything has been stored there, as far as that can be told without making it."""
        return self.path is None or self.path.exists()

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction and commit it; once more where somebody else was quicker, or it broke."""
        try:
            return self._once(work)
        except PlaceUnavailable as failure:
            if not failure.broken:
                raise
            self._set_aside(failure)
        except IntegrityError:
            pass  # another process has written the same row since it was looked for
        return self._once(work)

    def wipe(self) -> None:
        """Give freed space back, so that nothing of what was deleted can be found, and drop what was moved aside."""
        if self.path is None:
            return
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_connected(self.path)) as connection:
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                connection.execute(statement).close()
        for aside in self.path.parent.glob(f"{self.path.name}.broken-*"):
            with contextlib.suppress(OSError):
                aside.unlink()

    def close(self) -> None:
        """Close; it opens again on use."""
        with self._lock:
            self._ready = False
            self.engine.dispose()

    def after_fork(self) -> None:
        """Leave the parent's connections alone: closing them here would pull locks from under the parent."""
        self._lock = threading.Lock()
        self._ready = False
        self.engine.dispose(close=False)

    def _once(self, work: Callable[[Connection], T]) -> T:
        try:
            self._open()
            with self.engine.begin() as connection:
                return work(connection)
        except IntegrityError:
            raise
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            told = error.orig if isinstance(error, DBAPIError) else error
            code = getattr(told, "sqlite_errorcode", 0) & 0xFF
            raise PlaceUnavailable(f"{self.name}: {told}", broken=code in _BROKEN) from error

    def _open(self) -> None:
        """Make the tables where they are missing; ``PlaceUnavailable`` for those of a later version."""
        if self._is_open():
            return
        with self._lock:
            if self._is_open():
                return
            self.engine.dispose()
            if self.path is not None:
                create(self.path)
                self._file = identity(self.name)
            try:
                metadata.create_all(self.engine)
            except (IntegrityError, ProgrammingError):
                metadata.create_all(self.engine)  # another process was making them
            with self.engine.begin() as connection:
                found = connection.execute(select(meta.c.value).where(meta.c.key == "schema")).scalar()
                if found is None:
                    connection.execute(insert(meta).values(key="schema", value=str(VERSION)))
                elif int(found) > VERSION:
                    raise PlaceUnavailable(f"{self.name} was written by a newer llmsaver: upgrade it")
            self._ready = True

    def _is_open(self) -> bool:
        return self._ready and (self.path is None or self._file == identity(self.name))

    def _set_aside(self, failure: PlaceUnavailable) -> None:
        """Move a broken file out of the way, unless another process has put a sound one there by now."""
        self.close()
        if self.path is None or not self.path.exists() or sound(self.path, _PATIENCE_SECONDS):
            return
        aside = self.path.with_name(f"{self.path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            rename(self.path, aside)
        except OSError as error:
            raise PlaceUnavailable(f"{self.name} is broken and cannot be moved aside: {error}") from failure
        log.warning("llmsaver: the originals are broken (%s); they were moved to %s", failure, aside)


def _engine_of(path: Path) -> Engine:
    """Return an engine that leaves BEGIN to us: a transaction holds the one write lock from its start."""
    engine = create_engine("sqlite://", creator=lambda: _connected(path), poolclass=QueuePool, max_overflow=8)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    return connection


_all: weakref.WeakSet[Place] = weakref.WeakSet()


def _after_fork() -> None:
    for place in list(_all):
        place.after_fork()


os.register_at_fork(after_in_child=_after_fork)
