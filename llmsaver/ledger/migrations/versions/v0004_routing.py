"""How a router chose who answers a call, and a quick way to the judgements of one kind."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("calls", sa.Column("routing", sa.Text))
    op.create_index("evaluations_name", "evaluations", ["name", "seq"])
