"""Budgets: reserve, send, settle, release, lapse; the arithmetic is written out."""

import time
from collections.abc import Callable

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import UNLIMITED, Budget, BudgetMismatch, CallRow, Claim, Due, Hold, Ledger, Refusal

NOW = 1_795_000_000.0
DAY = 86_400.0


def held(found: Hold | Refusal) -> Hold:
    assert isinstance(found, Hold), found
    return found


def refused(found: Hold | Refusal) -> Refusal:
    assert isinstance(found, Refusal), found
    return found


def state(ledger: Ledger, name: str = "b", now: float = NOW) -> tuple[int, int, int]:
    """Return (spent, held, low) nano-dollars of a budget's only open window."""
    with ledger.reader() as reader:
        (window,) = [found for found in reader.budgets(now) if found["name"] == name]
    return window["spent_nano"], window["held_nano"], window["low_nano"]


def test_what_fits_is_held_and_what_does_not_is_refused(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100, per="hour"))
    first = held(either.reserve([claim], nano=60, now=NOW))
    no = refused(either.reserve([claim], nano=41, now=NOW))
    assert (no.budget, no.unit, no.limit, no.spent, no.held, no.asked, no.room) == ("b", "nano", 100, 0, 60, 41, 40)
    assert no.resets_at == NOW - NOW % 3600 + 3600
    held(either.reserve([claim], nano=40, now=NOW))
    assert either.settle(first, 50).settled
    assert state(either) == (50, 40, 50)
    no = refused(either.reserve([claim], nano=11, now=NOW))
    assert (no.spent, no.held) == (50, 40)


def test_tokens_and_calls_are_limits_too(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_tokens=100, limit_calls=2, per="total"))
    held(either.reserve([claim], nano=10**15, tokens=60, now=NOW))
    no = refused(either.reserve([claim], nano=0, tokens=41, now=NOW))
    assert (no.unit, no.resets_at) == ("tokens", None)
    held(either.reserve([claim], nano=0, tokens=1, now=NOW))
    assert refused(either.reserve([claim], nano=0, tokens=1, now=NOW)).unit == "calls"
    held(either.reserve([claim], nano=0, tokens=1, calls=0, now=NOW))  # another attempt of a call already counted


def test_what_costs_nothing_passes_an_exhausted_budget(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=10))
    either.settle(held(either.reserve([claim], nano=10, now=NOW)), 25)  # the provider took more than its bound
    assert refused(either.reserve([claim], nano=1, now=NOW)).room == 0
    held(either.reserve([claim], nano=0, now=NOW))


def test_nested_budgets_are_charged_together_or_not_at_all(either: Ledger) -> None:
    outer, inner = either.claim(Budget("outer", limit_nano=100)), either.claim(Budget("inner", limit_nano=50))
    held(either.reserve([outer, inner, outer], nano=40, now=NOW))
    assert refused(either.reserve([outer, inner], nano=20, now=NOW)).budget == "inner"
    assert state(either, "outer") == (0, 40, 0)
    assert state(either, "inner") == (0, 40, 0)
    held(either.reserve([outer], nano=60, now=NOW))
    assert refused(either.reserve([inner, outer], nano=1, now=NOW)).budget == "outer"


def test_settling_is_done_once(either: Ledger) -> None:
    hold = held(either.reserve([either.claim(Budget("b", limit_nano=100))], nano=60, now=NOW))
    assert either.mark_sent(hold)
    assert not either.mark_sent(hold)
    assert either.settle(hold, 30, 5).settled
    assert not either.settle(hold, 30, 5).settled
    assert not either.release(hold)
    assert not either.mark_sent(hold)
    assert either.renew(hold, now=NOW) == [False]
    assert state(either) == (30, 0, 30)


def test_a_released_hold_leaves_no_trace(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100, limit_calls=1))
    hold = held(either.reserve([claim], nano=60, now=NOW))
    either.mark_sent(hold)
    assert either.release(hold)  # a 429 proves that nothing is billed
    assert state(either) == (0, 0, 0)
    held(either.reserve([claim], nano=100, now=NOW))


def test_an_estimate_is_charged_at_its_upper_bound_and_shown_with_its_lower(either: Ledger) -> None:
    hold = held(either.reserve([either.claim(Budget("b", limit_nano=100))], nano=60, now=NOW))
    either.settle(hold, 60, low_nano=10)
    assert state(either) == (60, 0, 10)


