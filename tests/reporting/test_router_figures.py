"""What routing came to: shares, escalations, cost per resolved task, and the saving with its interval."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from llmsaver.ledger import CallRow, EvaluationRow, Ledger, TaskRow
from llmsaver.reporting.report import report, report_of
from llmsaver.reporting.report_export import as_dict
from llmsaver.reporting.report_view import described
from llmsaver.reporting.router_figures import Routed, gathered, routed

NOW = 1_795_000_000.0
TIERS = ["local/small", "middle", "large"]
Write = Callable[..., None]


@pytest.fixture
def write(books: Ledger) -> Write:
    """Return a function that writes one routed call."""

    def one(number: int, tier: str, *, escalated: bool = False, feature: str = "faq", **more: Any) -> None:
        values: dict[str, Any] = {"started_at": NOW, "model_asked": "auto", "model_answered": tier, "status": 200}
        values |= {"cost_nano": 1_000, "baseline_nano": 10_000, "escalated": escalated, "latency_ms": 100.0}
        routing = {"asked": "auto", "tiers": TIERS, "tier": tier, "escalated": escalated}
        assert books.write(CallRow(f"c{number}", feature=feature, routing=routing, **{**values, **more})).ok

    return one


def of(books: Ledger, since: float | None = None) -> Routed:
    with books.reader() as reader:
        found = routed(gathered(reader, since=since))
    assert found is not None
    return found


def test_nothing_was_routed(books: Ledger) -> None:
    books.write(CallRow("c0", cost_nano=5))
    with books.reader() as reader:
        assert routed(gathered(reader)) is None
    made = report(books, now=NOW)
    assert made.routing is None
    assert as_dict(made)["router"] is None


def test_shares_and_escalations(books: Ledger, write: Write) -> None:
    for number in range(6):
        write(number, "local/small")
    write(6, "middle", escalated=True, feature="mail")
    write(7, "large", escalated=True, cost_nano=11_000)
    write(8, "large", started_at=NOW - 10 * 86_400)
    found = of(books, since=NOW - 100)
    assert [(tier.model, tier.figures.calls, tier.share) for tier in found.tiers] == [
        ("local/small", 6, 0.75),
        ("middle", 1, 0.125),
        ("large", 1, 0.125),
    ]
    assert found.escalation == 0.25
    assert found.saving is not None
    assert (found.saving.nano, found.saving.low, found.saving.high) == (62_000, 62_000, 62_000)
    assert not found.saving.interval
    assert of(books).figures.calls == 9
    told = found.as_dict()
    assert told["escalation_rate"] == 0.25
    assert told["saving"]["saved_is"] == "bounds of estimates"
    assert told["tiers"][2]["escalated_to_it"] == 1
    assert told["tiers"][2]["per_resolved_task_usd"] is None


def test_a_calls_price_may_be_unknown(books: Ledger, write: Write) -> None:
    write(1, "local/small", baseline_nano=None)
    write(2, "", cost_nano=None, baseline_nano=None, unpriced=True)
    found = of(books)
    assert found.saving is None
    assert found.as_dict()["saving"] is None
    assert [tier.model for tier in found.tiers] == ["", "local/small"]


def test_tasks_are_counted_where_their_dearest_answer_is_from(books: Ledger, write: Write) -> None:
    for number, (task, tier) in enumerate([("a", "local/small"), ("a", "large"), ("b", "local/small"), ("c", "old")]):
        write(number, tier, task=task)
    books.write(CallRow("plain", started_at=NOW, task="b", cost_nano=500))
    books.write(CallRow("other", started_at=NOW, task="d", cost_nano=500))
    for task, outcome in (("a", "resolved"), ("b", "resolved"), ("c", "failed"), ("d", "resolved")):
        books.write_task(TaskRow(task, started_at=NOW, outcome=outcome, ended_at=NOW))
    tiers = {tier.model: tier for tier in of(books).tiers}
    assert {name: (tier.tasks, tier.resolved, tier.per_resolved) for name, tier in tiers.items()} == {
        "large": (1, 1, 2_000),
        "local/small": (1, 1, 1_500),
        "old": (1, 0, None),
    }
    assert tiers["large"].as_dict()["per_resolved_task_usd"] == "0.000002"


def test_a_feature_by_itself(books: Ledger, write: Write) -> None:
    write(1, "local/small", task="a")
    write(2, "large", task="a", feature="mail")
    books.write_task(TaskRow("a", started_at=NOW, outcome="resolved", ended_at=NOW))
    with books.reader() as reader:
        found = gathered(reader)
    alone = routed(found, "faq")
    assert alone is not None
    assert [(tier.model, tier.tasks, tier.task_nano) for tier in alone.tiers] == [("local/small", 1, 2_000)]
    both = routed(found)
    assert both is not None
    assert [(tier.model, tier.tasks) for tier in both.tiers] == [("local/small", 0), ("large", 1)]
    assert routed(found, "none") is None


def test_a_task_may_go_on_after_the_time_asked_about(books: Ledger, write: Write) -> None:
    write(1, "local/small", task="a")
    write(2, "elsewhere", task="a", started_at=NOW + 1_000, feature="mail")
    books.write_task(TaskRow("a", started_at=NOW, outcome="resolved", ended_at=NOW + 1_000))
    with books.reader() as reader:
        found = routed(gathered(reader, until=NOW + 500))
    assert found is not None
    assert [(tier.model, tier.tasks) for tier in found.tiers] == [("local/small", 1)]


def check(books: Ledger, number: int, strong: Any, *, judge: str = "audit", **more: Any) -> None:
    details = {"strong_nano": strong, "weak_nano": 7, **more}
    books.evaluate_all([EvaluationRow(f"c{number}", "router", 1.0, judge, "local/small", details)])


def test_the_saving_has_an_interval_once_enough_answers_were_checked(books: Ledger, write: Write) -> None:
    for number in range(100):
        write(number, "local/small")
    write(100, "large", escalated=True)
    write(101, "large")
    for number in range(19):
        check(books, number, 12_000 if number % 2 else 8_000, weight=50.0)
    check(books, 100, 9_999)  # both answers are in the call's bill
    check(books, 101, 9_999, judge="explore")  # the cheap tier's answer was the check
    check(books, 99, None, judge="feedback")
    before = of(books).saving
    assert before is not None
    assert (before.interval, before.checked) == (False, 19)
    check(books, 20, 12_000, weight=50.0)
    found = of(books).saving
    assert found is not None
    assert (found.interval, found.checked) == (True, 20)
    assert found.checks_nano == 10 * 8_000 + 10 * 12_000 + 7
    assert found.baseline_nano == 102 * 10_000
    assert found.nano == 102 * 9_000 - found.checks_nano
    half = (found.high - found.low) / 2
    assert half == pytest.approx(100 * 10_000 * 0.2 * (20 / 19) ** 0.5 / 20**0.5 * 2.086, rel=0.01)
    assert found.as_dict()["saved_is"] == "95 % interval"


def test_odd_checks_make_no_interval(books: Ledger, write: Write) -> None:
    for number in range(30):
        write(number, "local/small", baseline_nano=10_000 if number else None)
        check(books, number, [10_000, 0, "much", -1, None, 10_000][number % 6], weight=float("nan"))
    found = of(books).saving
    assert found is not None
    assert (found.interval, found.checked) == (False, 9)


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_what_the_last_tier_would_have_cost(books: Ledger, write: Write, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - made-up costs are no secret
    truth = 0
    for number in range(400):
        write(number, "middle")
        strong = round(dice.uniform(0.8, 2.0) * 10_000)
        truth += strong - 1_000
        if dice.random() < 0.2:
            check(books, number, strong, weight=5.0)
    found = of(books).saving
    assert found is not None
    assert found.interval
    assert found.low <= truth - found.checks_nano <= found.high
    assert found.nano > found.baseline_nano // 2


def test_the_report_tells_of_it(books: Ledger, write: Write) -> None:
    for number in range(30):
        write(number, "local/small", task="t")
        check(books, number, 10_000, weight=50.0)
    write(30, "large", escalated=True, cost_nano=11_000)
    books.write_task(TaskRow("t", started_at=NOW, outcome="resolved", ended_at=NOW))
    made = report(books, "router", now=NOW)
    assert [line.name for line in made.lines] == ["faq > local/small", "faq > large"]
    assert as_dict(made)["router"]["tiers"][0]["tier"] == "local/small"
    lines = [line.plain for line in described(made, 100)]
    at = lines.index("routed calls, by tier")
    assert lines[at + 1].split()[:4] == ["tier", "calls", "share", "escalated"]
    assert lines[at + 2].split()[:4] == ["local/small", "30", "97", "%"]
    assert "95 % interval" in " ".join(lines[at:])
    assert "(1 of 1)" in lines[at + 2]
    with books.reader() as reader:
        again = report_of(reader.calls(limit=100), "router", made_at=NOW)
    assert {line.name: line.calls for line in again.lines} == {line.name: line.calls for line in made.lines}


def test_many_features_are_looked_up_one_by_one(books: Ledger, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.reporting.router_figures._LATEST", 2)
    write(1, "large", feature="rare", started_at=NOW - 50)
    write(2, "local/small")
    write(3, "large")
    found = of(books)
    assert [tier.model for tier in found.tiers] == ["local/small", "large"]
