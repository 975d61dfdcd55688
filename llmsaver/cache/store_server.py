"""The cache on a PostgreSQL server, shared by every program that reaches it."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from llmsaver.cache.schema import StoreUnavailable, prepare
from llmsaver.ledger.postgresql import postgresql
from llmsaver.ledger.statements import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

__all__ = ["StoreServer"]

T = TypeVar("T")


class StoreServer:
    """Transactions on a pool of connections; every failure of the server is a ``StoreUnavailable``."""

    there = True

    def __init__(self, url: URL) -> None:
        self._engine = postgresql(url, "cache", size=4)
        self.dialect = self._engine.dialect
        self.name = self._engine.url.render_as_string(hide_password=True)
        self._compiled: dict[Any, Any] = {}
        self._prepared = False
        self._closed = False
        self._lock = threading.Lock()

    def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in one transaction; once more where the connection turned out to be lost."""
        if not self._prepared:
            with self._lock:
                if not self._prepared:
                    self._run(prepare)
                    self._prepared = True
        try:
            return self._run(work)
        except _LostError:
            return self._run(work)

    read = transact

    def wipe(self) -> None:
        """Do nothing more: the server gives space back by itself."""

    def close(self) -> None:
        """Close the pool; what is still at work, or comes later, keeps no connection open."""
        self._closed = True
        self._engine.dispose()

    def after_fork(self) -> None:
        """Leave the parent's connections alone and start with an empty pool."""
        self._engine.dispose(close=False)
        self._lock = threading.Lock()

    def _run(self, work: Callable[[Transaction], T]) -> T:
        driver_error: type[Exception] = self.dialect.dbapi.Error  # type: ignore[union-attr]  # a driver is loaded
        connection = None
        try:
            connection = self._engine.raw_connection()
            result = work(Transaction(connection.cursor(), self.dialect, self._compiled))  # type: ignore[arg-type]  # DBAPI
            connection.commit()
        except BaseException as error:
            cause = error.__cause__ if isinstance(error, SQLAlchemyError) else error
            lost = connection is not None and self._is_lost(connection, cause)
            if connection is not None:
                with contextlib.suppress(Exception):
                    connection.invalidate() if lost else connection.rollback()
            if isinstance(error, driver_error | SQLAlchemyError | OSError):
                raise (_LostError if lost else StoreUnavailable)(f"{self.name}: {error}") from error
            raise
        else:
            return result
        finally:
            if connection is not None:
                if self._closed:
                    with contextlib.suppress(Exception):
                        connection.invalidate()  # nobody would close what went back to the pool now
                connection.close()

    def _is_lost(self, connection: Any, error: Any) -> bool:
        return isinstance(error, Exception) and bool(
            self.dialect.is_disconnect(error, connection.dbapi_connection, None)  # type: ignore[arg-type]  # any will do
        )


class _LostError(StoreUnavailable):
    """The connection was closed by the server, or on the way."""
