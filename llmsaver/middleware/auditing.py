"""What nobody waits for: a second opinion on answers that were served, and cheap tries of which nothing is known."""

from __future__ import annotations

import logging
import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.core.runtime import drive
from llmsaver.errors import LLMSaverError, in_words
from llmsaver.middleware.cascade_evidence import PREFIX
from llmsaver.middleware.cascade_plan import DEAR
from llmsaver.middleware.judging import Heard, expected_gain
from llmsaver.middleware.semantic_cache import QUALITY
from llmsaver.router.agreement import by_agreement
from llmsaver.router.answers import answer_of
from llmsaver.router.calibration import Label, NotEnough
from llmsaver.router.features import hashed
from llmsaver.router.labels import stored
from llmsaver.router.logprobs import wants_logprobs
from llmsaver.router.validators import objection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.core.request import Request
    from llmsaver.middleware.cascade_evidence import Evidence
    from llmsaver.middleware.cascade_money import Money
    from llmsaver.middleware.cascade_plan import Plan, Planner
    from llmsaver.middleware.cascade_terms import Terms
    from llmsaver.middleware.judging import Judge, Verdict
    from llmsaver.middleware.reach import Reach
    from llmsaver.router.confidence import Confidence
    from llmsaver.router.stakes import Stakes
    from llmsaver.router.tier import Tier
    from llmsaver.router.views import Answer, Asked

__all__ = ["Auditor"]

log = logging.getLogger("llmsaver")

