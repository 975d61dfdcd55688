"""Putting call rows into the ledger, one for each call for good: a call written again replaces its row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, cast, delete, func, insert, select, update
from sqlalchemy.types import BigInteger, Text

from llmsaver.ledger.rollup import amend, unfold
from llmsaver.ledger.rows import ATTEMPT_COLUMNS, CALL_COLUMNS, CallRow, call_values
from llmsaver.ledger.schema import attempts, calls, meta, tasks
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Dialect

    from llmsaver.ledger.statements import Transaction

__all__ = ["TASK", "KnownCallError", "add_to", "put", "put_all", "put_lapsed"]


class KnownCallError(Exception):
    """One of several calls has a row already: they are to be written one by one."""


def _add(dialect: Dialect) -> Any:
    statement = inserted(calls)(dialect).on_conflict_do_nothing(index_elements=["id"])
    return statement if dialect.name == "sqlite" else statement.returning(calls.c.seq)


ADD = Statement(_add, *CALL_COLUMNS)
ADD_AS = Statement(insert(calls), "seq", *CALL_COLUMNS)
LAST = Statement(select(func.max(calls.c.seq)))
ATTEMPT = Statement(insert(attempts), "call", "n", *ATTEMPT_COLUMNS)
SEQ = Statement(select(calls.c.seq).where(calls.c.id == bindparam("i")), "i")
RAISE = Statement(
    update(calls)
    .where(calls.c.seq == bindparam("s"))
    .values(
        cost_low=func.coalesce(calls.c.cost_low, calls.c.cost_nano, 0),
        cost_high=func.coalesce(calls.c.cost_high, calls.c.cost_nano, 0) + bindparam("bound"),
        cost_nano=func.coalesce(calls.c.cost_nano, 0) + bindparam("bound"),
        estimated=1,
    ),
    "bound",
    "s",
)
DROP = Statement(delete(calls).where(calls.c.seq == bindparam("s")), "s")
DROP_ATTEMPTS = Statement(delete(attempts).where(attempts.c.call == bindparam("s")), "s")


def _task(dialect: Dialect) -> Any:
    statement = inserted(tasks)(dialect)
    return statement.on_conflict_do_update(
        index_elements=["id"], set_={"ended_at": statement.excluded.ended_at, "outcome": statement.excluded.outcome}
    )


def _count(dialect: Dialect) -> Any:
    statement = inserted(meta)(dialect)
    total = cast(meta.c.value, BigInteger) + cast(statement.excluded.value, BigInteger)
    return statement.on_conflict_do_update(index_elements=["key"], set_={"value": cast(total, Text)})


TASK = Statement(_task, "id", "started_at", "ended_at", "outcome", "feature", "user", "tenant")
COUNT = Statement(_count, "key", "value")


def put(transaction: Transaction, values: Sequence[Any], tries: Sequence[Sequence[Any]]) -> None:
    """Write a call and its attempts, in the place of what was written under the same id before."""
    seq = _added(transaction, values)
    if seq is None:
        seq = _replaced(transaction, values)
    for n, attempt in enumerate(tries):
        transaction.run(ATTEMPT, seq, n, *attempt)


def put_all(transaction: Transaction, rows: Sequence[tuple[Sequence[Any], Sequence[Sequence[Any]]]]) -> None:
    """Write calls, each with its attempts; raises ``KnownCallError`` where one among several has a row already."""
    if len(rows) == 1 or transaction.dialect.name != "sqlite":
        for values, tries in rows:
            put(transaction, values, tries)
        return
    numbers = transaction.insert_all(ADD, [values for values, _ in rows])
    if len(numbers) != len(rows):
        raise KnownCallError
    tried = [(seq, n, *each) for seq, (_, tries) in zip(numbers, rows, strict=True) for n, each in enumerate(tries)]
    transaction.insert_all(ATTEMPT, tried)


def put_lapsed(transaction: Transaction, note: dict[str, Any]) -> None:
    """Book a call whose caller never came back to settle it: between nothing and its bound.

    A row the call already has was written with earlier attempts' settlements, so the bound is added to it.
    """
    bound = note.pop("bound_nano")
    row = CallRow(
        cost_nano=bound,
        cost_low=0,
        cost_high=bound,
        estimated=True,
        complete=False,
        error="lapsed: the program ended or lost its lease before the answer was settled",
        **{name: value for name, value in note.items() if name in CALL_COLUMNS},
    )
    if _added(transaction, call_values(row)) is None:
        seq = transaction.row(SEQ, row.id)[0]
        amend(transaction, seq, lambda: transaction.run(RAISE, bound, seq))


def add_to(transaction: Transaction, key: str, amount: int) -> None:
    """Add to a count in ``meta``."""
    transaction.run(COUNT, key, str(amount))


def _added(transaction: Transaction, values: Sequence[Any]) -> int | None:
    """Return the number of the row that was added; None where the call has one already."""
    cursor = transaction.run(ADD, *values)
    if transaction.dialect.name == "sqlite":  # where RETURNING costs a tenth of the whole write
        return cursor.lastrowid if cursor.rowcount == 1 else None
    found = cursor.fetchall()
    return found[0][0] if found else None


def _replaced(transaction: Transaction, values: Sequence[Any]) -> int:
    """Put a row in the place of the call's earlier one, under a number of its own so that a tail sees it."""
    old = transaction.row(SEQ, values[0])[0]
    last = transaction.row(LAST)[0]
    unfold(transaction, old)
    transaction.run(DROP, old)
    transaction.run(DROP_ATTEMPTS, old)
    seq = _added(transaction, values) if transaction.dialect.name != "sqlite" else None
    if seq is None:
        seq = int(last) + 1
        transaction.run(ADD_AS, seq, *values)
    return seq
