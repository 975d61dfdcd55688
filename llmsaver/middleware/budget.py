"""The innermost layer: what an attempt may cost before it leaves, and what it did cost after."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.core.budget import Budget
from llmsaver.core.rule import Rule, applicable
from llmsaver.errors import BudgetExceeded, LLMSaverError, UpstreamError, in_words
from llmsaver.middleware.leases import Leases
from llmsaver.pricing import Billed

if TYPE_CHECKING:
    from llmsaver.core.background import Background
    from llmsaver.core.entry import Attempt
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Hold, Ledger, Refusal, Ticket
    from llmsaver.pricing import Bound, Cost, PriceBook

__all__ = ["BudgetLayer"]

log = logging.getLogger("llmsaver")

# An answer cut shorter than this is of no use: rather than pay for it, the call is refused.
USEFUL_TOKENS = 64
# Budgets set from outside (``llmsaver budgets set``) are looked for this often.
LOOK_EVERY_SECONDS = 5.0
# The transport failed before a request could leave: nothing is billed.
_NEVER_LEFT = frozenset({
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "UnsupportedProtocol",
    "ProxyError",
    "LocalProtocolError",
    "InvalidURL",
})  # fmt: skip
# What makes a stored budget the same as a declared one.
_TERMS = ("limit_nano", "limit_tokens", "limit_calls", "per", "tz", "scope", "hard")
_CAPS = {"responses": "max_output_tokens", "messages": "max_tokens"}


class BudgetLayer:
    """Prices every attempt, and holds hard budgets: no request leaves whose bound does not fit.

    Each attempt reserves a provable upper bound and settles at what it cost; the settlement is written with the call's
    row, in one transaction (see ``Record``). With ``enforce=False`` budgets are charged and warn.
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
    ) -> None:
        self._book = book
        self._background = background
        self._ledger = ledger
        self._leases = None if ledger is None else Leases(ledger)
        self._declared = rules
        self._enforce = enforce
        self._known: dict[str, Budget] = {}
        self._seen: dict[str, Rule] = {}
        self._stored: tuple[Rule, ...] = ()
        self._looked_at = float("-inf")
        self._lock = threading.Lock()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Reserve, pass on, price; settle with the row."""
        rules = await self._rules(request)
        hold: Hold | None = None
        if rules:
            request, hold = await request.runtime.offload(self._reserve, request, rules)
        entry = request.entry
        before = len(entry.attempts)
        try:
            response = await call_next(request)
        except BaseException as error:
            self._failed(request, entry.attempts[before:], hold, error)
            raise
        attempt = entry.attempts[-1] if len(entry.attempts) > before else None

        def settle(outcome: Outcome) -> None:
            self._settle(request, attempt, hold, outcome)

        response.on_complete(settle)
        return response

    # -- before -------------------------------------------------------------------------------------------------------

    async def _rules(self, request: Request) -> tuple[Rule, ...]:
        if self._ledger is None:
            return ()
        if time.monotonic() - self._looked_at > LOOK_EVERY_SECONDS:
            self._looked_at = time.monotonic()
            await request.runtime.offload(self._look)
        enclosing = request.options.rules
        named = {rule.name for rule in enclosing}
        stored = [rule for rule in self._stored if rule.name not in named]
        return applicable((*self._declared, *stored), request.entry, enclosing)

    def _look(self) -> None:
        """Find the budgets that were set from outside: for the whole organisation, or under a feature's name."""
        own = {rule.name for rule in self._declared}
        try:
            with self._books().open().reader() as reader:
                found = reader.budgets(time.time())
        except LLMSaverError as error:
            log.warning("llmsaver: budgets set from outside cannot be read: %s", error)
            return
        terms = {each["name"]: {key: each[key] for key in _TERMS} for each in found if each["name"] not in own}
        self._stored = tuple(Rule(Budget(name, **each)) for name, each in terms.items())

    def _reserve(self, request: Request, rules: tuple[Rule, ...]) -> tuple[Request, Hold | None]:
        """Set the most the attempt can cost aside under every rule; return the request to send and the hold."""
        from llmsaver.ledger import Refusal

        ledger, hard = self._books(), [rule for rule in rules if rule.hard and self._enforce]
        try:
            claims = [self._claim(request, rule) for rule in rules]
            bound = self._book.upper_bound(request.body, dialect=request.dialect, host=request.url)
            nano = self._amount(bound, hard)
            found = ledger.reserve(claims, nano=nano, tokens=bound.tokens, about=_about(request))
            if isinstance(found, Refusal):
                request, hold = self._squeezed(request, claims, bound, found)
            else:
                hold = found
            sent = ledger.mark_sent(hold)
        except Exception as error:
            if not hard:
                log.warning("llmsaver: soft budgets could not be charged", exc_info=True)
                return request, None
            if isinstance(error, LLMSaverError):
                raise
            # A bug of ours must not let a call past a hard budget, as the stack would by skipping a broken layer.
            raise LLMSaverError(f"the budget {hard[0].name!r} could not be asked: {in_words(error)}") from None
        if not sent and hard:
            raise LLMSaverError("the reservation ran out before the request could leave; try again")
        if self._leases is not None:
            self._leases.add(hold)
        return request, hold

    def _books(self) -> Ledger:
        if self._ledger is None:
            raise LLMSaverError("there is no ledger to ask")  # no rule applies without one
        return self._ledger

    def _claim(self, request: Request, rule: Rule) -> Any:
        ledger, budget, entry = self._books(), rule.budget, request.entry
        if not self._enforce and budget.hard:
            budget = budget.replace(hard=False)
        with self._lock:
            self._seen[rule.name] = rule
            if self._known.get(budget.name) != budget:
                ledger.declare(budget)
                self._known[budget.name] = budget
        return ledger.claim(budget, user=entry.user, tenant=entry.tenant, tags=entry.tags)

    def _amount(self, bound: Bound, hard: list[Rule]) -> int:
        """Return what to hold; a call that cannot be bounded needs every hard budget's word on what it may cost."""
        if bound.proven:
            return bound.nano_usd
        for rule in hard:
            if rule.max_call_nano is None:
                raise BudgetExceeded(
                    rule.name, limit=rule.budget.limit_nano or 0, per=rule.budget.per, reasons=bound.unbounded
                )
        return max([bound.nano_usd, *(rule.max_call_nano or 0 for rule in hard)])

    def _squeezed(self, request: Request, claims: list[Any], bound: Bound, refusal: Refusal) -> tuple[Request, Hold]:
        """Try again with a shorter answer, as long as it would still be of use; raise ``BudgetExceeded`` else."""
        from llmsaver.ledger import Hold

        body, dialect = request.body, request.dialect
        n = body.get("n")
        choices = n if dialect == "chat" and type(n) is int and n > 0 else 1
        own = bound.output_tokens // choices
        useful = min(own, USEFUL_TOKENS)
        if not bound.proven or useful == own:
            raise _exceeded(refusal)
        shortest = self._book.upper_bound(_capped(body, dialect, useful), dialect=dialect, host=request.url)
        ledger = self._books()
        hold = ledger.reserve(
            claims,
            nano=bound.nano_usd,
            tokens=bound.tokens,
            least=(shortest.nano_usd, shortest.tokens),
            about=_about(request),
        )
        if not isinstance(hold, Hold):
            raise _exceeded(hold)
        room = self._book.output_room(hold.nano, body, dialect=dialect, host=request.url)
        by_tokens = (hold.tokens - bound.input_tokens) // choices
        cap = min(own, by_tokens if room is None else min(room, by_tokens))
        if cap < useful:
            ledger.release(hold)
            raise _exceeded(refusal)
        if cap < own:
            request.entry.act(
                self.name, "clamped", f"max tokens {cap} of {own}: the budget {refusal.budget} is nearly spent"
            )
            request.entry.clamped_to = cap
            request = request.replace(body=_capped(body, dialect, cap))
        return request, hold

    def tell(self, ticket: Ticket) -> None:
        """Say that spend has crossed thresholds: in the log, and to who asked to be told."""
        for crossing in ticket.crossed:
            rule = self._seen.get(crossing.budget)
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

    # -- after --------------------------------------------------------------------------------------------------------

    def _settle(self, request: Request, attempt: Attempt | None, hold: Hold | None, outcome: Outcome) -> None:
        """Price what came back, and note what the hold is to be settled at."""
        entry = request.entry
        if attempt is None:
            if hold is not None:
                self._due(request, hold, 0, 0, None)
            return
        cost = self._cost(request, outcome, hold)
        _book_cost(request, attempt, cost)
        if entry.clamped_to is not None and outcome.usage is not None:
            entry.truncated = outcome.usage.output_tokens >= entry.clamped_to
        if hold is not None:
            used = outcome.usage
            tokens = used.input_tokens + used.output_tokens if used is not None else hold.tokens
            if cost is None:
                self._due(request, hold, 0, 0, None)
            else:
                low = cost.low_nano if cost.estimated else None
                self._due(request, hold, cost.high_nano if cost.estimated else cost.nano_usd, tokens, low)

    def _cost(self, request: Request, outcome: Outcome, hold: Hold | None) -> Cost | None:
        """Return what an attempt cost; None for a reply that is never billed."""
        if not 200 <= outcome.status < 300:  # noqa: PLR2004 - HTTP's success range
            return None
        usage = outcome.usage.raw if outcome.usage is not None else None
        whole = outcome.complete and usage is not None
        billed = Billed.of(
            request.dialect,
            request.url,
            outcome.facts if whole else outcome.message,
            body=request.body,
            usage=usage,
        )
        return self._book.cost(billed) if whole else self._book.estimate(billed, hard=hold is not None)

    def _failed(self, request: Request, attempts: list[Attempt], hold: Hold | None, error: BaseException) -> None:
        """Settle an attempt that brought no answer: nothing where it never left, else what it may have cost."""
        attempt = attempts[-1] if attempts else None
        left = attempt is not None and attempt.error not in _NEVER_LEFT
        if not left or attempt is None:
            if hold is not None:
                self._due(request, hold, 0, 0, None)
            return
        original = error.original if isinstance(error, UpstreamError) else error
        billed = Billed.of(request.dialect, request.url, None, body=request.body)
        cost = self._book.estimate(billed, hard=hold is not None)
        log.debug("llmsaver: an attempt ended in %s and is booked as an estimate", type(original).__name__)
        _book_cost(request, attempt, cost)
        if hold is not None:
            self._due(request, hold, hold.nano, hold.tokens, min(cost.low_nano, hold.nano))

    def _due(self, request: Request, hold: Hold, nano: int, tokens: int, low: int | None) -> None:
        from llmsaver.ledger import Due

        if self._leases is not None:
            self._leases.remove(hold)
        calls = 0 if nano == 0 and tokens == 0 else None
        request.entry.dues.append(Due(hold, nano, tokens, calls, low))