def test_a_reserved_hold_goes_back_when_its_lease_ends(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100))
    hold = held(either.reserve([claim], nano=100, now=NOW, lease_s=30))
    assert refused(either.reserve([claim], nano=100, now=NOW + 29)).held == 100
    held(either.reserve([claim], nano=100, now=NOW + 30))
    assert not either.mark_sent(hold)
    assert not either.settle(hold, 50).settled
    assert state(either) == (0, 100, 0)


def test_a_sent_hold_lapses_into_spend_until_the_truth_is_known(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100, limit_tokens=100))
    hold = held(either.reserve([claim], nano=80, tokens=70, now=NOW, lease_s=30))
    either.mark_sent(hold)
    assert either.reap(NOW + 29) == 0
    assert either.reap(NOW + 30) == 1
    assert either.reap(NOW + 30) == 0
    assert state(either) == (80, 0, 0)
    assert refused(either.reserve([claim], nano=30, now=NOW + 31)).spent == 80
    assert either.settle(hold, 45, 30).settled  # it was only slow
    assert state(either) == (45, 0, 45)
    assert not either.settle(hold, 45, 30).settled
    held(either.reserve([claim], nano=55, tokens=70, now=NOW + 31))


def test_a_lapsed_call_is_booked_between_nothing_and_its_bound(either: Ledger, row: Callable[..., CallRow]) -> None:
    claims = [either.claim(Budget("b", limit_nano=100)), either.claim(Budget("c", limit_nano=100))]
    about = {"id": "e1", "started_at": NOW, "feature": "search", "user": "u1", "model_asked": "m", "unknown": 1}
    hold = held(either.reserve(claims, nano=80, now=NOW, lease_s=5, sent=True, about=about))
    assert either.reap(NOW + 5) == 2
    with either.reader() as reader:
        found = reader.call("e1")
    assert found is not None
    assert (found["cost_nano"], found["cost_low"], found["cost_high"], found["estimated"]) == (80, 0, 80, True)
    assert (found["feature"], found["user"], found["model_asked"]) == ("search", "u1", "m")
    assert "lapsed" in found["error"]
    assert either.write(row("e1", started_at=NOW, cost_nano=50), settle=[Due(hold, 50)]).ok
    with either.reader() as reader:
        assert (reader.totals().calls, reader.totals().cost_nano, reader.totals().errors) == (1, 50, 0)


def test_an_attempt_that_lapses_is_added_to_the_row_of_its_call(either: Ledger, row: Callable[..., CallRow]) -> None:
    claim = either.claim(Budget("b", limit_nano=200))
    for call, cost in (("e1", 50), ("e2", None)):
        held(either.reserve([claim], nano=80, now=NOW, lease_s=5, sent=True, about={"id": call}))
        either.write(row(call, started_at=NOW, cost_nano=cost))
    either.fold()
    either.reap(NOW + 5)
    with either.reader() as reader:
        one, two, totals = reader.call("e1"), reader.call("e2"), reader.totals()
    assert one is not None
    assert two is not None
    assert (one["cost_low"], one["cost_nano"], one["cost_high"], one["estimated"]) == (50, 130, 130, True)
    assert (two["cost_low"], two["cost_nano"], two["cost_high"]) == (0, 80, 80)
    assert len(one["attempts"]) == 1
    assert (totals.calls, totals.cost_low, totals.cost_nano, totals.cost_high) == (2, 50, 210, 210)


def test_a_live_call_renews_its_lease(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100))
    first, second = (held(either.reserve([claim], nano=50, now=NOW, lease_s=10)) for _ in range(2))
    either.mark_sent(second)
    assert either.renew(first, second, now=NOW + 9, lease_s=10) == [True, True]
    assert first.expires_at == NOW + 19
    assert either.reap(NOW + 18) == 0
    assert either.reap(NOW + 19) == 2


def test_a_hold_settles_into_the_window_it_was_made_in(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100))
    hold = held(either.reserve([claim], nano=100, now=NOW))
    tomorrow = held(either.reserve([claim], nano=100, now=NOW + DAY))
    either.settle(hold, 90)
    assert state(either, now=NOW) == (90, 0, 90)
    assert state(either, now=NOW + DAY) == (0, 100, 0)
    either.settle(tomorrow, 100)
    assert state(either, now=NOW + DAY) == (100, 0, 100)


def test_a_clock_that_goes_back_finds_the_old_window_as_it_was(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=100))
    either.settle(held(either.reserve([claim], nano=100, now=NOW)), 100)
    held(either.reserve([claim], nano=100, now=NOW + DAY, lease_s=10 * DAY))
    assert refused(either.reserve([claim], nano=1, now=NOW)).spent == 100


