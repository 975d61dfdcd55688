"""The ledger in a SQLite file: one writing connection to a process, many processes to a file.

A transaction begins with BEGIN IMMEDIATE, so that it either holds the one write lock or has done nothing. Waiting for
the lock is random, not SQLite's own fixed steps, which starve some writers when many wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.files import create, identity, rename, sound
from llmsaver.ledger.mending import aside
from llmsaver.ledger.migrate import migrate
from llmsaver.ledger.statements import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Engine

    from llmsaver.ledger.statements import Cursor

__all__ = ["SQLiteStore"]

log = logging.getLogger("llmsaver")
T = TypeVar("T")

OLDEST = (3, 35, 0)  # RETURNING
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
SHORTEST_WAIT, LONGEST_WAIT = 0.0001, 0.01
# The write-ahead log is moved into the file from here on, and cut down if it ever grew huge.
TIDY_BYTES, HUGE_BYTES, TIDY_SECONDS = 4 << 20, 64 << 20, 2.0


class SQLiteStore:
    """Transactions on one file; safe to use from any thread and, after a fork, from the child.

    Every failure of the file is raised as ``LedgerUnavailable``. A file that is no intact database is moved aside and a
    fresh one takes its place; one that was deleted or replaced while open is opened anew. ``generation`` counts
    openings, because what was remembered of the file before the last one may no longer hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)  # a Path is turned into one at every use
        self.moved_aside: Path | None = None
        self.generation = 0
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._transaction: Transaction | None = None
        self._file: tuple[int, int] | None = None
        self._aside: list[Path] = []
        self.engine = self._make_engine(lambda: _connect(path))
        self.dialect = self.engine.dialect

    @property
    def file(self) -> Path:
        """The file."""
        return self.path

    @property
    def there(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    @property
    def unresolved(self) -> Path | None:
        """The broken file beside this one, as found when it was opened and looked for again while there is one."""
        if self._aside:
            self._aside = self.broken()
        return self._aside[0] if self._aside else None

    def broken(self) -> list[Path]:
        """Return the broken files that were moved aside, oldest first."""
        return aside(self.path)

    def open(self, patience: float) -> None:
        """Connect, and bring the schema up to date."""
        try:
            self._open_and_leave(patience)
        except LedgerUnavailable as failure:
            self._mend(failure, patience)
            self._open_and_leave(patience)

    def transact(self, work: Callable[[Transaction], T], patience: float) -> T:
        """Run ``work`` in one transaction and commit; wait up to ``patience`` seconds for other writers."""
        try:
            return self._transact(work, patience)
        except LedgerUnavailable as failure:
            self._mend(failure, patience)
        return self._transact(work, patience)

    def read(self) -> Engine:
        """Return an engine whose connections cannot write, nor make a writer wait."""
        return self._make_engine(lambda: _connect_reader(self.path))

    def tidy(self) -> None:
        """Move what the write-ahead log has gathered into the file, on another connection, so that no commit has to.

        The bulk moves while others write; only what they added meanwhile is moved with writers kept out. Without that
        a log that is always being written to would never end, and grow.
        """
        with contextlib.suppress(sqlite3.Error, OSError):
            size = self.path.with_name(self.path.name + "-wal").stat().st_size
            if size < TIDY_BYTES:
                return
            with contextlib.closing(_connect(self.path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                until = time.monotonic() + TIDY_SECONDS
                how = "TRUNCATE" if size > HUGE_BYTES else "RESTART"
                while connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()[0]:
                    if time.monotonic() > until:
                        return
                    # Short, because those it competes with wait as shortly.
                    time.sleep(random.uniform(0, SHORTEST_WAIT * 4))  # noqa: S311 - spreads waiters

    def close(self) -> None:
        """Close the connection; it is opened again on use."""
        with self._lock:
            self._forget()

    def after_fork(self) -> None:
        """Leave the parent's connection alone for good: closing it here would pull locks from under the parent."""
        self._lock = threading.Lock()
        if self._connection is not None:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))
        self._connection = self._transaction = self._file = None

    def _transact(self, work: Callable[[Transaction], T], patience: float) -> T:
        with self._lock:
            connection, transaction = self._live(patience)
            try:
                if connection.in_transaction:  # left by a failed roll-back
                    connection.execute("ROLLBACK")
                _begin(transaction.cursor, patience)
                result = work(transaction)
                transaction.cursor.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    failure = _failure(error)
                    if failure is not None:
                        if not _is_busy(error):
                            self._forget()  # whatever it was, a fresh connection has a better chance
                        raise failure from error
                raise
            return result

    def _live(self, patience: float) -> tuple[sqlite3.Connection, Transaction]:
        """Return the open connection, opened anew where the file under it is no longer the one at the path."""
        if self._connection is not None and self._file != identity(self._name):
            log.warning("llmsaver: the ledger %s was deleted or replaced while open; starting over there", self.path)
            self._forget()
        if self._connection is None or self._transaction is None:
            self._open(patience)
        assert self._connection is not None  # noqa: S101 - told to the type checker
        assert self._transaction is not None  # noqa: S101 - the same
        return self._connection, self._transaction

    def _open_and_leave(self, patience: float) -> None:
        with self._lock:
            self._live(patience)

    def _open(self, patience: float) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise LedgerUnavailable(f"the ledger needs SQLite 3.35 or later; Python has {sqlite3.sqlite_version} here")
        until = time.monotonic() + patience
        connection: sqlite3.Connection | None = None
        try:
            create(self.path)
            connection = _connect(self.path)
            _patient(lambda: _prepare(connection), until)
            _patient(self._migrate, until)
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            failure = _failure(error) if isinstance(error, sqlite3.Error) else None
            raise failure or LedgerUnavailable(f"the ledger {self.path} cannot be opened: {error}") from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        self.generation += 1
        self._connection = connection
        self._transaction = Transaction(connection.cursor(), self.dialect, {})
        self._file = identity(self._name)
        self._aside = self.broken()

    def _migrate(self) -> None:
        try:
            migrate(self.engine)
        except DBAPIError as error:
            raise error.orig or error from error

    def _forget(self) -> None:
        connection, self._connection = self._connection, None
        transaction, self._transaction = self._transaction, None
        with contextlib.suppress(sqlite3.Error):
            if transaction is not None:
                transaction.cursor.close()  # a statement left half read keeps a closed connection's locks
            if connection is not None:
                connection.close()

    def _mend(self, failure: LedgerUnavailable, patience: float) -> None:
        """Start a fresh file where the old one turned out to be broken, for one more try; raise any other failure."""
        if not failure.broken:
            raise failure
        with self._lock:
            self._forget()
            self._move_aside(patience, failure)

    def _move_aside(self, patience: float, failure: LedgerUnavailable) -> None:
        """Rename the broken file, unless another process has already put a sound one there."""
        until = time.monotonic() + patience
        guard = self.path.with_name(self.path.name + ".repair")
        try:
            with os.fdopen(os.open(guard, os.O_RDWR | os.O_CREAT, 0o600), "rb") as lock:
                _patient(lambda: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB), until)
                if sound(self.path):
                    return
                aside = self.path.with_name(f"{self.path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
                rename(self.path, aside)
                self.moved_aside = aside
                guard.unlink()
        except OSError as error:
            raise LedgerUnavailable(f"the ledger {self.path} is broken and cannot be moved aside: {error}") from failure
        log.error(
            "llmsaver: the ledger %s is broken (%s); it was moved to %s and a new one begins. What budgets had spent "
            "is in the old one, so calls under a hard budget are refused until: llmsaver ledger repair",
            self.path,
            failure,
            aside,
        )

    def _make_engine(self, creator: Callable[[], sqlite3.Connection]) -> Engine:
        """Return an engine that leaves BEGIN to us: the driver's own idea of when to send it breaks DDL and reads."""
        engine = create_engine("sqlite://", creator=creator, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql(
                "BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE"
            )

        return engine


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256)


def _connect_reader(path: Path) -> sqlite3.Connection:
    """Connect read-only; a file in a folder that cannot be written to has no live writer, and is read as it stands."""
    name = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=5, isolation_level=None)
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError:
        connection = sqlite3.connect(f"{name}?mode=ro&immutable=1", uri=True, timeout=5, isolation_level=None)
    connection.execute("PRAGMA cache_size=-65536")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=8000")
    connection.execute("PRAGMA cache_size=-16384")


