"""Texts that were left out of prompts, kept where they can be called back: by reference, for their tenant only.

A reference is a keyed hash of tenant and text, so the same output has the same one in every process, and what comes
back is known to be what was left out. An original lives until so long after the last request that left it out.
"""

from __future__ import annotations

import contextlib
import re
import time
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from llmsaver.core.caching import seconds
from llmsaver.errors import ConfigurationError
from llmsaver.prompt.stub_places import place_of
from llmsaver.prompt.stub_tables import lengths, originals, prompts, tenant_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection

__all__ = ["MAX_BYTES", "TTL", "Originals", "reference_of"]

TTL, MAX_BYTES = "7d", 256 << 20
_PREFIX = "llmsaver:o-"
_REFERENCE = re.compile(rf"{_PREFIX}[0-9a-f]{{24}}")
_AT_ONCE = 400
# Evicting below the bound, so that not every write has to.
_ROOM = 0.95
_LARGEST_SHARE = 8
# An original's life is renewed when less than so much of it is left, not by every request.
_RENEWED_AT = 0.75

# Built once: building them costs more than running them.
_NAMES = originals.c.reference.in_(bindparam("names", expanding=True))
_THERE = select(originals.c.reference, originals.c.expires_at).where(_NAMES)
_RENEWED = update(originals).where(_NAMES).values(expires_at=bindparam("until"))


def reference_of(text: str, tenant: str | None) -> str:
    """Return what a text is called back by."""
    key = blake2b(tenant_key(tenant).encode(), digest_size=32, person=b"tenant").digest()
    body = text.encode("utf-8", "surrogatepass")
    return f"{_PREFIX}{blake2b(body, digest_size=12, key=key, person=b'original').hexdigest()}"


class Originals:
    """The store: thread-safe, fork-safe, shared by processes. Failures of the place are ``PlaceUnavailable``.

    ``place``: a path or SQLAlchemy URL, None for ``originals.db`` beside the ledger. ``ttl``: seconds, or "7d".
    ``max_bytes`` bounds what is stored; where there is no room the oldest goes first. Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        place: str | Path | None = None,
        ledger: str | Path | None = None,
        *,
        ttl: float | str = TTL,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if max_bytes < 1:
            raise ConfigurationError(f"originals need max_bytes of 1 or more, not {max_bytes!r}")
        self.ttl = seconds(ttl, "ttl=")
        self.max_bytes = max_bytes
        self.place = place_of(place, ledger)

    @property
    def largest(self) -> int:
        """The most bytes of a text that is kept at all."""
        return self.max_bytes // _LARGEST_SHARE

    def recall(self, reference: str, tenant: str | None = None) -> str | None:
        """Return a text that was left out for this tenant; None where there is none, or no longer."""
        found = _REFERENCE.search(reference)
        if found is None or not self.place.there:
            return None
        where = (originals.c.reference == found.group()) & (originals.c.tenant == tenant_key(tenant))
        query = select(originals.c.body).where(where, originals.c.expires_at > time.time())
        row = self.place.transact(lambda connection: connection.execute(query).first())
        text = None if row is None else _text_in(row[0], found.group(), tenant)
        if row is not None and text is None:
            # The next request that leaves it out stores it anew.
            self.place.transact(lambda connection: connection.execute(delete(originals).where(where)))
        return text

    def keep(
        self, connection: Connection, texts: Mapping[str, tuple[str, str]], tenant: str | None, now: float
    ) -> None:
        """Keep texts by reference, each with its tool's name, inside a transaction; those that are there live on."""
        known: dict[str, float] = {}
        names = list(texts)
        for at in range(0, len(names), _AT_ONCE):
            found = connection.execute(_THERE, {"names": names[at : at + _AT_ONCE]})
            known.update((row[0], row[1]) for row in found)
        aging = [name for name, until in known.items() if until - now < _RENEWED_AT * self.ttl]
        for at in range(0, len(aging), _AT_ONCE):
            connection.execute(_RENEWED, {"names": aging[at : at + _AT_ONCE], "until": now + self.ttl})
        rows = [self._row(name, *texts[name], tenant, now) for name in names if name not in known]
        if rows:
            connection.execute(insert(originals), rows)
            self._make_room(connection, now)

    def purge(self) -> int:
        """Delete all originals, how prompts were sent and how far talks go; return how many originals there were."""
        return self._purge(None)

    def purge_tenant(self, tenant: str | None) -> int:
        """Delete one tenant's originals, and how its prompts were sent; return how many originals there were."""
        return self._purge(tenant_key(tenant))

    def _purge(self, key: str | None) -> int:
        if not self.place.there:
            return 0

        def work(connection: Connection) -> int:
            tables = (originals, prompts)
            gone = [
                connection.execute(delete(table).where(*([] if key is None else [table.c.tenant == key]))).rowcount
                for table in tables
            ]
            if key is None:
                connection.execute(delete(lengths))
            return gone[0]

        gone = self.place.transact(work)
        self.place.wipe()
        return gone

    def stats(self) -> dict[str, Any]:
        """Return where the store is, and how many originals of how many bytes and tenants it holds."""
        told = {"place": self.place.name, "originals": 0, "bytes": 0, "tenants": 0}
        if self.place.there:
            columns = (func.count(), func.sum(originals.c.size), func.count(originals.c.tenant.distinct()))
            count, size, tenants = self.place.transact(lambda connection: connection.execute(select(*columns)).one())
            told |= {"originals": count, "bytes": int(size or 0), "tenants": tenants}
        return told

    def close(self) -> None:
        """Close; the store opens again on use."""
        self.place.close()

    def _row(self, reference: str, text: str, name: str, tenant: str | None, now: float) -> dict[str, Any]:
        body = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
        told = name.encode("utf-8", "replace").decode().replace("\0", " ")
        return {
            "reference": reference,
            "tenant": tenant_key(tenant),
            "name": told,
            "body": body,
            "size": len(body),
            "created_at": now,
            "expires_at": now + self.ttl,
        }

    def _make_room(self, connection: Connection, now: float) -> None:
        """Delete what has lived its time, and where a bound is passed those that would die next."""
        connection.execute(delete(originals).where(originals.c.expires_at <= now))
        used = int(connection.execute(select(func.sum(originals.c.size))).scalar() or 0)
        while used > self.max_bytes:
            query = select(originals.c.reference, originals.c.size).order_by(originals.c.expires_at).limit(_AT_ONCE)
            going = []
            for reference, size in connection.execute(query):
                if used <= _ROOM * self.max_bytes:
                    break
                going.append(reference)
                used -= size
            if not going:
                break  # sizes that do not add up are no reason to wait for ever
            connection.execute(delete(originals).where(originals.c.reference.in_(going)))


def _text_in(body: bytes, reference: str, tenant: str | None) -> str | None:
    """Return the text of a row; None where it is not what its reference promises."""
    with contextlib.suppress(zlib.error, UnicodeDecodeError):
        text = zlib.decompress(body).decode("utf-8", "surrogatepass")
        if reference_of(text, tenant) == reference:
            return text
    return None
