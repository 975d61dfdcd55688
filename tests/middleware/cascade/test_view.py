"""``saver.router``: what would be done, without doing it; and bad settings, refused at start."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmsaver import Cascade, ConfigurationError, ExactCache, Tier
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.runtime import SyncRuntime
from llmsaver.router.calibration import Label
from llmsaver.testing import Fault

GOOD = "The capital of France is Paris, which lies on the Seine."
BEST = "It is Paris, on the Seine in the north of the country."
ASKED = [{"role": "user", "content": "What is the capital of France?"}]


class Fitted:
    """A gatekeeper that expects the same of every question."""

    def __init__(self, gain: float) -> None:
        self.says = gain

    def gain(self, texts: list[str]) -> list[float]:
        return [self.says] * len(texts)


def test_explaining_sends_nothing_and_says_everything(plain: Any) -> None:
    saver = plain.saver()
    told = saver.router.explain(model="auto", messages=ASKED, max_completion_tokens=50)
    assert plain.models() == []
    assert told.start == told.tier == plain.cheap
    assert told.last == plain.strong
    assert told.evidence == "prior"
    assert float(told.expected_cost_usd) > 0
    assert float(told.last_tier_cost_usd) > 0
    shown = told.as_dict()
    assert json.loads(json.dumps(shown)) == shown
    assert shown["tiers"] == [
        {"tier": plain.cheap, "able": True, "why": ""},
        {"tier": plain.strong, "able": True, "why": ""},
    ]
    assert plain.cheap in str(told)
    assert f"an answer that is not accepted goes to {plain.strong}" in told.changes


def test_explaining_takes_a_mapping_or_a_request_in_every_dialect(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    saver = plain.saver()
    for body in ({"input": "Hi"}, {"messages": ASKED}, {"messages": ASKED, "max_tokens": 9, "system": "Be brief"}):
        assert saver.router.explain(body).start == plain.cheap
    url = "https://api.openai.com/v1/chat/completions"
    request = Request("chat", {"model": "auto", "messages": ASKED}, url, Entry("chat", "auto"), SyncRuntime())
    assert saver.router.explain(request).start == plain.cheap
    with pytest.raises(ConfigurationError, match="dialect=") as raised:
        saver.router.explain(dialect="smoke", messages=ASKED)
    assert "chat, responses or messages" in str(raised.value)


def test_explaining_says_what_is_missing(plain: Any) -> None:
    saver = plain.saver(Cascade([Tier(plain.cheap, max_context=20), plain.strong], min_quality=0.95))
    told = saver.router.explain(messages=ASKED)
    assert told.start == plain.strong
    assert told.changes[0].startswith(f"{plain.cheap} could answer, were it not that has a context of 20 tokens")
    assert "cannot answer: has a context" in str(told)
    promised = plain.saver(min_quality=0.95)
    told = promised.router.explain(messages=ASKED)
    assert "more labels for" in told.changes[0]
    assert told.start == plain.strong
    none = plain.saver(Cascade([Tier(plain.cheap, max_context=20), Tier(plain.strong, max_context=30)]))
    assert none.router.explain(messages=ASKED).why == "no tier can answer"


def test_the_status_of_a_promise_tells_all_of_it(plain: Any) -> None:
    labels = [Label("", 0.9, "logprobs", 1.0, 1.0, 1_000, 30_000, "file", True) for _ in range(90)]
    labels += [Label("", 0.1, "logprobs", 0.0, 1.0, 1_000, 30_000, "file", True) for _ in range(10)]
    saver = plain.saver(min_quality=0.9, labels=labels)
    (told,) = saver.router.status()
    assert told.feature == "default"
    assert told.tier == plain.cheap
    assert told.labels == told.gold == 100
    assert told.quality_low >= 0.9
    assert 0 < told.saving < 1
    assert told.as_dict()["evidence"] == "contract"
    explained = saver.router.explain(messages=ASKED)
    assert explained.expected_escalation == told.escalation
    assert "quality: at least" in str(explained)
    with pytest.raises(ConfigurationError, match="calibrate"):
        saver.router.calibrate(tier="nobody")


def test_a_gatekeeper_keeps_wasted_calls_from_the_cheap_tier(plain: Any) -> None:
    saver = plain.saver(gatekeeper=Fitted(0.99))
    assert plain.ask(saver) == BEST
    assert plain.models() == [plain.strong]
    assert "gatekeeper" in plain.entry(saver).routing["why"]
    assert plain.entry(saver).routing["signals"]["gain"] == 0.99
    assert plain.ask(plain.saver(gatekeeper=Fitted(0.1))) == GOOD


def test_a_gatekeeper_that_breaks_is_not_heard(plain: Any) -> None:
    class Broken:
        def gain(self, _: list[str]) -> list[float]:
            raise ImportError("no numpy")

    assert plain.ask(plain.saver(gatekeeper=Broken())) == GOOD


def test_a_cache_above_serves_what_was_routed(plain: Any) -> None:
    saver = plain.shop.saver(stack=[ExactCache(when="always"), plain.cascade()])
    assert plain.ask(saver) == GOOD
    first = plain.entry(saver)
    assert plain.ask(saver) == GOOD
    hit = plain.entry(saver)
    assert hit.hit_kind == "exact"
    assert hit.cost_nano == 0
    assert hit.baseline_nano == first.baseline_nano
    assert plain.models() == [plain.cheap]
    one, other = plain.cascade(), plain.cascade(threshold=0.5)
    assert one.policy != other.policy


TIERS = ["gpt-4o-mini", "gpt-5-mini"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tiers": "gpt-5-mini"}, "must be a list of models"),
        ({"tiers": ["gpt-5-mini"]}, "needs two models"),
        ({"tiers": ["gpt-5-mini", "gpt-5-mini"]}, "twice"),
        ({"tiers": ["auto", "gpt-5-mini"]}, "no model"),
        ({"tiers": [3, "gpt-5-mini"]}, "models' names or Tier"),
        ({"min_quality": 1.0}, "min_quality="),
        ({"min_quality": "0.9"}, "min_quality="),
        ({"risk": 0}, "risk="),
        ({"audit": 2}, "audit="),
        ({"explore": -0.1}, "explore="),
        ({"min_quality": 0.9, "threshold": 0.5}, "leave one of them out"),
        ({"threshold": 3}, "threshold="),
        ({"threshold": {"logprobs": 3}}, "logprobs"),
        ({"hedge": 3, "max_wait": 2}, "make hedge= the shorter"),
        ({"hedge": 0}, "hedge="),
        ({"max_wait": -1}, "max_wait="),
        ({"streaming": "never"}, "'buffer' or 'optimistic'"),
        ({"hold_tokens": 0}, "hold_tokens="),
        ({"threshold": {"mood": 0.5}}, "'mood', which is no signal: there are agreement, logprobs, self_check"),
        ({"self_check": "yes"}, "self_check="),
        ({"agreement": "no"}, "agreement="),
        ({"may_lose": -1}, "may_lose="),
        ({"labels": [3]}, "labels="),
        ({"labels": None}, "labels="),
        ({"labels": "x"}, "labels="),
        ({"tiers": ["gpt-4o-mini ", "gpt-5-mini"]}, "blanks"),
        ({"tiers": [" ", "gpt-5-mini"]}, "blanks"),
        ({"judge": "me"}, "judge="),
        ({"gatekeeper": 3}, "gatekeeper="),
        ({"validators": "all"}, "validators="),
        ({"validators": [3]}, "validators="),
        ({"validators": {"mine": 3}}, "validators="),
        ({"replaces": "gpt-5-mini"}, "replaces="),
        ({"replaces": [""]}, "replaces="),
        ({"replaces": [3]}, "replaces="),
        ({"replaces": ["gpt-4o-mini"]}, "cheaper tier"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Cascade(**{"tiers": TIERS, **arguments})


def test_a_tier_without_a_key_is_passed_over_and_said(plain: Any) -> None:
    saver = plain.saver(Cascade([plain.cheap, Tier("claude-haiku-4-5"), plain.strong], audit=0))
    plain.is_unsure()
    assert plain.ask(saver) == BEST
    assert "ANTHROPIC_API_KEY" in plain.entry(saver).routing["tried"][0]["why"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_tier_of_the_other_vendor_is_reached_through_translation(
    desk_of: Any, way_of: Any, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    desk = desk_of(way_of("chat", stream=stream))
    desk.says["claude-haiku-4-5"] = [GOOD]
    saver = desk.saver(Cascade(["claude-haiku-4-5", "gpt-5"], audit=0))
    assert desk.ask(saver) == GOOD
    entry = desk.entry(saver)
    assert entry.model == "claude-haiku-4-5"
    assert entry.upstream == "api.anthropic.com"
    assert entry.routing["signal"] == "agreement"
    assert entry.baseline_nano > 0
    received = desk.shop.fake.requests[0]
    assert received.vendor == "anthropic"


@pytest.mark.parametrize("stream", [False, True])
def test_the_last_tier_of_the_other_vendor_answers_translated(
    desk_of: Any, way_of: Any, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    desk = desk_of(way_of("messages", stream=stream))
    desk.is_unsure()
    desk.says["gpt-5"] = [BEST]
    saver = desk.saver(Cascade([desk.cheap, "gpt-5"], audit=0))
    assert desk.ask(saver) == BEST
    entry = desk.entry(saver)
    assert entry.model == "gpt-5"
    assert entry.escalated
    assert entry.baseline_nano == entry.attempts[-1].cost.nano_usd


def test_a_tier_that_costs_about_what_the_last_one_does_is_left_out(plain: Any) -> None:
    plain.says["gpt-5.1"] = [BEST]
    saver = plain.saver(Cascade(["gpt-5", "gpt-5.1"], audit=0))
    plain.ask(saver)
    entry = plain.entry(saver)
    assert entry.routing["aside"]
    assert entry.routing["why"] == "stepped aside: gpt-5 costs about what gpt-5.1 does"
    assert plain.models() == ["gpt-5.1"]


def test_a_last_tier_that_cannot_be_asked_is_an_error_and_no_downgrade(desk: Any) -> None:
    other = "gpt-5-mini" if desk.way.dialect == "messages" else "claude-opus-4-5"
    saver = desk.saver(Cascade([desk.cheap, other], audit=0))
    with pytest.raises(ConfigurationError, match=f"{other}, the last tier, cannot be asked: "):
        desk.ask(saver)
    assert desk.models() == []
    explained = saver.router.explain(
        messages=ASKED, dialect=desk.way.dialect if desk.way.dialect != "responses" else "chat"
    )
    assert "cannot be asked" in explained.why


def test_a_named_model_is_kept_where_the_last_tier_cannot_be_asked(plain: Any) -> None:
    saver = plain.saver(Cascade([plain.cheap, "claude-opus-4-5"], replaces=[plain.strong], audit=0))
    assert plain.ask(saver, model=plain.strong) == BEST
    assert plain.models() == [plain.strong]
    assert "the last tier, cannot be asked" in str(plain.entry(saver).layers)


def test_a_cheap_tier_that_is_down_is_not_said_to_have_answered(plain: Any) -> None:
    plain.says[plain.cheap] = [Fault(500)]
    saver = plain.saver()
    assert plain.ask(saver) == BEST
    assert plain.entry(saver).routing["why"] == f"{plain.cheap} did not answer"
