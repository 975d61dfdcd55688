"""Judgements on answers: how good one was, by whom that was said, and what a router learns its thresholds from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, text

from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.rows import EvaluationRow, tamed
from llmsaver.ledger.schema import evaluations
from llmsaver.ledger.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection

    from llmsaver.ledger.reader import Reader
    from llmsaver.ledger.statements import Transaction
    from llmsaver.ledger.writer import Writer

__all__ = ["MOST", "Evaluations", "found"]

MOST = 100_000
_COLUMNS = ("call", "at", "name", "value", "judge", "arm", "details")

EVALUATE = Statement(insert(evaluations), *_COLUMNS)
_ONE = (
    evaluations.c.call == bindparam("c"),
    evaluations.c.name == bindparam("n"),
    evaluations.c.judge.is_not_distinct_from(bindparam("j")),
)
FORGET = Statement(delete(evaluations).where(*_ONE), "c", "n", "j")
TOLD = Statement(select(evaluations.c.details).where(*_ONE).order_by(evaluations.c.seq), "c", "n", "j")
# Of those who revise, one at a time, on a server: a row that is not there yet cannot be locked. A file has one writer.
ALONE = Statement(text("SELECT pg_advisory_xact_lock(7020586)"))


class Evaluations:
    """The part of a ledger that is about how good answers were."""

    _writer: Writer

    def reader(self) -> Reader:
        """Return what reads the ledger."""
        raise NotImplementedError

    def evaluate(self, row: EvaluationRow) -> bool:
        """Write a judgement on a call; return whether it is in the ledger. Never raises."""
        return self._writer.run(lambda transaction: transaction.run(EVALUATE, *_values(row)))

    def evaluate_all(self, rows: Iterable[EvaluationRow]) -> int:
        """Write judgements in one transaction, each in the place of the same judge's earlier one of its name and call.

        Returns how many are in the ledger: all, or 0. Never raises.
        """
        told = [_values(row) for row in rows]

        def work(transaction: Transaction) -> None:
            for values in told:
                transaction.run(FORGET, values[0], values[2], values[4])
                transaction.run(EVALUATE, *values)

        return len(told) if told and self._writer.run(work) else 0

    def revise(
        self, name: str, judge: str, calls: Iterable[str], change: Callable[[str, Any], Mapping[str, Any]]
    ) -> bool:
        """Put what ``change`` makes of a call and a judge's earlier details in their place; nobody comes in between.

        ``change`` gets None where there are none, runs inside the transaction, and once more where that is tried again.
        Returns whether all of it is in the ledger. Never raises.
        """
        asked = list(calls)

        def work(transaction: Transaction) -> None:
            if transaction.dialect.name == "postgresql":
                transaction.run(ALONE)
            for call in asked:
                key = tamed((call, name, judge))
                found = [row[0] for row in transaction.rows(TOLD, *key)]
                details = change(call, json.loads(found[-1]) if found and found[-1] else None)
                transaction.run(FORGET, *key)
                transaction.run(EVALUATE, *_values(EvaluationRow(call, name, judge=judge, details=details)))

        return self._writer.run(work)

    def evaluations(self, name: str, *, after: int = 0, limit: int = MOST) -> list[dict[str, Any]]:
        """Return the judgements of a name in the order they were written, those with a ``seq`` above ``after``.

        There are none where there is no ledger yet, or it cannot be read. ``Reader.evaluations`` says what each has.
        """
        try:
            with self.reader() as reader:
                return reader.evaluations(name, after=after, limit=limit)
        except LedgerUnavailable:
            return []


def found(
    connection: Connection,
    name: str | None,
    *,
    call: str | None,
    after: int,
    since: float | None,
    until: float | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return judgements as ``Reader.evaluations`` does."""
    of = evaluations.c
    query = select(evaluations).where(of.seq > after)
    query = query if name is None else query.where(of.name == name)
    query = query if call is None else query.where(of.call == call)
    query = query if since is None else query.where(of.at >= since)
    query = query if until is None else query.where(of.at < until)
    rows = connection.execute(query.order_by(of.seq).limit(limit)).mappings()
    return [{**row, "details": json.loads(row["details"]) if row["details"] else {}} for row in rows]


def _values(row: EvaluationRow) -> list[Any]:
    details = json.dumps(dict(row.details), default=str) if row.details else None
    return tamed((row.call, row.at, row.name, row.value, row.judge, row.arm, details))
