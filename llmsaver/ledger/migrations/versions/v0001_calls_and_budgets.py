"""Calls and their attempts, tasks, evaluations, budgets with their windows and holds."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

SEQ = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _number(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _flag(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.SmallInteger, nullable=False, server_default="0")


def _texts(*names: str) -> "list[sa.Column[str]]":
    return [sa.Column(name, sa.Text) for name in names]


def _amounts(*names: str) -> "list[sa.Column[int]]":
    return [sa.Column(name, sa.BigInteger) for name in names]


def upgrade() -> None:
    """Create the tables."""
    _calls()
    _work()
    _budgets()
    op.create_table("meta", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("feature", sa.Text, nullable=False),
        *_texts("feature_path", "user", "tenant", "tags", "task", "conversation", "dialect"),
        sa.Column("route", sa.Text, nullable=False),
        _flag("stream"),
        *_texts("model_asked", "model_answered"),
        sa.Column("tier", sa.Text, nullable=False),
        *_texts("service_tier", "upstream"),
        *_amounts("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
        sa.Column("tokens", sa.Text),
        *_amounts("cost_nano", "cost_low", "cost_high", "baseline_nano", "baseline_low", "baseline_high"),
        *(_flag(name) for name in ("estimated", "unpriced", "hit", "escalated", "truncated")),
        sa.Column("flags", sa.Text),
        sa.Column("latency_ms", sa.Double),
        sa.Column("first_byte_ms", sa.Double),
        sa.Column("status", sa.Integer),
        sa.Column("complete", sa.Integer),
        *_texts("error", "layers", "fingerprint", "chain", "arm", "prompt", "answer"),
        sa.UniqueConstraint("id", name="calls_id"),
    )
    op.create_index("calls_started_at", "calls", ["started_at"])
    op.create_table(
        "attempts",
        sa.Column("call", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        *_texts("upstream", "model", "tier"),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("latency_ms", sa.Double),
        *_amounts("cost_nano", "cost_low", "cost_high"),
        _flag("estimated"),
        sqlite_with_rowid=False,
    )


def _work() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("outcome", sa.Text),
        sa.Column("feature", sa.Text, nullable=False),
        *_texts("user", "tenant"),
    )
    op.create_index("tasks_started_at", "tasks", ["started_at"])
    op.create_table(
        "evaluations",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        *_texts("judge", "arm", "details"),
    )
    op.create_index("evaluations_call", "evaluations", ["call"])


def _budgets() -> None:
    op.create_table(
        "budgets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("known", sa.Text, nullable=False),
        sa.Column("thresholds", sa.Text, nullable=False),
        sa.Column("declared_at", sa.Double, nullable=False),
    )
    op.create_table(
        "windows",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("window", sa.Text, nullable=False),
        sa.Column("starts_at", sa.Double),
        sa.Column("ends_at", sa.Double),
        sa.Column("hard", sa.SmallInteger, nullable=False),
        _flag("closed"),
        *(_number(f"{part}_{unit}") for part in ("limit", "spent", "held") for unit in ("nano", "tokens", "calls")),
        _number("low_nano"),
        sa.Column("alerted", sa.Integer, nullable=False, server_default="0"),
        sa.UniqueConstraint("budget", "key", "window", name="windows_pot"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("window", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        *(sa.Column(unit, sa.BigInteger, nullable=False) for unit in ("nano", "tokens", "calls")),
        sa.Column("expires_at", sa.Double, nullable=False),
        *_texts("owner", "about"),
        sqlite_with_rowid=False,
    )
