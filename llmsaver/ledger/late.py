"""Calls known late: a batch's answers and a background run's, booked once whoever fetches them, however often.

Their ids are derived from the provider's, so the row itself says whether the call was booked. A background run has a
row from its start, flagged ``PENDING`` and at its bound, and beside it a note of what was charged for it: a lapsed hold
under an id derived from the row's. Whoever first fetches the run's usage puts the truth in the place of both.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, update

from llmsaver.core.runtime import Flight
from llmsaver.ledger.calls import ATTEMPT, _added
from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.holds import PUT, Due, Hold, settle
from llmsaver.ledger.rollup import amend
from llmsaver.ledger.rows import CALL_COLUMNS, CallRow, attempt_values, call_values, tamed
from llmsaver.ledger.schema import LAPSED, attempts, calls
from llmsaver.ledger.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.ledger.holds import Claim, Crossing
    from llmsaver.ledger.ledger import Ledger
    from llmsaver.ledger.statements import Transaction

__all__ = ["PENDING", "LateCall", "book", "late_id", "remember"]

log = logging.getLogger("llmsaver")

PENDING: Final = "background:pending"
_MONEY = ("cost_nano", "cost_low", "cost_high")
# What a run's usage changes in the row that was written at its start; its money is summed with earlier attempts'.
_LEARNT = (
    "route",
    "model_answered",
    "service_tier",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "unpriced",
    "flags",
    "complete",
    "error",
)
_BASELINE = ("baseline_nano", "baseline_low", "baseline_high")
_AT = {name: CALL_COLUMNS.index(name) for name in (*_LEARNT, *_MONEY, "id")}

FIND = Statement(select(calls.c.seq, calls.c.flags).where(calls.c.id == bindparam("i")), "i")
RENAME = Statement(update(calls).where(calls.c.id == bindparam("old")).values(id=bindparam("new")), "new", "old")
PARTS = Statement(
    select(attempts.c.n, *(attempts.c[name] for name in _MONEY), attempts.c.estimated)
    .where(attempts.c.call == bindparam("s"))
    .order_by(attempts.c.n),
    "s",
)
LEARN = Statement(
    update(calls)
    .where(calls.c.seq == bindparam("s"))
    .values({name: bindparam(f"{name}_") for name in (*_LEARNT, *_MONEY, *_BASELINE, "estimated")}),
    *(f"{name}_" for name in (*_LEARNT, *_MONEY, *_BASELINE, "estimated")),
    "s",
)
LEARN_PART = Statement(
    update(attempts)
    .where(attempts.c.call == bindparam("s"), attempts.c.n == bindparam("n_"))
    .values({name: bindparam(f"{name}_") for name in (*_MONEY, "estimated")}),
    *(f"{name}_" for name in (*_MONEY, "estimated")),
    "s",
    "n_",
)


@dataclass(frozen=True, slots=True)
class LateCall:
    """A row, and what is charged for it where it is new: ``nano`` (at least ``low_nano``) and ``tokens``.

    ``told``: whether the provider said what was used; without that, the bound of a run that is pending stands.
    """

    row: CallRow
    nano: int
    low_nano: int
    tokens: int
    told: bool = True


def late_id(host: str, *names: str) -> str:
    """Return the id of the row of what a provider at ``host`` calls by ``names``."""
    text = "\0".join((host.lower(), *names)).encode("utf-8", "surrogatepass")
    return "r" + blake2b(text, digest_size=13, person=b"llmsaver.late").hexdigest()


def _note_id(row_id: str) -> int:
    return int.from_bytes(blake2b(row_id.encode(), digest_size=8).digest(), "big") >> 1


def remember(ledger: Ledger, row_id: str, due: Due | None, *, before: str | None = None) -> Flight:
    """Note in the ledger's own thread what a background run is being charged, so that it can be put right later.

    ``before``: the id under which an earlier attempt of the call may have been written; that row gets the new one.
    """

    def work(transaction: Transaction) -> None:
        if before is not None and transaction.row(FIND, row_id) is None:
            transaction.run(RENAME, row_id, before)
        for pot in due.hold.pots if due is not None else ():
            amounts = (due.nano, due.tokens, due.calls or 0)  # type: ignore[union-attr]  # there is one
            transaction.run(PUT, _note_id(row_id), pot.window, LAPSED, *amounts, time.time(), None, None)

    flight, writer = Flight(), ledger._writer  # noqa: SLF001 - the same package

    def done() -> None:
        writer.run(work)
        flight.land()

    writer.later(done)
    return flight


def book(
    ledger: Ledger, late: Sequence[LateCall], claims: Sequence[Claim], crossed: Callable[[tuple[Crossing, ...]], object]
) -> Flight:
    """Have calls booked, each once for good, by the ledger's own thread; the flight lands when they are, or are lost.

    ``claims``: the budgets that pay for those that are new, whether they fit or not: they are spent.
    """
    flight = Flight()
    writer = ledger._writer  # noqa: SLF001 - the same package

    def work() -> None:
        try:
            found = _booked(ledger, late, claims)
            if found:
                crossed(found)
        except Exception as error:  # noqa: BLE001 - the writer's thread has no successor
            writer._note(len(late), error)  # noqa: SLF001 - the same package
        finally:
            flight.land()

    writer.later(work)
    return flight


def _booked(ledger: Ledger, late: Sequence[LateCall], claims: Sequence[Claim]) -> tuple[Crossing, ...]:
    hold = _opened(ledger, claims) if claims else None
    rows = [_values(ledger, call.row) for call in late]

    def work(transaction: Transaction) -> tuple[Crossing, ...]:
        nano = tokens = count = low = 0
        for call, (values, parts) in zip(late, rows, strict=True):
            if _put(transaction, call, values, parts):
                nano, tokens, count, low = nano + call.nano, tokens + call.tokens, count + 1, low + call.low_nano
        if hold is None:
            return ()
        return settle(transaction, Due(hold, nano, tokens, count, low)).crossed

    try:
        return ledger.store.transact(work, ledger._patience)  # noqa: SLF001 - the same package
    except LedgerUnavailable:
        raise
    except Exception:  # noqa: BLE001 - a provider may have said what a driver does not take
        rows = [(tamed(values), [tamed(part) for part in parts]) for values, parts in rows]
        return ledger.store.transact(work, ledger._patience)  # noqa: SLF001 - the same package


def _values(ledger: Ledger, row: CallRow) -> tuple[list[Any], list[list[Any]]]:
    """Return a row as a driver takes it, and its attempts."""
    user, tenant = ledger.hide(row.user), ledger.hide(row.tenant)
    if user is not row.user or tenant is not row.tenant:
        row = replace(row, user=user, tenant=tenant)
    return call_values(row), [attempt_values(attempt) for attempt in row.attempts]


def _opened(ledger: Ledger, claims: Sequence[Claim]) -> Hold | None:
    """Return a hold of nothing, which always fits: what the calls cost is spent, whether there was room or not."""
    try:
        hold = ledger.reserve(claims, nano=0, tokens=0, calls=0, sent=True)
    except Exception:
        log.warning("llmsaver: what batches or background runs cost could not be charged to a budget", exc_info=True)
        return None
    return hold if isinstance(hold, Hold) else None


def _put(transaction: Transaction, call: LateCall, values: list[Any], parts: list[list[Any]]) -> bool:
    """Write a call where it is not known yet; return whether it is still to be charged."""
    seq = _added(transaction, values)
    run = call.row.route == "background"
    due = Due(Hold(_note_id(call.row.id), (), 0, 0, 0, 0.0), call.nano, call.tokens, 1, call.low_nano)
    if seq is not None:
        for n, part in enumerate(parts):
            transaction.run(ATTEMPT, seq, n, *part)
        # A run whose row was deleted meanwhile may still have been charged.
        return not (run and settle(transaction, due).settled)
    if run and call.told:
        seq, flags = transaction.row(FIND, call.row.id)
        if PENDING in (flags or "").split(","):
            amend(transaction, seq, lambda: _learn(transaction, seq, call.row, values))
            settle(transaction, due)
    return False


def _learn(transaction: Transaction, seq: int, row: CallRow, values: list[Any]) -> None:
    """Put a run's usage and cost into its row, and into the attempt that began it."""
    *others, last = transaction.rows(PARTS, seq) or [(None, 0, 0, 0, 0)]
    own = [values[_AT[name]] for name in _MONEY]
    money = [sum(part[1 + i] or 0 for part in others) + (own[i] or 0) for i in range(len(_MONEY))]
    estimated = 1 if row.estimated or any(part[4] for part in others) else 0
    transaction.run(LEARN, *(values[_AT[name]] for name in _LEARNT), *money, *money, estimated, seq)
    if last[0] is not None:
        transaction.run(LEARN_PART, *own, 1 if row.estimated else 0, seq, last[0])
