"""The innermost layer: what an attempt may cost before it leaves, and what it did cost after."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.core.entry import latest_attempt
from llmsaver.core.rule import Rule, applicable
from llmsaver.middleware.background_runs import is_background, settle_run
from llmsaver.middleware.leases import RENEW_EVERY_SECONDS, Leases
from llmsaver.middleware.own_tiers import LOCAL_PREFIX
from llmsaver.middleware.reserving import Reserving
from llmsaver.middleware.settling import Settling

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.core.background import Background
    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Claim, Crossing, Hold, Ledger, Ticket
    from llmsaver.ledger.pots import Known
    from llmsaver.middleware.local_time import LocalTime
    from llmsaver.middleware.own_tiers import OwnTiers
    from llmsaver.pricing import PriceBook

__all__ = ["BudgetLayer"]

log = logging.getLogger("llmsaver")

# Budgets set from outside (``llmsaver budgets set``) are looked for this often.
LOOK_EVERY_SECONDS = 5.0
# In between only a number is read; now and then all of them, because an older library's changes are not counted in it.
READ_EVERY_SECONDS = 60.0


class BudgetLayer:
    """Prices every attempt, and holds hard budgets: no request leaves whose bound does not fit.

    Each attempt reserves a provable upper bound and settles at what it cost; the settlement is written with the call's
    row, in one transaction (see ``Record``). With ``enforce=False`` budgets are charged and warn. ``renew_every``: how
    often the holds of calls under way are renewed, in seconds. ``own`` and ``local``: the user's own tiers, and who
    notes what calls on them take beside money.
    """

    name = "budget"

    def __init__(
        self,
        book: PriceBook,
        ledger: Ledger | None,
        background: Background,
        *,
        rules: tuple[Rule, ...] = (),
        enforce: bool = True,
        renew_every: float = RENEW_EVERY_SECONDS,
        own: OwnTiers | None = None,
        local: LocalTime | None = None,
    ) -> None:
        leases = None if ledger is None else Leases(ledger, renew_every)
        self._background = background
        self._ledger = ledger
        self._reserving: Reserving | None = None
        if ledger is not None and leases is not None:
            self._reserving = Reserving(book, ledger, leases, enforce=enforce, own=own)
        self._local = local
        self._settling = Settling(book, leases, enforce=enforce, local=local)
        self._declared = rules
        self._stored: tuple[Rule, ...] | None = None
        self._looked_at = self._read_at = float("-inf")
        self._version: str | None = None
        self._alone: str | None = None
        self._looking = threading.Lock()
        _all.add(self)

    def after_fork(self) -> None:
        """Make good in a forked child, whose locks nobody will open."""
        self._looking = threading.Lock()
        self._settling.after_fork()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Reserve, pass on, price; settle with the row."""
        hold: Hold | None = None
        if self._reserving is not None:
            rules = await self._rules(request)
            if rules:
                request, hold = await self._reserving.hold(request, rules)
        latest_attempt.set(None)
        if self._local is not None and (request.model or "").startswith(LOCAL_PREFIX):
            self._local.begins()
        request.entry.under_way.append(None)
        try:
            response = await call_next(request)
        except BaseException as error:
            self._settling.failed(request, latest_attempt.get(), hold, error)
            _ended(request)
            raise
        attempt = latest_attempt.get()

        def settle(outcome: Outcome) -> object:
            if is_background(request):
                request.entry.under_way.pop()
                return settle_run(self._settling, self._ledger, request, attempt, hold, outcome)
            self._settling.answered(request, attempt, hold, outcome)
            _ended(request)
            return None

        response.on_complete(settle)
        return response

    async def claims(self, request: Request) -> list[Claim]:
        """Return the pots that what is done for ``request`` draws on, for those who charge them by themselves."""
        if self._reserving is None:
            return []
        return [self._reserving.claim(request.entry, rule) for rule in await self._rules(request)]

    def hard_claims(self, entry: Entry, enclosing: tuple[Rule, ...]) -> list[tuple[Rule, Claim]]:
        """Return the hard budgets, with their pots, that what ``entry`` tells of draws on; blocks.

        For those who hold by themselves what is paid elsewhere; none are returned where budgets only warn.
        """
        if self._reserving is None or not self._reserving.enforces:
            return []
        self._look_first()
        if self._is_due():
            self._look()
        rules = self._applicable(entry, enclosing)
        return [(rule, self._reserving.claim(entry, rule)) for rule in rules if rule.hard]

    async def _rules(self, request: Request) -> tuple[Rule, ...]:
        if self._stored is None:
            await request.runtime.offload(self._look_first)
        elif self._is_due():
            self._looked_at = time.monotonic()
            await request.runtime.offload(self._look)
        return self._applicable(request.entry, request.options.rules)

    def _is_due(self) -> bool:
        """Return whether budgets set from outside were not looked for lately."""
        return time.monotonic() - self._looked_at > LOOK_EVERY_SECONDS

    def _applicable(self, entry: Entry, enclosing: tuple[Rule, ...]) -> tuple[Rule, ...]:
        named = {rule.name for rule in enclosing}
        stored = [rule for rule in self._stored or () if rule.name not in named]
        found = applicable((*self._declared, *stored), entry, enclosing)
        if found and self._alone is not None:
            self._warn_of_disk()
        return found

    def _warn_of_disk(self) -> None:
        """Say, once in a process, that budgets on this disk hold for this instance only."""
        with _telling:
            alone, self._alone = self._alone, None
            place = self._ledger.store.file  # type: ignore[union-attr]  # no reserving without one
            if alone is None or (alone, place) in _told:
                return
            _told.add((alone, place))
        log.warning(
            "llmsaver: the ledger is on the disk of %s, so each instance counts its budgets by itself; point "
            "LLMSAVER_LEDGER to a shared PostgreSQL",
            alone,
        )

    def _look_first(self) -> None:
        """Look before the first call; those that come meanwhile wait, or they would pass budgets set from outside."""
        with self._looking:
            if self._stored is None:
                self._alone = self._ledger.own_disk()  # type: ignore[union-attr]  # no reserving without one
                self._look()

    def _look(self) -> None:
        """Find the budgets that were set from outside: for the whole organisation, or under a feature's name."""
        own = {rule.name for rule in self._declared}
        now = time.monotonic()
        try:
            version = self._ledger.budgets_version()  # type: ignore[union-attr]  # no reserving without one
            if self._stored is None or version != self._version or now - self._read_at > READ_EVERY_SECONDS:
                known = self._ledger.known_budgets()  # type: ignore[union-attr]  # the same
                self._stored = tuple(_outside(each) for each in known if each.budget.name not in own)
                self._version, self._read_at = version, now
        except Exception as error:  # noqa: BLE001 - a ledger that fails costs nobody the call
            log.warning("llmsaver: budgets set from outside cannot be read: %s", error)
            self._stored = self._stored or ()
        self._looked_at = time.monotonic()

    def tell(self, ticket: Ticket) -> None:
        """Say that spend has crossed thresholds: in the log, and to who asked to be told."""
        self.crossed(ticket.crossed)

    def crossed(self, crossings: Iterable[Crossing]) -> None:
        """Say the same of thresholds that no ticket tells of."""
        seen = {} if self._reserving is None else self._reserving.seen
        for crossing in crossings:
            rule = seen.get(crossing.budget)
            facts = crossing._asdict()
            log.warning(
                "llmsaver: budget %r has passed %d %% of its limit in %s",
                crossing.budget,
                round(crossing.threshold * 100),
                crossing.window,
            )
            alert = rule.alert if rule is not None else None
            if isinstance(alert, str):
                self._background.submit(partial(_post, alert, facts))
            elif alert is not None:
                self._background.submit(partial(alert, facts))


