"""The cheapest model that is good enough: asked first, judged, and replaced by a better one where it is not."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError, in_words
from llmsaver.middleware.auditing import Auditor
from llmsaver.middleware.cascade_evidence import Evidence, lane_of
from llmsaver.middleware.cascade_memory import Memory
from llmsaver.middleware.cascade_money import Money
from llmsaver.middleware.cascade_plan import Planner
from llmsaver.middleware.cascade_run import NAME, Run
from llmsaver.middleware.cascade_terms import AUTO, labels_of, terms_of
from llmsaver.middleware.failover import Failover
from llmsaver.middleware.judging import Judge
from llmsaver.middleware.reach import Reach
from llmsaver.middleware.semantic_cache import QUALITY
from llmsaver.router.answers import answer_of
from llmsaver.router.drift import numbered
from llmsaver.router.labels import of_file
from llmsaver.router.routing import Routing
from llmsaver.router.stakes import Stakes
from llmsaver.router.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Literal

    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Ledger
    from llmsaver.middleware.cascade_plan import Plan
    from llmsaver.middleware.cascade_run import Chosen, Served
    from llmsaver.middleware.cascade_terms import Terms
    from llmsaver.pricing import Cost, PriceBook
    from llmsaver.router.calibration import Label
    from llmsaver.router.gatekeeper import Gatekeeper
    from llmsaver.router.tier import Tier
    from llmsaver.router.validators import Validator

__all__ = ["Cascade"]

log = logging.getLogger("llmsaver")

_DIALECTS = frozenset({"chat", "responses", "messages"})


class Cascade:
    """Answers ``model="auto"`` (and models in ``replaces``) with the cheapest of ``tiers`` that is good enough.

    ``tiers``: models, or ``Tier`` objects, from the cheapest to the best. With ``min_quality`` at most that share of
    the last tier's quality is given up, with a chance of ``risk`` that it is more; there has to be evidence first, and
    until then the last tier serves. Without, thresholds that the library brings act from the first call; ``threshold``
    sets them by hand, one for all or by signal. ``audit``: the share of accepted answers that the last tier answers
    too; ``explore``: the share of calls that a tier without evidence answers too; both in the background, booked under
    the feature "quality". ``validators``: functions (asked, answer) -> why it is rejected, or None. ``agreement``: ask
    twice where a tier tells no log-probabilities; ``self_check``: else ask it whether it is right. ``judge``: a
    function (question, cheap answer, last tier's answer) -> whether they say the same, for audits only. ``streaming``:
    "buffer" judges whole answers, "optimistic" the first ``hold_tokens`` tokens of a stream (six are a tenth of a
    second of a small local model; of one that begins with an apology more are read). ``max_wait``: seconds
    that cheaper tiers get for an accepted answer; ``hedge``: seconds after which the last tier is asked meanwhile.
    ``gatekeeper``: a fitted ``Gatekeeper``. ``labels``: known beforehand. ``may_lose``: by which share a feature's
    bill, audits and tries included, may ever exceed what the last tier alone would have cost, as far as that can be
    known (at first, by one and a half of its calls); with more, evidence comes sooner. Raises ``ConfigurationError``.
    """

    name = NAME

    def __init__(  # noqa: PLR0913 - the words of one sentence, by keyword
        self,
        tiers: Sequence[str | Tier],
        *,
        min_quality: float | None = None,
        risk: float = 0.1,
        replaces: Iterable[str] = (),
        audit: float = 0.02,
        explore: float = 0.10,
        validators: Mapping[str, Validator] | Iterable[Validator] = (),
        self_check: bool = False,
        judge: Callable[[str, str, str], bool | float] | None = None,
        streaming: Literal["buffer", "optimistic"] = "buffer",
        hold_tokens: int = 6,
        max_wait: float | None = None,
        hedge: float | None = None,
        threshold: float | Mapping[str, float] | None = None,
        gatekeeper: Gatekeeper | None = None,
        agreement: bool = True,
        may_lose: float = 0.004,
        labels: Iterable[Label] = (),
        seed: int | None = None,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in {"self", "tiers", "labels", "seed"}}
        self.terms: Terms = terms_of(tiers, given)
        self._given = labels_of(labels)
        self._seed = seed
        self.reach = Reach(self.terms.tiers)
        self.failover = Failover(self.reach, self.terms.tiers)
        self.turns = Turns()
        self.use_books(None, None)

    @property
    def policy(self) -> str:
        """What decides which model answers: part of the key of every cache above."""
        terms = self.terms
        return f"{terms.models} {sorted(terms.replaces)} {terms.min_quality} {terms.risk} {terms.thresholds}"

    def use_books(
        self,
        prices: PriceBook | None,
        ledger: Ledger | None,
        contexts: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        """Take the Saver's prices, its ledger, where evidence is kept, and what it knows of its local models."""
        from llmsaver.pricing import PriceBook as Book

        terms = self.terms
        self.money = Money(prices or Book())
        labels = [each for tier in terms.tiers[:-1] for each in of_file(self._given, tier.model)]
        self.memory = memory = Memory(self.policy, ledger, Stakes(terms.may_lose))
        self.evidence = Evidence(terms, ledger, labels, memory.drift)
        self.judge = Judge(terms, self.evidence)
        self.planner = Planner(terms, self.reach, self.evidence, self.money, self.turns, memory, contexts=contexts)
        self.auditor = Auditor(
            terms, self.reach, self.judge, self.evidence, self.money, self.planner, memory.stakes, seed=self._seed
        )

    def close(self) -> None:
        """Keep what was learned; what still comes in is not."""
        self._guarded(self._sync)
        self.memory.ledger = None

    def routes(self, request: Request) -> bool:
        """Return whether a request is for the cascade: what it sends itself, for audits, is not."""
        if request.dialect not in _DIALECTS or request.origin is not None:
            return False
        if request.model == AUTO:
            return True
        return request.model in self.terms.replaces and request.feature != QUALITY

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Route a call that asks for it, and pass on every other."""
        if not self.routes(request):
            return await call_next(request)
        if not self.evidence.looked:
            await request.runtime.offload(self._look)
        elif self.evidence.stale:
            request.runtime.detach(self._look)
        plan = self.planner.plan(request)
        if not plan.able:
            return await self._unable(request, call_next, plan)
        routing = self._routing(request, plan)
        run = Run(
            self.terms,
            self.failover,
            self.judge,
            self.money,
            request=request,
            call_next=call_next,
            plan=plan,
            routing=routing,
        )
        request.entry.routing = routing.as_dict()
        first = len(request.entry.attempts)
        try:
            served = await run.serve()
            self._say(request, run, served, plan)
        except BaseException:
            self._paid(request, plan, first, None)
            raise
        served.response.on_complete(partial(self._settle, request, run, served.chosen, plan, first))
        return served.response

    def _look(self) -> None:
        self._guarded(self.evidence.look)
        self._guarded(self._sync)

    def _sync(self) -> None:
        for feature in self.memory.sync():
            self.evidence.forget_bars(feature)

    @staticmethod
    def _guarded(look: Callable[[], None]) -> None:
        try:
            look()
        except Exception as error:  # noqa: BLE001 - a ledger that fails costs nobody the call
            log.warning("llmsaver: what is known of the tiers cannot be read or kept: %s", in_words(error))

    def _routing(self, request: Request, plan: Plan) -> Routing:
        """Return the record of a call's way, as far as it is planned."""
        terms = self.terms
        routing = Routing(
            request.model,
            terms.models,
            request.feature,
            escalated=request.entry.escalated,
            why=plan.why,
            evidence=plan.evidence,
            aside=plan.aside,
            drift=self.evidence.drift.shifted(request.feature),
            min_quality=terms.min_quality,
            risk=None if terms.min_quality is None else terms.risk,
        )
        routing.note(gain=plan.gain)
        for model, why in plan.unable:
            routing.passed(model, why)
        return routing

    async def _unable(self, request: Request, call_next: CallNext, plan: Plan) -> Response:
        """Keep the model that the caller named where no tier can answer; without one, say why that is."""
        whys = "; ".join(f"{model}: {why}" for model, why in plan.unable)
        if request.model == AUTO:
            raise ConfigurationError(f"no tier of the cascade can answer this call: {plan.why}. {whys}")
        request.entry.act(NAME, "kept", f"{request.model}: {plan.why}. {whys}")
        return await call_next(request)

    def _say(self, request: Request, run: Run, served: Served, plan: Plan) -> None:
        """Put on the call's record who answers and why, before the first byte leaves."""
        entry, routing, chosen = request.entry, run.routing, served.chosen
        model = chosen.tier.model
        routing.tier = model
        if chosen.attempt is not None:
            entry.tier, entry.upstream, entry.model = (
                chosen.attempt.tier,
                chosen.attempt.upstream,
                served.sent.model,
            )
        if chosen.verdict is not None:
            entry.act(NAME, "accepted", f"{model}: {chosen.verdict.why}")
            bar = self.evidence.bar(request.feature, model, lane_of(chosen.verdict.signal))
            routing.evidence, routing.quality_low = bar.evidence, bar.quality_low
        elif chosen.tier is not plan.safe:
            routing.why = "a budget has no room for a better tier, and allows a cheaper one"
            entry.act(NAME, "downgraded", f"{model}: {routing.why}")
        elif run.rejected is not None:
            entry.act(NAME, "chose", f"{model}: {run.rejected[0].tier.model} was not good enough")
        else:
            if plan.able[plan.start] is not chosen.tier:
                routing.why = f"{plan.able[plan.start].model} did not answer"
            told = "" if chosen.tier is self.terms.last else f", for {self.terms.last.model} cannot answer"
            entry.act(NAME, "chose", f"{model}: {routing.why}{told}")
        if request.stream:  # what a judge read first, the caller has not seen
            entry.first_byte_s = entry.elapsed()
        entry.routing = routing.as_dict()

    def _paid(self, request: Request, plan: Plan, first: int, strong: Cost | None, dropped: int = 0) -> None:
        """Count what a call's attempts from the ``first`` on cost, and what the last tier alone would have.

        ``dropped``: the cost of a hedge that is not known to its attempt yet, in nano-dollars.
        """
        if plan.hold is not None:
            plan.hold.release()
        if strong is not None and not strong.priced:
            return
        spent = self.money.spent(request.entry.attempts[first:]) + dropped
        always = 0 if strong is None else strong.nano_usd
        self.memory.stakes.note(request.feature, spent, always, calls=1 if always else 0)
        if self.memory.noted():
            request.runtime.detach(partial(self._guarded, self._sync))

    def _settle(self, request: Request, run: Run, chosen: Chosen, plan: Plan, first: int, outcome: Outcome) -> None:
        """Book what the call would have cost, remember the turn, and learn."""
        named = None if request.model == AUTO else request.model
        written = None
        if chosen.tier.model == (named or self.terms.last.model) and chosen.attempt is not None:
            written = chosen.attempt.cost
        elif outcome.usage is not None:
            written = self.money.written(request, None if named else self.terms.last, outcome)
        self.money.settle(request.entry, run.routing, written)
        hedge = 0
        if run.hedged and chosen.tier is not plan.safe:
            hedge = self.money.dropped(request.entry.attempts[first:], plan.safe, written)
        self._paid(request, plan, first, written, hedge)
        if not outcome.complete:
            return
        if plan.key is not None:
            answer_id = (outcome.message or {}).get("id") if request.dialect == "responses" else None
            tokens = plan.prompt_tokens if outcome.usage is None else outcome.usage.input_tokens
            self.turns.remember(
                plan.key,
                chosen.tier.model,
                prompt_tokens=tokens,
                answer_id=answer_id if isinstance(answer_id, str) else None,
            )
        if request.feature != QUALITY:
            strong = 0 if written is None else written.nano_usd
            self._learn(request, run, chosen, plan, outcome, strong)

    def _learn(self, request: Request, run: Run, chosen: Chosen, plan: Plan, outcome: Outcome, strong: int) -> None:
        """Count what was spent for what, watch for drift, and have samples looked at."""
        feature, asked = request.feature, plan.asked
        weak = self.money.spent(run.cheap)
        judged = run.rejected[1] if run.rejected is not None else chosen.verdict
        if judged is None:
            self.auditor.explore(request, plan, outcome.message if plan.explore else None, strong)
            return
        hedge = strong if run.hedged and chosen.tier is not plan.safe else 0
        self.memory.aside.note(
            feature,
            weak_nano=weak + hedge,
            strong_nano=strong,
            escalated=chosen.verdict is None,
            extra_nano=round(self.terms.audit * strong) if chosen.verdict is not None else 0,
        )
        if not asked.in_tool_loop:
            words = numbered(asked.text)
            what = self.evidence.drift.see(feature, judged.merit, words, escalated=chosen.verdict is None)
            if what is not None:
                self.evidence.shifted(feature, what)
        if run.rejected is not None and chosen.verdict is None and outcome.message is not None:
            heard, verdict = run.rejected
            said = answer_of(request.dialect, outcome.message)
            self.auditor.rejected(request, asked, heard, verdict, weak, said, strong)
        elif chosen.verdict is not None and chosen.heard is not None:
            self.auditor.accepted(request, asked, chosen.heard, chosen.verdict, weak)
