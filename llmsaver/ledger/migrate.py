"""Bringing a ledger's schema up to date: an old one is migrated under a lock, a newer one is refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, Table, Text, inspect, select, text

from llmsaver.ledger.failures import LedgerTooNew, LedgerTooOld, LedgerUnavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["HEAD", "check", "migrate", "upgrade"]

# The revision this library reads and writes. Migrations only add, so that an older library which has the file open
# goes on writing; one that opens it anew refuses.
HEAD = "0006"
_version = Table("alembic_version", MetaData(), Column("version_num", Text))
LOCK = 0x6C6C6D73  # "llms"


def migrate(engine: Engine) -> None:
    """Make the schema's revision ``HEAD``; nothing is done, and Alembic not imported, where it already is.

    Raises ``LedgerTooNew`` for a revision this library does not know, ``LedgerUnavailable`` for a database that holds
    something else.
    """
    with engine.connect().execution_options(reading=True) as connection:
        if _revision(connection) == HEAD:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        if _revision(connection) != HEAD:
            upgrade(connection, "head")


def check(connection: Connection) -> None:
    """Raise ``LedgerTooNew`` or ``LedgerTooOld`` where a reader, who changes nothing, cannot read the schema."""
    found = _revision(connection)
    if found != HEAD:
        raise LedgerTooOld(
            f"the ledger was written by an older llmsaver (schema {found or 'none'}, this one reads {HEAD}): "
            "the next program that writes to it brings it up to date, or run llmsaver ledger upgrade"
        )


def upgrade(connection: Connection, revision: str) -> None:
    """Run the migrations up to ``revision`` in the transaction that ``connection`` has open."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _revision(connection: Connection) -> str | None:
    """Return the revision found; None for an empty database."""
    tables = set(inspect(connection).get_table_names())
    if _version.name not in tables:
        if "calls" in tables:
            raise LedgerUnavailable("the database has a table named calls that is not llmsaver's; use another one")
        return None
    found = connection.execute(select(_version.c.version_num)).scalar()
    if found is not None and found > HEAD:
        raise LedgerTooNew(
            f"the ledger was written by a newer llmsaver (schema {found}, this one knows {HEAD}): "
            "upgrade llmsaver, or point its ledger setting at another file"
        )
    return found
