"""The ledger's tables. Money is integer nano-dollars, times are seconds since the epoch, booleans are 0 and 1.

``windows`` hold what a budget has spent and holds in one stretch of time for one pot: ``spent_nano`` counts estimates
at their upper bound and ``low_nano`` at their lower, so that the truth lies between the two. ``holds`` has one row per
reservation and window, only while it is open or, once it has lapsed into spend, until it is settled or pruned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, SmallInteger, Table, Text, UniqueConstraint

if TYPE_CHECKING:
    from sqlalchemy.sql.type_api import TypeEngine

__all__ = ["LAPSED", "RESERVED", "SENT", "SHAPES", "SUMS", "metadata"]

RESERVED, SENT, LAPSED = 0, 1, 2

metadata = MetaData()
# SQLite numbers rows by itself only in a column that is called INTEGER.
Seq = BigInteger().with_variant(Integer, "sqlite")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _flag(name: str) -> Column[int]:
    return Column(name, SmallInteger, nullable=False, server_default="0")


def _each(kind: TypeEngine[Any], *names: str) -> list[Column[Any]]:
    return [Column(name, kind) for name in names]


calls = Table(
    "calls",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("feature", Text, nullable=False),
    *_each(Text(), "feature_path", "user", "tenant", "tags", "task", "conversation", "dialect"),
    Column("route", Text, nullable=False),
    _flag("stream"),
    *_each(Text(), "model_asked", "model_answered"),
    Column("tier", Text, nullable=False),
    *_each(Text(), "service_tier", "upstream"),
    *_each(
        BigInteger(), "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"
    ),
    Column("tokens", Text),
    *_each(BigInteger(), "cost_nano", "cost_low", "cost_high", "baseline_nano", "baseline_low", "baseline_high"),
    *(_flag(name) for name in ("estimated", "unpriced", "hit", "escalated", "truncated", "spilled")),
    Column("flags", Text),
    *_each(Double(), "latency_ms", "first_byte_ms"),
    *_each(Integer(), "status", "complete"),
    *_each(Text(), "error", "layers", "fingerprint", "chain", "arm", "prompt", "answer"),
    # The time of a local server that was the call's, and the energy that took; how many calls that a budget refused
    # the row stands for (0 for one that was made); "exact" or "semantic" for a hit.
    *_each(Double(), "busy_s", "energy_low_wh", "energy_high_wh"),
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("hit_kind", Text),
    Column("routing", Text),  # how the router chose, as JSON; NULL for a call that was not routed
    # What layers did to the call (tokens before and after, money), and what of its prefixes the planner of provider
    # caches learns from in other processes: JSON, NULL for most calls.
    *_each(Text(), "shaped", "prefix"),
    UniqueConstraint("id", name="calls_id"),
    Index("calls_started_at", "started_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("call", BigInteger, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    *_each(Text(), "upstream", "model", "tier"),
    Column("status", Integer),
    Column("error", Text),
    Column("latency_ms", Double),
    *_each(BigInteger(), "cost_nano", "cost_low", "cost_high"),
    _flag("estimated"),
    sqlite_with_rowid=False,
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("outcome", Text),
    Column("feature", Text, nullable=False),
    *_each(Text(), "user", "tenant"),
    Index("tasks_started_at", "started_at"),
)

evaluations = Table(
    "evaluations",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("call", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("name", Text, nullable=False),
    Column("value", Double),
    *_each(Text(), "judge", "arm", "details"),
    Index("evaluations_call", "call"),
    Index("evaluations_name", "name", "seq"),
)

budgets = Table(
    "budgets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("terms", Text, nullable=False),
    Column("known", Text, nullable=False),  # a JSON list: every terms this budget was ever declared with or set to
    Column("thresholds", Text, nullable=False),
    Column("declared_at", Double, nullable=False),
    Column("alert", Text),  # the URL of a webhook
    Column("max_call_nano", BigInteger),
    Column("removed_at", Double),
)

windows = Table(
    "windows",
    metadata,
    Column("seq", Seq, primary_key=True, autoincrement=True),
    Column("budget", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("window", Text, nullable=False),
    *_each(Double(), "starts_at", "ends_at"),
    Column("hard", SmallInteger, nullable=False),
    Column("closed", SmallInteger, nullable=False, server_default="0"),
    *(_number(f"limit_{unit}") for unit in ("nano", "tokens", "calls")),
    *(_number(f"spent_{unit}") for unit in ("nano", "tokens", "calls")),
    *(_number(f"held_{unit}") for unit in ("nano", "tokens", "calls")),
    _number("low_nano"),
    Column("alerted", Integer, nullable=False, server_default="0"),  # the highest threshold told, in thousandths
    UniqueConstraint("budget", "key", "window", name="windows_pot"),
    sqlite_autoincrement=True,  # a hold never settles into a window that took over another's number
)

holds = Table(
    "holds",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("window", BigInteger, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
    *(Column(unit, BigInteger, nullable=False) for unit in ("nano", "tokens", "calls")),
    Column("expires_at", Double, nullable=False),
    *_each(Text(), "owner", "about"),
    sqlite_with_rowid=False,
)

servers = Table(
    "servers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    *(Column(name, Double, nullable=False) for name in ("started_at", "updated_at", "up_s", "busy_s")),
    Column("hourly_nano", BigInteger),
)

# A run of ``llmsaver batch`` and the jobs that it is cut into: ``rows`` are the numbers of its requests ("0-499,612"),
# ``token`` what the provider is told of it, by which a job that nobody wrote down is found again. No text is in either.
batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    *(Column(name, Double, nullable=False) for name in ("created_at", "updated_at")),
    *(Column(name, Text, nullable=False) for name in ("via", "host", "state", "feature")),
    *(_number(name) for name in ("total", "answered", "failed", "spent_nano")),
    Column("limit_nano", BigInteger),
    *_each(Text(), "tenant", "source", "out"),
)

batch_parts = Table(
    "batch_parts",
    metadata,
    Column("batch", Text, primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False) for name in ("token", "rows", "url", "state")),
    Column("count", BigInteger, nullable=False),
    Column("bound_nano", BigInteger),
    Column("sent_at", Double),
    *_each(Text(), "file", "job", "error"),
)

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

SUMS = (
    "calls",
    "errors",
    "estimated",
    "unpriced",
    "hits",
    "escalated",
    "truncated",
    "cost_nano",
    "cost_low",
    "cost_high",
    "baseline_nano",
    "saved_nano",
    "saved_low",
    "saved_high",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "task_nano",
    "refused",
    "spilled",
    "semantic_hits",
    "busy_ms",
    "energy_low_mwh",
    "energy_high_mwh",
)

# ``axis`` is what is summed by: feature, model, tier, router and total per hour and per day; user, tenant, task and
# tag:x, which have many names, per day. Under router are the calls that one routed, by "feature > tier". ``span`` is
# the bucket's length in seconds and ``bucket`` its start.
rollups = Table(
    "rollups",
    metadata,
    Column("axis", Text, primary_key=True),
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    *(_number(name) for name in SUMS),
    Column("latency", Text, nullable=False),
    Column("first_byte", Text, nullable=False),
    sqlite_with_rowid=False,
)

SHAPES = ("calls", "measured", "tokens_before", "tokens_after", "saved_nano")

# What layers did to calls, per hour and per day: ``measured`` of the ``calls`` have a part in ``saved_nano``.
layer_sums = Table(
    "layer_sums",
    metadata,
    Column("span", Integer, primary_key=True, autoincrement=False),
    Column("bucket", BigInteger, primary_key=True, autoincrement=False),
    Column("feature", Text, primary_key=True),
    Column("layer", Text, primary_key=True),
    *(_number(name) for name in SHAPES),
    sqlite_with_rowid=False,
)
