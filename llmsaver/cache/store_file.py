"""The cache in a SQLite file: what breaks it costs what was stored, never a call."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from llmsaver.cache.schema import StoreUnavailable, check, prepare
from llmsaver.ledger.files import create, identity, rename, sound
from llmsaver.ledger.statements import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["StoreFile"]

log = logging.getLogger("llmsaver")
T = TypeVar("T")

BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
# A miss is cheaper than waiting long for other writers.
PATIENCE_SECONDS = 0.5


class _Line:
    """One connection, one caller at a time."""

    __slots__ = ("connection", "file", "lock", "transaction")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.connection: sqlite3.Connection | None = None
        self.transaction: Transaction | None = None
        self.file: tuple[int, int] | None = None


class StoreFile:
    """Transactions on one file, from any thread; readers do not wait for the writer of this process.

    A file that is no intact database is moved aside and a fresh one begins; one that was deleted or replaced while open
    is opened anew. Every failure is a ``StoreUnavailable``.
    """

    dialect = sqlite_dialect()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        self._writing, self._reading = _Line(), _Line()

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return self._name

    @property
    def there(self) -> bool:
        """Whether anything has been stored there."""
        return self.path.exists()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction that may write."""
        return self._mended(self._writing, lambda transaction: _committed(transaction, work))

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work``, which only reads."""
        return self._mended(self._reading, work)

    def wipe(self) -> None:
        """Give freed space back, so that nothing of what was deleted can be found, and drop what was moved aside."""
        with contextlib.suppress(StoreUnavailable):
            self._used(self._writing, _vacuum)
        for aside in self.path.parent.glob(f"{self.path.name}.broken-*"):
            with contextlib.suppress(OSError):
                aside.unlink()

    def close(self) -> None:
        """Close; it opens again on use."""
        for line in (self._writing, self._reading):
            with line.lock:
                _forget(line)

    def after_fork(self) -> None:
        """Leave the parent's connections alone for good: closing them here would pull locks from under the parent."""
        _left_open.extend(line.connection for line in (self._writing, self._reading) if line.connection is not None)
        self._writing, self._reading = _Line(), _Line()

    def _mended(self, line: _Line, work: Callable[[Transaction], T]) -> T:
        try:
            return self._used(line, work)
        except StoreUnavailable as failure:
            if not failure.broken:
                raise
            self._set_aside(failure)
        return self._used(line, work)

    def _used(self, line: _Line, work: Callable[[Transaction], T]) -> T:
        with line.lock:
            try:
                return work(self._live(line))
            except (sqlite3.Error, OSError) as error:
                code = getattr(error, "sqlite_errorcode", 0) & 0xFF
                busy = code == sqlite3.SQLITE_BUSY
                if not busy:
                    _forget(line)  # whatever it was, a fresh connection has a better chance
                raise StoreUnavailable(f"{self._name}: {error}", broken=code in BROKEN, busy=busy) from error

    def _live(self, line: _Line) -> Transaction:
        if line.connection is not None and line.file != identity(self._name):
            _forget(line)
        if line.transaction is None:
            self._open(line)
        assert line.transaction is not None  # noqa: S101 - told to the type checker
        return line.transaction

    def _open(self, line: _Line) -> None:
        create(self.path)
        line.connection = connection = sqlite3.connect(
            self.path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        line.file = identity(self._name)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-8192", "secure_delete=ON"):
            connection.execute(f"PRAGMA {pragma}")
        transaction = Transaction(connection.cursor(), self.dialect, {})
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'cache_claims'").fetchall():
                _committed(transaction, prepare)
            check(transaction)
        except BaseException:
            _forget(line)
            raise
        line.transaction = transaction

    def _set_aside(self, failure: StoreUnavailable) -> None:
        """Move a broken file out of the way, unless another process has put a sound one there by now."""
        self.close()
        if not self.path.exists() or sound(self.path, PATIENCE_SECONDS):
            return
        aside = self.path.with_name(f"{self.path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        try:
            rename(self.path, aside)
        except OSError as error:
            raise StoreUnavailable(f"{self._name} is broken and cannot be moved aside: {error}") from failure
        log.warning("llmsaver: the cache is broken (%s); it was moved to %s and an empty one begins", failure, aside)


# Connections of a parent process: kept, so that no collector closes them.
_left_open: list[sqlite3.Connection] = []


def _committed(transaction: Transaction, work: Callable[[Transaction], T]) -> T:
    cursor = transaction.cursor
    cursor.execute("BEGIN IMMEDIATE")
    try:
        result = work(transaction)
        cursor.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            cursor.execute("ROLLBACK")
        raise
    return result


def _vacuum(transaction: Transaction) -> None:
    transaction.cursor.execute("VACUUM")
    transaction.cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    transaction.cursor.fetchall()


def _forget(line: _Line) -> None:
    connection, transaction = line.connection, line.transaction
    line.connection = line.transaction = line.file = None
    with contextlib.suppress(sqlite3.Error):
        if transaction is not None:
            transaction.cursor.close()
        if connection is not None:
            connection.close()
