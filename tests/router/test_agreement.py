"""Two samples of one answer."""

from __future__ import annotations

from decimal import Decimal

import pytest

from llmsaver.router.agreement import by_agreement, final_letter, final_number
from llmsaver.router.views import Answer, Asked, ToolCall

CHOICE = Asked("Which?\nA. 4\nB. 8\nC. 12\nD. 6\nAnswer:")
MATH = Asked("How many apples are 3 + 4?")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(B) 8", "B"),
        ("**B**", "B"),
        ("B. 8, because it is", "B"),
        ("The answer is B.", "B"),
        ("The correct option is (C): 12", "C"),
        ("It must be D", "D"),
        ("A careful look says D", "D"),
        ("Either B or C", None),
        ("E", None),
        ("eight", None),
    ],
)
def test_letters(text: str, letter: str | None) -> None:
    assert final_letter(text, CHOICE) == letter
    assert final_letter(text, Asked("no options")) is None


def test_the_pronoun_is_no_option() -> None:
    many = Asked("\n".join(f"{letter}. x" for letter in "ABCDEFGHIJ"))
    assert final_letter("Well, I choose C", many) == "C"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 + 4 = 7\n#### 1,007", "1007"),
        ("It is $\\boxed{42}$", "42"),
        ("The answer is $3.50, not 4", "3.5"),
        ("We add 3 and 4 and get 7.", "7"),
        ("It is 1/2", "0.5"),
        ("It is \u22125", "-5"),
    ],
)
def test_numbers(text: str, number: str) -> None:
    assert final_number(text) == Decimal(number)


def test_no_number() -> None:
    assert final_number("none at all") is None
    assert final_number("#### 1/0") is None


@pytest.mark.parametrize(
    ("one", "other", "asked", "value"),
    [
        ("B", "The answer is B", CHOICE, 1.0),
        ("B", "C", CHOICE, 0.0),
        ("It is 7\n#### 7", "3 + 4 = 7.0", MATH, 1.0),
        ("It is 7", "It is 8", MATH, 0.0),
        ("so\n#### 7", "hence $\\boxed{7}$", Asked("Apples?"), 1.0),
        ("Paris", "It is Paris.", Asked("Capital?"), 1.0),
        ("The Beatles", "beatles", Asked("Band?"), 1.0),
        ("It is Paris", "It is not Paris", Asked("Capital?"), 0.0),
        ("Rome", "Paris", Asked("Capital?"), 0.0),
        ("", "Paris", Asked("Capital?"), 0.0),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1.0}', Asked("x", json=True), 1.0),
        ('{"a": 1}', '{"a": 2}', Asked("x", json=True), 0.0),
        ("...", "!!!", Asked("x"), 0.0),
        ("no idea", "None.", MATH, 0.0),
    ],
)
def test_agreement(one: str, other: str, asked: Asked, value: float) -> None:
    found = by_agreement(Answer(one), Answer(other), asked)
    assert (found.value, found.signal) == (value, "agreement")
    assert by_agreement(Answer(other), Answer(one), asked).value == value


def test_long_texts() -> None:
    text = "The cache keeps every answer for six hours and then forgets what it held about each of them"
    alike = by_agreement(Answer(text), Answer(text.replace("forgets", "drops")), Asked("How?"))
    apart = by_agreement(
        Answer(text), Answer("It is said that some of the six things would be there all day long"), Asked("How?")
    )
    against = by_agreement(Answer(text), Answer(text.replace("keeps", "never keeps")), Asked("How?"))
    assert against.value == 0.0 < apart.value < 0.3
    assert 0.9 < alike.value <= 1


def test_calls() -> None:
    one = Answer("", (ToolCall("f", '{"a": 1, "b": 2}'),))
    assert by_agreement(one, Answer("x", (ToolCall("f", '{"b": 2, "a": 1}'),)), Asked("x")).value == 1.0
    assert by_agreement(one, Answer("", (ToolCall("f", "{}"),)), Asked("x")).value == 0.0
    assert by_agreement(one, Answer("text"), Asked("x")).value == 0.0
    broken = Answer("", (ToolCall("f", "{"),))
    assert by_agreement(broken, broken, Asked("x")).value == 1.0
