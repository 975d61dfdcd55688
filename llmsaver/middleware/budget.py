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

from llmsaver.core.budget import Budget
from llmsaver.core.entry import latest_attempt
from llmsaver.core.rule import Rule, applicable
from llmsaver.middleware.leases import RENEW_EVERY_SECONDS, Leases
from llmsaver.middleware.reserving import Reserving
from llmsaver.middleware.settling import Settling

if TYPE_CHECKING:
    from llmsaver.core.background import Background
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Hold, Ledger, Ticket
    from llmsaver.pricing import PriceBook

__all__ = ["BudgetLayer"]

log = logging.getLogger("llmsaver")

# Budgets set from outside (``llmsaver budgets set``) are looked for this often.
LOOK_EVERY_SECONDS = 5.0
# What makes a stored budget the same as a declared one.
_TERMS = ("limit_nano", "limit_tokens", "limit_calls", "per", "tz", "scope", "hard")


class BudgetLayer:
    """Prices every attempt, and holds hard budgets: no request leaves whose bound does not fit.

    Each attempt reserves a provable upper bound and settles at what it cost; the settlement is written with the call's
    row, in one transaction (see ``Record``). With ``enforce=False`` budgets are charged and warn. ``renew_every``: how
    often the holds of calls under way are renewed, in seconds.
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
    ) -> None:
        leases = None if ledger is None else Leases(ledger, renew_every)
        self._background = background
        self._ledger = ledger
        self._reserving = None if ledger is None or leases is None else Reserving(book, ledger, leases, enforce=enforce)
        self._settling = Settling(book, leases, enforce=enforce)
        self._declared = rules
        self._stored: tuple[Rule, ...] | None = None
        self._looked_at = float("-inf")
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
        try:
            response = await call_next(request)
        except BaseException as error:
            self._settling.failed(request, latest_attempt.get(), hold, error)
            raise
        attempt = latest_attempt.get()

        def settle(outcome: Outcome) -> None:
            self._settling.answered(request, attempt, hold, outcome)

        response.on_complete(settle)
        return response

    async def _rules(self, request: Request) -> tuple[Rule, ...]:
        if self._stored is None:
            await request.runtime.offload(self._look_first)
        elif time.monotonic() - self._looked_at > LOOK_EVERY_SECONDS:
            self._looked_at = time.monotonic()
            await request.runtime.offload(self._look)
        enclosing = request.options.rules
        named = {rule.name for rule in enclosing}
        stored = [rule for rule in self._stored or () if rule.name not in named]
        return applicable((*self._declared, *stored), request.entry, enclosing)

    def _look_first(self) -> None:
        """Look before the first call; those that come meanwhile wait, or they would pass budgets set from outside."""
        with self._looking:
            if self._stored is None:
                self._look()

    def _look(self) -> None:
        """Find the budgets that were set from outside: for the whole organisation, or under a feature's name."""
        own = {rule.name for rule in self._declared}
        found: dict[str, Rule] = {}
        try:
            with self._ledger.open().reader() as reader:  # type: ignore[union-attr]  # no reserving without one
                for each in reader.budgets(time.time()):
                    if each["name"] not in own and each["name"] not in found:
                        found[each["name"]] = Rule(Budget(each["name"], **{key: each[key] for key in _TERMS}))
        except Exception as error:  # noqa: BLE001 - a ledger that fails costs nobody the call
            log.warning("llmsaver: budgets set from outside cannot be read: %s", error)
            found = {rule.name: rule for rule in self._stored or ()}
        self._looked_at = time.monotonic()
        self._stored = tuple(found.values())

    def tell(self, ticket: Ticket) -> None:
        """Say that spend has crossed thresholds: in the log, and to who asked to be told."""
        seen = {} if self._reserving is None else self._reserving.seen
        for crossing in ticket.crossed:
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


def _post(url: str, facts: dict[str, Any]) -> None:
    """Post facts to a webhook as JSON."""
    import urllib.request

    content = json.dumps(facts).encode()
    request = urllib.request.Request(url, content, {"content-type": "application/json"})  # noqa: S310 - the user's URL
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - checked to be http(s) where it was declared
        pass


_all: weakref.WeakSet[BudgetLayer] = weakref.WeakSet()


def _after_fork() -> None:
    for layer in list(_all):
        layer.after_fork()


os.register_at_fork(after_in_child=_after_fork)
