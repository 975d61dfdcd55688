"""Before an attempt leaves: the most it can cost is set aside under every budget around it, or it does not leave."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.core.rule import may_downgrade
from llmsaver.errors import BudgetExceeded, LLMSaverError, in_words
from llmsaver.middleware.own_tiers import OwnTiers
from llmsaver.pricing.hourly import affordable_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.core.entry import Entry
    from llmsaver.core.request import Request
    from llmsaver.core.rule import Rule
    from llmsaver.ledger import Claim, Hold, Ledger, Refusal
    from llmsaver.middleware.leases import Leases
    from llmsaver.pricing import Bound, PriceBook

__all__ = ["Reserving", "amount_to_hold", "exceeded"]

log = logging.getLogger("llmsaver")

# An answer cut shorter than this, a sentence, is of no use: rather than pay for it, the call is refused. Most calls
# that are refused though they would have fitted are so because of it: at 64 tokens benchmarks/affordable.py finds them
# to be 5 to 8 % of the affordable ones, at 16 it is 1.5 to 4.5 %, and answers that were cut stay under 4 % of all.
USEFUL_TOKENS = 16
# The same for an answer that is paid by its time.
USEFUL_SECONDS = 10.0
# A call is ended before the time that is held for it is over: the chunk under way and our own work take some too.
SPARE = 0.05
_CAPS = {"responses": ("max_output_tokens",), "messages": ("max_tokens",)}
_CHAT_CAPS = ("max_completion_tokens", "max_tokens")
# Reasons for which a call's price is not known beforehand, though its tokens are.
_PRICE_ONLY = ("unpriced", "tier:", "speed:", "geo:", "region:", "assumed-provider:")


class Reserving:
    """Sets upper bounds aside and shortens answers where a budget is nearly spent.

    With ``enforce=False`` nothing is set aside or refused: what a call has cost is charged when it is known. ``own``
    are the user's own tiers, which may be paid by their time.
    """

    def __init__(
        self, book: PriceBook, ledger: Ledger, leases: Leases, *, enforce: bool, own: OwnTiers | None = None
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._leases = leases
        self._enforce = enforce
        self._own = own or OwnTiers()
        self.seen: dict[str, Rule] = {}

    async def hold(self, request: Request, rules: tuple[Rule, ...]) -> tuple[Request, Hold | None]:
        """Return the request to send and what is set aside for it; None where soft budgets could not be charged."""
        asking = _Asking(self._leases)
        try:
            return await request.runtime.offload(self._ask, request, rules, asking)
        except BaseException:
            # A worker thread goes on when its task is cancelled: what it gets by then has nobody to settle it.
            hold = asking.abandon()
            if hold is not None:
                request.runtime.detach(partial(self._give_back, hold))
            raise

    def _ask(self, request: Request, rules: tuple[Rule, ...], asking: _Asking) -> tuple[Request, Hold | None]:
        from llmsaver.ledger import BudgetMismatch

        hard = [rule for rule in rules if rule.hard and self._enforce]
        try:
            sent, hold = self._reserve(request, rules, hard)
        except Exception as error:
            if not hard and not (self._enforce and isinstance(error, BudgetMismatch)):
                log.warning("llmsaver: soft budgets could not be charged", exc_info=True)
                return request, None
            if isinstance(error, BudgetExceeded):
                error.downgrade = _yields(hard, error.budget)
            if isinstance(error, LLMSaverError):
                raise
            # A bug of ours must not let a call past a hard budget, as the stack would by skipping a broken layer.
            raise LLMSaverError(f"the budget {hard[0].name!r} could not be asked: {in_words(error)}") from None
        if not asking.granted(hold):
            self._give_back(hold)
        return sent, hold

    def _reserve(self, request: Request, rules: tuple[Rule, ...], hard: list[Rule]) -> tuple[Request, Hold]:
        from llmsaver.ledger import Hold, Refusal

        ledger, entry = self._ledger, request.entry
        entry.clamped_to, entry.truncated = None, False
        claims = [self.claim(entry, rule) for rule in rules]
        if not self._enforce:
            # What costs nothing always fits, so the terms that others enforce need not be touched.
            hold = ledger.reserve(claims, nano=0, tokens=0, calls=0, sent=True, about=_about(request))
            assert isinstance(hold, Hold)  # noqa: S101 - told to the type checker
            return request, hold
        bound = self._own.bound(self._book, request, request.body)
        found = ledger.reserve(claims, nano=amount_to_hold(bound, hard), tokens=bound.tokens, about=_about(request))
        if isinstance(found, Refusal):
            if may_downgrade.get() and _yields(hard, found.budget):
                raise exceeded(found)
            request, found = self._squeezed(request, claims, bound, found)
        if hard and bound.seconds and found.nano:
            request = self._timed(request, bound.seconds, found)
        if not ledger.mark_sent(found) and hard:
            raise LLMSaverError("the reservation ran out before the request could leave; try again")
        return request, found

    @property
    def enforces(self) -> bool:
        """Whether anything is set aside and refused."""
        return self._enforce

    def claim(self, entry: Entry, rule: Rule) -> Claim:
        """Return which pot of a rule's budget a call draws on."""
        budget = rule.budget
        if rule.alert is not None or rule.name not in self.seen:  # one set from outside knows nobody to tell
            self.seen[rule.name] = rule
        if not self._enforce:  # nothing stops the calls, so somebody must hear of it
            budget = budget.replace(thresholds=tuple(sorted({*budget.thresholds, 1.0})))
        from llmsaver.ledger.holds import HOOK

        return self._ledger.claim(
            budget,
            user=entry.user,
            tenant=entry.tenant,
            tags=entry.tags,
            alert=HOOK if callable(rule.alert) else rule.alert,
            max_call_nano=rule.max_call_nano,
            outside=rule.outside,
        )

    def _squeezed(self, request: Request, claims: list[Claim], bound: Bound, refusal: Refusal) -> tuple[Request, Hold]:
        """Try again with a shorter answer, as long as it would still be of use; raise ``BudgetExceeded`` else."""
        from llmsaver.ledger import UNLIMITED, Refusal

        body, dialect, host, ledger = request.body, request.dialect, request.url, self._ledger
        if bound.seconds and bound.nano_usd and refusal.unit == "nano":
            return request, self._shortened(request, claims, bound, refusal)
        own = self._book.output_room(UNLIMITED, body, dialect=dialect, host=host) if bound.proven else None
        useful = min(own or 0, USEFUL_TOKENS)
        if own is None or useful == own:
            raise exceeded(refusal)
        n = body.get("n")
        choices = n if dialect == "chat" and type(n) is int and n > 0 else 1
        fixed = bound.tokens - own * choices
        shortest = self._own.bound(self._book, request, _capped(body, dialect, useful))
        hold = ledger.reserve(
            claims,
            nano=bound.nano_usd,
            tokens=bound.tokens,
            least=(shortest.nano_usd, shortest.tokens),
            about=_about(request),
        )
        if isinstance(hold, Refusal):
            raise exceeded(hold)
        room = self._book.output_room(hold.nano, body, dialect=dialect, host=host)
        cap = min(own, own if room is None else room, (hold.tokens - fixed) // choices)
        if cap < useful:
            ledger.release(hold)
            raise exceeded(refusal)
        if cap < own:
            why = f"max tokens {cap} of {own}: the budget {refusal.budget} is nearly spent"
            request.entry.act("budget", "clamped", why)
            request.entry.clamped_to = cap
            request = request.replace(body=_capped(body, dialect, cap))
        return request, hold

    def _shortened(self, request: Request, claims: list[Claim], bound: Bound, refusal: Refusal) -> Hold:
        """Try again with less time, as long as it would still be of use; raise ``BudgetExceeded`` else."""
        from llmsaver.ledger import Refusal

        useful = self._own.bound(self._book, request, request.body, most=USEFUL_SECONDS)
        hold = self._ledger.reserve(
            claims,
            nano=bound.nano_usd,
            tokens=bound.tokens,
            least=(useful.nano_usd, bound.tokens),
            about=_about(request),
        )
        if isinstance(hold, Refusal):
            raise exceeded(refusal)
        return hold

    def _timed(self, request: Request, seconds: float, hold: Hold) -> Request:
        """Return a request that ends by the time that is set aside for: a bound holds only where it is enforced."""
        tier = self._own.of(request.model)
        hourly = None if tier is None else tier.hourly_usd
        paid = seconds if hourly is None else affordable_seconds(hold.nano, hourly)
        if paid < seconds:
            why = f"{paid:.0f} s of {seconds:.0f}: a budget around it is nearly spent"
            request.entry.act("budget", "clamped", why)
        return request.replace(deadline=time.monotonic() + min(seconds, paid) * (1 - SPARE))

    def _give_back(self, hold: Hold) -> None:
        try:
            self._ledger.release(hold)
        except LLMSaverError as error:
            log.warning("llmsaver: what was set aside for a call that never left could not be given back: %s", error)


class _Asking:
    """Who waits for a hold: granted or abandoned, whichever comes first."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._lock = threading.Lock()
        self._hold: Hold | None = None
        self._gone = False

    def granted(self, hold: Hold) -> bool:
        """Keep the hold alive; False where nobody waits for it any more."""
        with self._lock:
            if not self._gone:
                self._hold = hold
                self._leases.add(hold)
            return not self._gone

    def abandon(self) -> Hold | None:
        """Say that nobody waits; return the hold that was granted before."""
        with self._lock:
            self._gone = True
            if self._hold is not None:
                self._leases.remove(self._hold)
            return self._hold


def amount_to_hold(bound: Bound, hard: Sequence[Rule]) -> int:
    """Return the nano-dollars to hold; what cannot be bounded needs every hard budget's word on what it may cost.

    Raises ``BudgetExceeded`` where one says nothing.
    """
    for rule in hard:
        budget = rule.budget
        if rule.max_call_nano is not None:
            continue
        if budget.limit_nano is not None:
            unit, limit, reasons = "nano", budget.limit_nano, () if bound.money_proven else bound.unbounded
        elif budget.limit_tokens is not None:
            unit, limit = "tokens", budget.limit_tokens
            reasons = tuple(reason for reason in bound.unbounded if not reason.startswith(_PRICE_ONLY))
        else:
            continue  # a count of calls holds whatever they cost
        if reasons:
            raise BudgetExceeded(rule.name, unit=unit, limit=limit, per=budget.per, reasons=reasons)
    if bound.money_proven:
        return bound.nano_usd
    return max([bound.nano_usd, *(rule.max_call_nano or 0 for rule in hard)])


def _yields(hard: list[Rule], budget: str) -> bool:
    """Return whether a budget lets a cascade go to a cheaper tier where it has no room."""
    return any(rule.name == budget and rule.on_exceed == "downgrade" for rule in hard)


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


def exceeded(refusal: Refusal) -> BudgetExceeded:
    """Return the error that tells of a refusal."""
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
    """Return a body that asks for at most so many tokens, under the names it already uses for that."""
    names = _CAPS.get(dialect) or [name for name in _CHAT_CAPS if name in body] or _CHAT_CAPS[:1]
    return {**body, **dict.fromkeys(names, tokens)}
