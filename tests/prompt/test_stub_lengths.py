"""How much further a talk goes, by what was seen of others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.stub_lengths import bucket_of, further


def test_nothing_is_expected_of_what_is_not_known() -> None:
    assert further(5, {}) < 0.2
    assert further(5, {5: (2, 2)}) < 1


def test_what_was_seen_is_expected_a_little_less_surely() -> None:
    """Talks of exactly 24 answers, seen 200 times: so many are left, less than a handful for doubt."""
    counts: dict[int, tuple[int, int]] = {}
    for turn in range(24):
        reached, went_on = counts.get(bucket_of(turn), (0, 0))
        counts[bucket_of(turn)] = (reached + 200, went_on + (200 if turn < 23 else 0))
    assert 10 < further(2, counts) < 22
    assert further(2, counts) > further(12, counts) > further(22, counts)
    assert further(40, counts) < 0.2


def test_buckets_grow() -> None:
    buckets = [bucket_of(turn) for turn in range(1_000)]
    assert buckets == sorted(buckets)
    assert buckets[:9] == list(range(9))
    assert buckets[-1] < 40
    assert bucket_of(-3) == 0


@given(st.integers(0, 500), st.dictionaries(st.integers(0, 40), st.tuples(st.integers(0, 99), st.integers(0, 99))))
def test_it_is_a_number_of_requests(turns: int, counts: dict[int, tuple[int, int]]) -> None:
    assert 0 <= further(turns, counts) <= 400
