"""Statements of the cache's store, and rows as values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, select, true, update

from llmsaver.cache.schema import entries, meta, states, tenants
from llmsaver.cache.stored import Stored
from llmsaver.errors import ConfigurationError
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Dialect, Table

    from llmsaver.ledger.statements import Transaction

__all__ = ["Known", "add", "drop", "known_from", "matching", "merged", "recount", "stats", "stored_from"]

COLUMNS = (
    "key",
    "dialect",
    "body",
    "digest",
    "created_at",
    "expires_at",
    "drop_at",
    "tenant",
    "feature",
    "model",
    "tags",
    "cost_nano",
    "cost_low",
    "cost_high",
    "latency_s",
    "namespace",
    "text",
    "embedder",
    "vector",
    "group",
    "hits",
    "right",
    "wrong",
    "size",
    "worth",
)
_SEQ = len(COLUMNS)
_ALL = [*(entries.c[name] for name in COLUMNS), entries.c.seq]
_BRIEF = [entries.c.seq, entries.c.tenant, entries.c.size, entries.c.worth]


def _bound(name: str) -> Any:
    return bindparam(name)


GET = Statement(select(*_ALL).where(entries.c.key == _bound("k")), "k")
BRIEF = Statement(select(*_BRIEF).where(entries.c.key == _bound("k")), "k")
NEWER = Statement(
    select(*_ALL)
    .where(entries.c.namespace == _bound("n"), entries.c.seq > _bound("s"), entries.c.vector.is_not(None))
    .order_by(entries.c.seq),
    "n",
    "s",
)
PAGE = Statement(
    select(*_ALL).where(entries.c.seq > _bound("s")).order_by(entries.c.seq).limit(_bound("most")), "s", "most"
)
WORST = Statement(
    select(*_BRIEF).where(entries.c.tenant == _bound("t")).order_by(entries.c.worth).limit(_bound("most")), "t", "most"
)
GONE = Statement(select(*_BRIEF).where(entries.c.drop_at <= _bound("now")), "now")
ADD = Statement(insert(entries), *COLUMNS)
DROP = Statement(delete(entries).where(entries.c.seq == _bound("s")), "s")
# Worth of a hit more: what a byte saves, times the hits, over what was evicted last.
HIT = Statement(
    update(entries)
    .where(entries.c.key == _bound("k"))
    .values(
        hits=entries.c.hits + 1,
        worth=_bound("floor") + (entries.c.hits + 2.0) * func.coalesce(entries.c.cost_nano, 1_000) / entries.c.size,
    ),
    "floor",
    "k",
)
RIGHT = Statement(update(entries).where(entries.c.key == _bound("k")).values(right=entries.c.right + 1), "k")
WRONG = Statement(update(entries).where(entries.c.key == _bound("k")).values(wrong=entries.c.wrong + 1), "k")
USED = Statement(select(tenants.c.tenant, tenants.c.bytes))
RESIZE = Statement(
    update(tenants)
    .where(tenants.c.tenant == _bound("t"))
    .values(bytes=tenants.c.bytes + _bound("b"), entries=tenants.c.entries + _bound("n")),
    "b",
    "n",
    "t",
)
EMPTY_SIZES = Statement(delete(tenants))
SIZES = Statement(
    insert(tenants).from_select(
        ["tenant", "bytes", "entries"],
        select(entries.c.tenant, func.sum(entries.c.size), func.count()).group_by(entries.c.tenant),
    )
)
VALUE = Statement(select(meta.c.value).where(meta.c.key == _bound("k")), "k")
STATE = Statement(select(states.c.value).where(states.c.name == _bound("n")), "n")
STATES = Statement(select(states.c.name, states.c.value))
FORGET_STATES = Statement(delete(states))
TOTALS = Statement(
    select(
        func.count(),
        func.sum(entries.c.size),
        func.sum(entries.c.hits),
        func.sum(entries.c.hits * func.coalesce(entries.c.cost_nano, 0)),
        func.min(entries.c.created_at),
        func.max(entries.c.created_at),
    )
)
LIVE = Statement(select(func.count()).where(entries.c.expires_at > _bound("now")), "now")
BY_MODEL = Statement(
    select(
        entries.c.model,
        func.count(),
        func.sum(entries.c.size),
        func.sum(entries.c.hits),
        func.sum(entries.c.hits * func.coalesce(entries.c.cost_nano, 0)),
    )
    .group_by(entries.c.model)
    .order_by(func.sum(entries.c.hits).desc(), func.count().desc())
)


def _upsert(table: Table, key: str) -> Any:
    def build(dialect: Dialect) -> Any:
        statement = inserted(table)(dialect)
        return statement.on_conflict_do_update(index_elements=[key], set_={"value": statement.excluded.value})

    return build


def _new_tenant(dialect: Dialect) -> Any:
    return inserted(tenants)(dialect).on_conflict_do_nothing(index_elements=["tenant"])


SET_VALUE = Statement(_upsert(meta, "key"), "key", "value")
SET_STATE = Statement(_upsert(states, "name"), "name", "value")
NEW_TENANT = Statement(_new_tenant, "tenant", "bytes", "entries")


class Known(NamedTuple):
    """What eviction needs of an entry."""

    seq: int
    tenant: str
    size: int
    worth: float


def known_from(row: Sequence[Any]) -> Known:
    """Return the brief value of a row."""
    return Known(*row)


def stored_from(row: Sequence[Any]) -> Stored | None:
    """Return the entry in a row of all columns; None where it is not what was written."""
    value = dict(zip((*COLUMNS, "seq"), row, strict=True))
    digest = value.pop("digest")
    for name in ("size", "worth"):
        del value[name]
    try:
        value["tags"] = tuple(json.loads(value["tags"]))
        value["tenant"] = json.loads(value["tenant"])
        stored = Stored(**value)
        return stored if stored.digest == bytes(digest) else None
    except (TypeError, ValueError, AttributeError):
        return None


def merged(stored: Stored, known: Stored | None) -> Stored:
    """Return a new entry with what its predecessor under the same key knew and it does not say."""
    if known is None:
        return stored
    stored.hits = max(stored.hits, known.hits)
    if stored.text is None:
        stored.namespace, stored.text = known.namespace, known.text
        stored.vector, stored.embedder = known.vector, known.embedder
    if stored.body == known.body:
        stored.group = known.group if stored.group is None else stored.group
        stored.right, stored.wrong = max(stored.right, known.right), max(stored.wrong, known.wrong)
    return stored


def add(transaction: Transaction, stored: Stored, floor: float, least_nano: int) -> None:
    """Write an entry that is not there."""
    tenant, size = json.dumps(stored.tenant), stored.size
    worth = floor + (stored.hits + 1) * (least_nano if stored.cost_nano is None else stored.cost_nano) / size
    own: dict[str, Any] = {
        "digest": stored.digest,
        "tenant": tenant,
        "tags": json.dumps(stored.tags),
        "size": size,
        "worth": worth,
    }
    transaction.run(ADD, *(_tamed(own.get(name) if name in own else getattr(stored, name)) for name in COLUMNS))
    transaction.run(NEW_TENANT, tenant, 0, 0)
    transaction.run(RESIZE, size, 1, tenant)


def _tamed(value: Any) -> Any:
    """Return text that every driver takes; names with lone surrogates or NULs are told in other letters."""
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def drop(transaction: Transaction, row: Known) -> int:
    """Delete an entry; return 1."""
    transaction.run(DROP, row.seq)
    transaction.run(RESIZE, -row.size, -1, row.tenant)
    return 1


def used_bytes(transaction: Transaction) -> dict[str, int]:
    """Return how many bytes each tenant uses."""
    return {tenant: size for tenant, size in transaction.rows(USED) if size > 0}


def recount(transaction: Transaction) -> None:
    """Count anew what tenants use."""
    transaction.run(EMPTY_SIZES)
    transaction.run(SIZES)


def value_of(transaction: Transaction, key: str, default: str) -> str:
    """Return one of the store's own numbers, as text."""
    found = transaction.row(VALUE, key)
    return default if found is None else str(found[0])


