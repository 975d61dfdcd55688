"""The tables of what was left out of prompts: the originals, how prompts were last sent, and how far talks go.

Times are seconds since the epoch. Tenants are JSON, whose escapes tell lone surrogates and NULs that no driver takes.
"""

from __future__ import annotations

import json

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, String, Table, Text

__all__ = ["VERSION", "lengths", "meta", "metadata", "originals", "prompts", "tenant_key"]

VERSION = 1
# Keys are bounded, because some databases index no text without a bound.
_HASH, _NAME = 64, 128

metadata = MetaData()

originals = Table(
    "stub_originals",
    metadata,
    Column("reference", String(_HASH), primary_key=True),
    Column("tenant", Text, nullable=False),  # JSON: null, which no string is
    Column("name", Text, nullable=False),  # the tool's
    Column("body", LargeBinary(1 << 30), nullable=False),  # UTF-8, deflated
    Column("size", BigInteger, nullable=False),  # bytes as stored
    *(Column(name, Double, nullable=False) for name in ("created_at", "expires_at")),
    Index("stub_originals_expires_at", "expires_at", "size"),
)
prompts = Table(
    "stub_prompts",
    metadata,
    Column("point", String(_HASH), primary_key=True),  # the salted hash of a request, up to its end
    Column("tenant", Text, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("made_at", "sent_at")),
    Column("turns", Integer, nullable=False),
    Column("stubs", Text, nullable=False),  # a JSON list: which tool outputs were sent as stubs, by number
    Column("tool", Boolean, nullable=False),
    Index("stub_prompts_sent_at", "sent_at"),
)
lengths = Table(
    "stub_lengths",
    metadata,
    Column("feature", String(_NAME), primary_key=True),  # its hash
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    *(Column(name, BigInteger, nullable=False) for name in ("reached", "went_on")),
)
meta = Table("stub_meta", metadata, Column("key", String(_NAME), primary_key=True), Column("value", Text))


def tenant_key(tenant: str | None) -> str:
    """Return a tenant as it is stored."""
    return json.dumps(tenant)
