"""Sums per hour and day, so that a report need not read a million rows; filled from the calls by the next writer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"

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
)


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "rollups",
        sa.Column("axis", sa.Text, primary_key=True),
        sa.Column("span", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in SUMS),
        sa.Column("latency", sa.Text, nullable=False),
        sa.Column("first_byte", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