def _ended(request: Request) -> None:
    """Have the call's row written anew where it is in the ledger already: this attempt ended after the call."""
    entry = request.entry
    entry.under_way.pop()
    again = entry.rebook
    if again is not None:
        if not entry.under_way:
            entry.rebook = None  # it holds the whole request
        again()


def _outside(known: Known) -> Rule:
    """Return the rule of a budget that the ledger knows; one that alerts a function is told where that function is."""
    from llmsaver.ledger.holds import HOOK

    hook = known.alert == HOOK
    budget = known.budget.replace(thresholds=()) if hook else known.budget
    return Rule(budget, max_call_nano=known.max_call_nano, alert=None if hook else known.alert, outside=True)


def _post(url: str, facts: dict[str, Any]) -> None:
    """Post facts to a webhook as JSON."""
    import urllib.request

    content = json.dumps(facts).encode()
    request = urllib.request.Request(url, content, {"content-type": "application/json"})  # noqa: S310 - the user's URL
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - checked to be http(s) where it was declared
        pass


# Disks that were warned of, by kind of instance and path.
_told: set[tuple[str, object]] = set()
_telling = threading.Lock()
_all: weakref.WeakSet[BudgetLayer] = weakref.WeakSet()


def _after_fork() -> None:
    global _telling  # noqa: PLW0603 - the parent's may be held for ever
    _telling = threading.Lock()
    for layer in list(_all):
        layer.after_fork()


os.register_at_fork(after_in_child=_after_fork)
