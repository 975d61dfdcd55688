"""What a local server's time and energy came to, calls that were spilled or refused, which kind of hit one was.

Budgets gain what is known of them from outside the program that declared them: whom to alert, what a call that cannot
be bounded is held at, and that one was removed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"

SUMS = ("refused", "spilled", "semantic_hits", "busy_ms", "energy_low_mwh", "energy_high_mwh")


def upgrade() -> None:
    """Add the columns and the table of servers."""
    for name in ("busy_s", "energy_low_wh", "energy_high_wh"):
        op.add_column("calls", sa.Column(name, sa.Double))
    op.add_column("calls", sa.Column("spilled", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("calls", sa.Column("refused", sa.Integer, nullable=False, server_default="0"))
    op.add_column("calls", sa.Column("hit_kind", sa.Text))
    for name in SUMS:
        op.add_column("rollups", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("budgets", sa.Column("alert", sa.Text))
    op.add_column("budgets", sa.Column("max_call_nano", sa.BigInteger))
    op.add_column("budgets", sa.Column("removed_at", sa.Double))
    op.create_table(
        "servers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("up_s", sa.Double, nullable=False),
        sa.Column("busy_s", sa.Double, nullable=False),
        sa.Column("hourly_nano", sa.BigInteger),
    )
