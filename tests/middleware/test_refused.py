"""What is known of refused calls, and of budgets that other programs declared."""

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmsaver import BudgetExceeded, budget, feature
from llmsaver.ledger import Budget, Claim, Due, Hold, Ledger

TINY = "0.000001"


def total(shop: Any) -> Any:
    shop.rows()
    with shop.first.ledger.reader() as reader:
        return reader.totals()


def test_a_refused_call_is_counted_and_costs_nothing(shop: Any, way: Any) -> None:
    with budget("b", usd=TINY), feature("search", user="u1"), pytest.raises(BudgetExceeded):
        shop.ask(way)
    shop.ask(way)
    found = total(shop)
    assert (found.refused, found.calls, found.errors) == (1, 1, 0)
    made, refused = shop.rows()
    assert (refused["refused"], refused["cost_nano"], refused["feature"], refused["user"]) == (1, 0, "search", "u1")
    assert refused["error"].startswith("BudgetExceeded: ")
    assert not refused["unpriced"]
    assert (made["refused"], made["cost_nano"]) == (0, shop.billed())


def test_a_loop_that_never_stops_asking_fills_no_disk(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    with shop.client(way) as client, budget("b", usd=TINY):
        for _ in range(100):
            with pytest.raises(BudgetExceeded):
                shop.consume(way, client, way.arguments())
    assert total(shop).refused == 100
    assert len(shop.rows()) < 100


def outside(shop: Any, name: str, usd: str, **more: Any) -> None:
    """Set a budget as another program does."""
    thresholds = more.pop("thresholds", ())
    with Ledger(str(shop.path)) as ledger:
        ledger.set_budget(Budget.usd(name, usd, thresholds=thresholds), **more)


def test_a_budget_set_from_outside_alerts(
    shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    posted: list[tuple[str, Any]] = []
    monkeypatch.setattr("llmsaver.middleware.budget._post", lambda url, facts: posted.append((url, facts)))
    outside(shop, "default", "0.001", thresholds=(0.01,), alert="https://hook.test/")
    shop.ask(plain_way)
    shop.rows()
    shop.first.background.drain()
    ((url, facts),) = posted
    assert (url, facts["budget"], facts["threshold"]) == ("https://hook.test/", "default", 0.01)
    assert "budget 'default' has passed" in caplog.text


def test_a_budget_set_from_outside_says_what_to_hold_for_a_call_without_a_bound(
    shop: Any, way_of: Callable[..., Any]
) -> None:
    way = way_of("responses")
    create = way.arguments(tools=[{"type": "web_search"}])
    outside(shop, "default", "5")
    with pytest.raises(BudgetExceeded, match="bounded"):
        shop.ask(way, create=create)
    outside(shop, "default", "5", max_call_nano=10**9)
    shop.ask(way, shop.saver(), create=create)


def test_a_function_is_alerted_where_it_is(shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program that spends past the threshold does not use up the one time that it is told."""
    monkeypatch.setattr("llmsaver.middleware.budget.LOOK_EVERY_SECONDS", 0.0)
    told: list[Any] = []
    with budget("b", usd="0.001", on_threshold=[0.01], alert=told.append):
        entry = shop.first  # declares nothing yet
        assert entry is shop.savers[0]
    with shop.first.ledger as ledger:
        ledger.declare(Budget.usd("other", 1))
        hold = ledger.reserve([Claim(Budget.usd("b", "0.001", per="total"), alert="(a function)")], nano=1)
        assert isinstance(hold, Hold)
        ledger.write(None, settle=[Due(hold, 1)])
    second = shop.saver()
    with feature("b"):
        shop.ask(plain_way, second)
    assert told == []
    with budget("b", usd="0.001", on_threshold=[0.01], alert=told.append):
        shop.ask(plain_way)
    shop.first.background.drain()
    assert [facts["threshold"] for facts in told] == [0.01]


def test_a_removed_budget_is_gone_for_programs_that_run(
    shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmsaver.middleware.budget.LOOK_EVERY_SECONDS", 0.0)
    outside(shop, "default", TINY)
    with pytest.raises(BudgetExceeded):
        shop.ask(plain_way)
    with Ledger(str(shop.path)) as ledger:
        assert ledger.remove_budget("default")
    shop.ask(plain_way)
    assert shop.budgets() == {}


def test_thousands_of_pots_are_not_read_to_look_for_budgets(
    shop: Any, way_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    way = way_of("chat")
    with Ledger(str(shop.path)) as ledger:
        each = Budget.usd("each", 1, scope="user")
        for number in range(2_000):
            hold = ledger.reserve([ledger.claim(each, user=f"u{number}")], nano=1)
            assert isinstance(hold, Hold)
    shop.ask(way)
    layer = shop.first._budget
    read: list[int] = []
    known = shop.first.ledger.known_budgets

    def reading() -> Any:
        read.append(1)
        return known()

    monkeypatch.setattr(shop.first.ledger, "known_budgets", reading)
    began = time.thread_time()
    for _ in range(100):
        layer._look()
    assert time.thread_time() - began < 2.0
    assert read == []
    outside(shop, "new", "1")
    layer._look()
    assert read == [1]
    assert sorted(rule.name for rule in layer._stored) == ["each", "new"]
    monkeypatch.setattr("llmsaver.middleware.budget.READ_EVERY_SECONDS", 0.0)
    layer._look()
    assert read == [1, 1]
    shop.first.ledger.reap(time.time() + 3_600)


def test_a_disk_that_is_an_instances_own_is_told_once(
    shop: Any, way_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("llmsaver.ledger.lodging.own_disk", lambda _: "a Kubernetes pod")
    way = way_of("chat")
    shop.ask(way)
    assert "shared PostgreSQL" not in caplog.text  # no budget, no harm
    with budget("b", usd=1), caplog.at_level(logging.WARNING):
        for _ in range(3):
            shop.ask(way)
    assert caplog.text.count("on the disk of a Kubernetes pod") == 1
    assert caplog.text.count("LLMSAVER_LEDGER to a shared PostgreSQL") == 1
