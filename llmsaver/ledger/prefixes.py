"""The prefixes of calls, as planners of provider caches write them down for each other and for ``llmsaver prompts``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, select

from llmsaver.ledger.schema import calls

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

__all__ = ["PrefixRow", "PromptRow", "latest_prefixes", "prompt_rows"]

# So many of the last rows are looked at, at the most, whatever is among them.
_SPAN = 60_000
_HASH = 16  # letters of a message's hash in ``calls.chain``
_COLUMNS = ("seq", "id", "started_at", "feature", "status", "cache_read_tokens", "cache_write_tokens", "prefix")


class PrefixRow(NamedTuple):
    """What is known of a call's prefixes; ``prefix`` is its planner's list, ``started_at`` seconds since the epoch."""

    seq: int
    id: str
    started_at: float
    feature: str
    status: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    prefix: list[Any]


class PromptRow(NamedTuple):
    """What is known of a live call's prompt: ``first`` is the salted hash of its first message, "" for none.

    ``fingerprint`` is the whole request's, ``shaped`` and ``prefix`` as the row has them, None where it has none.
    """

    started_at: float
    feature: str
    dialect: str | None
    model: str
    upstream: str | None
    stream: int
    fingerprint: str | None
    first: str
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_nano: int | None
    unpriced: int
    shaped: dict[str, Any] | None
    prefix: list[Any] | None


def latest_prefixes(connection: Connection, after: int, since: float, limit: int) -> tuple[list[PrefixRow], int]:
    """Return the latest rows that have prefixes, in the order of their times, and the number of the last row there is.

    They are those with a ``seq`` above ``after`` that began at ``since`` or later, at most ``limit``; what of a row is
    no JSON list is left out.
    """
    last = int(connection.execute(select(func.max(calls.c.seq))).scalar() or 0)
    query = select(*(calls.c[name] for name in _COLUMNS)).where(
        calls.c.seq > max(after, last - _SPAN), calls.c.prefix.is_not(None), calls.c.started_at >= since
    )
    found = []
    for *values, text in connection.execute(query.order_by(calls.c.seq.desc()).limit(limit)):
        prefix = _listed(text)
        if prefix is not None:
            found.append(PrefixRow._make([*values, prefix]))
    return sorted(found, key=lambda row: row.started_at), last


def prompt_rows(connection: Connection, condition: ColumnElement[bool], most: int) -> list[PromptRow]:
    """Return the latest ``most`` live calls that were answered upstream and met a condition, in the order of time."""
    c = calls.c
    query = select(
        c.started_at,
        c.feature,
        c.dialect,
        func.coalesce(c.model_answered, c.model_asked, ""),
        c.upstream,
        c.stream,
        c.fingerprint,
        func.substr(func.coalesce(c.chain, ""), 1, _HASH),
        func.coalesce(c.input_tokens, 0),
        func.coalesce(c.cache_read_tokens, 0),
        func.coalesce(c.cache_write_tokens, 0),
        c.cost_nano,
        c.unpriced,
        c.shaped,
        c.prefix,
    ).where(condition, c.route == "live", c.hit == 0, c.refused == 0, c.tier != "none", c.input_tokens.is_not(None))
    found = []
    for *values, shaped, prefix in connection.execute(query.order_by(c.started_at.desc(), c.seq.desc()).limit(most)):
        told = json.loads(shaped) if shaped else None
        found.append(PromptRow._make([*values, told, _listed(prefix) if prefix else None]))
    found.reverse()
    return found


def _listed(text: str) -> list[Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, list) else None
