"""Words, numbers, negations and code of two texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.compare.words import code_differs, exact, negations_differ, numbers_differ, token_f1


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [("a b", " a\n\tb ", True), ("", "  ", True), ("a b", "ab", False), ("Yes", "yes", False)],
)
def test_exact(one: str, other: str, *, equal: bool) -> None:
    assert exact(one, other) is equal


@pytest.mark.parametrize(
    ("one", "other", "score"),
    [
        ("The cat sat.", "a CAT, sat", 1.0),
        ("the cat sat on the mat", "the cat ran", 2 / 6),
        ("cat cat", "cat", 2 / 3),
        ("yes", "no", 0.0),
        ("", "", 1.0),
        ("!", "?", 0.0),
        ("...", "...", 1.0),
        ("the", "", 0.0),
        ("the", "word", 0.0),
        ("東京です", "東京だ", 4 / 7),
    ],
)
def test_token_f1(one: str, other: str, score: float) -> None:
    assert token_f1(one, other) == pytest.approx(score)


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("It costs $1,000.", "It costs 1000.0 dollars.", False),
        ("It takes 3 days.", "It takes three days.", False),
        ("It takes three days.", "It takes four days.", True),
        ("the one that works", "the version that works", False),
        ("1 day", "one day", False),
        ("1 day", "a day", True),
        ("two, one", "2", False),
        ("from -5 to 5", "from 5 to 5", True),
        ("2026-11", "2026/11", False),
        ("\u22125", "-5", False),
        ("1e3", "1000", False),
        ("v1.2", "v1.3", True),
        ("about 12 %", "about 13 %", True),
        ("\u0663", "3", False),
        ("no number", "none here", False),
    ],
)
def test_numbers_differ(one: str, other: str, *, differ: bool) -> None:
    assert numbers_differ(one, other) is differ
    assert numbers_differ(other, one) is differ


def test_negations_differ() -> None:
    assert negations_differ("It is safe.", "It is not safe.")
    assert negations_differ("You can do that.", "You can\u2019t do that.")
    assert not negations_differ("It doesn't work", "It does not work")
    assert not negations_differ("Nothing is wrong, and note this", "Never mind the knot")


def test_code_differs() -> None:
    assert code_differs("So:\n```python\na * b\n```", "So:\n```python\na - b\n```")
    assert not code_differs("So:\n```python\na  *  b\n```", "Thus:\n```py\na * b```")
    assert code_differs("```\nx\n```", "x")


@given(st.text(), st.text())
def test_any_text(one: str, other: str) -> None:
    assert 0.0 <= token_f1(one, other) <= 1.0
    assert token_f1(one, one) == 1.0
    for measure in (token_f1, exact, numbers_differ, negations_differ, code_differs):
        assert measure(one, other) == measure(other, one)
    for differs in (numbers_differ, negations_differ, code_differs):
        assert not differs(one, one)


@given(st.text(alphabet="0123456789,.-eE one\u0663"), st.text(alphabet="0123456789,.-eE one\u0663"))
def test_any_numbers(one: str, other: str) -> None:
    assert numbers_differ(one, other) == numbers_differ(other, one)
    assert not numbers_differ(one, one)
