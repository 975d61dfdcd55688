"""A tier of one's own that is too busy, or down: the call goes to the model that its user allows instead."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from llmsaver.errors import ConfigurationError, LocalModelError, UpstreamError
from llmsaver.middleware.own_tiers import LOCAL_PREFIX, is_free
from llmsaver.pricing.hourly import time_cost
from llmsaver.pricing.values import Cost

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.local.endpoint import Load
    from llmsaver.local.models import Tier
    from llmsaver.middleware.own_tiers import OwnTiers
    from llmsaver.pricing import PriceBook

__all__ = ["Spill"]

log = logging.getLogger("llmsaver")

# A server that has no room says so itself (429, 503), and a proxy before one that is gone answers in its place.
_NO_ROOM = frozenset({429, 502, 503, 504})
# The caller's own patience has ended: another model would start over with none left.
_OUT_OF_TIME = frozenset({"ReadTimeout", "WriteTimeout"})
_VENDORS = (
    ("openai.com", ("claude",), "Anthropic's", "an OpenAI model such as 'gpt-5-mini'"),
    ("anthropic.com", ("gpt-", "chatgpt-", "o1", "o3", "o4"), "OpenAI's", "a Claude such as 'claude-haiku-4-5'"),
)


@dataclass(slots=True)
class _Own:
    """The calls of this program on one tier: how many are under way, and how long they took lately, in seconds.

    ``slots`` is how many the tier answers at once, None where nothing says so.
    """

    slots: int | None = None
    running: int = 0
    mean_s: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def left(self, began: float) -> None:
        """Count a call out; the mean leans towards the latest calls."""
        took = time.monotonic() - began
        with self.lock:
            self.running -= 1
            self.mean_s = took if self.mean_s is None else 0.8 * self.mean_s + 0.2 * took


class Spill:
    """Sends calls on to ``spill_to`` where their tier is too busy or down.

    Too busy: the call would make more than ``max_queue`` wait, or would wait longer than ``max_wait`` seconds itself.
    ``own`` are the user's tiers; ``load`` tells how busy one is now, or None where that is not known; ``slots`` is how
    many calls a llama.cpp tier that says nothing about it answers at once. A tier that is spilled to may spill in turn;
    the last of a chain gets the call however busy it is. Calls of this program are counted here, since what a server
    says of itself is a moment old. Raises ``ConfigurationError`` for a chain without an end, and at the first call for
    one that leads to the other vendor's model.
    """

    name = "spill"

    def __init__(
        self, own: OwnTiers, load: Callable[[str], Load | None], book: PriceBook, *, slots: int | None = None
    ) -> None:
        self._tiers = own
        self._load = load
        self._book = book
        self._own = {id(tier): _Own(_slots_of(tier, slots)) for _, tier in own}
        for name, _ in own:
            self._follow(LOCAL_PREFIX + name)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on to the first tier of the chain that has room and answers."""
        tier = self._tiers.of(request.model)
        if tier is None or tier.spill_to is None:
            return await call_next(request)
        entry = request.entry
        entry.spilled, entry.written_cost = False, None  # the SDK's retry of a call may find room
        while tier is not None and tier.spill_to is not None:
            _check_vendor(request, tier.spill_to)
            why, counted = await self._busy(request, tier)
            if why is None:
                response, why = await _tried(request, call_next, counted)
                if response is not None:
                    return response
            elif not entry.spilled:
                entry.written_cost = self._written(request, tier)
            entry.spilled = True
            entry.act(self.name, "spilled", f"{request.model} to {tier.spill_to}: {why}")
            request = request.replace(model=tier.spill_to)
            tier = self._tiers.of(request.model)
        return await call_next(request)

    async def _busy(self, request: Request, tier: Tier) -> tuple[str | None, _Own | None]:
        """Return why the tier is too busy; None where it has room, and what the call is now counted in."""
        if tier.max_queue is None and tier.max_wait is None:
            return None, None
        own = self._own[id(tier)]
        why = _too_busy(tier, own.running, own.slots, own.mean_s)
        if why is not None:
            return why, None
        load = await request.runtime.offload(self._quietly, (request.model or "").removeprefix(LOCAL_PREFIX))
        with own.lock:
            there = 0
            if load is not None:
                there, own.slots = load.running + load.waiting, load.slots
                own.mean_s = load.mean_s or own.mean_s
            why = _too_busy(tier, max(own.running, there), own.slots, own.mean_s)
            if why is not None:
                return why, None
            own.running += 1
            return None, own

    def _quietly(self, name: str) -> Load | None:
        try:
            return self._load(name)
        except Exception:  # the call itself will say what is wrong
            log.debug("llmsaver: local/%s does not say how busy it is", name, exc_info=True)
            return None

    def _written(self, request: Request, tier: Tier) -> Cost | None:
        """Return what a tier too busy for a call would have cost for it, had it waited; None where nothing says so.

        All slots of a busy tier are at work, so a call that takes ``mean_s`` there has a share of ``mean_s / slots``;
        at most all of it, should the others end meanwhile.
        """
        hourly = tier.hourly_usd
        if hourly is None:
            return Cost(0, 0, 0, flags=("declared",)) if is_free(self._book, request.url, request.model) else None
        own = self._own[id(tier)]
        if own.mean_s is None or not own.slots:
            return None
        least, most = (time_cost(own.mean_s / part, hourly).nano_usd for part in (own.slots, 1))
        return Cost(least, least, most, estimated=True, flags=("baseline:spilled",))

    def _follow(self, model: str) -> None:
        """Check that a chain has an end."""
        seen = [model]
        while (tier := self._tiers.of(seen[-1])) is not None and tier.spill_to is not None:
            if self._tiers.of(LOCAL_PREFIX + tier.spill_to) is not None:
                raise ConfigurationError(
                    f"{seen[-1]}: write spill_to='{LOCAL_PREFIX}{tier.spill_to}' for your own tier"
                )
            seen.append(tier.spill_to)
            if seen.count(tier.spill_to) > 1:
                raise ConfigurationError(
                    f"spill_to goes in a circle ({' -> '.join(seen)}): leave it out at the tier that takes what is left"
                )


