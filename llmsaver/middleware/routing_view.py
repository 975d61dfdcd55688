"""``saver.router``: ask a cascade what it would do, where it stands, and tell it what is known."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from llmsaver.core.entry import Entry, dollars
from llmsaver.core.request import Request
from llmsaver.errors import ConfigurationError
from llmsaver.ledger.rows import EvaluationRow
from llmsaver.router.calibration import Label, NotEnough, Threshold
from llmsaver.router.kinds import difficulty, task_kind
from llmsaver.router.labels import of_file, stored
from llmsaver.router.status import Explanation, FeatureStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from llmsaver.core.runtime import Runtime
    from llmsaver.ledger import Ledger
    from llmsaver.middleware.cascade import Cascade
    from llmsaver.middleware.cascade_evidence import Bar
    from llmsaver.middleware.cascade_plan import Plan

__all__ = ["RouterView"]

_URLS = {
    "chat": "https://api.openai.com/v1/chat/completions",
    "responses": "https://api.openai.com/v1/responses",
    "messages": "https://api.anthropic.com/v1/messages",
}
# What is taken to go up where nothing is known.
_ESCALATION = 0.4


class RouterView:
    """What a user asks of a Saver's cascade; ``drained`` waits for background work."""

    def __init__(
        self,
        cascade: Cascade,
        ledger: Ledger | None,
        runtime: Runtime,
        known: Callable[[str], Entry | None],
        drained: Callable[[float], bool],
    ) -> None:
        self._cascade = cascade
        self._ledger = ledger
        self._runtime = runtime
        self._known = known
        self._drained = drained

    def explain(
        self,
        request: Request | Mapping[str, Any] | None = None,
        /,
        *,
        dialect: str | None = None,
        feature: str = "default",
        conversation: str | None = None,
        **body: Any,
    ) -> Explanation:
        """Return what would be done with a request, and why; nothing is sent and nothing remembered.

        ``request`` is one as a layer sees it, or a mapping of what ``create`` takes, which ``body`` adds to;
        ``dialect`` ("chat", "responses" or "messages") is that of its keys where it is not said.
        """
        if not isinstance(request, Request):
            request = self._request({**(request or {}), **body}, dialect, feature, conversation)
        cascade = self._cascade
        if not cascade.evidence.looked:
            cascade.evidence.look()
        plan = cascade.planner.plan(request, dry=True)
        unable, able = dict(plan.unable), {tier.model for tier in plan.able}
        tiers = tuple(
            {"tier": model, "able": model in able, "why": "" if model in able else unable.get(model, plan.why)}
            for model in cascade.terms.models
        )
        last = cascade.terms.last.model
        if not plan.able:
            return Explanation(request.model or "", last, plan.why, tiers=tiers, changes=_needs(unable))
        return self._explained(request, plan, tiers)

    def status(self) -> list[FeatureStatus]:
        """Return where each feature stands with each cheaper tier; every label in the ledger is taken in."""
        evidence = self._cascade.evidence
        evidence.look()
        models = self._cascade.terms.models[:-1]
        features = {feature for feature, _ in evidence.known() if feature} | set(evidence.features()) or {"default"}
        return [self._status(feature, model) for feature in sorted(features) for model in models]

    def calibrate(self, labels: Iterable[Label] = (), *, tier: str | None = None) -> list[FeatureStatus]:
        """Keep labels in the ledger (the same ones again change nothing), decide all thresholds anew and return them.

        ``tier``: the cheaper tier they are about, the first one where it is not said.
        """
        evidence, models = self._cascade.evidence, self._cascade.terms.models
        about = models[0] if tier is None else tier
        if about not in models[:-1]:
            raise ConfigurationError(f"calibrate(tier=) must be one of {', '.join(models[:-1])}, not {tier!r}")
        evidence.learn(of_file(labels, about))
        evidence.look()
        evidence.forget_bars()
        return self.status()

    def feedback(self, response: Any, ok: bool) -> bool:
        """Say whether an answer was good; return whether that is in the ledger.

        ``response``: an annotated answer of an SDK, a raw response with our headers, an ``Entry`` or its id. What is
        said of an accepted answer of a cheaper tier is a label that its thresholds are learned from.
        """
        entry_id = entry_of(response)
        entry = response if isinstance(response, Entry) else self._known(entry_id)
        routing, feature, cost, strong = self._told(entry_id, entry)
        models = self._cascade.terms.models
        tier, quality = routing.get("tier"), 1.0 if ok else 0.0
        if tier not in models[:-1] or routing.get("signal") is None:
            return self._noted(entry_id, quality, tier)
        label = Label(
            feature=feature,
            confidence=(routing.get("signals") or {}).get("merit"),
            signal=str(routing["signal"]),
            weak=quality,
            strong=1.0,
            weak_nano=cost,
            strong_nano=strong,
            source="feedback",
            gold=True,
        )
        found = stored(label, str(tier), call=entry_id)
        return self._cascade.evidence.learn([found]) == 1

    def drain(self, seconds: float = 2.0) -> bool:
        """Wait until audits and explorations under way have ended, at most so long; return whether they have."""
        until = time.monotonic() + seconds
        return self._drained(max(0.0, until - time.monotonic()))

    def _request(self, body: Mapping[str, Any], dialect: str | None, feature: str, conversation: str | None) -> Request:
        if dialect is None:
            dialect = (
                "responses" if "input" in body else "messages" if "max_tokens" in body and "system" in body else "chat"
            )
        if dialect not in _URLS:
            raise ConfigurationError(f"explain(dialect=) must be chat, responses or messages, not {dialect!r}")
        model = body.get("model", "auto")
        entry = Entry(dialect, model, feature=feature, path=(feature,), conversation=conversation)
        return Request(dialect, {**body, "model": model}, _URLS[dialect], entry, self._runtime)

    def _explained(self, request: Request, plan: Plan, tiers: tuple[Mapping[str, Any], ...]) -> Explanation:
        cascade, start = self._cascade, plan.able[plan.start]
        planner, judged = cascade.planner, plan.start < len(plan.able) - 1
        bar = cascade.evidence.bar(request.feature, start.model, plan.lane) if judged else None
        rate = self._rate(request.feature, bar) if judged else None
        weak, strong = (planner.expected(request, plan, tier) for tier in (start, plan.safe))
        cost = None if weak is None or strong is None else weak + round((rate or 0.0) * strong)
        threshold = None if bar is None else bar.value
        if bar is not None and threshold is None:
            threshold = cascade.evidence.threshold(bar, "logprobs")
        return Explanation(
            start=start.model,
            last=cascade.terms.last.model,
            why=plan.why,
            evidence=plan.evidence if bar is None else bar.evidence,
            threshold=threshold,
            signal=None if bar is None else bar.signal or "logprobs",
            signals={
                "task": task_kind(plan.asked),
                "difficulty": round(difficulty(plan.asked), 3),
                "prompt tokens": plan.prompt_tokens,
                "needs": ", ".join(sorted(plan.asked.needs)) or "nothing special",
                **({} if plan.gain is None else {"expected gain": round(plan.gain, 3)}),
            },
            expected_cost_usd=dollars(cost),
            last_tier_cost_usd=dollars(planner.expected(request, plan, cascade.terms.last)),
            expected_escalation=rate,
            expected_quality_low=None if bar is None else bar.quality_low,
            changes=self._changes(request, plan, bar),
            tiers=tiers,
        )

    def _rate(self, feature: str, bar: Bar | None) -> float:
        """Return the share that is expected to go up."""
        if bar is not None and isinstance(bar.found, Threshold):
            return bar.found.escalation
        seen = self._cascade.memory.aside.verdict(feature)
        return seen.escalation if seen.calls else _ESCALATION

    def _changes(self, request: Request, plan: Plan, bar: Bar | None) -> tuple[str, ...]:
        """Return what would change the decision."""
        changes = list(_needs(dict(plan.unable)))
        evidence, terms = self._cascade.evidence, self._cascade.terms
        for tier in plan.explore:
            found = evidence.bar(request.feature, tier.model, plan.lane).found
            if isinstance(found, NotEnough):
                changes.append(
                    f"{found.need - found.have} more labels for {tier.model} (they come from {terms.explore:.0%} of "
                    "the calls, from feedback and from files), if they show the quality that is promised"
                )
            else:
                changes.append(f"better answers of {tier.model}, or a lower min_quality than {terms.min_quality}")
        if plan.aside:
            changes.append(f"fewer answers of {plan.able[0].model} that are not accepted, or a cheaper one")
        if bar is not None:
            changes.append(f"an answer that is not accepted goes to {plan.able[plan.start + 1].model}")
        if evidence.drift.shifted(request.feature):
            changes.append("evidence on the traffic as it is now")
        return tuple(changes)

    def _status(self, feature: str, model: str) -> FeatureStatus:
        evidence = self._cascade.evidence
        bar = evidence.bar(feature, model)
        labels = evidence.labels(feature, model)
        found = bar.found
        watch, economy = evidence.drift.watch(feature), self._cascade.memory.aside.verdict(feature)
        return FeatureStatus(
            feature=feature,
            tier=model,
            evidence=bar.evidence,
            signal=bar.signal,
            threshold=evidence.threshold(bar, "logprobs") if bar.value is None and bar.serves else bar.value,
            labels=len(labels),
            gold=sum(label.gold for label in labels),
            need=found.need if isinstance(found, NotEnough) else None,
            quality_low=bar.quality_low,
            escalation=found.escalation if isinstance(found, Threshold) else None,
            saving=found.saving if isinstance(found, Threshold) else None,
            drift=watch.what if watch.since is not None else None,
            aside=economy.why if economy.aside else self._cascade.memory.stakes.why(feature),
        )

    def _told(self, entry_id: str, entry: Entry | None) -> tuple[Mapping[str, Any], str, int, int]:
        """Return how a call was routed, its feature, what it cost and what it would have cost."""
        if entry is not None:
            return entry.routing or {}, entry.feature, entry.cost_nano or 0, entry.baseline_nano or 0
        row = None
        if self._ledger is not None:
            self._ledger.drain(1.0)
            with self._ledger.open().reader() as reader:
                row = reader.call(entry_id)
        if row is None:
            raise ConfigurationError(f"feedback(): no call {entry_id!r} is known to this Saver or in its ledger")
        return row.get("routing") or {}, row["feature"], row["cost_nano"] or 0, row["baseline_nano"] or 0

    def _noted(self, entry_id: str, quality: float, tier: Any) -> bool:
        """Keep what was said of an answer that no threshold is learned from."""
        if self._ledger is None:
            return False
        row = EvaluationRow(entry_id, "feedback", quality, "feedback", tier if isinstance(tier, str) else None)
        return self._ledger.evaluate_all([row]) == 1


def _needs(unable: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{model} could answer, were it not that {why}" for model, why in unable.items())


def entry_of(response: Any) -> str:
    """Return which call an answer is of; raises ``ConfigurationError`` where it does not say."""
    if isinstance(response, str) and response:
        return response
    if isinstance(response, Entry):
        return response.id
    told = response.get("llmsaver") if isinstance(response, dict) else getattr(response, "llmsaver", None)
    if isinstance(told, dict) and isinstance(told.get("entry"), str):
        return str(told["entry"])
    headers = getattr(response, "headers", None)
    found = headers.get("x-llmsaver-entry") if headers is not None and hasattr(headers, "get") else None
    if isinstance(found, str):
        return found
    raise ConfigurationError(
        "feedback(): the answer does not say which call it is of: make the client with annotate=True, or pass "
        "saver.last, an entry's id, or the response of with_raw_response"
    )
