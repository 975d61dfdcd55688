"""One call's way through the tiers: ask the cheap one, judge, serve or go up."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.core.entry import latest_attempt
from llmsaver.core.response import Response
from llmsaver.errors import LLMSaverError, LocalModelError, UpstreamError
from llmsaver.middleware.cascade_evidence import PREFIX
from llmsaver.middleware.judging import Heard, Verdict
from llmsaver.middleware.optimistic import Held
from llmsaver.router.logprobs import hide_logprobs, wants_logprobs
from llmsaver.router.refusals import apologises
from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from llmsaver.core.entry import Attempt
    from llmsaver.core.request import Request
    from llmsaver.core.stack import CallNext
    from llmsaver.core.started import Started
    from llmsaver.middleware.cascade_money import Money
    from llmsaver.middleware.cascade_plan import Plan
    from llmsaver.middleware.cascade_terms import Terms
    from llmsaver.middleware.failover import Failover, Sent, Tried
    from llmsaver.middleware.judging import Judge
    from llmsaver.router.routing import Routing
    from llmsaver.router.tier import Tier

__all__ = ["NAME", "Chosen", "Run", "Served"]

NAME = "cascade"
# What a whole answer is asked for without.
_STREAM_KEYS = frozenset({"stream", "stream_options"})
# A call that is not waited for any more is ended so many seconds later, where nothing else ends it.
_GRACE = 1.0
# Tokens that are read of an answer that begins with an apology: by then it has declined, or it has not.
_APOLOGY = 24


class _Elsewhere(LLMSaverError):  # noqa: N818 - no error: another part of the same call goes on
    """The safe tier is asked already, or nobody waits for this part of the call any more."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Whose answer the caller gets and how it was judged (None: it was not); ``attempt`` brought it.

    ``heard`` is the answer as its judge got it. Nothing here leads to the response, whose callbacks hold it.
    """

    tier: Tier
    attempt: Attempt | None = None
    verdict: Verdict | None = None
    heard: Heard | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """The answer that the caller gets, and the request that brought it as it was sent."""

    response: Response
    sent: Request
    chosen: Chosen


class Run:
    """One call; ``routing`` is filled in on the way, ``rejected`` holds the last answer that was not accepted.

    ``hedged``: whether the safe tier was asked while a cheaper one was still at it.
    """

    def __init__(
        self,
        terms: Terms,
        failover: Failover,
        judge: Judge,
        money: Money,
        *,
        request: Request,
        call_next: CallNext,
        plan: Plan,
        routing: Routing,
    ) -> None:
        self._terms = terms
        self._failover = failover
        self._judge = judge
        self._money = money
        self._request = request
        self._call_next = call_next
        self._plan = plan
        self._tried: list[Tried] = []
        self._began = time.monotonic()
        self._over = self.hedged = False
        self.routing = routing
        self.rejected: tuple[Heard, Verdict] | None = None
        self.cheap: list[Attempt] = []

    async def serve(self) -> Served:
        """Return the answer of the first tier whose answer is accepted, or of the safe one."""
        rest = self._plan.able[self._plan.start :]
        self.routing.start = rest[0].model
        try:
            if len(rest) == 1:
                return await self._safe(self._call_next)
            if self._terms.hedge is None and self._terms.max_wait is None:
                return await self._judged(rest) or await self._safe(self._call_next)
            return await self._timed(rest)
        finally:
            self._over = True
            for tried in list(self._tried):
                self.routing.passed(tried.tier, tried.why)

    # -- the cheaper tiers --------------------------------------------------------------------------------------------

    async def _judged(self, rest: Sequence[Tier]) -> Served | None:
        """Return the first accepted answer, or the safe tier's where no other answers; None where none is accepted."""
        while len(rest) > 1:
            sent = await self._asked(rest)
            if sent is None:
                return None
            attempt = latest_attempt.get()
            if sent.tier is self._plan.safe:
                return Served(sent.response, sent.request, Chosen(sent.tier, attempt))
            rest = rest[rest.index(sent.tier) + 1 :]
            if not sent.response.ok:
                self.routing.passed(sent.tier.model, f"it answered {sent.response.status}")
                await sent.response.aclose()
                continue
            if attempt is not None:
                self.cheap.append(attempt)
            try:
                served = await self._heard(sent, attempt)
            except (UpstreamError, LocalModelError) as error:
                self.routing.passed(sent.tier.model, f"its answer broke off: {error}")
                continue
            if served is not None:
                return served
        return None

    async def _asked(self, order: Sequence[Tier]) -> Sent | None:
        """Return the answer of the first of ``order`` that gives one; None where the safe tier is asked elsewhere."""
        try:
            return await self._failover.send(
                self._request, order, self._call_next, prepare=self._prepared, tried=self._tried
            )
        except _Elsewhere:
            return None

    def _prepared(self, request: Request, tier: Tier) -> Request:
        """Return what a judged tier is asked: for a whole answer where all of it is judged, with log-probabilities."""
        if self._over or (self.hedged and tier is self._plan.safe):
            raise _Elsewhere
        if tier is self._plan.safe:
            return request
        body: Mapping[str, Any] = request.body
        if not self._is_held(request):
            body = {key: value for key, value in body.items() if key not in _STREAM_KEYS}
        body = {**body, **(wants_logprobs(request.dialect, body, tier) or {})}
        if self._terms.max_wait is None:
            return request.replace(body=body)
        until = self._began + self._terms.max_wait + _GRACE
        deadline = until if request.deadline is None else min(until, request.deadline)
        return request.replace(body=body, deadline=deadline)

    def _is_held(self, request: Request) -> bool:
        """Return whether an answer is streamed to the judge: it is not where it has to be translated."""
        return self._plan.lane == PREFIX and request.dialect == self._request.dialect

    async def _heard(self, sent: Sent, attempt: Attempt | None) -> Served | None:
        """Judge an answer; return it as the caller gets it, or None where it is not accepted."""
        feature, plan = self._request.feature, self._plan
        if self._is_held(sent.request) and sent.response.streamed:
            held = Held(sent.response, sent.request.dialect, self._request.body)
            await held.read(self._terms.hold_tokens)
            heard = self._to_judge(sent, held.message)
            if apologises(heard.answer.text):
                await held.read(max(_APOLOGY, self._terms.hold_tokens))
                heard = self._to_judge(sent, held.message)
            if not held.whole:
                verdict = self._judge.prefix(feature, heard)
                if verdict is not None:
                    self._note(heard, verdict)
                    if verdict.accepted:
                        return Served(held.released(), sent.request, Chosen(sent.tier, attempt, verdict, heard))
                    await held.aclose()
                    return None
                await held.read(None)
                heard = self._to_judge(sent, held.message)
            response = held.released()
        else:
            await sent.response.read()
            outcome = sent.spoken.outcome
            if outcome is None or not outcome.complete or outcome.message is None:
                self.routing.passed(sent.tier.model, "its answer was cut short")
                return None
            heard = self._to_judge(sent, outcome.message)
            response = self._shown(sent, outcome.message)
        verdict = await self._judge.judge(feature, plan.asked, heard)
        self._note(heard, verdict)
        if not verdict.accepted:
            return None
        return Served(response, sent.request, Chosen(sent.tier, attempt, verdict, heard))

    def _to_judge(self, sent: Sent, message: Mapping[str, Any]) -> Heard:
        cost = self._money.elsewhere(sent.request, self._request, self._terms.last, message)
        again = partial(self._again, sent)
        return Heard(sent.tier, sent.request.dialect, sent.request.body, message, cost, again, self._plan.gain)

    async def _again(self, sent: Sent, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Ask the same tier another question; None where it does not answer, or where a budget has no room for it."""
        whole = {key: value for key, value in body.items() if key not in _STREAM_KEYS}
        try:
            response = await self._call_next(sent.request.replace(body=whole))
            attempt = latest_attempt.get()
            if attempt is not None:
                self.cheap.append(attempt)
            await response.read()
        except LLMSaverError:
            return None
        outcome = response.outcome
        return outcome.message if outcome is not None and outcome.complete else None

    def _shown(self, sent: Sent, message: Mapping[str, Any]) -> Response:
        """Return a whole answer as the caller gets it: less what only its judge was to see."""
        response, request = sent.response, self._request
        hidden = message
        if sent.spoken is response:
            hidden = hide_logprobs(request.dialect, message, request.body)
        if hidden is not message:
            meter = DIALECTS[request.dialect].meter(False)
            headers = {**response.headers, "content-type": "application/json"}
            return Response(response.status, headers, content=json.dumps(hidden).encode(), meter=meter)
        if request.stream:
            response.carrier = None  # it is no stream, and is told as one because a layer made it so
        return response

    def _note(self, heard: Heard, verdict: Verdict) -> None:
        """Write down how an answer was judged, unless the call has been answered meanwhile."""
        if self._over:
            return
        routing = self.routing
        routing.note(**verdict.signals)
        routing.signal, routing.threshold, routing.why = verdict.signal or None, verdict.threshold, verdict.why
        if not verdict.accepted:
            self.rejected = (heard, verdict)
            routing.escalated = self._request.entry.escalated = True
            routing.passed(heard.tier.model, f"not accepted: {verdict.why}")
            self._request.entry.act(NAME, "escalated", f"{heard.tier.model}: {verdict.why}")

    # -- the safe tier ------------------------------------------------------------------------------------------------

    async def _safe(self, call_next: CallNext) -> Served:
        """Return the answer of the safe tier, unjudged; a cheaper one's only where a budget was told to prefer that."""
        plan = self._plan
        cheaper = plan.able[-2::-1] if len(plan.able) > 1 else ()
        sent = await self._failover.send(self._request, [plan.safe], call_next, downgrade=cheaper, tried=self._tried)
        return Served(sent.response, sent.request, Chosen(sent.tier, latest_attempt.get()))

    async def _timed(self, rest: Sequence[Tier]) -> Served:
        """Do the same where the cheaper tiers get so much time only, or where the safe one is asked meanwhile."""
        runtime, hedge, most = self._request.runtime, self._terms.hedge, self._terms.max_wait
        cheap: Started[Served | None] = runtime.start(partial(self._judged, rest))
        safe: Started[Served] | None = None
        try:
            landed = await runtime.wait(cheap.flight, most if hedge is None else hedge)
            if not landed and hedge is not None:
                self.hedged = True
                self.routing.note(hedged=1.0)
                safe = runtime.start(partial(self._safe, self._call_next))
                landed = await runtime.wait(cheap.flight, None if most is None else most - hedge)
            if landed:
                served = cheap.result()
                if served is not None:
                    if safe is not None:
                        await safe.drop(_close)
                    return served
            else:
                self._over = True
                await cheap.drop(_close_if)
                self.routing.passed(rest[0].model, f"it was not waited for longer than {most:g} s")
            if safe is None:
                return await self._safe(self._call_next)
            await runtime.wait(safe.flight)
            return safe.result()
        except BaseException:
            await cheap.drop(_close_if)
            if safe is not None:
                await safe.drop(_close)
            raise


async def _close(served: Served) -> None:
    await served.response.aclose()


async def _close_if(served: Served | None) -> None:
    if served is not None:
        await served.response.aclose()
