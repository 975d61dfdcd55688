"""Before any call: which tiers can answer a request, and which of them is asked first."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llmsaver.errors import in_words
from llmsaver.middleware.cascade_evidence import PREFIX, SELF, WHOLE
from llmsaver.middleware.judging import expected_gain
from llmsaver.router.asked import asked_of
from llmsaver.router.conversation import kept, turn_key
from llmsaver.router.economics import pays, switch_pays
from llmsaver.router.needs import estimated_tokens, lacks
from llmsaver.router.views import Asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.core.request import Request
    from llmsaver.middleware.cascade_evidence import Bar, Evidence
    from llmsaver.middleware.cascade_memory import Memory
    from llmsaver.middleware.cascade_money import Money
    from llmsaver.middleware.cascade_terms import Terms
    from llmsaver.middleware.reach import Reach
    from llmsaver.router.conversation import Kept, TurnKey
    from llmsaver.router.stakes import Hold
    from llmsaver.router.tier import Tier
    from llmsaver.router.turns import Standing, Turns

__all__ = ["DEAR", "Plan", "Planner"]

log = logging.getLogger("llmsaver")

# What an answer is taken to be long, in tokens, where nothing is known of it yet.
_OUTPUT = 300
# A tier at this share of the last one's price, or more, is no cheaper tier.
DEAR = 0.9


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done with one request.

    ``able``: the tiers that can answer it, from the cheapest; ``start``: the one of them that is asked first; ``why``:
    in a sentence; ``unable``: the others, with the reason. ``explore``: cheaper tiers of which too little is known, to
    be tried when nobody waits. ``lane``: what confidences are of. ``aside``: whether the cheaper tiers cost more than
    they save; ``gain``: by how much the last tier is expected to be better, where a gatekeeper says so; ``hold``: what
    was held for the cheaper tiers' calls.
    """

    asked: Asked
    able: tuple[Tier, ...]
    start: int
    why: str
    unable: tuple[tuple[str, str], ...] = ()
    explore: tuple[Tier, ...] = ()
    evidence: str = ""
    lane: str = WHOLE
    aside: bool = False
    gain: float | None = None
    key: TurnKey | None = None
    prompt_tokens: int = 0
    hold: Hold | None = None

    @property
    def safe(self) -> Tier:
        """The best of the tiers that can answer."""
        return self.able[-1]

    def up(self, why: str, **changes: object) -> Plan:
        """Return the plan that asks the safe tier at once."""
        return replace(self, start=len(self.able) - 1, why=why, **changes)  # type: ignore[arg-type]  # fields by name


