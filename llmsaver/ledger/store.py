"""What a place for the books offers, whichever database it is, and which one a setting means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from llmsaver.ledger.statements import Transaction

__all__ = ["Store", "default_path", "store_at"]

T = TypeVar("T")


class Store(Protocol):
    """Short transactions and separate readers; every failure of the place itself is a ``LedgerUnavailable``."""

    generation: int

    @property
    def file(self) -> Path | None:
        """The file; None for a server."""

    @property
    def there(self) -> bool:
        """Whether the place has been made, and not been taken away since."""

    @property
    def unresolved(self) -> Path | None:
        """The broken file that was moved aside and that nobody has dealt with: what had been spent is in there."""

    def broken(self) -> list[Path]:
        """Return all such files, oldest first."""

    def open(self, patience: float) -> None:
        """Connect, and bring the schema up to date."""

    def transact(self, work: Callable[[Transaction], T], patience: float) -> T:
        """Run ``work`` in one transaction and commit it, waiting up to ``patience`` seconds for others."""

    def read(self) -> Engine:
        """Return an engine for readers, who never make a writer wait."""

    def tidy(self) -> None:
        """Do the upkeep that need not wait for, nor be done by, whoever writes."""

    def close(self) -> None:
        """Close connections; they open again on use."""

    def after_fork(self) -> None:
        """Make good in a forked child, without a word to the parent's connections."""


def default_path() -> Path:
    """Return where the ledger lies unless told otherwise: the user's data folder."""
    from platformdirs import user_data_dir

    return Path(user_data_dir("llmsaver", appauthor=False)) / "ledger.db"


def store_at(place: str | Path | None) -> Store:
    """Return the store at a path, at any SQLAlchemy URL of SQLite or PostgreSQL, or at the default path for None.

    Raises ``ConfigurationError`` for anything else.
    """
    from llmsaver.ledger.sqlite import SQLiteStore

    if place is None:
        return SQLiteStore(default_path())
    if isinstance(place, Path) or "://" not in place:
        if not str(place):
            raise ConfigurationError("the ledger's path is empty; leave it out for the default")
        return SQLiteStore(Path(place).expanduser().absolute())
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"the ledger's URL cannot be read: {error}") from None
    if url.get_backend_name() != "sqlite":
        from llmsaver.ledger.server import ServerStore

        return ServerStore(url)
    if url.database in {None, "", ":memory:"}:
        raise ConfigurationError(
            "a ledger in memory is lost with its program; give it a path: sqlite:////path/ledger.db"
        )
    return SQLiteStore(Path(str(url.database)).absolute())
