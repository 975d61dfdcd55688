"""What layers did to calls, by row and summed, and the prefixes that planners of provider caches learn from."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("calls", sa.Column("shaped", sa.Text))
    op.add_column("calls", sa.Column("prefix", sa.Text))
    op.create_table(
        "layer_sums",
        sa.Column("span", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("feature", sa.Text, primary_key=True),
        sa.Column("layer", sa.Text, primary_key=True),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("calls", "measured", "tokens_before", "tokens_after", "saved_nano")
        ),
        sqlite_with_rowid=False,
    )
