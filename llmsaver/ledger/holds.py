"""Reserve, then settle: one conditional UPDATE for each window decides, so no two can pass a limit together.

A hold is *reserved* until its request leaves and *sent* from then on. A reserved one whose lease ran out goes back to
the budget: nothing was asked of a provider. A sent one lapses into spend at its upper bound, because providers bill
calls whose client died; a late settlement puts the true figure in its place.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, insert, or_, select, update

from llmsaver.ledger.schema import LAPSED, RESERVED, SENT, holds, windows
from llmsaver.ledger.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmsaver.ledger.budget import Budget
    from llmsaver.ledger.statements import Transaction

__all__ = ["Claim", "Crossing", "Hold", "Pot", "Refusal", "Settlement", "charge", "lapse", "send", "settle"]

UNITS = ("nano", "tokens", "calls")
HOOK = "(a function)"


class Claim(NamedTuple):
    """A budget and which of its pots a call draws on (see ``Budget.key``).

    ``alert`` (a webhook's URL, or ``HOOK`` for a function) and ``max_call_nano`` are stored for programs that know the
    budget from the ledger only. An ``outside`` claim is of such a program: it does not bring a removed budget back.
    """

    budget: Budget
    key: str = ""
    alert: str | None = None
    max_call_nano: int | None = None
    outside: bool = False


class Pot(NamedTuple):
    """A claim's window in the ledger, by the number of its row; good from ``starts_at`` until before ``ends_at``."""

    window: int
    claim: Claim
    name: str
    starts_at: float
    ends_at: float


@dataclass(slots=True)
class Hold:
    """An amount set aside in every window a call draws on; ``nano``, ``tokens`` and ``calls`` are upper bounds."""

    id: int
    pots: tuple[Pot, ...]
    nano: int
    tokens: int
    calls: int
    expires_at: float
    granted_less: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was set aside: the first budget in which ``asked`` did not fit, in ``unit`` (nano, tokens or calls).

    ``resets_at`` is when its window ends, in seconds since the epoch; None where it never does.
    """

    budget: str
    key: str
    window: str
    unit: str
    limit: int
    spent: int
    held: int
    asked: int
    resets_at: float | None

    @property
    def room(self) -> int:
        """What was left."""
        return max(0, self.limit - self.spent - self.held)


class Crossing(NamedTuple):
    """A threshold of a budget that spend has just passed; told once per window, to who settles first after it."""

    budget: str
    key: str
    window: str
    threshold: float
    spent_nano: int
    limit_nano: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a hold: ``settled`` is False where it had been settled before."""

    settled: bool
    crossed: tuple[Crossing, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """What a hold is to be settled at; ``low_nano`` is the least it can have cost, ``nano`` itself if left out."""

    hold: Hold
    nano: int
    tokens: int = 0
    calls: int | None = None
    low_nano: int | None = None


def _fits(unit: str) -> Any:
    asked: Any = bindparam(unit)
    room = windows.c[f"spent_{unit}"] + windows.c[f"held_{unit}"] + asked <= windows.c[f"limit_{unit}"]
    return or_(asked == 0, room)  # what costs nothing fits even where more was spent than allowed


CHARGE = Statement(
    update(windows)
    .where(
        windows.c.seq == bindparam("w"),
        windows.c.closed == 0,
        or_(windows.c.hard == 0, and_(*(_fits(unit) for unit in UNITS))),
    )
    .values({f"held_{unit}": windows.c[f"held_{unit}"] + bindparam(unit) for unit in UNITS}),
    *UNITS,
    "w",
)
PUT = Statement(insert(holds), "id", "window", "state", *UNITS, "expires_at", "owner", "about")
SENDING = Statement(
    update(holds).where(holds.c.id == bindparam("h"), holds.c.state == RESERVED).values(state=SENT), "h"
)
RENEW = Statement(
    update(holds).where(holds.c.id == bindparam("h"), holds.c.state != LAPSED).values(expires_at=bindparam("until")),
    "until",
    "h",
)
UNDER = Statement(
    select(windows.c.budget, windows.c.key)
    .join(holds, holds.c.window == windows.c.seq)
    .where(holds.c.id == bindparam("h")),
    "h",
)
TAKE = Statement(
    delete(holds)
    .where(holds.c.id == bindparam("h"))
    .returning(holds.c.window, holds.c.state, *(holds.c[unit] for unit in UNITS)),
    "h",
)
BOOK = Statement(
    update(windows)
    .where(windows.c.seq == bindparam("w"))
    .values(
        {f"held_{unit}": windows.c[f"held_{unit}"] - bindparam(f"held_{unit}_") for unit in UNITS}
        | {f"spent_{unit}": windows.c[f"spent_{unit}"] + bindparam(f"spent_{unit}_") for unit in UNITS}
        | {"low_nano": windows.c.low_nano + bindparam("low")}
    )
    .returning(
        *(windows.c[f"spent_{unit}"] for unit in UNITS),
        *(windows.c[f"limit_{unit}"] for unit in UNITS),
        windows.c.alerted,
    ),
    *(f"held_{unit}_" for unit in UNITS),
    *(f"spent_{unit}_" for unit in UNITS),
    "low",
    "w",
)
ALERT = Statement(
    update(windows)
    .where(windows.c.seq == bindparam("w"), windows.c.alerted < bindparam("at"))
    .values(alerted=bindparam("at")),
    "at",
    "w",
)
RETURN = Statement(
    delete(holds)
    .where(holds.c.state == RESERVED, holds.c.expires_at <= bindparam("now"))
    .returning(holds.c.window, *(holds.c[unit] for unit in UNITS)),
    "now",
)
LAPSE = Statement(
    update(holds)
    .where(holds.c.state == SENT, holds.c.expires_at <= bindparam("now"))
    .values(state=LAPSED)
    .returning(holds.c.window, *(holds.c[unit] for unit in UNITS), holds.c.about),
    "now",
)
EXPIRED = Statement(
    select(holds.c.id).where(holds.c.state != LAPSED, holds.c.expires_at <= bindparam("now")).limit(1), "now"
)


def charge(transaction: Transaction, hold: Hold, *, sent: bool, about: dict[str, Any] | None) -> Pot | None:
    """Set the hold's amounts aside in all its windows; return the pot in which they did not fit, None where all did.

    A pot returned means that the transaction must be rolled back.
    """
    for pot in hold.pots:
        if transaction.run(CHARGE, hold.nano, hold.tokens, hold.calls, pot.window).rowcount != 1:
            return pot
    state, note = SENT if sent else RESERVED, None if about is None else json.dumps(about, default=str)
    for pot in hold.pots:
        transaction.run(
            PUT, hold.id, pot.window, state, hold.nano, hold.tokens, hold.calls, hold.expires_at, _owner.get(), note
        )
        note = None  # once is enough
    return None


def send(transaction: Transaction, hold: Hold) -> bool:
    """Mark that the request is about to leave; False means that the lease ran out and it must not."""
    return transaction.run(SENDING, hold.id).rowcount == len(hold.pots)


def renew(transaction: Transaction, found: Iterable[Hold], until: float) -> list[bool]:
    """Extend leases; False for a hold that is no longer open."""
    out = []
    for hold in found:
        alive = transaction.run(RENEW, until, hold.id).rowcount == len(hold.pots)
        if alive:
            hold.expires_at = until
        out.append(alive)
    return out


def settle(transaction: Transaction, due: Due) -> Settlement:
    """Turn a hold into what was spent, whatever has become of it meanwhile; a second time does nothing."""
    taken = transaction.rows(TAKE, due.hold.id)
    names = {pot.window: pot for pot in due.hold.pots}
    crossed: list[Crossing] = []
    for window, state, nano, tokens, calls in sorted(taken):
        spent = (due.nano, due.tokens, calls if due.calls is None else due.calls)
        low = due.nano if due.low_nano is None else due.low_nano
        if state == LAPSED:  # its bound was booked as spend; the truth takes its place
            booked = transaction.row(BOOK, 0, 0, 0, spent[0] - nano, spent[1] - tokens, spent[2] - calls, low, window)
        else:
            booked = transaction.row(BOOK, nano, tokens, calls, *spent, low, window)
        if booked is not None and window in names:
            crossed += _crossings(transaction, names[window], booked)
    return Settlement(bool(taken), tuple(crossed))


def lapse(transaction: Transaction, now: float) -> tuple[int, list[dict[str, Any]]]:
    """Deal with every lease that ran out; return how many there were, and the notes on the calls that lapsed."""
    if transaction.row(EXPIRED, now) is None:
        return 0, []
    returned = transaction.rows(RETURN, now)
    lapsed = transaction.rows(LAPSE, now)
    booked: list[tuple[int, Sequence[int], Sequence[int]]] = [(row[0], row[1:4], (0, 0, 0)) for row in returned]
    booked += [(row[0], row[1:4], row[1:4]) for row in lapsed]
    for window, held, spent in sorted(booked):
        transaction.row(BOOK, *held, *spent, 0, window)
    notes = [{**json.loads(row[4]), "bound_nano": row[1]} for row in lapsed if row[4]]
    return len(booked), notes


def _crossings(transaction: Transaction, pot: Pot, booked: Sequence[int]) -> list[Crossing]:
    """Return the thresholds that spend has passed and that nobody was told of."""
    thresholds = pot.claim.budget.thresholds
    if not thresholds:
        return []
    spent, limits, alerted = booked[0:3], booked[3:6], booked[6]
    reached = max(1000 * part // limit if limit else 1000 for part, limit in zip(spent, limits, strict=True))
    new = sorted(t for t in thresholds if alerted < round(t * 1000) <= reached)
    if not new or transaction.run(ALERT, round(new[-1] * 1000), pot.window).rowcount != 1:
        return []
    return [Crossing(pot.claim.budget.name, pot.claim.key, pot.name, t, spent[0], limits[0]) for t in new]


@dataclass(slots=True)
class _Owner:
    """Which of the world's running programs a hold belongs to; for people who look, nothing is decided by it."""

    pid: int = 0
    text: str = field(default="")

    def get(self) -> str:
        if self.pid != os.getpid():
            self.pid = os.getpid()
            self.text = f"{socket.gethostname()}:{self.pid}"
        return self.text


_owner = _Owner()