def _book_cost(request: Request, attempt: Attempt, cost: Cost | None) -> None:
    """Put an attempt's cost on it and add it to the call's; what the request as written would have cost beside it."""
    attempt.cost = cost
    entry = request.entry
    costs = [each.cost for each in entry.attempts if each.cost is not None]
    entry.cost_nano = sum(each.nano_usd for each in costs)
    entry.cost_low = sum(each.low_nano for each in costs)
    entry.cost_high = sum(each.high_nano for each in costs)
    entry.estimated = any(each.estimated for each in costs)
    entry.unpriced = not all(each.priced for each in costs)
    entry.flags = tuple(dict.fromkeys(flag for each in costs for flag in each.flags))
    # Nothing above has changed the model in this version: what was sent is what was asked.
    entry.baseline_nano, entry.baseline_low, entry.baseline_high = entry.cost_nano, entry.cost_low, entry.cost_high


def _post(url: str, facts: dict[str, Any]) -> None:
    """Post facts to a webhook as JSON."""
    import urllib.request

    content = json.dumps(facts).encode()
    request = urllib.request.Request(url, content, {"content-type": "application/json"})  # noqa: S310 - the user's URL
    with urllib.request.urlopen(request, timeout=10):  # noqa: S310 - checked to be http(s) where it was declared
        pass


