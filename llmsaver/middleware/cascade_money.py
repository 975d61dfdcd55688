"""What routing costs and what it saves: rates of tiers, and what the call would have cost without it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from llmsaver.core.entry import dollars
from llmsaver.middleware.settling import rebased
from llmsaver.pricing import Billed
from llmsaver.router.address import address_of
from llmsaver.router.economics import call_nano

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from llmsaver.core.entry import Attempt, Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.pricing import Cost, PriceBook
    from llmsaver.pricing.values import Rates
    from llmsaver.router.routing import Routing
    from llmsaver.router.tier import Tier

__all__ = ["Money"]

# Distinct places in one process; beyond it somebody makes them up.
_KEPT = 1_000
_FRESH_SECONDS = 300.0


class Money:
    """Prices of tiers as one request would meet them; nothing here raises."""

    def __init__(self, book: PriceBook) -> None:
        self._book = book
        self._urls: dict[tuple[str, str, str], str] = {}
        self._rates: dict[tuple[str, str], tuple[float, Rates | None]] = {}

    def rates(self, request: Request, tier: Tier) -> Rates | None:
        """Return a tier's rates, None where nobody has priced it; as they were a few minutes ago at most."""
        key, now = (self.url(request, tier), tier.model), time.monotonic()
        found = self._rates.get(key)
        if found is None or now - found[0] > _FRESH_SECONDS:
            if len(self._rates) >= _KEPT:
                self._rates.clear()
            found = self._rates[key] = (now, self._book.rates(*key))
        return found[1]

    def expected(self, request: Request, tier: Tier, prompt_tokens: int, output_tokens: int) -> int | None:
        """Return about what a tier's answer costs, in nano-dollars; None where it has no price."""
        rates = self.rates(request, tier)
        return None if rates is None else call_nano(rates, prompt_tokens=prompt_tokens, output_tokens=output_tokens)

    def url(self, request: Request, tier: Tier) -> str:
        """Return where a tier's calls go, and who bills them."""
        key = (tier.model, request.url, request.dialect)
        found = self._urls.get(key)
        if found is None:
            if len(self._urls) >= _KEPT:
                self._urls.clear()
            found = self._urls[key] = address_of(tier, request.url, request.dialect, os.environ).url
        return found

    def of(self, request: Request, message: Mapping[str, Any] | None) -> Cost:
        """Return what an answer to ``request``, as it was sent, cost."""
        return self._book.cost(Billed.of(request.dialect, request.url, message, body=request.body))

    def written(self, request: Request, tier: Tier | None, outcome: Outcome) -> Cost | None:
        """Return what the answer served would have cost at ``tier``, or None at the model that the caller named."""
        if outcome.usage is None:
            return None
        model = request.model if tier is None else tier.model
        return self._book.cost(
            Billed(
                dialect=request.dialect,
                model=model,
                usage=outcome.usage.raw,
                host=request.url if tier is None else self.url(request, tier),
                asked=model,
                body=request.body,
            )
        )

    def elsewhere(self, sent: Request, asked: Request, tier: Tier, message: Mapping[str, Any]) -> int:
        """Return what ``tier`` would have cost for an answer that another one gave, in nano-dollars; 0 if unknown."""
        usage = message.get("usage")
        if not isinstance(usage, dict):
            return 0
        billed = Billed(sent.dialect, tier.model, usage, host=self.url(asked, tier), asked=tier.model, body=sent.body)
        return self._book.cost(billed).nano_usd

    def settle(self, entry: Entry, routing: Routing, cost: Cost | None) -> None:
        """Put on a call's record what it would have cost as written, which is its baseline from then on."""
        entry.written_cost = cost
        if cost is not None:
            routing.counterfactual_usd = dollars(cost.nano_usd) if cost.priced else None
        entry.routing = routing.as_dict()
        rebased(entry)

    @staticmethod
    def dropped(attempts: list[Attempt], tier: Tier, strong: Cost | None) -> int:
        """Return what a tier's answer that is not served will cost, 0 where that is among what attempts cost by now.

        ``strong``: what the served answer would have cost there, which is as near as it can be known in time.
        """
        known = any(attempt.model == tier.model and attempt.cost is not None for attempt in attempts)
        return 0 if known or strong is None else strong.nano_usd

    @staticmethod
    def spent(attempts: list[Attempt]) -> int:
        """Return what attempts cost, in nano-dollars, as far as it is known."""
        return sum(attempt.cost.nano_usd for attempt in attempts if attempt.cost is not None)
