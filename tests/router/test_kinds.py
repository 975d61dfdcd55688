"""Kinds of tasks, and how hard they look."""

from __future__ import annotations

import pytest

from llmsaver.router.kinds import choices_of, difficulty, task_kind
from llmsaver.router.views import Asked

CHOICE = "Which one?\nA. 4\nB. 8\nC. 12\nD. 6\nAnswer:"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (Asked("Weather?", tools={"f": None}), "tools"),
        (Asked("Who?", json=True), "extraction"),
        (Asked("Extract all names"), "extraction"),
        (Asked("Translate this to German"), "translation"),
        (Asked(CHOICE), "choice"),
        (
            Asked("I lost my card", system="Classify the message as one of the following intents: a, b"),
            "classification",
        ),
        (Asked("How many apples are 3 + 4?"), "math"),
        (Asked("Why does this Python function fail?"), "code"),
        (Asked("Tell me about Peru"), "chat"),
    ],
)
def test_kinds(asked: Asked, kind: str) -> None:
    assert task_kind(asked) == kind
    assert 0 <= difficulty(asked) <= 1


def test_choices() -> None:
    assert choices_of(Asked(CHOICE)) == "ABCD"
    assert choices_of(Asked("(A) x\n(B) y")) == "AB"
    assert choices_of(Asked("B. x\nC. y")) == ""
    assert choices_of(Asked("none")) == ""


def test_difficulty() -> None:
    easy = difficulty(Asked("Hi, what is the capital of Peru?", prompt_bytes=40))
    text = "Prove the theorem step by step and explain why 1, 2, 3, 4, 5 and 6 are edge cases? Or not?"
    assert easy < 0.3
    assert difficulty(Asked(text, prompt_bytes=9_000)) > 0.6
    assert difficulty(Asked("Hi", prompt_bytes=10)) < difficulty(Asked("Hi", prompt_bytes=30_000))