def _about(request: Request) -> dict[str, Any]:
    """Return what is known of a call before it leaves: the row that is booked if this process dies."""
    entry = request.entry
    return {
        "id": entry.id,
        "started_at": entry.started_at,
        "feature": entry.feature,
        "user": entry.user,
        "tenant": entry.tenant,
        "task": entry.task,
        "dialect": entry.dialect,
        "stream": entry.stream,
        "model_asked": entry.model_asked,
    }


def _exceeded(refusal: Refusal) -> BudgetExceeded:
    return BudgetExceeded(
        refusal.budget,
        key=refusal.key,
        unit=refusal.unit,
        limit=refusal.limit,
        spent=refusal.spent,
        held=refusal.held,
        asked=refusal.asked,
        per=refusal.window.partition(" ")[0],
        resets_at=None if refusal.resets_at is None else datetime.fromtimestamp(refusal.resets_at, UTC),
    )


def _capped(body: Any, dialect: str, tokens: int) -> dict[str, Any]:
    """Return a body that asks for at most so many tokens, under the name it already uses for that."""
    if dialect in _CAPS:
        return {**body, _CAPS[dialect]: tokens}
    name = "max_tokens" if "max_tokens" in body and "max_completion_tokens" not in body else "max_completion_tokens"
    return {**body, name: tokens}
