"""One pass over the tiers that may answer: the first that does, and why the others did not."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from llmsaver.core.rule import may_downgrade
from llmsaver.errors import BudgetExceeded, ConfigurationError, LocalModelError, UpstreamError
from llmsaver.middleware.begun import begun
from llmsaver.middleware.failover_pass import Failure, Pass, Prepare, Sent, Tried
from llmsaver.middleware.failures import MISPLACED, OVERFLOW, TRANSIENT, Refused, refused
from llmsaver.middleware.standing import Standings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.middleware.reach import Reach
    from llmsaver.middleware.standing import Place
    from llmsaver.router.tier import Tier

__all__ = ["Failover", "Prepare", "Sent", "Tried"]

log = logging.getLogger("llmsaver")

# Our own connections were all busy: that says nothing about the tier.
_OURS = frozenset({"PoolTimeout"})
_MOST_TOLD = 200


class Failover:
    """Sends a request to the first of several tiers that answers; each is asked once at most.

    A tier is left for the next at 408, 409, 429 and 5xx, where it cannot be reached or its time is over, where it says
    that it does not know the model, the key or a parameter of a request that was written for another host, and where
    its answer breaks off before anything of it was handed on. A prompt that is too long goes to tiers further up only.
    Any other error is the caller's own and is handed on. A tier that fails ``failures`` times within ``window`` seconds
    is passed over for ``pause`` seconds, one that asks for it (Retry-After) for as long as it asks; a call waits at
    most ``max_wait`` seconds for the requests or tokens per minute of a tier before it goes to the next.
    """

    def __init__(
        self,
        reach: Reach,
        tiers: Sequence[Tier],
        *,
        failures: int = 5,
        window: float = 60.0,
        pause: float = 30.0,
        max_wait: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reach = reach
        self._rank = {tier: rank for rank, tier in enumerate(tiers)}
        self._standings = Standings(failures, window, pause, max_wait, clock)
        self._told: set[tuple[str, int | str | None]] = set()

    def standing(self, tier: Tier, request: Request | None = None) -> str | None:
        """Return why a tier is passed over now, for calls like ``request`` where one is given; None where it is not."""
        account = None
        if request is not None:
            way = self._reach.way(request, tier)
            if isinstance(way, str):
                return way
            account = way.account
        return self._standings.why(tier, account)

    async def send(
        self,
        request: Request,
        order: Sequence[Tier],
        call_next: CallNext,
        *,
        prepare: Prepare | None = None,
        whole: bool = False,
        downgrade: Sequence[Tier] = (),
        tried: list[Tried] | None = None,
    ) -> Sent:
        """Ask the tiers of ``order`` in turn and return the first answer, or the last provider's error.

        ``prepare`` changes a request as it is about to be sent. ``whole``: the answer is read to its end here, so that
        one which breaks off goes to the next tier too; else a stream is awaited up to its first event. ``downgrade``:
        acceptable cheaper tiers, asked in this order where a budget that allows it has no room for a dearer one.
        ``tried`` is written to as it goes. Raises ``BudgetExceeded``; ``ConfigurationError`` where no tier can be
        reached from here; and ``UpstreamError`` or ``LocalModelError`` where no provider answered.
        """
        tried = [] if tried is None else tried
        run = Pass(request, call_next, prepare, whole, tried, list(order), downgrade)
        found = await self._passed(run)
        if found is None and run.worst is None and run.held and run.refusal is None:
            # Nobody was asked: a provider says it better than we do, in words that the SDK above knows to retry.
            tier, sent = run.held[0]
            found = await self._ask(run, tier, sent, self._standings.place(tier, sent)) or await self._passed(run)
        return found or self._given_up(run)

    async def _passed(self, run: Pass) -> Sent | None:
        """Ask the tiers of the queue, each that may be asked; None where none of them answered."""
        while run.queue:
            tier = run.queue.pop(0)
            if tier in run.seen:
                continue
            run.seen.add(tier)
            sent = self._way(run, tier)
            if sent is None:
                continue
            place = self._standings.place(tier, sent)
            why = await place.admit()
            if why is not None:
                run.skip(tier, why)
                run.held.append((tier, sent))
                continue
            found = await self._ask(run, tier, sent, place)
            if found is not None:
                return found
        return None

    def _way(self, run: Pass, tier: Tier) -> Request | None:
        """Return the request to send to a tier; None, said why, where it is not one for this request."""
        if run.too_small is not None and not self._roomier(tier, run.too_small):
            run.skip(tier, f"the prompt was too long for {run.too_small.model}, and it holds no more")
            return None
        way = self._reach.way(run.request, tier)
        if isinstance(way, str):
            run.skip(tier, way)
            if way.startswith("no key"):
                self._tell_once(tier, "key", way)
            return None
        return way if run.prepare is None else run.prepare(way, tier)

    def _roomier(self, tier: Tier, than: Tier) -> bool:
        """Return whether a prompt that did not fit into one tier may fit into another: never one further down."""
        if tier.max_context is not None and than.max_context is not None:
            return tier.max_context > than.max_context
        return self._rank.get(tier, 0) > self._rank.get(than, 0)

    async def _ask(self, run: Pass, tier: Tier, sent: Request, place: Place) -> Sent | None:
        """Ask one tier; return its answer, or None, noted why, where the next may be asked."""
        cheaper = self._cheaper(run, tier)
        error: Exception | None = None
        spoken: Response | None = None
        try:
            spoken = await self._answer(run, sent, bool(cheaper))
        except BudgetExceeded as refusal:
            place.left()
            if not (refusal.downgrade and cheaper):
                raise
            run.skip(tier, f"the budget {refusal.budget!r} has no room for it")
            run.refusal, run.queue = refusal, cheaper
            return None
        except (UpstreamError, LocalModelError, ConfigurationError) as failed:
            if isinstance(failed, ConfigurationError) and not tier.local:
                place.left()
                raise
            error = failed
        except BaseException:
            place.left()
            raise
        return self._judged(run, tier, sent, place, spoken, error)

    async def _answer(self, run: Pass, sent: Request, downgrades: bool) -> Response:
        """Return an answer of which nothing can break any more that could still be mended."""
        token = may_downgrade.set(downgrades)
        try:
            answer = await run.call_next(sent)
        finally:
            may_downgrade.reset(token)
        if run.whole or not answer.ok or not answer.streamed:
            await answer.read()
            return answer
        if answer.content is not None:
            return answer
        return await begun(answer, sent.dialect)

    def _judged(
        self, run: Pass, tier: Tier, sent: Request, place: Place, spoken: Response | None, error: Exception | None
    ) -> Sent | None:
        """Return what a tier answered; None, noted why, where it is to be asked of the next."""
        why = _why(sent, tier, spoken, error)
        if why is None and spoken is not None:
            place.answered(spoken)
            told = self._told_back(run, tier, sent, spoken)
            if told.response.status == spoken.status:
                return told
            why = Refused(MISPLACED, f"its answer cannot be told in {run.request.dialect}", counts=False)
        else:
            assert why is not None  # noqa: S101 - told to the type checker: there is no answer
            place.failed(why, spoken)
        entry = sent.entry
        failure = Failure(why, tier, sent, spoken, error, (entry.tier, entry.upstream, entry.model))
        if run.worst is None or failure.rank >= run.worst.rank:
            run.worst = failure
        run.skip(tier, why.why, None if spoken is None else spoken.status)
        if why.kind == OVERFLOW:
            run.too_small = tier
        elif why.kind == MISPLACED and why.counts:
            self._tell_once(tier, None if spoken is None else spoken.status, why.why)
        return None

    def _told_back(self, run: Pass, tier: Tier, sent: Request, spoken: Response) -> Sent:
        return Sent(self._reach.back(spoken, run.request, sent), tier, sent, spoken, run.tried)

    def _given_up(self, run: Pass) -> Sent:
        """Return the last error of a provider where no tier answered, or raise what there is instead."""
        if run.worst is None and run.refusal is not None:
            raise run.refusal
        worst = run.worst
        if worst is None:
            said = "; ".join(f"{each.tier}: {each.why}" for each in run.tried) or "none was named"
            raise ConfigurationError(f"no tier can be asked for this call. {said}")
        if worst.spoken is None:
            assert worst.error is not None  # noqa: S101 - told to the type checker: a failure is one or the other
            raise worst.error
        entry = run.request.entry
        entry.tier, entry.upstream, entry.model = worst.booked
        return self._told_back(run, worst.tier, worst.request, worst.spoken)

    def _cheaper(self, run: Pass, tier: Tier) -> list[Tier]:
        """Return the tiers to go to where a budget has no room for ``tier``."""
        rank = self._rank.get(tier, 0)
        return [each for each in run.cheaper if each not in run.seen and self._rank.get(each, 0) < rank]

    def _tell_once(self, tier: Tier, what: int | str | None, why: str) -> None:
        """Warn of a tier that nobody can use before its user has done something about it; once in a process."""
        if (tier.model, what) not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add((tier.model, what))
            log.warning("llmsaver: the tier %s is passed over: %s", tier.model, why)


def _why(sent: Request, tier: Tier, spoken: Response | None, error: Exception | None) -> Refused | None:
    """Return why the next tier is asked; None for an answer that is handed on."""
    if isinstance(error, UpstreamError):
        name = type(error.original).__name__
        return Refused(TRANSIENT, f"it could not be reached: {name}", counts=name not in _OURS)
    if error is not None or spoken is None:
        return Refused(MISPLACED, f"it cannot answer: {error}")
    if not spoken.ok:
        foreign = sent.origin is not None or tier.local
        return refused(spoken.status, spoken.content or b"", foreign=foreign)
    ended = spoken.outcome
    if ended is not None and not ended.complete:
        return Refused(TRANSIENT, f"its answer broke off: {ended.error}")
    return None
