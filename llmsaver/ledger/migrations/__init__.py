"""The history of the ledger's schema, as Alembic reads it."""
