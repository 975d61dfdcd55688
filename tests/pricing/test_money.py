"""Rates are read exactly or not at all."""

from decimal import Decimal

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.pricing.money import bill, plain, rate


@pytest.mark.parametrize(
    ("written", "nano"),
    [("0.15", 150_000_000), (Decimal("0.0025"), 2_500_000), (3, 3 * 10**9), ("0", 0), ("1e-9", 1), ("1e-10", 0)],
)
def test_dollars_per_million(written: object, nano: int) -> None:
    assert rate(written, "key") == nano


@pytest.mark.parametrize("wrong", [0.15, True, None, [], "cheap", "-1", "NaN", "Infinity", "1e10", Decimal("sNaN")])
def test_what_is_no_price_names_its_key(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=r"prices\['m'\]\['input'\]"):
        rate(wrong, "prices['m']['input']")


def test_a_float_is_told_how_to_be_written() -> None:
    with pytest.raises(ConfigurationError, match=r"float.*write '0.15'"):
        rate(0.15, "k")


def test_halves_go_up_and_bounds_always_do() -> None:
    assert [bill(n) for n in (499_999, 500_000, 1_499_999, 1_500_000)] == [0, 1, 1, 2]
    assert [bill(n, up=True) for n in (0, 1, 1_000_000, 1_000_001)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0"), (1, "0.000000001"), (1_154_400, "0.0011544"), (12 * 10**9, "12"), (10**10, "10")]
)
def test_plain_has_no_exponent(nano: int, text: str) -> None:
    assert plain(nano) == text
