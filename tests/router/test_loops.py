"""Answers that repeat themselves."""

from __future__ import annotations

import pytest

from llmsaver.router.loops import loop, repeated
from llmsaver.router.views import Answer, Asked

FINE = [
    "",
    "The answer is 42.",
    "| a | b |\n| --- | --- |\n" + "| 1 | 2 |\n" * 30,
    "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
    "Here:\n```\n" + "print('x')\n" * 40 + "```\n",
    "```\n" + "x = 1\n" * 40,
    "ha ha ha ha ha",
    "\n".join(f"- Day {day}: {day * 3} dollars were spent on the way" for day in range(20)),
    "\n".join(["No."] * 12),
    " ".join(f"word{number}" for number in range(300)),
]
LOOPED = [
    "Well: " + "no " * 20,
    "First. " + "The total is the sum of the total. " * 6,
    "x " + "and then we add the numbers of the first row to those of the second row, which gives more " * 4,
    "\u56e0\u4e3a\u8fd9\u4e2a\u95ee\u9898" * 8,
    "\n".join(f"{number}. The answer is correct." for number in range(1, 14)),
]


@pytest.mark.parametrize("text", FINE)
def test_fine(text: str) -> None:
    assert repeated(text) is None


@pytest.mark.parametrize("text", LOOPED)
def test_looped(text: str) -> None:
    assert repeated(text) is not None
    assert loop(Asked("Why?"), Answer(text)) is not None
    assert loop(Asked("Repeat it 20 times"), Answer(text)) is None
    assert loop(Asked("Wiederhole das"), Answer(text)) is None


def test_words() -> None:
    assert repeated("no " * 20) == "it repeats a piece of 1 word 20 times at its end"
    assert repeated(LOOPED[-1]) == "it repeats one line 13 times"
