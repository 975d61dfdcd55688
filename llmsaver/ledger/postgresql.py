"""A pool of connections to a PostgreSQL server, for the ledger and for what else is kept on one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.exc import NoSuchModuleError

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

__all__ = ["postgresql"]


def postgresql(url: URL, what: str, *, size: int) -> Engine:
    """Return an engine that keeps up to ``size`` connections to where ``what`` ("ledger") is kept, and connects later.

    Raises ``ConfigurationError`` for another kind of server, and where the driver is not installed.
    """
    if url.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"the {what} is kept in SQLite or PostgreSQL; {url.get_backend_name()} is neither: set {what}= to a path"
        )
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    try:
        return create_engine(url, pool_size=size, max_overflow=8, pool_recycle=1800)
    except (ImportError, NoSuchModuleError) as error:
        raise ConfigurationError(
            f"the {what}'s URL needs a driver that is not installed ({error}): pip install 'llmsaver[postgres]'"
        ) from error