def test_a_soft_budget_is_charged_and_never_refuses(either: Ledger) -> None:
    claim = either.claim(Budget("b", limit_nano=10, hard=False))
    either.settle(held(either.reserve([claim], nano=100, now=NOW)), 90)
    assert state(either) == (90, 0, 90)
    assert either.room([claim], now=NOW) == (UNLIMITED, UNLIMITED, UNLIMITED)


def test_every_value_of_a_scope_has_its_own_pot(either: Ledger) -> None:
    budget = Budget("b", limit_nano=10, scope="tag:env")
    prod, test = either.claim(budget, tags={"env": "prod"}), either.claim(budget, tags={"env": "test"})
    held(either.reserve([prod], nano=10, now=NOW))
    held(either.reserve([test], nano=10, now=NOW))
    assert refused(either.reserve([prod], nano=1, now=NOW)).key == "tag:env:prod"


def test_a_reservation_can_take_less_where_less_is_left(either: Ledger) -> None:
    outer, inner = either.claim(Budget("o", limit_nano=100)), either.claim(Budget("i", limit_nano=50, limit_tokens=9))
    whole = held(either.reserve([outer, inner], nano=30, tokens=2, least=(10, 1), now=NOW))
    assert (whole.nano, whole.tokens, whole.granted_less) == (30, 2, False)
    part = held(either.reserve([outer, inner], nano=30, tokens=20, least=(10, 1), now=NOW))
    assert (part.nano, part.tokens, part.granted_less) == (20, 7, True)
    assert either.room([outer, inner], now=NOW)[:2] == (0, 0)
    no = refused(either.reserve([outer, inner], nano=30, least=(10, 1), now=NOW))
    assert (no.asked, no.room) == (30, 0)
    either.release(whole)
    assert either.room([outer, inner], now=NOW) == (30, 2, UNLIMITED)


def test_thresholds_are_told_once_per_window(either: Ledger, make: Callable[..., Ledger], place: str) -> None:
    other = make(place)  # as another program would
    budget = Budget("b", limit_nano=100, thresholds=(0.5, 0.8))

    def spend(ledger: Ledger, nano: int, now: float = NOW) -> list[float]:
        hold = held(ledger.reserve([ledger.claim(budget)], nano=nano, now=now))
        crossed = ledger.settle(hold, nano).crossed
        assert all(crossing.limit_nano == 100 for crossing in crossed)
        return [crossing.threshold for crossing in crossed]

    assert spend(either, 40) == []
    assert spend(other, 10) == [0.5]
    assert spend(either, 10) == []
    assert spend(either, 30) == [0.8]
    assert spend(other, 5) == []
    assert spend(other, 95, NOW + DAY) == [0.5, 0.8]


def test_no_claim_is_no_transaction(either: Ledger) -> None:
    hold = held(either.reserve([], nano=10))
    assert either.mark_sent(hold)
    assert either.settle(hold, 5).settled
    assert either.release(hold)


def test_declaring_again_differently_is_an_error(either: Ledger, make: Callable[..., Ledger], place: str) -> None:
    budget = Budget.usd("b", 5)
    assert either.declare(budget) == budget
    assert make(place).declare(Budget.usd("b", "5.00")) == budget
    with pytest.raises(BudgetMismatch, match=r"limit_nano=6000000000 \(the ledger has 5000000000\).*budgets set b"):
        either.declare(Budget.usd("b", 6))
    held(either.reserve([Claim(budget)], nano=1, now=NOW))
    with pytest.raises(BudgetMismatch):
        either.reserve([Claim(Budget.usd("b", 6))], nano=1, now=NOW)


def test_terms_can_be_changed_for_everyone(either: Ledger, make: Callable[..., Ledger], place: str) -> None:
    other = make(place)
    old, new = Budget("b", limit_nano=10), Budget("b", limit_nano=30)
    held(either.reserve([Claim(old)], nano=10, now=NOW))
    other.set_budget(new)
    held(either.reserve([Claim(old)], nano=20, now=NOW))  # the code need not change at once
    assert refused(either.reserve([Claim(old)], nano=1, now=NOW)).limit == 30
    assert either.declare(old) == new
    assert either.declare(new) == new
    with pytest.raises(BudgetMismatch):
        either.declare(Budget("b", limit_nano=40))


def test_a_budget_can_be_set_before_any_code_declares_it(either: Ledger) -> None:
    either.set_budget(Budget("organisation", limit_nano=30, scope="organisation"))
    with either.reader() as reader:
        (found,) = reader.budgets(NOW)
    assert (found["name"], found["limit_nano"], found["window"]) == ("organisation", 30, None)


