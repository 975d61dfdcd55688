"""Texts for which the semantic cache stays off, and questions for which it must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.cache.guards import off


@pytest.mark.parametrize("text", ["", "  \n", "\U0001f600\U0001f44d", "???", "\0", "1 + 1"])
def test_without_words_there_is_nothing_to_compare(text: str) -> None:
    assert off(text) == "empty"


@pytest.mark.parametrize(
    "text",
    [
        "it", "What is it?", "that one", "Continue", "please go on", "do the same", "The second one, please",
        "and for Oslo?", "What about Oslo?", "Translate this", "How do I delete them?", "Why?", "thanks!",
        "Make it shorter", "explain that again", "What did you mean by your last answer?",
        "Summarize the text above", "Is he married?", "do i put it in the car",
    ],
)  # fmt: skip
def test_what_points_outside_itself_keeps_the_cache_off(text: str) -> None:
    assert off(text) == "reference"


@pytest.mark.parametrize(
    "text",
    [
        "What is on TV tonight?",
        "latest phone by Acme",
        "Who is the current president?",
        "Will rain fall in Oslo this week?",
    ],
)
def test_the_present_keeps_it_off_unless_told_otherwise(text: str) -> None:
    assert off(text) == "time-bound"
    assert off(text, time_bound=True) is None


@pytest.mark.parametrize(
    "text",
    [
        "How do I reset my password?", "How long does it take to learn chess?", "Is it safe to eat snow?",
        "Does it cost extra to pay by card?", "How do I open a current account?", "What does it mean to be brave?",
        "My printer jams. How do I fix it?", "Which animals are there in Kenya?", "What are things that float?",
        "Wo ist der Bahnhof?", "I bought a car. How do I register it?", "I have my SIM, how do I get it working?",
    ],
)  # fmt: skip
def test_a_question_that_stands_alone_is_welcome(text: str) -> None:
    assert off(text) is None


def test_a_very_long_text_is_none_of_ours() -> None:
    assert off("word " * 500) == "long"


@given(st.text(max_size=400))
def test_any_text_gets_a_verdict(text: str) -> None:
    assert off(text) in {None, "empty", "reference", "time-bound", "long"}
