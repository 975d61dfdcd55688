"""The promised quality: what is not known yet, how it becomes known, and what it then decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import openai
import pytest

import llmsaver
from llmsaver import ConfigurationError, Saver
from llmsaver.router.calibration import Label, needed
from llmsaver.router.labels import read
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = "The capital of France is Paris, which lies on the Seine."
BEST = "It is Paris, on the Seine in the north of the country."
SURE = (-0.0001,) * 60


def label(merit: float | None = 0.9, weak: float = 1.0, **changes: Any) -> Label:
    """Return a label of a file."""
    told: dict[str, Any] = {
        "feature": "default",
        "confidence": merit,
        "signal": "logprobs",
        "weak": weak,
        "strong": 1.0,
        "weak_nano": 1_000,
        "strong_nano": 30_000,
        "source": "file",
        "gold": True,
    }
    return Label(**(told | changes))


def many(good: int = 90, bad: int = 10) -> list[Label]:
    """Return labels of a cheap tier that is right where it is sure."""
    sure = [label(0.9 + n / 10_000) for n in range(good)]
    return [*sure, *(label(0.1 + n / 10_000, 0.0) for n in range(bad))]


def test_without_evidence_the_last_tier_serves_and_says_how_much_is_missing(desk: Any) -> None:
    saver = desk.saver(min_quality=0.95)
    assert desk.ask(saver) == BEST
    assert desk.models() == [desk.strong]
    entry = desk.entry(saver)
    assert entry.routing["evidence"].startswith("not enough evidence: 0 of about ")
    assert entry.routing["why"] == entry.routing["evidence"]
    assert entry.routing["min_quality"] == 0.95
    assert entry.routing["risk"] == 0.1
    assert not entry.escalated


def test_the_cheap_tier_is_explored_in_the_background(desk: Any) -> None:
    desk.says[desk.strong] = [GOOD]
    saver = desk.saver(min_quality=0.95, explore=1.0)
    assert desk.ask(saver) == GOOD
    assert saver.router.drain(60)
    assert saver.ledger is not None
    (found,) = read(saver.ledger)
    assert found.tier == desk.cheap
    assert found.call == desk.entry(saver).id
    assert found.judge == "explore"
    assert found.label.weak == found.label.strong == 1.0
    assert found.label.confidence is not None
    assert found.label.signal == ("agreement" if desk.way.dialect == "messages" else "logprobs")
    assert not found.label.gold
    assert 0 < found.label.weak_nano < found.label.strong_nano
    explored = [row for row in desk.shop.rows() if row["feature"] == "quality"]
    assert explored[0]["cost_nano"] > 0
    assert explored[0]["model_answered"] == desk.cheap
    assert explored[0]["routing"] is None
    assert saver.router.status()[0].labels == 1


def test_an_explored_answer_that_differs_is_a_bad_one(plain: Any) -> None:
    plain.says[plain.cheap] = [plain.sure("It is Lyon, on the Rhone.")]
    saver = plain.saver(min_quality=0.95, explore=1.0)
    plain.ask(saver)
    saver.router.drain(60)
    (found,) = read(saver.ledger)
    assert found.label.weak == 0.0


def test_an_explored_answer_that_is_invalid_has_no_confidence(plain: Any) -> None:
    plain.says[plain.cheap] = [plain.sure("")]
    saver = plain.saver(min_quality=0.95, explore=1.0)
    plain.ask(saver)
    saver.router.drain(60)
    (found,) = read(saver.ledger)
    assert found.label.confidence is None


def test_exploring_goes_on_until_there_is_enough_and_then_the_cheap_tier_serves(plain: Any) -> None:
    plain.says[plain.strong] = [GOOD]
    saver = plain.saver(min_quality=0.9, risk=0.2, explore=1.0, may_lose=1.0)
    served: list[str] = []
    for turn in range(40):
        plain.ask(saver, f"What is the capital of France, asked for the {turn}. time?")
        saver.router.drain(60)
        served.append(plain.entry(saver).routing["tier"])
        if served[-1] == plain.cheap:
            break
    assert served[0] == plain.strong
    assert served[-1] == plain.cheap
    entry = plain.entry(saver)
    assert entry.routing["evidence"] == "contract"
    assert entry.routing["quality_low"] >= 0.9


def test_exploring_ends_where_there_is_enough_to_know_that_it_will_not_do(plain: Any) -> None:
    plain.says[plain.cheap] = [plain.sure("It is Lyon, on the Rhone.")]
    saver = plain.saver(min_quality=0.9, risk=0.2, explore=1.0, may_lose=1.0)
    for turn in range(needed(0.9, 0.2) + 5):
        plain.ask(saver, f"What is the capital of France, asked for the {turn}. time?")
    assert plain.models().count(plain.cheap) == needed(0.9, 0.2)
    assert plain.entry(saver).routing["evidence"].startswith("contract: no threshold keeps 90%")


def test_what_is_explored_is_paid_from_what_may_be_lost(plain: Any) -> None:
    cascade = plain.cascade(min_quality=0.9, explore=1.0)
    saver = plain.saver(cascade)
    for turn in range(12):
        plain.ask(saver, f"What is the capital of France, asked for the {turn}. time?")
    explored = plain.models().count(plain.cheap)
    assert cascade.auditor.counts["no room"] == 12 - explored > 0
    rows = plain.shop.rows()
    strong = [row["cost_nano"] for row in rows if row["feature"] == "default"]
    spent = sum(row["cost_nano"] for row in rows if row["feature"] == "quality")
    assert 0 < spent <= 1.5 * sum(strong) / len(strong)


def test_a_tier_that_is_no_cheaper_is_not_explored(plain: Any) -> None:
    saver = plain.saver(llmsaver.Cascade(["gpt-5-mini", "gpt-4o-mini"], min_quality=0.9, explore=1.0, audit=0))
    assert plain.ask(saver) == GOOD
    assert plain.models() == ["gpt-4o-mini"]


def test_a_call_that_went_up_weighs_as_much_less_as_audits_are_rarer(plain: Any) -> None:
    saver = plain.saver(audit=0.25)
    plain.is_unsure()
    plain.ask(saver)
    (found,) = read(saver.ledger)
    assert found.label.weight == 0.25


def test_labels_of_a_file_make_a_contract_that_holds_in_the_next_program(desk: Any) -> None:
    signal = "agreement" if desk.way.dialect == "messages" else "logprobs"
    saver = desk.saver(min_quality=0.9)
    told = [label(each.confidence, each.weak, signal=signal) for each in many()]
    status = saver.router.calibrate(told)
    assert saver.router.calibrate(told)[0].labels == status[0].labels == 100
    assert status[0].evidence == "contract"
    assert status[0].gold == 100
    assert desk.ask(saver) == GOOD
    routing = desk.entry(saver).routing
    assert routing["evidence"] == "contract"
    assert routing["threshold"] == pytest.approx(status[0].threshold)
    saver.close()
    again = desk.saver(min_quality=0.9)
    assert desk.ask(again) == GOOD
    assert again.router.status()[0].labels == 100


def test_labels_may_come_with_the_cascade(plain: Any) -> None:
    saver = plain.saver(min_quality=0.9, labels=[label(each.confidence, each.weak, feature="") for each in many()])
    assert plain.ask(saver) == GOOD
    assert plain.entry(saver).routing["evidence"] == "contract"


def test_a_tier_that_cannot_keep_the_promise_is_not_asked(plain: Any) -> None:
    saver = plain.saver(min_quality=0.99, risk=0.1, labels=[label(0.9, n % 2, feature="") for n in range(600)])
    assert plain.ask(saver) == BEST
    assert plain.models() == [plain.strong]
    assert plain.entry(saver).routing["evidence"].startswith("contract: no threshold keeps 99%")


def test_an_accepted_answer_is_audited_by_the_last_tier(desk: Any) -> None:
    desk.says[desk.strong] = [GOOD]
    saver = desk.saver(audit=1.0)
    assert desk.ask(saver) == GOOD
    assert saver.router.drain(60)
    (found,) = read(saver.ledger)
    assert found.judge == "audit"
    assert found.label.weak == 1.0
    assert found.label.weight == 1.0
    entry = desk.entry(saver)
    assert found.call == entry.id
    assert entry.routing["tier"] == desk.cheap
    audits = [row for row in desk.shop.rows() if row["feature"] == "quality"]
    assert [row["model_answered"] for row in audits] == [desk.strong]
    assert audits[0]["feature_path"] == ["default", "quality"]
    assert found.label.strong_nano == audits[0]["cost_nano"]
    assert found.label.weak_nano == entry.cost_nano


def test_an_audit_passes_a_cascade_that_replaces_the_last_tier(plain: Any) -> None:
    saver = plain.saver(audit=1.0, replaces=[plain.strong])
    plain.ask(saver, model=plain.strong)
    saver.router.drain(60)
    assert plain.models() == [plain.cheap, plain.strong]


def test_a_call_that_went_up_is_a_label_for_free(desk: Any) -> None:
    desk.is_unsure()
    saver = desk.saver()
    assert desk.ask(saver) == BEST
    saver.router.drain(60)
    (found,) = read(saver.ledger)
    assert found.label.weak == 0.0
    assert found.label.confidence is not None
    assert all(row["feature"] != "quality" for row in desk.shop.rows())


def test_an_audit_without_room_is_not_made(plain: Any) -> None:
    budget = {"name": "quality", "usd": "0.0000001"}
    saver = plain.shop.saver(stack=[..., plain.cascade(audit=1.0)], budgets=[budget])
    assert plain.ask(saver) == GOOD
    saver.router.drain(60)
    assert plain.models() == [plain.cheap]
    assert read(saver.ledger) == []


def test_an_audit_that_fails_costs_nobody_anything(plain: Any) -> None:
    plain.says[plain.strong] = [Fault(500)]
    saver = plain.saver(audit=1.0)
    assert plain.ask(saver) == GOOD
    saver.router.drain(60)
    assert read(saver.ledger) == []


@pytest.mark.parametrize(
    ("judge", "weak"), [(lambda *_: True, 1.0), (lambda *_: 0.25, 0.25), (lambda *_: "yes", None), (lambda *_: 7, None)]
)
def test_a_judge_of_ones_own_says_how_good_an_audited_answer_is(
    plain: Any, judge: Callable[..., Any], weak: float | None
) -> None:
    saver = plain.saver(audit=1.0, judge=judge)
    plain.ask(saver)
    saver.router.drain(60)
    assert [found.label.weak for found in read(saver.ledger)] == ([] if weak is None else [weak])


def test_a_judge_that_raises_is_left_out(plain: Any) -> None:
    saver = plain.saver(audit=1.0, judge=lambda *_: 1 / 0)
    plain.ask(saver)
    saver.router.drain(60)
    assert read(saver.ledger) == []


def test_feedback_on_a_cheap_answer_is_a_gold_label(desk: Any) -> None:
    saver = desk.saver()
    desk.ask(saver)
    entry = desk.entry(saver)
    assert llmsaver.feedback(entry, ok=False)
    assert llmsaver.feedback(entry.id, ok=False)  # the same again takes its own place
    (found,) = read(saver.ledger)
    assert found.label.gold
    assert found.label.weak == 0.0
    assert found.label.confidence == entry.routing["signals"]["merit"]
    assert found.label.source == "feedback"


def test_feedback_is_found_through_the_answer_itself(plain: Any) -> None:
    saver = plain.saver()
    plain.ask(saver, options={"annotate": True})
    assert plain.result.llmsaver["router"]["tier"] == plain.cheap
    assert saver.router.feedback(plain.result, ok=True)
    with plain.shop.client(plain.way, saver) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=[{"role": "user", "content": "And of Spain?"}]
        )
    assert saver.router.feedback(raw, ok=True)
    assert len(read(saver.ledger)) == 2
    with pytest.raises(ConfigurationError, match="does not say which call"):
        saver.router.feedback(openai.NOT_GIVEN, ok=True)


def test_feedback_on_an_answer_of_the_last_tier_is_kept_and_teaches_no_threshold(plain: Any) -> None:
    plain.is_unsure()
    saver = plain.saver()
    plain.ask(saver)
    assert saver.router.feedback(saver.last, ok=False)
    assert saver.ledger.evaluations("feedback")[0]["value"] == 0.0


def test_feedback_reaches_a_call_of_another_program(plain: Any) -> None:
    saver = plain.saver()
    plain.ask(saver)
    entry = plain.entry(saver)
    saver.close()
    other = plain.saver()
    assert other.router.feedback(entry.id, ok=False)
    (found,) = read(other.ledger)
    assert found.label.confidence == pytest.approx(entry.routing["signals"]["merit"])
    with pytest.raises(ConfigurationError, match="no call 'e0' is known"):
        other.router.feedback("e0", ok=True)


def test_a_saver_without_a_cascade_says_so() -> None:
    with Saver(mode="off") as saver, pytest.raises(ConfigurationError, match="this Saver has no cascade"):
        saver.router  # noqa: B018 - the access is what is under test


def test_the_self_check_is_asked_where_labels_show_that_it_helps(plain: Any) -> None:
    def says(text: str) -> Any:
        return Answer(text, logprobs=False)

    plain.says[plain.cheap] = [says(GOOD), says("YES 97"), says(GOOD), says("NO 90")]
    options = {"agreement": False, "self_check": True, "threshold": {"self-check": 0.5}}
    told = [label(0.9 if good else 0.1, float(good), signal="self-check", feature="") for good in (1, 0) * 30]
    assert plain.ask(plain.saver(**options)) == BEST  # nothing shows that it helps
    assert plain.models() == [plain.cheap, plain.strong]
    plain.says[plain.cheap] = [says(GOOD), says("YES 97"), says(GOOD), says("NO 90")]
    saver = plain.saver(**options, labels=told)
    first = plain.ask(saver)
    asked = plain.shop.fake.requests[-1].json
    assert asked["model"] == plain.cheap
    assert first == GOOD
    assert plain.entry(saver).routing["signal"] == "self-check"
    assert plain.ask(saver) == BEST


def test_what_a_tier_says_of_its_own_answers_is_explored_apart(plain: Any) -> None:
    plain.says[plain.cheap] = [plain.sure(), Answer("YES 97")]
    saver = plain.saver(min_quality=0.95, explore=1.0, self_check=True)
    plain.ask(saver)
    assert sorted(found.label.signal for found in read(saver.ledger)) == ["logprobs", "self-check"]
    assert saver.router.status()[0].labels == 1


def test_a_threshold_by_hand_is_kept_to(plain: Any) -> None:
    assert plain.ask(plain.saver(threshold=1.0)) == BEST
    plain.is_unsure()
    saver = plain.saver(threshold={"logprobs": 0.0})
    assert plain.ask(saver) != BEST
    assert plain.entry(saver).routing["evidence"] == "fixed"
