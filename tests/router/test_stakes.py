"""What a cascade may lose: the bill never exceeds the last tier's by more than was said."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.router.stakes import Stakes


def made(share: float = 0.005) -> Stakes:
    """Return one that may lose so much, or two calls."""
    return Stakes(share, start=2.0)


def bills(stakes: Stakes, calls: list[tuple[float, float, bool]]) -> list[tuple[float, float]]:
    """Make calls (price of the last tier, ratio, accepted) one by one; return (spent, always) after each."""
    spent = always = 0.0
    found = []
    for price, ratio, accepted in calls:
        hold = stakes.hold("f", ratio, price)
        cost = price if hold is None else ratio * price + (0.0 if accepted else price)
        if hold is not None:
            hold.release()
        stakes.note("f", cost, price, calls=1)
        spent, always = spent + cost, always + price
        found.append((spent, always))
    return found


@pytest.mark.parametrize("ratio", [0.01, 0.06, 0.3, 0.9])
def test_a_cascade_that_never_pays_loses_the_stake_and_no_more(ratio: float) -> None:
    found = bills(made(), [(100.0, ratio, False)] * 5_000)
    # A sixteenth of a call more: the first losses fade before they are made up for.
    assert all(spent - always <= max(200.0, 0.005 * always) + 6 for spent, always in found)
    assert found[-1][0] - found[-1][1] > 100  # and it was tried all the time


def test_a_cascade_that_pays_is_never_held_up() -> None:
    stakes = made()
    spent, always = bills(stakes, [(100.0, 0.06, number % 3 > 0) for number in range(1_000)])[-1]
    assert spent == pytest.approx(1_000 * 6 + 334 * 100)
    assert stakes.lost("f") == pytest.approx(spent / always - 1, rel=0.01)
    assert stakes.lost("g") is None


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(1.0, 1_000.0), st.floats(0.0, 2.0), st.booleans()), min_size=1, max_size=60),
    st.floats(0.0, 0.1),
)
def test_whatever_comes_it_is_kept(calls: list[tuple[float, float, bool]], share: float) -> None:
    most, dearest = 0.0, max(price * ratio for price, ratio, _ in calls)  # what a try costs is guessed
    for at, (spent, always) in enumerate(bills(made(share), calls)):
        most = max(most, 2 * always / (at + 1), share * always)
        assert spent - always <= most + dearest + 1e-3 * always


def test_what_is_under_way_counts_as_lost() -> None:
    stakes = made()
    first = stakes.hold("f", 1.5, 100.0)
    assert first is not None
    assert stakes.hold("f", 0.6, 100.0) is None
    assert stakes.hold("f", 0.0, 100.0) is not None
    assert stakes.hold("f", None, 100.0) is not None  # nobody knows
    assert stakes.hold("other", 0.6, 100.0) is not None
    first.release()
    first.release()
    assert stakes.hold("f", 0.6, 100.0, dry=True) is not None
    assert stakes.hold("f", 1.9, 100.0) is not None
    assert stakes.hold("f", 0.2, 100.0) is None


def test_a_large_call_is_not_risked_on_small_ones() -> None:
    stakes = made()
    bills(stakes, [(100.0, 0.5, False)] * 2)
    assert stakes.hold("f", 0.5, 100.0) is not None
    assert stakes.hold("f", 0.5, 1_000.0) is None


def test_audits_are_paid_from_it_too() -> None:
    stakes = made()
    bills(stakes, [(100.0, 0.05, True)])
    for _ in range(2):
        stakes.note("f", 100.0)
    assert stakes.hold("f", 1.0) is None


@pytest.mark.parametrize("amounts", [(-1.0, 1.0), (math.nan, 1.0), (1.0, math.inf)])
def test_strange_amounts_change_nothing(amounts: tuple[float, float]) -> None:
    stakes = made()
    stakes.note("f", *amounts, calls=1)
    assert stakes.lost("f") is None
    assert stakes.fresh() == []


def test_what_processes_spend_adds_up() -> None:
    one, other = made(), made()
    bills(one, [(100.0, 0.5, False)] * 3)
    bills(other, [(100.0, 0.5, False)] * 2)
    assert one.fresh() == ["f"]
    row = other.merged("f", one.merged("f", None))
    assert one.fresh() == other.fresh() == []
    assert row == pytest.approx({"calls": 5, "spent": 750, "always": 500}, rel=1e-3)
    assert one.merged("f", row) == row
    assert one.hold("f", 0.5, 100.0) is None  # both together have lost all they may


@pytest.mark.parametrize("told", [None, 3, {}, {"calls": -1, "spent": "x", "always": math.nan}, {"spent": True}])
def test_nonsense_of_the_ledger_is_nothing(told: Any) -> None:
    assert made().merged("f", told) == {"calls": 0.0, "spent": 0.0, "always": 0.0}


def test_it_is_bounded() -> None:
    stakes = made()
    for number in range(1_005):
        stakes.note(str(number), 1.0, 1.0, calls=1)
    assert len(stakes.fresh()) == 1_000
    assert stakes.lost("0") is None


def test_what_is_long_ago_allows_little_at_once() -> None:
    stakes = Stakes(0.005, start=2.0, half_life=100)
    chance = random.Random(0)  # noqa: S311 - the same numbers in every run
    for _ in range(5_000):
        stakes.note("f", 100.0, 100.0, calls=1)
    lost = 0
    while (hold := stakes.hold("f", 0.1, 100.0)) is not None:
        hold.release()
        stakes.note("f", 110.0, 100.0, calls=1)
        lost += 1
        assert lost < 100 + chance.random()
    assert lost == pytest.approx(20, abs=2)


def test_there_is_room_again_once_a_try_costs_nothing_and_audits_do_not_say() -> None:
    stakes = made()
    stakes.note("f", 10.0, 10.0, calls=1)
    assert stakes.hold("f", 3.0) is None  # an audit, of whose price nothing is told
    assert stakes.why("f") is None
    assert stakes.hold("f", 3.0, 10.0) is None
    assert "may be lost" in str(stakes.why("f"))
    assert stakes.hold("f", 0.0, 10.0, dry=True) is not None
    assert stakes.hold("f", 0.1) is not None
    assert stakes.why("f") is not None
    assert stakes.hold("f", 0.0, 10.0) is not None
    assert stakes.why("f") is None


def test_what_the_ledger_could_not_be_told_is_told_later() -> None:
    stakes = made()
    stakes.note("f", 150.0, 100.0, calls=1)
    new = stakes.news("f")
    stakes.note("f", 50.0, 100.0, calls=1)
    stakes.untold("f", new)
    assert stakes.lost("f") == pytest.approx(0, abs=1e-3)
    assert stakes.fresh() == ["f"]
    row = stakes.added(None, stakes.news("f"))
    assert row == pytest.approx({"calls": 2, "spent": 200, "always": 200}, rel=1e-3)
    stakes.note("f", 100.0, 100.0, calls=1)
    stakes.told("f", row)
    assert stakes.merged("f", row)["calls"] == pytest.approx(3, rel=1e-3)


def test_a_forked_child_owes_nothing_for_its_parent() -> None:
    stakes = made()
    hold = stakes.hold("f", 1.0, 100.0)
    stakes.note("f", 100.0, 100.0, calls=1)
    assert hold is not None
    with stakes._lock:  # as another thread of the parent may have it
        stakes.after_fork()
    assert stakes.fresh() == []
    own = stakes.hold("f", 1.5, 100.0)
    assert own is not None
    hold.release()
    assert stakes.hold("f", 1.5, 100.0) is None  # what is held is the child's own
    own.release()
    assert stakes.hold("f", 1.5, 100.0) is not None