def test_another_period_begins_other_windows_and_can_be_changed_back(
    either: Ledger, make: Callable[..., Ledger], place: str
) -> None:
    other, daily = make(place), Budget("b", limit_nano=10)
    hourly = daily.replace(per="hour", limit_nano=7)
    before = held(either.reserve([Claim(daily)], nano=10, now=NOW))
    other.set_budget(hourly)
    held(either.reserve([Claim(daily)], nano=7, now=NOW))  # its remembered window is closed: it looks again
    assert refused(either.reserve([Claim(daily)], nano=1, now=NOW)).limit == 7
    either.settle(before, 9)  # into the day it was reserved in
    other.set_budget(daily)
    assert refused(either.reserve([Claim(daily)], nano=2, now=NOW)).spent == 9
    held(either.reserve([Claim(daily)], nano=1, now=NOW))


def test_a_scope_cannot_be_changed(either: Ledger) -> None:
    either.declare(Budget("b", limit_nano=1))
    with pytest.raises(ConfigurationError, match="scope"):
        either.set_budget(Budget("b", limit_nano=1, scope="user"))


def test_thresholds_and_alerts_are_known_to_who_did_not_declare_them(either: Ledger) -> None:
    declared = Budget("b", limit_nano=10, thresholds=(0.5, 0.8))
    held(either.reserve([Claim(declared, alert="https://hook", max_call_nano=3)], nano=1, now=NOW))
    (known,) = either.known_budgets()
    assert (known.budget.thresholds, known.alert, known.max_call_nano) == ((0.5, 0.8), "https://hook", 3)
    # Code that says nothing about them takes nothing away.
    either.declare(Budget("b", limit_nano=10))
    with either.reader() as reader:
        (found,) = reader.budgets(NOW)
    assert (found["thresholds"], found["alert"], found["max_call_nano"]) == ((0.5, 0.8), "https://hook", 3)
    either.set_budget(Budget("b", limit_nano=20, thresholds=(0.9,)))
    (known,) = either.known_budgets()
    assert (known.budget.limit_nano, known.budget.thresholds, known.alert) == (20, (0.9,), None)


def test_a_change_of_budgets_shows_in_one_number(either: Ledger) -> None:
    seen = [either.budgets_version()]
    for change in (
        lambda: either.declare(Budget("a", limit_nano=1)),
        lambda: either.set_budget(Budget("a", limit_nano=2)),
        lambda: either.set_budget(Budget("b", limit_nano=2)),
        lambda: either.remove_budget("b"),
    ):
        change()
        seen.append(either.budgets_version())
    assert len(set(seen)) == 5
    either.declare(Budget("a", limit_nano=2))
    held(either.reserve([Claim(Budget("a", limit_nano=2))], nano=1, now=NOW))
    assert not either.remove_budget("b")
    assert either.budgets_version() == seen[-1]


def test_a_removed_budget_binds_nobody(either: Ledger, make: Callable[..., Ledger], place: str) -> None:
    other, budget = make(place), Budget("b", limit_nano=10)
    other.set_budget(budget)
    outside = Claim(budget, outside=True)
    before = held(either.reserve([outside], nano=10, now=NOW))
    refused(either.reserve([outside], nano=1, now=NOW))
    assert other.remove_budget("b")
    free = held(either.reserve([outside], nano=1_000, now=NOW))
    assert free.pots == ()
    assert either.mark_sent(free)
    assert either.settle(before, 9).settled  # what was under way is booked where it was reserved
    assert either.known_budgets() == []
    with either.reader() as reader:
        assert reader.budgets(NOW) == []
    # Declared in code it is back, with what its window had spent, and on any terms.
    assert refused(either.reserve([Claim(Budget("b", limit_nano=9))], nano=1, now=NOW)).spent == 9
    held(either.reserve([Claim(Budget("b", limit_nano=9))], nano=0, now=NOW))
    refused(either.reserve([Claim(Budget("b", limit_nano=9), outside=True)], nano=1, now=NOW))
    assert other.remove_budget("b")
    other.set_budget(Budget("b", limit_nano=5, scope="user"))
    assert [known.budget.scope for known in either.known_budgets()] == ["user"]


def test_thousands_of_budgets_cost_no_more_than_one(ledger: Ledger) -> None:
    claims = [Claim(Budget(f"b{i}", limit_nano=10**9)) for i in range(3_000)]
    for claim in claims:
        held(ledger.reserve([claim], nano=1))
    began = time.thread_time()
    for claim in claims:
        ledger.release(held(ledger.reserve([claim], nano=1)))
    assert time.thread_time() - began < 5.0
