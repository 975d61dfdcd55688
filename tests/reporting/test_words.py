"""Words for amounts: never less than they should say."""

from datetime import UTC
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.reporting.words import count, duration, lasting, many, minute, money, percent, shown

amounts = st.integers(-(10**24), 10**24)


@pytest.mark.parametrize(
    ("nano", "said"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (400_000, "$0.0004"),
        (432_109, "$0.000432"),
        (50_000_000, "$0.05"),
        (421_196_906, "$0.421"),
        (999_600_000, "$1.00"),
        (1_234_567_890_000, "$1,234.57"),
        (1_234_567_890_000_000, "$1,234,568"),
        (-852_000, "-$0.000852"),
        (-5_000_000_000, "-$5.00"),
    ],
)
def test_money(nano: int | None, said: str) -> None:
    assert money(nano) == said


@given(amounts)
def test_money_is_never_rounded_away_nor_far_off(nano: int) -> None:
    said = money(nano)
    value = Decimal(said.replace("$", "").replace(",", ""))
    exact = Decimal(nano).scaleb(-9)
    assert (value == 0) == (nano == 0)
    assert abs(value - exact) <= abs(exact) * Decimal("0.00501")
    assert said.startswith("-$" if nano < 0 else "$")
    assert len(said.partition(".")[2]) >= 2 or abs(exact) >= 10**6


@pytest.mark.parametrize(
    ("number", "said"), [(None, "-"), (0, "0"), (9_999_999, "9,999,999"), (12_345_678, "12.3M"), (-3, "-3")]
)
def test_count(number: int | None, said: str) -> None:
    assert count(number) == said


def test_many() -> None:
    assert [many(n, "call") for n in (0, 1, 2_000)] == ["0 calls", "1 call", "2,000 calls"]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (None, "-"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.123, "12 %"),
        (0.0123, "1.2 %"),
        (0.005, "0.50 %"),
        (1e-6, "<0.01 %"),
    ],
)
def test_percent(part: float | None, said: str) -> None:
    assert percent(part) == said
    assert percent(part, cut=True) == said.removesuffix(" %")


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [(None, "-"), (0.42, "0.42 ms"), (420.4, "420 ms"), (4_200.0, "4.2 s"), (42_000.0, "42 s"), (420_000.0, "7.0 min")],
)
def test_duration(milliseconds: float | None, said: str) -> None:
    assert duration(milliseconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(-5.0, "0 s"), (0.0, "0 s"), (59.4, "59 s"), (3_661.0, "1 h 1 min"), (90_000.0, "1 d 1 h")]
)
def test_lasting(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_midnight_needs_no_time() -> None:
    assert minute(1_794_960_000.0, UTC) == "2026-11-18"
    assert minute(1_794_960_060.0, UTC) == "2026-11-18 00:01"


def test_a_name_cannot_move_the_cursor() -> None:
    assert shown("bot\x1b[2J\n\u202ename é 名") == "bot?[2J??name é 名"