class Planner:
    """Makes plans; ``contexts`` says how many tokens a local model has room for, where that is known."""

    def __init__(
        self,
        terms: Terms,
        reach: Reach,
        evidence: Evidence,
        money: Money,
        turns: Turns,
        memory: Memory,
        *,
        contexts: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._terms = terms
        self._reach = reach
        self._evidence = evidence
        self._money = money
        self._turns = turns
        self._aside, self._stakes = memory.aside, memory.stakes
        self._contexts = contexts

    def plan(self, request: Request, *, dry: bool = False) -> Plan:
        """Return the plan for a request; ``dry``: and leave no trace of it. Whatever goes wrong, the last tier."""
        try:
            return self._plan(request, dry=dry)
        except Exception as error:  # a saver never breaks a call
            log.warning("llmsaver: a call could not be routed: %s", in_words(error), exc_info=True)
            return Plan(Asked(""), (self._terms.last,), 0, f"it could not be decided ({type(error).__name__})")

    def _plan(self, request: Request, *, dry: bool) -> Plan:
        asked = asked_of(request.dialect, request.body)
        whys = {tier.model: self._cannot(tier, request, asked) for tier in self._terms.tiers}
        able = tuple(tier for tier in self._terms.tiers if whys[tier.model] is None)
        unable = tuple((model, why) for model, why in whys.items() if why is not None)
        key = turn_key(
            asked,
            body=request.body,
            conversation=request.conversation,
            tenant=request.tenant,
            account=request.account,
        )
        plan = Plan(
            asked, able, 0, "the cheapest that can answer", unable, key=key, prompt_tokens=estimated_tokens(asked)
        )
        kept_out = None if self._terms.last in able else self._reach.missing(self._terms.last, request)
        if kept_out is not None:  # a cheaper tier alone would be a downgrade that nobody asked for
            return replace(plan, able=(), why=f"{self._terms.last.model}, the last tier, cannot be asked: {kept_out}")
        if len(able) < 2:  # noqa: PLR2004 - nothing to choose from
            return replace(plan, why=f"only {able[0].model} can answer" if able else "no tier can answer")
        if request.attempt and request.entry.escalated:
            return plan.up("an answer of a cheaper tier was not accepted before this retry")
        if self._terms.optimistic and request.stream and not (asked.tools or asked.json or asked.schema is not None):
            plan = replace(plan, lane=PREFIX)
        standing = self._turns.standing(key)
        before = kept(self._terms.tiers, standing, asked, lambda tier: whys[tier.model])
        if before is not None and before.fixed:
            return self._inherited(request, plan, before)
        return self._chosen(request, plan, before, standing, dry=dry)

    def _cannot(self, tier: Tier, request: Request, asked: Asked) -> str | None:
        context = tier.max_context
        if context is None and tier.local:
            context = self._contexts(tier.model)
        elif context is None:
            rates = self._money.rates(request, tier)
            context = None if rates is None else rates.context_window
        return lacks(tier, asked, context=context) or self._reach.missing(tier, request)

    def _inherited(self, request: Request, plan: Plan, before: Kept) -> Plan:
        """Return the plan of a turn that was decided, or of one that answers the turn before."""
        at = self._index(plan, before)
        tier = plan.able[at]
        if tier is not plan.safe and not plan.asked.in_tool_loop:
            bar = self._bar(request.feature, tier, plan.lane)
            if not bar.serves:
                return plan.up(bar.evidence, explore=(tier,), evidence=bar.evidence)
        return replace(plan, start=at, why=before.why)

    def _chosen(
        self, request: Request, plan: Plan, before: Kept | None, standing: Standing | None, *, dry: bool
    ) -> Plan:
        """Return the plan of a new turn."""
        feature = request.feature
        economy = self._aside.verdict(feature) if dry else self._aside.turn(feature)
        if economy.aside and not economy.probe:
            return plan.up(f"stepped aside: {economy.why}", aside=True)
        bars = [(at, self._bar(feature, tier, plan.lane)) for at, tier in enumerate(plan.able[:-1])]
        unknown = tuple(plan.able[at] for at, bar in bars if not bar.serves)
        serving = [at for at, bar in bars if bar.serves]
        plan = replace(plan, explore=unknown, evidence=_told(bars))
        if not serving:
            return plan.up(plan.evidence)
        plan = replace(plan, start=serving[0])
        plan = self._gated(request, plan)
        return self._staked(request, self._stayed(request, plan, before, standing), dry=dry)

    def _stayed(self, request: Request, plan: Plan, before: Kept | None, standing: Standing | None) -> Plan:
        """Leave a conversation where it is, unless going down saves more than that."""
        if before is None:
            return plan
        stay = self._index(plan, before)
        if stay <= plan.start or standing is None:
            return plan
        if self._switch_pays(request, plan, plan.able[stay], standing):
            return replace(plan, why="the conversation goes down: that saves more than its cached prefix is worth")
        return replace(plan, start=stay, why=before.why)

    def _staked(self, request: Request, plan: Plan, *, dry: bool) -> Plan:
        """Hold what the cheaper tiers' calls may cost, or leave them out where what was lost leaves no room for it."""
        cheaper = plan.able[plan.start : -1]
        if not cheaper:
            return plan
        ratio, price = self.ratio(request, plan, *cheaper)
        if ratio is not None and self._terms.hedge is not None:
            ratio += 1  # the last tier may be asked meanwhile, and not served
        hold = self._stakes.hold(request.feature, ratio, price, dry=dry)
        if hold is not None:
            return replace(plan, hold=hold)
        why = self._stakes.why(request.feature) or "cheaper tiers have lost what they may"
        return plan.up(f"stepped aside: {why}", aside=True)

    def ratio(self, request: Request, plan: Plan, *tiers: Tier) -> tuple[float | None, int | None]:
        """Return what tiers cost together as a multiple of the safe one, and the latter's price; None if unknown."""
        strong = self.expected(request, plan, plan.safe)
        costs = [self.expected(request, plan, tier) for tier in tiers]
        known = [cost for cost in costs if cost is not None]
        return (sum(known) / strong if strong and len(known) == len(costs) else None), strong

    def _bar(self, feature: str, tier: Tier, lane: str) -> Bar:
        """Return what answers of a tier are held against: by their own signals, or by what the tier says of them."""
        bar = self._evidence.bar(feature, tier.model, lane)
        if bar.serves or not self._terms.self_check:
            return bar
        other = self._evidence.bar(feature, tier.model, SELF)
        return other if other.serves else bar

    def _gated(self, request: Request, plan: Plan) -> Plan:
        """Leave out a cheap call that cannot pay, by the prices, or by what the gatekeeper says."""
        weak, strong = (self.expected(request, plan, tier) for tier in (plan.able[plan.start], plan.safe))
        if weak and strong and weak >= DEAR * strong:
            cheap = plan.able[plan.start].model
            return plan.up(f"stepped aside: {cheap} costs about what {plan.safe.model} does", aside=True)
        gain = expected_gain(self._terms.gatekeeper, plan.asked.text)
        if gain is None:
            return plan
        plan = replace(plan, gain=gain)
        if weak is None or strong is None or pays(weak, strong, min(1.0, max(0.0, gain))):
            return plan
        return plan.up(
            f"the gatekeeper expects a gain of {gain:.2f} from {plan.safe.model}: a cheap call would not pay"
        )

    def expected(self, request: Request, plan: Plan, tier: Tier) -> int | None:
        """Return about what a tier's answer to the request costs, in nano-dollars; None where it has no price."""
        output = min(plan.asked.max_output or _OUTPUT, _OUTPUT)
        return self._money.expected(request, tier, plan.prompt_tokens, output)

    def _switch_pays(self, request: Request, plan: Plan, stay: Tier, standing: Standing) -> bool:
        """Return whether going down is worth a prefix that is cached where the conversation is."""
        here, there = (self._money.rates(request, tier) for tier in (stay, plan.able[plan.start]))
        if here is None or there is None:
            return there is not None or plan.able[plan.start].local
        prefix = min(standing.prompt_tokens, plan.prompt_tokens)
        return switch_pays(
            here,
            there,
            prefix_tokens=prefix,
            fresh_tokens=plan.prompt_tokens - prefix,
            output_tokens=min(plan.asked.max_output or _OUTPUT, _OUTPUT),
        )

    def _index(self, plan: Plan, before: Kept) -> int:
        """Return the place among the able tiers of the one a conversation is at, or of the next above."""
        models = self._terms.models
        return next(
            (at for at, tier in enumerate(plan.able) if models.index(tier.model) >= before.tier), len(plan.able) - 1
        )


def _told(bars: list[tuple[int, Bar]]) -> str:
    """Return what the thresholds rest on: the first tier's, whether it serves or not."""
    return next((bar.evidence for _, bar in bars if bar.serves), bars[0][1].evidence)
