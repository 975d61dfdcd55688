"""Deleting: what is old, and what belongs to a user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select

from llmsaver.ledger.rollup import DAY, clamp
from llmsaver.ledger.schema import LAPSED, attempts, calls, evaluations, holds, layer_sums, rollups, tasks, windows
from llmsaver.ledger.statements import Statement

if TYPE_CHECKING:
    from llmsaver.ledger.statements import Transaction
    from llmsaver.ledger.store import Store

__all__ = ["delete_user", "prune"]

# A transaction deletes this many calls, so that writers get their turn between two.
CHUNK = 2_000

_OLD = select(calls.c.seq).where(calls.c.started_at < bindparam("t")).order_by(calls.c.started_at).limit(bindparam("n"))
OLD = Statement(_OLD, "t", "n")
OF_USER = Statement(select(calls.c.seq).where(calls.c.user == bindparam("u")).limit(bindparam("n")), "u", "n")
DROP_JUDGEMENTS = Statement(
    delete(evaluations).where(
        evaluations.c.call.in_(select(calls.c.id).where(calls.c.seq == bindparam("s")).scalar_subquery())
    ),
    "s",
)
DROP_ATTEMPTS = Statement(delete(attempts).where(attempts.c.call == bindparam("s")), "s")
DROP_CALL = Statement(delete(calls).where(calls.c.seq == bindparam("s")), "s")
OLD_SUMS = Statement(delete(rollups).where(rollups.c.bucket < bindparam("t")), "t")
OLD_LAYERS = Statement(delete(layer_sums).where(layer_sums.c.bucket < bindparam("t")), "t")
OLD_TASKS = Statement(delete(tasks).where(tasks.c.started_at < bindparam("t")), "t")
OLD_LAPSED = Statement(delete(holds).where(holds.c.state == LAPSED, holds.c.expires_at < bindparam("t")), "t")
_held = select(holds.c.window)
OLD_WINDOWS = Statement(delete(windows).where(windows.c.ends_at < bindparam("t"), windows.c.seq.not_in(_held)), "t")
USER_SUMS = Statement(delete(rollups).where(rollups.c.axis == "user", rollups.c.name == bindparam("u")), "u")
USER_TASKS = Statement(delete(tasks).where(tasks.c.user == bindparam("u")), "u")
USER_WINDOWS = Statement(
    delete(windows).where(windows.c.key == bindparam("k"), windows.c.seq.not_in(_held), windows.c.held_nano == 0), "k"
)


def prune(store: Store, before: float, patience: float) -> int:
    """Delete what is older than the UTC day of ``before``, sums included: whole days, so that reports stay exact."""
    day = int(before // DAY) * DAY
    deleted = _calls(store, OLD, float(day), patience)

    def rest(transaction: Transaction) -> None:
        transaction.run(OLD_SUMS, day)
        transaction.run(OLD_LAYERS, day)
        for statement in (OLD_TASKS, OLD_LAPSED, OLD_WINDOWS):
            transaction.run(statement, float(day))

    store.transact(rest, patience)
    return deleted


def delete_user(store: Store, user: str, patience: float) -> int:
    """Delete a user's calls, tasks, sums and pots that hold nothing."""
    deleted = _calls(store, OF_USER, user, patience)

    def rest(transaction: Transaction) -> None:
        transaction.run(USER_SUMS, user)
        transaction.run(USER_TASKS, user)
        transaction.run(USER_WINDOWS, f"user:{user}")

    store.transact(rest, patience)
    return deleted


def _calls(store: Store, which: Statement, value: float | str, patience: float) -> int:
    """Delete the calls that ``which`` finds, in short transactions; return how many."""

    def chunk(transaction: Transaction) -> int:
        found = transaction.rows(which, value, CHUNK)
        for (seq,) in found:
            for statement in (DROP_JUDGEMENTS, DROP_ATTEMPTS, DROP_CALL):
                transaction.run(statement, seq)
        if found:
            clamp(transaction)
        return len(found)

    total = 0
    while True:
        done = store.transact(chunk, patience)
        total += done
        if done < CHUNK:
            return total
