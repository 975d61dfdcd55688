"""The ledger on a database server: the same statements, on a pool of connections."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.migrate import migrate
from llmsaver.ledger.postgresql import postgresql
from llmsaver.ledger.statements import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import URL, Engine

__all__ = ["ServerStore"]

T = TypeVar("T")

# Serialization failure and deadlock: the server undid everything and asks to be tried again.
AGAIN = frozenset({"40001", "40P01"})
SHORTEST_WAIT, LONGEST_WAIT = 0.001, 0.05


class ServerStore:
    """Transactions on a PostgreSQL database; safe to use from any thread and, after a fork, from the child.

    Every failure of the server is raised as ``LedgerUnavailable``; a URL that no driver is installed for as
    ``ConfigurationError``.
    """

    generation = 1

    def __init__(self, url: URL) -> None:
        self.engine = postgresql(url, "ledger", size=8)
        self.dialect = self.engine.dialect
        self._name = self.engine.url.render_as_string(hide_password=True)
        self._compiled: dict[Any, Any] = {}
        self._opened = False

    @property
    def file(self) -> None:
        """No file."""
        return

    @property
    def there(self) -> bool:
        """Always: who deletes a database has no connections to it open."""
        return True

    @property
    def unresolved(self) -> None:
        """Never: a server does not give a broken database up for an empty one."""
        return

    def broken(self) -> list[Path]:
        """Return nothing, for the same reason."""
        return []

    def open(self, patience: float) -> None:  # noqa: ARG002 - the server's own time limits hold
        """Connect, and bring the schema up to date."""
        try:
            migrate(self.engine)
        except BaseException as error:
            self.engine.dispose()
            if not isinstance(error, SQLAlchemyError | OSError):
                raise
            raise LedgerUnavailable(f"the ledger {self._name} cannot be opened: {error}") from error
        self._opened = True

    def transact(self, work: Callable[[Transaction], T], patience: float) -> T:
        """Run ``work`` in one transaction and commit; conflicts are tried again for up to ``patience`` seconds."""
        if not self._opened:
            self.open(patience)
        until, longest, lost = time.monotonic() + patience, SHORTEST_WAIT * 4, False
        while True:
            try:
                return self._transact(work)
            except _Undone as undone:
                if (undone.gone and lost) or time.monotonic() >= until:
                    raise LedgerUnavailable(f"the ledger {self._name} cannot be used: {undone.error}") from undone.error
                lost = lost or undone.gone
                time.sleep(random.uniform(SHORTEST_WAIT, longest))  # noqa: S311 - spreads waiters, keeps no secret
                longest = min(longest * 1.5, LONGEST_WAIT)

    def read(self) -> Engine:
        """Return an engine whose connections each see one moment, and cannot write."""
        return create_engine(
            self.engine.url,
            pool_size=1,
            isolation_level="REPEATABLE READ",
            execution_options={"postgresql_readonly": True},
        )

    def tidy(self) -> None:
        """Do nothing: the server looks after itself."""

    def close(self) -> None:
        """Close the pool; it fills again on use."""
        self.engine.dispose()

    def after_fork(self) -> None:
        """Leave the parent's connections alone and start with an empty pool."""
        self.engine.dispose(close=False)

    def _transact(self, work: Callable[[Transaction], T]) -> T:
        driver_error: type[Exception] = self.dialect.dbapi.Error  # type: ignore[union-attr]  # a driver is loaded
        connection = None
        committing = False
        try:
            connection = self.engine.raw_connection()
            result = work(Transaction(connection.cursor(), self.dialect, self._compiled))  # type: ignore[arg-type]  # DBAPI
            committing = True
            connection.commit()
        except BaseException as error:
            cause = error.__cause__ if isinstance(error, SQLAlchemyError) else error
            gone = connection is None or self._is_gone(connection, cause)
            if connection is not None:
                with contextlib.suppress(Exception):
                    connection.invalidate() if gone else connection.rollback()
            if not isinstance(cause, driver_error) and not isinstance(error, SQLAlchemyError):
                raise
            if committing or not (gone or getattr(cause, "sqlstate", None) in AGAIN):
                raise self._named(error) from error
            raise _Undone(error, gone=gone) from error
        else:
            return result
        finally:
            if connection is not None:
                connection.close()

    def _is_gone(self, connection: Any, error: Any) -> bool:
        return isinstance(error, Exception) and self.dialect.is_disconnect(
            cast("Any", error), connection.dbapi_connection, None
        )

    def _named(self, error: BaseException) -> BaseException:
        """Return what a failure is called: where a statement or its values are at fault, its own name."""
        driver: Any = self.dialect.dbapi
        own = (driver.DataError, driver.ProgrammingError, driver.IntegrityError, driver.NotSupportedError)
        if any(isinstance(error, kind) for kind in own):
            return error
        return LedgerUnavailable(f"the ledger {self._name} cannot be used: {error}")


class _Undone(Exception):  # noqa: N818 - starts another try and never leaves this module
    """A transaction that certainly left nothing behind; ``gone``: because the connection was lost."""

    def __init__(self, error: BaseException, *, gone: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.gone = gone