async def _tried(request: Request, call_next: CallNext, counted: _Own | None) -> tuple[Response | None, str | None]:
    """Return a tier's answer, or why it has none."""
    began = time.monotonic()
    response: Response | None = None
    try:
        response = await call_next(request)
    except LocalModelError as error:
        return None, f"it cannot answer: {error}"
    except UpstreamError as error:
        if type(error.original).__name__ in _OUT_OF_TIME:
            raise
        return None, f"it cannot be reached: {error}"
    finally:
        if counted is not None and response is None:
            counted.left(began)
    if counted is not None:

        def left(_: Outcome) -> None:
            counted.left(began)

        response.on_complete(left)
    if response.status in _NO_ROOM:
        await response.aclose()
        return None, f"it answered {response.status}"
    return response, None


def _too_busy(tier: Tier, running: int, slots: int | None, mean_s: float | None) -> str | None:
    """Return why a tier with so many calls running or waiting should not get another; None where it may.

    Each of its slots is free again after ``mean_s`` seconds, one of them after ``mean_s / slots``.
    """
    if not slots:
        return None
    waiting = max(0, running + 1 - slots)
    if tier.max_queue is not None and waiting > tier.max_queue:
        return f"{waiting} would wait, more than max_queue={tier.max_queue:g}"
    wait = waiting * mean_s / slots if mean_s is not None else 0.0
    if tier.max_wait is not None and wait > tier.max_wait:
        return f"it would wait {wait:.1f} s, longer than max_wait={tier.max_wait:g}"
    return None


def _slots_of(tier: Tier, default: int | None) -> int | None:
    """Return how many calls a tier answers at once, as far as it is declared."""
    from llmsaver.local.models import LocalModel, Vllm

    if isinstance(tier, LocalModel):
        return tier.parallel or default
    return tier.max_seqs if isinstance(tier, Vllm) else None


def _check_vendor(request: Request, spill_to: str) -> None:
    """Refuse a model that the host of the caller's own client does not serve: nothing is translated."""
    host = urlsplit(request.url).hostname or ""
    for vendor, foreign, whose, fix in _VENDORS:
        if host.endswith(vendor) and spill_to.startswith(foreign):
            raise ConfigurationError(
                f"{request.model} has spill_to={spill_to!r}, which is {whose}, and this call was made on the surface "
                f"of {vendor}; llmsaver does not translate between them: name {fix}, or another local tier, there"
            )
