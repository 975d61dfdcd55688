"""How tiers stand with this program: who is to be left alone, and who has had this minute's worth of calls."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmsaver.core.shapes import BYTES_PER_TOKEN
from llmsaver.middleware.failures import TRANSIENT
from llmsaver.router.breaker import Breaker
from llmsaver.router.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.middleware.failures import Refused
    from llmsaver.router.tier import Tier

__all__ = ["Place", "Standings"]

# Accounts whose standing is kept for each tier; beyond it the ones not used for longest start anew.
ACCOUNTS = 1024
_TOO_MANY = 429
# A token is about four bytes of JSON, and who names no limit is taken for asking for a short answer. It is a guess to
# leave by: what the answer has used is put right when it ends.
_SHORT = 256
_CAPS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(slots=True)
class Place:
    """One tier as one call meets it: to be admitted to, and told what became of it."""

    _breaker: Breaker
    _limits: Limits | None
    _request: Request
    _max_wait: float
    _taken: float | None = None

    async def admit(self) -> str | None:
        """Wait for the tier's limits if that is short enough; return why the call may not go there, None if it may."""
        why = self._breaker.admit()
        if why is not None or self._limits is None:
            return why
        tokens = _tokens(self._request)
        wait = self._limits.take(tokens, self._max_wait)
        if wait is None:
            self._breaker.left()
            return "this minute's requests or tokens for it are used up"
        self._taken = tokens
        if wait:
            try:
                await self._request.runtime.sleep(wait)
            except BaseException:  # a cancelled task's
                self.left()
                raise
        return None

    def answered(self, response: Response) -> None:
        """Note that the tier answers."""
        self._breaker.succeeded()
        if self._limits is not None:
            response.on_complete(self._settle)

    def failed(self, why: Refused, response: Response | None) -> None:
        """Note that the tier did not answer, and for how long it asks to be left alone."""
        self._give_back()
        rest = None if response is None or why.kind != TRANSIENT else response.retry_after
        if rest is not None:
            self._breaker.rest(rest)
        if rest is not None and response is not None and response.status == _TOO_MANY:
            return  # it is well, and has said when to come back
        if why.counts:
            self._breaker.failed()
        else:
            self._breaker.left()

    def left(self) -> None:
        """Note that nothing was learned of the tier."""
        self._give_back()
        self._breaker.left()

    def _settle(self, outcome: Outcome) -> None:
        """Put right what was taken, by what the answer has used."""
        used = outcome.usage
        if used is not None and self._taken is not None and self._limits is not None:
            self._limits.give_back(self._taken - used.input_tokens - used.output_tokens)

    def _give_back(self) -> None:
        if self._limits is not None and self._taken is not None:
            self._limits.give_back(self._taken)
            self._taken = None


class Standings:
    """The breakers of all tiers, one for each account that calls them, and the tiers' limits, one for the program."""

    def __init__(self, failures: int, window: float, pause: float, max_wait: float, clock: Callable[[], float]) -> None:
        self._terms = (failures, window, pause)
        self._max_wait = max_wait
        self._clock = clock
        self._lock = threading.Lock()
        self._breakers: dict[Tier, OrderedDict[str, Breaker]] = {}
        self._limits: dict[Tier, Limits] = {}

    def place(self, tier: Tier, request: Request) -> Place:
        """Return a tier as the call ``request`` meets it."""
        with self._lock:
            accounts = self._breakers.setdefault(tier, OrderedDict())
            breaker = accounts.get(request.account)
            if breaker is None:
                breaker = accounts[request.account] = Breaker(*self._terms, clock=self._clock)
                if len(accounts) > ACCOUNTS:
                    accounts.popitem(last=False)
            accounts.move_to_end(request.account)
            limits = self._limits.get(tier)
            if limits is None and (tier.requests_per_minute is not None or tier.tokens_per_minute is not None):
                limits = self._limits[tier] = Limits(
                    tier.requests_per_minute, tier.tokens_per_minute, clock=self._clock
                )
        return Place(breaker, limits, request, self._max_wait)

    def why(self, tier: Tier, account: str | None) -> str | None:
        """Return why a tier is passed over now, for one account or (None) for any of them; None where it is not."""
        with self._lock:
            accounts = self._breakers.get(tier, OrderedDict())
            found = list(accounts.values()) if account is None else [accounts[account]] if account in accounts else []
        return next((why for why in (breaker.standing() for breaker in found) if why is not None), None)


def _tokens(request: Request) -> float:
    """Guess the tokens of a call, prompt and answer."""
    body = request.body
    most = next((body[name] for name in _CAPS if type(body.get(name)) is int), _SHORT)
    return len(json.dumps(body, default=str)) / BYTES_PER_TOKEN + max(0, most)