def _begin(cursor: Cursor, patience: float) -> None:
    try:
        cursor.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not _is_busy(error):
            raise
        _patient(lambda: cursor.execute("BEGIN IMMEDIATE"), time.monotonic() + patience)


def _patient(attempt: Callable[[], object], until: float) -> None:
    """Try until it is not locked, or until then; waits are random and grow."""
    longest = SHORTEST_WAIT * 4
    while True:
        try:
            attempt()
        except (sqlite3.OperationalError, BlockingIOError) as error:
            if not _is_busy(error) or time.monotonic() >= until:
                raise
        else:
            return
        time.sleep(random.uniform(SHORTEST_WAIT, longest))  # noqa: S311 - spreads waiters, keeps no secret
        longest = min(longest * 1.5, LONGEST_WAIT)


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, BlockingIOError) or (getattr(error, "sqlite_errorcode", 0) & 0xFF) in BUSY


def _failure(error: sqlite3.Error) -> LedgerUnavailable | None:
    """Return what the file's failure is called; None where the statement or its values are at fault, not the file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in BROKEN:
        return LedgerUnavailable(f"the ledger is broken: {error}", broken=True)
    if isinstance(error, sqlite3.OperationalError):
        return LedgerUnavailable(f"the ledger cannot be used: {error}")
    return None