# Audits are this much more frequent while a feature's traffic is not what it was.
_WIDER = 5.0
# From here on two answers are taken to say the same.
_SAME = 0.5
# What a call that went up weighs beside audited ones where none are audited: it says nothing of those.
_LEAST = 0.001


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call that is about to be labelled: ``source`` says how it was chosen.

    ``weight``: 1 for audits and for tries in the background, each kind a random sample of what it is of; what went up
    is known whether audited or not, and weighs as many times less as audits are rarer. So old tries and new audits
    count the same, and as many as they are.
    """

    request: Request
    asked: Asked
    weight: float
    source: str


class Auditor:
    """Sends audits and explorations in the background and keeps what they show; ``counts`` what became of them."""

    def __init__(
        self,
        terms: Terms,
        reach: Reach,
        judge: Judge,
        evidence: Evidence,
        money: Money,
        planner: Planner,
        stakes: Stakes,
        *,
        seed: int | None = None,
    ) -> None:
        self._terms = terms
        self._reach = reach
        self._judge = judge
        self._evidence = evidence
        self._money = money
        self._planner = planner
        self._stakes = stakes
        self._exploring: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - which calls are audited is no secret
        self.counts: Counter[str] = Counter()

    def accepted(self, request: Request, asked: Asked, heard: Heard, verdict: Verdict, weak_nano: int) -> None:
        """Have an answer that was served compared with the last tier's, now and then."""
        if not self._chosen(self._share(request)):
            return
        hold = self._stakes.hold(request.feature, 1.0)
        if hold is None:
            self.counts["no room"] += 1
            return
        call = _Asked(request, asked, 1.0, "audit")
        self._later(request, self._terms.last, partial(self._audit, call, heard, verdict, weak_nano), hold.release)

    def rejected(
        self, request: Request, asked: Asked, heard: Heard, verdict: Verdict, weak_nano: int, strong: Answer, nano: int
    ) -> None:
        """Learn from both answers of a call that went up: the second opinion is there already."""
        if self._stakes.hold(request.feature, 1.0, dry=True) is None:
            return  # nothing is learned now of what is accepted, so neither of this
        call = _Asked(request, asked, max(_LEAST, self._share(request)), "audit")
        request.runtime.detach(
            partial(self._guarded, partial(self._compare, call, heard, verdict, weak_nano, strong, nano))
        )

    def explore(self, request: Request, plan: Plan, message: Mapping[str, Any] | None, nano: int) -> None:
        """Have a cheaper tier, of which too little is known, answer too: the strong answer has been served."""
        if not plan.explore or message is None:
            return
        bars = [self._evidence.bar(request.feature, tier.model, plan.lane) for tier in plan.explore]
        known = all(bar.value is not None for bar in bars)  # it was tried, and it is not good enough
        chance = self._terms.audit if known else self._terms.explore
        if not self._chosen(chance):
            return
        tier = self._random.choice(plan.explore)
        under_way = request.feature, tier.model
        found = self._evidence.bar(request.feature, tier.model, plan.lane).found
        if isinstance(found, NotEnough) and found.have + self._exploring[under_way] >= found.need:
            return
        ratio, price = self._planner.ratio(request, plan, tier)
        if ratio is not None and ratio >= DEAR:
            return  # it would not be asked, however good it is
        hold = self._stakes.hold(request.feature, ratio, price)
        if hold is None:
            self.counts["no room"] += 1
            return
        release = hold.release
        self._exploring[under_way] += 1

        def ended() -> None:
            release()
            self._exploring[under_way] -= 1

        strong = answer_of(request.dialect, message)
        call = _Asked(request, plan.asked, 1.0, "explore")
        self._later(request, tier, partial(self._explored, call, plan.lane, tier, strong, nano), ended)

    def _share(self, request: Request) -> float:
        """Return how many of the accepted answers are audited."""
        return min(1.0, self._terms.audit * (_WIDER if self._evidence.drift.shifted(request.feature) else 1.0))

    def _chosen(self, chance: float) -> bool:
        return chance > 0 and self._random.random() < chance

    def _later(self, request: Request, tier: Tier, learn: Callable[[Request], None], ended: Callable[[], None]) -> None:
        """Have ``learn`` run in the background with the request that asks ``tier`` the same, and then ``ended``."""
        sent = self._reach.to(request, tier)
        if sent.carrier is None:
            ended()
            return
        if tier is not self._terms.last:
            sent = sent.with_body(**(wants_logprobs(sent.dialect, sent.body, tier) or {}))
        self.counts["started"] += 1
        if not request.runtime.detach(partial(self._guarded, partial(learn, sent), ended)):
            self.counts["dropped"] += 1
            ended()

    def _guarded(self, learn: Callable[[], None], ended: Callable[[], None] = lambda: None) -> None:
        try:
            learn()
        except LLMSaverError as error:  # a spent budget, a provider that is down: there is no audit then
            self.counts["not answered"] += 1
            log.debug("llmsaver: an audit could not be made: %s", in_words(error))
        except Exception as error:  # nobody waits for it
            self.counts["failed"] += 1
            log.warning("llmsaver: an audit failed: %s", in_words(error), exc_info=True)
        finally:
            ended()

    def _audit(self, call: _Asked, heard: Heard, verdict: Verdict, weak_nano: int, sent: Request) -> None:
        message = self._answered(sent)
        if message is None:
            return
        nano = self._money.of(sent, message).nano_usd
        self._compare(call, heard, verdict, weak_nano, answer_of(sent.dialect, message), nano)

    def _compare(self, call: _Asked, heard: Heard, verdict: Verdict, weak_nano: int, strong: Answer, nano: int) -> None:
        """Keep a label: how good the cheap answer was, held against the last tier's."""
        found = None if verdict.merit is None else (verdict.merit, verdict.signal)
        self._keep(call, heard, found, (weak_nano, nano), strong)

    def _explored(self, call: _Asked, lane: str, tier: Tier, strong: Answer, nano: int, sent: Request) -> None:
        """Judge a cheap answer as if it were to be served, and keep what is learned."""
        message = self._answered(sent)
        if message is None:
            return
        feature = call.request.feature
        price = self._money.elsewhere(sent, call.request, self._terms.last, message)
        weak_nano = self._money.of(sent, message).nano_usd

        async def again(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
            return self._answered(sent.replace(body=body))

        gain = expected_gain(self._terms.gatekeeper, call.asked.text)
        heard = Heard(tier, sent.dialect, sent.body, message, price, again, gain)
        answer = heard.answer
        found: tuple[float, str] | None = None
        if objection(call.asked, answer, self._terms.validators) is None:
            sure: Confidence | None = (
                self._judge.beginning(answer)
                if lane == PREFIX
                else drive(self._judge.confidence(feature, call.asked, heard, answer))
            )
            if sure is not None:
                found = self._judge.merit(feature, heard, answer, sure), sure.signal
        if self._terms.self_check and (said := drive(self._judge.self_check(heard, answer))) is not None:
            checked = self._judge.merit(feature, heard, answer, said), said.signal
            self._keep(replace(call, source="explore self-check"), heard, checked, (weak_nano, nano), strong)
        self._keep(call, heard, found or ((0.0, PREFIX) if lane == PREFIX else None), (weak_nano, nano), strong)

    def _answered(self, sent: Request) -> dict[str, Any] | None:
        """Send a request through the whole stack once more; None, counted, where no whole answer comes of it."""
        again = sent.again(QUALITY)
        response = None if again is None else again()
        outcome = None if response is None else response.outcome
        if outcome is not None:
            self._stakes.note(sent.feature, self._money.of(sent, outcome.message).nano_usd)
        message = outcome.message if outcome is not None and outcome.complete else None
        if message is None:
            self.counts["not answered"] += 1
        return message

    def _keep(
        self, call: _Asked, heard: Heard, found: tuple[float, str] | None, nano: tuple[int, int], strong: Answer
    ) -> None:
        quality = self._quality(call.asked, heard.answer, strong)
        if quality is None:
            return
        merit, signal = found or (None, "")
        label = Label(
            feature=call.request.feature,
            confidence=merit,
            signal=signal,
            weak=quality,
            strong=1.0,
            weak_nano=nano[0],
            strong_nano=nano[1],
            source="audit",
            gold=False,
            weight=call.weight,
            features=hashed(call.asked.text),
        )
        self.counts["labels"] += 1
        self._evidence.learn([stored(label, heard.tier.model, call=call.request.entry.id, judge=call.source)])

    def _quality(self, asked: Asked, weak: Answer, strong: Answer) -> float | None:
        """Return how good a cheap answer is by the last tier's; None where the user's judge talks nonsense."""
        judge = self._terms.judge
        if judge is None or weak.calls or strong.calls:
            return 1.0 if by_agreement(weak, strong, asked).value >= _SAME else 0.0
        try:
            said: Any = judge(asked.text, weak.text, strong.text)
            value = float(said) if isinstance(said, bool | int | float) else math.nan
        except Exception as error:  # noqa: BLE001 - an application's own function
            log.debug("llmsaver: a judge failed: %s", in_words(error))
            value = math.nan
        if 0 <= value <= 1:
            return value
        self.counts["nonsense of the judge"] += 1
        if self.counts["nonsense of the judge"] == 1:
            log.warning("llmsaver: Cascade(judge=) said neither True or False nor a share; its words are left out")
        return None