def set_value(transaction: Transaction, key: str, value: str) -> None:
    """Keep it."""
    transaction.run(SET_VALUE, key, value)


def bump(transaction: Transaction) -> None:
    """Tell those who remember entries that some are gone."""
    set_value(transaction, "generation", str(int(value_of(transaction, "generation", "0")) + 1))


def matching(what: Mapping[str, Any]) -> tuple[Statement, list[Any]]:
    """Return the statement that deletes what matches all of ``what``, and its values; raises for an unknown key."""
    wheres: list[Any] = [true()]
    names, values = [], []
    for name, value in what.items():
        if name == "tag":
            wheres.append(func.replace(entries.c.tags, _bound("tag"), "") != entries.c.tags)
            value = json.dumps(value)  # noqa: PLW2901 - in its quotes, so that no other tag holds it
        elif name == "tenant":
            wheres.append(entries.c.tenant == _bound("tenant"))
            value = json.dumps(value)  # noqa: PLW2901 - as it is stored
        elif name in {"model", "feature"}:
            wheres.append(entries.c[name] == _bound(name))
        elif name == "before":
            wheres.append(entries.c.created_at < _bound("before"))
        else:
            raise ConfigurationError(
                f"invalidate() knows no {name!r}; entries are chosen by tag, model, tenant, feature and before"
            )
        names.append(name)
        values.append(value)
    return Statement(delete(entries).where(and_(*wheres)), *names), values


def stats(transaction: Transaction, now: float) -> dict[str, Any]:
    """Return counts and sums of everything stored."""
    count, size, hits, saved, oldest, newest = transaction.row(TOTALS)
    (live,) = transaction.row(LIVE, now)
    models = [
        {"model": name, "entries": n, "bytes": int(b), "hits": int(h), "saved_nano": int(s)}
        for name, n, b, h, s in transaction.rows(BY_MODEL)
    ]
    return {
        "entries": count,
        "live": live,
        "bytes": int(size or 0),
        "hits": int(hits or 0),
        "saved_nano": int(saved or 0),
        "oldest": oldest,
        "newest": newest,
        "models": models,
    }
