"""What a watch has seen comes back from its row; what is no row gives nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.drift import Drift, numbered
from llmsaver.router.watch_rows import WORDS, row_of, sequences_of

SHARES = st.lists(st.floats(0.0, 1.0).map(lambda value: float(f"{value:.6g}")), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "words", "calls"]), inner),
    max_leaves=10,
)


@given(SHARES, st.sets(st.integers(0, WORDS - 1), max_size=50))
def test_it_comes_back(shares: list[float], words: set[int]) -> None:
    row = json.loads(json.dumps(row_of({"a": shares}, words)))
    assert sequences_of(row, ["a"]) == ({"a": shares}, words)


@given(JSON, JSON)
def test_whatever_a_row_says_it_is_read_or_passed_over(values: Any, words: Any) -> None:
    found = sequences_of({"a": values, "words": words}, ["a"])
    assert found is None or set(found[0]) == {"a"}
    drift = Drift()
    told = drift.merged("f", {"calls": values, "began": words, "words": words, "since": values})
    assert told["calls"] == 0


@pytest.mark.parametrize("words", ["", "!!!", "AAAA", "eJwDAAAAAAE=", None, 3])
def test_words_that_are_none(words: Any) -> None:
    found = sequences_of({"a": [1.0], "words": words}, ["a"])
    assert found is None or found[1] == set()


def test_a_row_of_endless_lists_is_none() -> None:
    assert sequences_of({**row_of({"a": []}, ()), "a": [0.5] * 20_000}, ["a"]) is None


def test_words_are_numbered_alike_everywhere() -> None:
    assert numbered("The capital\ud800 of France") == numbered("the CAPITAL\ud800 of france")
    assert len(numbered("word " * 10_000)) == 1
    assert all(0 <= number < WORDS for number in numbered("one two three"))
