"""The verdict on two answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.compare import Verdict, cosine, same

ANSWERS = st.text() | st.sampled_from(
    ["", "yes", "no", "not yes", "1", "1.0", '{"a": 1}', '{"a": "x y"}', '{"a": "y x"}', "```\na\n```", "three", "[3]"]
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ("Paris.", " Paris. ", Verdict(same=True, score=1.0, how="exact")),
        ('{"a": 1}', '```json\n{"a": 1.0}\n```', Verdict(same=True, score=1.0, how="json")),
        ("It costs 30 euros a month", "It costs 35 euros a month", Verdict(same=False, score=8 / 10, how="numbers")),
        ("It is quite safe", "It is not quite safe", Verdict(same=False, score=8 / 9, how="negation")),
        ("So:\n```\na*b\n```", "So:\n```\na-b\n```", Verdict(same=False, score=1.0, how="code")),
        ("Paris is the capital.", "The capital is Paris", Verdict(same=True, score=1.0, how="words")),
        ("Paris", "Rome", Verdict(same=False, score=0.0, how="words")),
    ],
)
def test_in_order(one: str, other: str, verdict: Verdict) -> None:
    assert same(one, other) == verdict


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ('{"why": "It rains a lot there", "n": 1}', '{"n": 1.0, "why": "it rains a lot there."}', True),
        ('{"city": "Paris", "why": "The sun shines in the sky"}', '{"city": "Rome", "why": "The sun shines"}', False),
        ('{"ok": true, "why": "All of it is well"}', '{"ok": false, "why": "All of it is well"}', False),
        ('{"ok": true}', "It is ok, true", False),
        ('["a"]', '["a", "a"]', False),
    ],
)
def test_json_is_compared_value_by_value(one: str, other: str, *, alike: bool) -> None:
    found = same(one, other)
    assert (found.same, found.how) == (alike, "json")


def test_meaning_decides_where_words_do_not() -> None:
    near, far = ([1.0, 0.0], [0.99, 0.1]), ([1.0, 0.0], [0.0, 1.0])
    assert same("It is big", "That's large", vectors=near).how == "meaning"
    assert same("It is big", "That's large", vectors=near).same
    assert not same("It is big", "That's large", vectors=far).same
    assert same("It is big", "That's large", vectors=([1.0], [-1.0])).score == 0.0
    assert not same("It is 1", "That's 2", vectors=near).same


def test_thresholds_are_the_callers() -> None:
    assert not same("one big cat", "one big dog").same
    assert same("one big cat", "one big dog", min_f1=0.6).same
    assert same("big", "large", vectors=([1.0, 0.0], [1.0, 1.0]), min_cosine=0.7).same


def test_cosine() -> None:
    assert cosine([3.0, 4.0], [6.0, 8.0]) == pytest.approx(1.0)
    assert cosine([1.0, 0.0], [-2.0, 0.0]) == -1.0
    assert cosine([0.0, 0.0], [1.0, 0.0]) == 0.0
    assert cosine([math.nan], [1.0]) == 0.0
    assert cosine([], []) == 0.0
    with pytest.raises(ValueError, match="not of one embedder"):
        cosine([1.0], [1.0, 2.0])


@given(ANSWERS, ANSWERS)
def test_symmetric_and_reflexive(one: str, other: str) -> None:
    assert same(one, other) == same(other, one)
    assert same(one, one) == Verdict(same=True, score=1.0, how="exact")
    assert 0.0 <= same(one, other).score <= 1.0


@given(ANSWERS, ANSWERS, st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4))
def test_symmetric_with_vectors(one: str, other: str, pairs: list[tuple[float, float]]) -> None:
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    assert same(one, other, vectors=(left, right)) == same(other, one, vectors=(right, left))
    assert -1.0 <= cosine(left, right) <= 1.0
