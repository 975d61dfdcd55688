"""A confidence weighed against a price."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.merit import PriceLevel, merit

shares = st.floats(0.0, 1.0)
prices = st.floats(0.01, 100.0)
lengths = st.integers(0, 10_000)


def test_a_usual_price_and_no_length_leave_the_confidence() -> None:
    assert merit(0.7) == pytest.approx(0.7)


def test_a_dear_strong_call_makes_a_risk_worth_taking() -> None:
    assert merit(0.7, price=2.0) > merit(0.7) > merit(0.7, price=0.5)


def test_of_equally_probable_answers_the_longer_deserves_less() -> None:
    assert merit(0.7, chars=40) < merit(0.7, chars=1) == merit(0.7)
    assert merit(0.7, chars=64) == merit(0.7, chars=5_000)


@given(shares, shares, prices, lengths)
def test_it_rises_with_the_confidence_and_stays_a_share(one: float, other: float, price: float, chars: int) -> None:
    low, high = sorted((one, other))
    below, above = merit(low, price=price, chars=chars), merit(high, price=price, chars=chars)
    assert 0.0 <= below <= above <= 1.0


@given(shares, lengths)
def test_extreme_prices_count_as_five_fold(confidence: float, chars: int) -> None:
    assert merit(confidence, price=1e9, chars=chars) == merit(confidence, price=5.0, chars=chars)
    assert merit(confidence, price=1e-9, chars=chars) == merit(confidence, price=0.2, chars=chars)


def test_impossible_answers_keep_an_order_and_nonsense_deserves_nothing() -> None:
    assert 0.0 < merit(0.0) < merit(0.0, price=2.0)
    assert merit(math.nan) == 0.0
    assert merit(1.5) == 1.0
    assert merit(0.7, price=0.0) == merit(0.7)


def test_a_price_is_told_as_a_multiple_of_the_usual() -> None:
    level = PriceLevel(half_life=1e9)
    assert level.relative("a", 100) == pytest.approx(1.0)
    assert level.relative("a", 300) == pytest.approx(1.5)
    assert level.relative("b", 300) == pytest.approx(1.0)
    assert level.relative("a", 0) == level.relative("a", -5) == level.relative("a", math.nan) == 1.0


def test_old_prices_are_forgotten() -> None:
    level = PriceLevel(half_life=2.0)
    for _ in range(50):
        level.relative("a", 1_000)
    for _ in range(50):
        last = level.relative("a", 10)
    assert last == pytest.approx(1.0, abs=0.01)
