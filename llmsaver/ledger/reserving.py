"""Finding room under every budget a call draws on, dead programs' leases given back first."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from llmsaver.ledger.calls import put_lapsed
from llmsaver.ledger.holds import EXPIRED, Claim, Hold, Pot, Refusal, charge, lapse
from llmsaver.ledger.pots import Pots, refusal, room

if TYPE_CHECKING:
    from llmsaver.ledger.statements import Transaction
    from llmsaver.ledger.store import Store

__all__ = ["Reserving"]

# Leases are looked through this often by whoever reserves, and whenever there is no room.
REAP_EVERY_SECONDS = 1.0
Amounts = tuple[int, int, int]


class Reserving:
    """What a process keeps in mind between reservations: windows found, and when leases were last looked through."""

    def __init__(self, store: Store, patience: float) -> None:
        self._store = store
        self._patience = patience
        self._pots = Pots()
        self._reaped_at = 0.0
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Make good in a forked child."""
        self._lock = threading.Lock()

    def reserve(
        self,
        claims: list[Claim],
        asked: Amounts,
        least: tuple[int, int] | None,
        *,
        now: float,
        lease_s: float,
        sent: bool,
        about: dict[str, Any] | None,
        hold_id: int | None = None,
    ) -> Hold | Refusal:
        """Reserve ``asked``, or between that and ``least``; see ``Ledger.reserve``."""
        claims = list({(claim.budget.name, claim.key): claim for claim in claims}.values())
        name = int.from_bytes(os.urandom(8), "big") >> 1 if hold_id is None else hold_id
        hold = Hold(name, (), *asked, now + lease_s)
        if not claims:
            return hold
        if time.monotonic() - self._reaped_at > REAP_EVERY_SECONDS:
            self.reap(now)
        attempt = _Attempt(self, claims, hold, now, sent=sent, about=about)
        refused = attempt.run()
        if refused is not None and attempt.expired:
            self.reap(now)
            refused = attempt.run()
        if refused is not None and least is not None:
            refused = attempt.run(least)
        return hold if refused is None else refused

    def room(self, claims: list[Claim], now: float) -> Amounts:
        """Return what is left under all of ``claims``, in each unit."""

        def look(transaction: Transaction) -> Amounts:
            return room(transaction, self.pots(transaction, claims, now))

        return self._store.transact(look, self._patience)

    def reap(self, now: float) -> int:
        """Deal with every lease that ran out."""
        self._reaped_at = time.monotonic()

        def work(transaction: Transaction) -> int:
            count, notes = lapse(transaction, now)
            for note in notes:
                put_lapsed(transaction, note)
            return count

        return self._store.transact(work, self._patience)

    def pots(self, transaction: Transaction, claims: list[Claim], now: float) -> tuple[Pot, ...]:
        """Return the pots of ``claims``, from memory where they are in it."""
        with self._lock:
            return self._pots.find(transaction, claims, now, self._store.generation)

    def keep(self, pots: tuple[Pot, ...]) -> None:
        """Remember pots that are committed."""
        with self._lock:
            self._pots.keep(pots)

    def forget(self) -> None:
        """Drop what is remembered."""
        with self._lock:
            self._pots.forget()

    def transact(self, work: Any) -> Any:
        """Run ``work`` in one transaction."""
        return self._store.transact(work, self._patience)


class _Attempt:
    """One reservation, tried until it fits, is refused, or the window it was remembered under proves to be closed."""

    def __init__(
        self, mind: Reserving, claims: list[Claim], hold: Hold, now: float, *, sent: bool, about: dict[str, Any] | None
    ) -> None:
        self._mind = mind
        self._claims = claims
        self._hold = hold
        self._now = now
        self._sent = sent
        self._about = about
        self._asked = (hold.nano, hold.tokens, hold.calls)
        self.expired = False

    def run(self, least: tuple[int, int] | None = None) -> Refusal | None:
        """Try; return why there was no room, None where the hold now stands."""
        hold = self._hold
        for _ in range(3):
            hold.nano, hold.tokens, hold.calls = self._asked
            try:
                self._mind.transact(lambda transaction: self._charge(transaction, least))
            except _NoRoom as no:
                if no.refusal is not None:
                    return no.refusal
                self._mind.forget()
            else:
                self._mind.keep(hold.pots)
                hold.granted_less = (hold.nano, hold.tokens) != self._asked[:2]
                return None
        raise RuntimeError("a budget's window kept being closed")

    def _charge(self, transaction: Transaction, least: tuple[int, int] | None) -> None:
        hold = self._hold
        hold.pots = self._mind.pots(transaction, self._claims, self._now)
        if least is not None:
            left = room(transaction, hold.pots)
            nano, tokens, _ = (max(0, min(asked, part)) for asked, part in zip(self._asked, left, strict=True))
            if nano >= least[0] and tokens >= least[1]:
                hold.nano, hold.tokens = nano, tokens
        full = charge(transaction, hold, sent=self._sent, about=self._about)
        if full is not None:
            self.expired = transaction.row(EXPIRED, self._now) is not None
            raise _NoRoom(refusal(transaction, full, hold))


class _NoRoom(Exception):  # noqa: N818 - undoes a transaction and never leaves this module
    """A reservation did not fit; ``refusal`` is None where the window was closed meanwhile."""

    def __init__(self, refusal: Refusal | None) -> None:
        super().__init__()
        self.refusal = refusal
