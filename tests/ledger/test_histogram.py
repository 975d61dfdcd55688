"""Percentiles from a few hundred bytes."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.ledger.histogram import bin_of, dump, joined, percentile


@given(st.floats(0.002, 1e7))
def test_a_percentile_is_off_by_a_twentieth_at_most(milliseconds: float) -> None:
    found = percentile({bin_of(milliseconds): 3}, 0.5)
    assert found is not None
    assert abs(found / milliseconds - 1) < 0.05


@pytest.mark.parametrize("odd", [0.0, -5.0, math.nan, -math.inf])
def test_what_no_clock_measures_falls_into_the_lowest_bin(odd: float) -> None:
    assert bin_of(odd) == 0


def test_infinity_has_a_bin() -> None:
    assert bin_of(math.inf) == bin_of(1e12)


def test_percentiles_count_from_below() -> None:
    counts = {bin_of(10.0): 90, bin_of(1_000.0): 10}
    low, high = percentile(counts, 0.9), percentile(counts, 0.99)
    assert low == pytest.approx(10, rel=0.05)
    assert high == pytest.approx(1_000, rel=0.05)


def test_nothing_has_no_percentile() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({1: 0}, 0.5) is None


COUNTS = st.dictionaries(st.integers(0, 400), st.integers(-5, 10**9))


@given(COUNTS, COUNTS, st.lists(st.integers(0, 400)), st.sampled_from([1, -1]))
def test_what_was_written_down_can_be_added_up(
    one: dict[int, int], two: dict[int, int], bins: list[int], sign: int
) -> None:
    expected = Counter(one)
    expected.update(two)
    for at in bins:
        expected[at] += sign
    found = joined([dump(one), "", dump(two)], bins, sign)
    assert {at: count for at, count in found.items() if count} == {at: n for at, n in expected.items() if n}
