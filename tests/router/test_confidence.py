"""Confidence from log-probabilities."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.confidence import by_logprobs, prefix_confidence
from llmsaver.router.views import Answer

TOLD = st.lists(st.floats(-60, 0), min_size=1, max_size=40)


def value(*logprobs: float, skip: int = 0) -> float | None:
    found = by_logprobs(Answer("x", logprobs=logprobs), skip=skip)
    return None if found is None else found.value


@given(st.floats(-700, 0))
def test_one_token_is_its_probability(logprob: float) -> None:
    assert value(logprob) == math.exp(logprob)


@given(TOLD, st.data())
def test_it_rises_with_every_token(logprobs: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(logprobs) - 1))
    higher = data.draw(st.floats(logprobs[place], 0))
    better = [*logprobs[:place], higher, *logprobs[place + 1 :]]
    one, two = value(*logprobs), value(*better)
    assert one is not None
    assert two is not None
    assert 0 <= one <= 1
    assert two >= one - 1e-12


@given(st.lists(st.floats() | st.sampled_from([-math.inf, math.nan, -9999.0]), max_size=30))
def test_nothing_that_a_provider_tells_breaks_it(logprobs: list[float]) -> None:
    found = value(*logprobs)
    assert found is None or 0 <= found <= 1


def test_short_answers_are_as_likely_as_all_their_tokens() -> None:
    assert value(-1.0, -0.5, 0.0, -0.25) == pytest.approx(math.exp(-1.75))


def test_the_length_of_a_long_answer_does_not_count() -> None:
    assert value(*[-0.2] * 20) == pytest.approx(value(*[-0.2] * 400))
    assert value(*[-0.2] * 20) == pytest.approx(math.exp(-0.2))


def test_guessed_words_count_more_than_their_number() -> None:
    sure, guessed = value(*[-0.05] * 40), value(*[-0.05] * 34, *[-4.0] * 6)
    assert sure is not None
    assert guessed is not None
    assert guessed < math.exp(-2) < sure


def test_missing_and_impossible_ones() -> None:
    assert by_logprobs(Answer("x")) is None
    assert value(math.nan) is None
    assert value(math.nan, math.nan, -0.1) is None
    assert value(math.nan, -0.1) == math.exp(-0.1)
    assert value(-math.inf) == 0.0
    assert value(-math.inf, *[-0.1] * 30) == pytest.approx(math.exp((-23 / 31 - 0.1) / 2))
    assert value(0.001) == 1.0
    assert value(-5.0, -0.1, skip=1) == math.exp(-0.1)
    assert value(-5.0, skip=1) is None


def test_what_is_no_logarithm_of_a_probability_says_nothing() -> None:
    assert by_logprobs(Answer("yes", logprobs=(3.0, 2.0))) is None
    assert prefix_confidence("yes it is", (3.0,)) is None
    rounded = by_logprobs(Answer("yes", logprobs=(1e-7,)))
    assert rounded is not None
    assert rounded.value == 1.0


def test_prefixes() -> None:
    found = prefix_confidence("The capital of", [-0.1, -0.3])
    assert found is not None
    assert found.value == pytest.approx(math.exp(-0.25))
    assert prefix_confidence("The", None) is None
    assert prefix_confidence("The", [math.nan]) is None
    refused = prefix_confidence("I'm sorry, but I can't assist with", [-0.01])
    assert refused is not None
    assert refused.value == 0.0
    looped = prefix_confidence("so " * 40, None)
    assert looped is not None
    assert (looped.value, looped.signal) == (0.0, "prefix")
