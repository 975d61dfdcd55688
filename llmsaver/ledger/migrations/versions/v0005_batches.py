"""Runs of batches, and the jobs at a provider that each is cut into."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    """Add the two tables."""
    texts = ("via", "host", "state", "feature")
    counts = ("total", "answered", "failed", "spent_nano")
    op.create_table(
        "batches",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Double, nullable=False) for name in ("created_at", "updated_at")),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False, server_default="0") for name in counts),
        sa.Column("limit_nano", sa.BigInteger),
        *(sa.Column(name, sa.Text) for name in ("tenant", "source", "out")),
    )
    op.create_table(
        "batch_parts",
        sa.Column("batch", sa.Text, primary_key=True),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("token", "rows", "url", "state")),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("bound_nano", sa.BigInteger),
        sa.Column("sent_at", sa.Double),
        *(sa.Column(name, sa.Text) for name in ("file", "job", "error")),
    )
