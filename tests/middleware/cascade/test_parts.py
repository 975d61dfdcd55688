"""The rarer ways of a cascade's parts: what breaks, what is late, what is at its bounds."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import openai
import pytest

from llmsaver import Cascade, ConfigurationError, Entry, Saver, Tier
from llmsaver.errors import BudgetExceeded
from llmsaver.middleware import cascade_evidence, cascade_money
from llmsaver.router.calibration import Label
from llmsaver.router.confidence import Confidence
from llmsaver.router.labels import stored
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = "The capital of France is Paris, which lies on the Seine."
BEST = "It is Paris, on the Seine in the north of the country."
LONG = " ".join(f"Paris has a {n}. district, and people live in it." for n in range(40))


def label(merit: float | None = 0.9, weak: float = 1.0, feature: str = "default", signal: str = "logprobs") -> Label:
    return Label(feature, merit, signal, weak, 1.0, 1_000, 30_000, "audit", gold=False)


def teach(cascade: Cascade, labels: list[Label], start: int = 0) -> None:
    """Let a cascade learn labels of calls."""
    model = cascade.terms.models[0]
    cascade.evidence.learn([stored(each, model, call=f"e{start + n}") for n, each in enumerate(labels)])


def two(**options: Any) -> Cascade:
    return Cascade(["gpt-4o-mini", "gpt-5-mini"], **options)


# -- evidence ----------------------------------------------------------------------------------------------------------


def test_evidence_since_a_shift_brings_the_contract_back() -> None:
    cascade = two(min_quality=0.9, risk=0.2)
    teach(cascade, [label(0.9 + n / 1000) for n in range(60)])
    evidence, model = cascade.evidence, cascade.terms.models[0]
    assert evidence.bar("default", model).serves
    watch = evidence.drift.watch("default")
    watch.since, watch.what = 0.0, "everything"
    for kept in evidence._labels.values():  # as if they were from before
        for key, each in list(kept.items()):
            kept[key] = type(each)(each.label, each.tier, each.call, -1.0, judge=each.judge)
    evidence.shifted("default", "everything")
    assert not evidence.bar("default", model).serves
    teach(cascade, [label(0.9 + n / 1000) for n in range(40)], start=1_000)
    assert not evidence.drift.shifted("default")
    assert evidence.bar("default", model).serves


@pytest.mark.parametrize(("weak", "back"), [(1.0, True), (0.5, False)])
def test_without_a_promise_good_answers_bring_the_prior_back(weak: float, back: bool) -> None:
    cascade = two()
    evidence, model = cascade.evidence, cascade.terms.models[0]
    easy = evidence.threshold(evidence.bar("default", model), "logprobs")
    evidence.drift.watch("default").since = 0.0
    evidence.shifted("default", "everything")
    assert easy < evidence.threshold(evidence.bar("default", model), "logprobs") < 1
    teach(cascade, [label(0.9, weak) for _ in range(40)])
    assert evidence.drift.shifted("default") is not back


def test_many_labels_change_thresholds_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_evidence, "_MANY", 5)
    monkeypatch.setattr(cascade_evidence, "_RENEW_SECONDS", 3_600.0)
    cascade = two(min_quality=0.9, risk=0.2)
    model = cascade.terms.models[0]
    cascade.evidence.bar("default", model)
    teach(cascade, [label(0.9) for _ in range(8)])
    before = cascade.evidence.bar("default", model).evidence
    teach(cascade, [label(0.9) for _ in range(8)], start=50)
    assert cascade.evidence.bar("default", model).evidence == before
    cascade.evidence.forget_bars()
    assert cascade.evidence.bar("default", model).evidence != before


def test_the_latest_labels_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_evidence, "_MOST", 10)
    cascade = two()
    teach(cascade, [label(n / 100) for n in range(30)])
    kept = cascade.evidence.labels("default", cascade.terms.models[0])
    assert [each.confidence for each in kept] == [n / 100 for n in range(20, 30)]


def test_a_self_check_that_tells_nothing_apart_is_not_asked() -> None:
    cascade = two(self_check=True)
    model = cascade.terms.models[0]
    teach(cascade, [label(0.9, signal="self-check") for _ in range(40)])
    assert not cascade.evidence.self_check_helps("default", model)
    teach(cascade, [label(0.1, 0.0, signal="self-check") for _ in range(40)], start=100)
    assert cascade.evidence.self_check_helps("default", model)


def test_a_ledger_that_cannot_be_read_costs_nobody_the_call(plain: Any, caplog: pytest.LogCaptureFixture) -> None:
    cascade = plain.cascade()
    saver = plain.saver(cascade)

    def broken() -> None:
        raise OSError("gone")

    cascade.evidence.look = broken
    with caplog.at_level(logging.WARNING, "llmsaver"):
        assert plain.ask(saver) == GOOD
    assert "cannot be read" in caplog.text


def test_what_other_programs_learn_is_looked_for_in_the_background(plain: Any) -> None:
    cascade = plain.cascade()
    saver = plain.saver(cascade)
    plain.ask(saver)
    cascade.evidence._looked_at = 0.0
    plain.ask(saver)
    assert cascade.evidence._looked_at > 0.0


# -- plans -------------------------------------------------------------------------------------------------------------


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_a_conversation_stays_up_or_goes_down_where_that_pays(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.is_unsure()
    saver = plain.saver()
    first = "Explain in detail how a database replicates its data between two places."
    second = "Now compare that with how a file system keeps copies of its blocks, in three sentences."
    pays: list[bool] = [False, True]
    monkeypatch.setattr("llmsaver.middleware.cascade_plan.switch_pays", lambda *_, **__: pays.pop(0))
    plain.ask(saver, messages=talk(first))
    plain.ask(saver, messages=talk(first, BEST, second))
    assert plain.entry(saver).routing["start"] == plain.strong
    third = "And what would you advise to a small team with little money and less time?"
    plain.says[plain.cheap] = [plain.sure()]
    assert plain.ask(saver, messages=talk(first, BEST, second, BEST, third)) == GOOD
    assert "goes down" not in plain.entry(saver).routing["why"]  # what was judged says more
    assert plain.entry(saver).routing["start"] == plain.cheap


def test_a_follow_up_to_a_tier_that_lost_its_evidence_goes_up(plain: Any) -> None:
    cascade = plain.cascade()
    saver = plain.saver(cascade)
    first = "Plan how to move our database without any downtime, please."
    plain.ask(saver, messages=talk(first))
    bar = cascade_evidence.Bar("not enough evidence: 0 of about 45 labels", serves=False)
    cascade.evidence.bar = lambda *_: bar
    assert plain.ask(saver, messages=talk(first, GOOD, "yes")) == BEST
    assert plain.entry(saver).routing["evidence"] == bar.evidence


def test_a_local_tier_has_the_room_that_is_declared() -> None:
    cascade = Cascade(["local/smollm2-135m", "gpt-5-mini"])
    with Saver(stack=[..., cascade], local_context=512) as saver:
        told = saver.router.explain(messages=talk("Tell me more. " * 500))
        assert told.start == "gpt-5-mini"
        assert "512 tokens" in told.tiers[0]["why"]
        assert saver.router.explain(messages=talk("Hi"), max_tokens=20).start == "local/smollm2-135m"


def test_a_tier_without_a_price_is_no_reason_to_stay(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = plain.cascade()
    saver = plain.saver(cascade)
    plain.is_unsure()
    first = "Explain in detail how a database replicates its data between two places."
    plain.ask(saver, messages=talk(first))
    monkeypatch.setattr(cascade.money, "rates", lambda *_: None)
    plain.ask(saver, messages=talk(first, BEST, "Now compare that with how a file system keeps copies of its blocks."))
    assert plain.entry(saver).routing["start"] == plain.strong


def test_places_and_rates_are_remembered_within_bounds(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade_money, "_KEPT", 1)
    saver = plain.saver()
    assert plain.ask(saver) == GOOD


# -- judging -----------------------------------------------------------------------------------------------------------


def test_a_confidence_that_is_no_number_goes_up(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.middleware.judging.by_logprobs", lambda _: Confidence(0.9, "logprobs"))
    monkeypatch.setattr("llmsaver.middleware.judging.merit", lambda *_, **__: math.nan)
    saver = plain.saver()
    assert plain.ask(saver) == BEST
    assert "no number" in plain.entry(saver).routing["why"]


def test_a_signal_that_nothing_was_promised_by_goes_up(plain: Any) -> None:
    labels = [label(0.9 + n / 10_000, feature="", signal="agreement") for n in range(80)]
    saver = plain.saver(min_quality=0.9, risk=0.2, labels=labels)
    assert plain.ask(saver) == BEST
    assert "rests on agreement" in plain.entry(saver).routing["why"]


def test_a_refusal_of_the_second_samples_budget_is_no_second_sample(
    plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cascade = plain.cascade()
    saver = plain.saver(cascade)

    async def refuses(*_: Any) -> Any:
        raise BudgetExceeded("b", limit=1)

    monkeypatch.setattr(cascade.judge, "confidence", refuses)
    with pytest.raises(BudgetExceeded):
        plain.ask(saver)


@pytest.mark.parametrize("broken", [True, False])
def test_a_beginning_that_says_nothing_or_breaks_the_judge(
    desk_of: Any, way_of: Any, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    desk = desk_of(way_of("chat", stream=True))
    desk.says[desk.cheap] = [Answer(LONG, logprobs=(-0.0001,) * 900)]
    prefix: Callable[..., Any] = (lambda *_: 1 / 0) if broken else (lambda *_: None)
    monkeypatch.setattr("llmsaver.middleware.judging.prefix_confidence", prefix)
    saver = desk.saver(streaming="optimistic", hold_tokens=8)
    assert desk.ask(saver, max_completion_tokens=900) == (BEST if broken else LONG)


def test_an_optimistic_stream_without_a_last_event_ends_where_it_ends(desk_of: Any, way_of: Any) -> None:
    desk = desk_of(way_of("chat", stream=True))
    half = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    desk.says[desk.cheap] = [Fault(body=half, content_type="text/event-stream")]
    saver = desk.saver(streaming="optimistic", hold_tokens=50)
    assert desk.ask(saver) == BEST


def test_exploring_in_optimistic_mode_learns_of_beginnings(desk_of: Any, way_of: Any) -> None:
    desk = desk_of(way_of("chat", stream=True))
    desk.says[desk.cheap] = [Answer(LONG, logprobs=(-0.0001,) * 900)]
    saver = desk.saver(streaming="optimistic", min_quality=0.9, explore=1.0)
    assert desk.ask(saver) == BEST
    rows = saver.ledger.evaluations("router")
    assert [row["details"]["signal"] for row in rows] == ["prefix"]


# -- audits ------------------------------------------------------------------------------------------------------------


def test_an_audit_that_breaks_is_counted_and_logged(
    plain: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmsaver.middleware.auditing.hashed", lambda _: 1 / 0)
    cascade = plain.cascade(audit=1.0)
    saver = plain.saver(cascade)
    with caplog.at_level(logging.WARNING, "llmsaver"):
        assert plain.ask(saver) == GOOD
    assert cascade.auditor.counts["failed"] == 1
    assert "an audit failed" in caplog.text


def test_a_full_queue_drops_audits_and_counts_them(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cascade = plain.cascade(audit=1.0)
    saver = plain.saver(cascade)
    monkeypatch.setattr(saver.background, "submit", lambda _: False)
    assert plain.ask(saver) == GOOD
    assert cascade.auditor.counts["dropped"] == 1


def test_an_exploration_that_gets_no_whole_answer_teaches_nothing(plain: Any) -> None:
    plain.says[plain.cheap] = [Fault(500)]
    cascade = plain.cascade(min_quality=0.9, explore=1.0)
    saver = plain.saver(cascade)
    assert plain.ask(saver) == BEST
    assert cascade.auditor.counts["not answered"] == 1
    assert saver.ledger.evaluations("router") == []


def test_a_tier_that_failed_its_promise_is_still_looked_at_now_and_then(plain: Any) -> None:
    labels = [label(0.9, n % 2, feature="") for n in range(300)]
    cascade = plain.cascade(min_quality=0.99, audit=1.0, labels=labels)
    saver = plain.saver(cascade)
    assert "better answers of" in " ".join(saver.router.explain(messages=talk("Hi there")).changes)
    assert plain.ask(saver) == BEST
    assert plain.models() == [plain.strong, plain.cheap]


def test_shifted_traffic_is_audited_more(plain: Any) -> None:
    cascade = plain.cascade(audit=0.25)
    saver = plain.saver(cascade)
    cascade.evidence.drift.watch("default").since = 0.0
    plain.says[plain.cheap] = [Answer("Paris", logprobs=(-0.00000001,) * 9)]
    plain.ask(saver)
    assert plain.models() == [plain.cheap, plain.strong]


# -- the layer ---------------------------------------------------------------------------------------------------------


def test_embeddings_and_what_has_another_origin_are_not_routed(plain: Any) -> None:
    saver = plain.saver()
    with plain.shop.client(plain.way, saver) as client:
        client.embeddings.create(model="text-embedding-3-small", input="hi")
    assert saver.last.routing is None


def test_an_answer_cut_short_of_its_message_goes_up(plain: Any) -> None:
    plain.says[plain.cheap] = [Fault(body=b"[]", content_type="application/json")]
    saver = plain.saver()
    assert plain.ask(saver) == BEST


def test_without_a_ledger_feedback_is_kept_nowhere() -> None:
    with Saver(mode="off", stack=[..., two()]) as saver:
        saver._record._keep(entry := Entry("chat", "auto"))
        assert not saver.router.feedback(entry, ok=True)
        with pytest.raises(ConfigurationError, match="no call"):
            saver.router.feedback("e0", ok=True)
        assert saver.router.drain()


def test_a_break_down_everywhere_is_the_transports_own(plain: Any) -> None:

    plain.says = {plain.cheap: [Fault(drop="connect")], plain.strong: [Fault(drop="connect")]}
    with pytest.raises(openai.APIConnectionError):
        plain.ask(plain.saver(hedge=5.0))


def test_a_hedge_that_is_not_needed_is_closed(desk_of: Any, way_of: Any, held: Any) -> None:

    desk = desk_of(way_of("chat", stream=True))
    desk.says[desk.strong] = [Answer(LONG)]
    wire, options = held(desk)
    wire.after[desk.cheap] = wire.asked[desk.strong]
    saver = desk.saver(hedge=0.05)
    assert desk.ask(saver, options=options) == GOOD
    assert len(desk.entry(saver).attempts) == 2


def test_a_tiers_own_settings_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="max_context"):
        Tier("x", max_context=0)
