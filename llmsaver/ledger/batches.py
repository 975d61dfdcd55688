"""The checkpoints of batches: each run, and each job at a provider, with how far it has come."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.migrate import check
from llmsaver.ledger.schema import batch_parts, batches
from llmsaver.ledger.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.sql import Select

    from llmsaver.ledger.ledger import Ledger
    from llmsaver.ledger.statements import Transaction

__all__ = ["BatchPart", "BatchRun", "Batches"]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """A run: what was asked of whom, and what came of it by now. Money in nano-dollars, times since the epoch.

    ``state``: "open" (under way, or to be gone on with), "finished", "incomplete" (ended, but some failed; running it
    again retries those), "stopped" (its limit was reached) or "cancelled". ``source`` and ``out`` are the files.
    """

    id: str
    created_at: float
    updated_at: float
    via: str
    host: str
    state: str
    feature: str
    total: int
    answered: int = 0
    failed: int = 0
    spent_nano: int = 0
    limit_nano: int | None = None
    tenant: str | None = None
    source: str | None = None
    out: str | None = None


@dataclass(frozen=True, slots=True)
class BatchPart:
    """One job: the requests in it (``rows``, "0-499,612") and where it stands.

    ``state``: "planned", "sending" (a job may or may not have begun, since ``sent_at``), "sent" (it has, as ``job``),
    "refused" (the provider did not take it; its requests go into another), "fetched" (its answers are here).
    """

    batch: str
    n: int
    token: str
    rows: str
    url: str
    state: str
    count: int
    bound_nano: int | None = None
    sent_at: float | None = None
    file: str | None = None
    job: str | None = None
    error: str | None = None


_RUN = tuple(field.name for field in fields(BatchRun))
_PART = tuple(field.name for field in fields(BatchPart))
_KEYS = ("batch", "n")
_REST = tuple(name for name in _PART if name not in _KEYS)

PUT_RUN = Statement(insert(batches), *_RUN)
SET_RUN = Statement(
    update(batches)
    .where(batches.c.id == bindparam("which"))
    .values({name: bindparam(f"{name}_") for name in _RUN if name != "id"}),
    *(f"{name}_" for name in _RUN if name != "id"),
    "which",
)
PUT_PART = Statement(insert(batch_parts), *_PART)
SET_PART = Statement(
    update(batch_parts)
    .where(batch_parts.c.batch == bindparam("which"), batch_parts.c.n == bindparam("number"))
    .values({name: bindparam(f"{name}_") for name in _REST}),
    *(f"{name}_" for name in _REST),
    "which",
    "number",
)


class Batches:
    """Reads and writes the checkpoints in one ledger; every failure is a ``LedgerUnavailable``.

    Unlike rows of calls these are written at once and by whoever asks: a step that is not on disk was not taken.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def hide(self, name: str | None) -> str | None:
        """Return a tenant as it is stored."""
        return self._ledger.hide(name)

    def find(self, batch: str) -> BatchRun | None:
        """Return a run; None for one that is not known."""
        found = self._runs(select(batches).where(batches.c.id == batch))
        return found[0] if found else None

    def latest(self, limit: int = 50) -> list[BatchRun]:
        """Return the latest runs, newest first."""
        return self._runs(select(batches).order_by(batches.c.created_at.desc(), batches.c.id).limit(limit))

    def parts(self, batch: str) -> list[BatchPart]:
        """Return a run's jobs in the order in which they were planned."""
        query = select(batch_parts).where(batch_parts.c.batch == batch).order_by(batch_parts.c.n)
        return [BatchPart(**row) for row in self._rows(query)]

    def begin(self, run: BatchRun) -> None:
        """Write a run that is new."""
        self._write(lambda transaction: transaction.run(PUT_RUN, *astuple(run)))

    def note(self, run: BatchRun, **changes: Any) -> BatchRun:
        """Change a run, and return it as it now is."""
        run = replace(run, updated_at=time.time(), **changes)
        values = astuple(run)
        self._write(lambda transaction: transaction.run(SET_RUN, *values[1:], run.id))
        return run

    def plan(self, parts: Iterable[BatchPart]) -> None:
        """Write jobs that are new, all or none."""
        rows = [astuple(part) for part in parts]

        def work(transaction: Transaction) -> None:
            for row in rows:
                transaction.run(PUT_PART, *row)

        self._write(work)

    def mark(self, part: BatchPart, **changes: Any) -> BatchPart:
        """Change a job, and return it as it now is."""
        part = replace(part, **changes)
        values = [getattr(part, name) for name in _REST]
        self._write(lambda transaction: transaction.run(SET_PART, *values, part.batch, part.n))
        return part

    def _write(self, work: Any) -> None:
        self._ledger.store.transact(work, self._ledger._patience)  # noqa: SLF001 - the same package

    def _runs(self, query: Select[Any]) -> list[BatchRun]:
        return [BatchRun(**row) for row in self._rows(query)]

    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        if not self._ledger.store.there:
            return []
        engine = self._ledger.store.read()
        try:
            with engine.connect().execution_options(reading=True) as connection:
                check(connection)
                return [dict(row) for row in connection.execute(query).mappings()]
        except SQLAlchemyError as error:
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error
        finally:
            engine.dispose()
