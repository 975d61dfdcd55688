"""Seconds to money: rounded up, exact to the nano-dollar, and never more than the time that a call is given."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.pricing import PriceBook
from llmsaver.pricing.equivalent import PAID, Paid, paid_equivalent, per_million
from llmsaver.pricing.hourly import affordable_seconds, nano_per_hour, time_bound, time_cost
from llmsaver.pricing.values import Bound

RATES = st.decimals(0, 1000, allow_nan=False, places=6)


def test_an_hour_costs_the_hourly_rate() -> None:
    cost = time_cost(3600.0, Decimal("0.40"))
    assert (cost.nano_usd, cost.low_nano, cost.high_nano) == (400_000_000,) * 3
    assert (cost.estimated, cost.flags, cost.priced) == (False, ("local:time",), True)


def test_a_share_among_unseen_others_is_at_most_this() -> None:
    cost = time_cost(9.0, "4.50", exact=False)
    assert (cost.low_nano, cost.nano_usd, cost.high_nano) == (0, 11_250_000, 11_250_000)
    assert (cost.estimated, cost.flags) == (True, ("local:time", "local:shared"))


@given(st.floats(0, 1e6), RATES)
def test_a_cost_is_the_exact_product_rounded_up(seconds: float, hourly: Decimal) -> None:
    exact = Fraction(seconds) * Fraction(hourly) * 10**9 / 3600
    assert 0 <= time_cost(seconds, hourly).nano_usd - exact < 1


@given(st.integers(0, 10**12), RATES)
def test_what_an_amount_pays_for_never_costs_more(nano: int, hourly: Decimal) -> None:
    seconds = affordable_seconds(nano, hourly)
    if not hourly:
        assert math.isinf(seconds)
    else:
        assert Fraction(seconds) * Fraction(hourly) * 10**9 / 3600 <= nano + Fraction(1, 1000)


def test_a_bound_in_time_is_a_proof_whatever_the_tokens() -> None:
    tokens = Bound(0, 122, ("no-max-tokens",), input_tokens=122)
    bound = time_bound(tokens, "0.36", 600.0)
    assert (bound.nano_usd, bound.tokens, bound.unbounded) == (60_000_000, 122, ("no-max-tokens",))
    assert (bound.proven, bound.money_proven, tokens.money_proven) == (False, True, False)


@pytest.mark.parametrize(("rate", "nano"), [("0.4", 400_000_000), (Decimal("1e-10"), 1), (4.5, 4_500_000_000)])
def test_an_hourly_rate_in_nano_dollars(rate: Decimal | float | str, nano: int) -> None:
    assert nano_per_hour(rate) == nano


def test_the_same_tokens_at_list_prices() -> None:
    book = PriceBook()
    calls = [(1_000, 100), (3_000, 0)]
    # gpt-5-mini at $0.25 and $2 per million, claude-haiku-4-5 at $1 and $5.
    assert [paid_equivalent(book, paid, calls) for paid in PAID] == [1_200_000, 4_500_000]
    assert paid_equivalent(book, Paid("nobody-knows-it", "chat", "openai"), calls) is None
    assert per_million(1_200_000, 4_100) == Decimal("0.0012") * 10**6 / 4_100
    assert per_million(5, 0) is None
