"""The cache's tables, how they come to be, and what a store that cannot be used is called.

Times are seconds since the epoch, money integer nano-dollars, texts JSON where they are not plain words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text, select
from sqlalchemy.schema import CreateIndex, CreateTable

from llmsaver.errors import ConfigurationError, LLMSaverError
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from sqlalchemy import Dialect

    from llmsaver.ledger.statements import Transaction

__all__ = [
    "VERSION",
    "StoreTooNew",
    "StoreUnavailable",
    "check",
    "claims",
    "entries",
    "meta",
    "prepare",
    "states",
    "tenants",
]

VERSION = 1

metadata = MetaData()
Seq = BigInteger().with_variant(Integer, "sqlite")

entries = Table(
    "cache_entries",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False, unique=True),
    Column("dialect", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("created_at", "expires_at", "drop_at")),
    Column("tenant", Text, nullable=False),  # JSON: null, which no string is
    Column("feature", Text, nullable=False),
    Column("model", Text),
    Column("tags", Text, nullable=False),  # a JSON list
    *(Column(name, BigInteger) for name in ("cost_nano", "cost_low", "cost_high")),
    Column("latency_s", Double, nullable=False),
    *(Column(name, Text) for name in ("namespace", "text", "embedder")),
    Column("vector", LargeBinary),
    Column("group", BigInteger),
    *(Column(name, BigInteger, nullable=False) for name in ("hits", "right", "wrong", "size")),
    Column("worth", Double, nullable=False),  # nano-dollars that a byte saves, over what evicted ones saved
    Index("cache_entries_tenant_worth", "tenant", "worth"),
    Index("cache_entries_namespace", "namespace", "seq"),
    Index("cache_entries_drop_at", "drop_at"),
    sqlite_autoincrement=True,  # a number names one write for good
)
tenants = Table(
    "cache_tenants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),
)
meta = Table("cache_meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
states = Table("cache_states", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))
# The calls under way, by key: see ``claims.py``. Stores of the first version get it when they are opened.
claims = Table(
    "cache_claims",
    metadata,
    Column("key", Text, primary_key=True),
    Column("owner", Text, nullable=False),  # machine|process id|its start|a number
    Column("expires_at", Double, nullable=False),
)


class StoreUnavailable(LLMSaverError):  # noqa: N818 - reads as what it says
    """The cache's store cannot be read or written now.

    ``broken``: its file is no intact database. ``busy``: nothing is wrong but that others are writing.
    """

    def __init__(self, message: str, *, broken: bool = False, busy: bool = False) -> None:
        super().__init__(message)
        self.broken = broken
        self.busy = busy


class StoreTooNew(ConfigurationError):  # noqa: N818 - reads as what it says
    """A newer version of this library wrote the store."""


def _put_version(dialect: Dialect) -> Any:
    return inserted(meta)(dialect).on_conflict_do_nothing(index_elements=["key"])


PUT = Statement(_put_version, "key", "value")
VERSION_IS = Statement(select(meta.c.value).where(meta.c.key == "schema"))


def prepare(transaction: Transaction) -> None:
    """Make the tables where they are missing; raises ``StoreTooNew`` for those of a later version."""
    for table in metadata.sorted_tables:
        transaction.cursor.execute(str(CreateTable(table, if_not_exists=True).compile(dialect=transaction.dialect)))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            transaction.cursor.execute(str(CreateIndex(index, if_not_exists=True).compile(dialect=transaction.dialect)))
    transaction.run(PUT, "schema", str(VERSION))
    check(transaction)


def check(transaction: Transaction) -> None:
    """See that the tables are of a version that this library knows; the driver's error where there are none."""
    found = transaction.row(VERSION_IS)
    if found is not None and int(found[0]) > VERSION:
        raise StoreTooNew(
            f"the cache was written by a newer llmsaver (its schema is {found[0]}, this one knows {VERSION}): upgrade "
            "llmsaver, or point the setting cache to another place; until then calls go on without it"
        )
