"""The validators in their order, and users' own."""

from __future__ import annotations

from typing import Any

from llmsaver.router.validators import VALIDATORS, Objection, named, objection
from llmsaver.router.views import Answer, Asked, ToolCall

ASKED = Asked("What is the capital of Peru?")


def test_a_good_answer_passes_all() -> None:
    assert list(VALIDATORS) == ["empty", "refusal", "truncation", "schema", "tools", "language", "loop"]
    assert objection(ASKED, Answer("Lima.")) is None
    assert objection(Asked("x", tools={"f": None}), Answer("", (ToolCall("f", ""),), "tools")) is None


def test_empty() -> None:
    assert objection(ASKED, Answer(" \n")) == Objection("empty", "it is empty")
    assert objection(ASKED, Answer("<think>Lima? Or")) == Objection("empty", "it holds thoughts and no answer")
    assert objection(ASKED, Answer("<think>Lima?</think> Lima.")) is None


def test_truncation() -> None:
    cut = Answer("Lima is", finish="length")
    assert objection(ASKED, cut) == Objection("truncation", "it was cut off at its limit of tokens")
    assert objection(Asked("x", max_output=1), Answer("B", finish="length")) is None
    assert objection(Asked("x", max_output=100), cut) is not None


def test_the_first_that_objects_is_named() -> None:
    found = objection(Asked("x", json=True), Answer("no", finish="length"))
    assert found is not None
    assert found.validator == "truncation"


def test_users_own() -> None:
    def no_paris(_: Asked, answer: Answer) -> str | None:
        return "it says Paris" if "Paris" in answer.text else None

    def broken(_: Asked, answer: Answer) -> str | None:
        raise ValueError(answer.text)

    def odd(*_: Any) -> Any:
        return True

    class Empty:
        def __call__(self, _: Asked, answer: Answer) -> str | None:
            return "short" if len(answer.text) < 3 else None

    own = named([no_paris, no_paris, Empty()])
    assert list(own)[len(VALIDATORS) :] == ["no_paris", "no_paris 2", "Empty"]
    assert objection(ASKED, Answer("Paris."), own) == Objection("no_paris", "it says Paris")
    assert objection(ASKED, Answer("No"), own) == Objection("Empty", "short")
    assert objection(ASKED, Answer("x"), {"b": broken}) == Objection("b", "its validator raised ValueError: x")
    assert objection(ASKED, Answer("x"), {"b": odd}) == Objection(
        "b", "its validator returned bool, not a sentence or None"
    )
