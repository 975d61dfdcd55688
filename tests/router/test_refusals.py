"""Answers that decline, and those that only look like it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmsaver.router.refusals import opens_with_refusal, refusal
from llmsaver.router.views import Answer, Asked, ToolCall

ASKED = Asked("How do I get it done?")
SPOKEN = json.loads(Path(__file__).with_name("spoken.json").read_text(encoding="utf-8"))
REFUSED: list[str] = SPOKEN["refused"]


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    assert refusal(ASKED, Answer(text)) == "it declines to answer"
    assert opens_with_refusal(text)


@pytest.mark.parametrize("text", SPOKEN["at_a_loss"])
def test_at_a_loss(text: str) -> None:
    assert refusal(ASKED, Answer(text)) == "it says that it cannot know or do this"
    assert not opens_with_refusal(text)


@pytest.mark.parametrize("text", SPOKEN["answered"])
def test_answered(text: str) -> None:
    assert refusal(ASKED, Answer(text)) is None


@pytest.mark.parametrize(
    "asked",
    [
        Asked("Translate: Je suis d\u00e9sol\u00e9, je ne peux pas vous aider."),
        Asked("Write an e-mail to Bob about his move."),
        Asked("Rephrase: no way"),
        Asked("Give me a phrase with which to turn down a request."),
        Asked("What did the clerk say? <log>I'm sorry, but I can't assist with that request. Bye.</log>"),
        Asked("Who won?", system="Off topic? Say \"I'm sorry, but I can't assist with that request.\""),
        Asked("What is said?", json=True),
    ],
)
def test_ordered(asked: Asked) -> None:
    assert refusal(asked, Answer(REFUSED[0])) is None


def test_thoughts_are_not_read() -> None:
    assert refusal(ASKED, Answer(f"<think>Is that fine? No.</think>\n{REFUSED[0]}")) is not None


def test_what_the_provider_says_is_certain() -> None:
    for finish in ("refusal", "filter"):
        assert refusal(ASKED, Answer("", finish=finish)) == "the provider says that it was refused or filtered"
    assert refusal(ASKED, Answer(REFUSED[0], (ToolCall("f", "{}"),))) is None
