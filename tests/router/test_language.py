"""Languages of texts, and answers in one that nobody asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmsaver.router.language import language_of, mismatch, translation_asked
from llmsaver.router.views import Answer, Asked, ToolCall

TEXTS: dict[str, str] = json.loads(Path(__file__).with_name("spoken.json").read_text(encoding="utf-8"))["texts"]


@pytest.mark.parametrize("language", TEXTS)
def test_every_language_is_told_from_every_other(language: str) -> None:
    assert language_of(TEXTS[language]) == language
    for other, text in TEXTS.items():
        rejected = mismatch(Asked(TEXTS[language]), Answer(text)) is not None
        assert rejected is (language != other and {language, other} != {"han", "japanese"}), other


@pytest.mark.parametrize(
    "text",
    ["", "42", "Paris", "print(the_of_and)", "```\nthe of and to is that\n```", "A: B, C",
     "Angela Merkel, Barack Obama", "$\\alpha + \\beta$", "x\u00b2 + \u03b1 = \u03b2",
     "https://the.example/of/and/to/is/that", "abc \u0434\u0430 \u043d\u0435\u0442 abc"],
)  # fmt: skip
def test_no_language(text: str) -> None:
    assert language_of(text) is None


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        # The text is to be worked on, or holds the answer's language itself.
        (Asked(f"Summarize in a sentence what is said there about it: {TEXTS['de']}"), TEXTS["de"]),
        (Asked(f"{TEXTS['en']} {TEXTS['en']} {TEXTS['de']}"), TEXTS["de"]),
        (Asked(f"{TEXTS['de']} Er sagte: {TEXTS['en'][:50]}"), TEXTS["en"]),
        (Asked(f"{TEXTS['en']}\n\nBitte kurz fassen!"), TEXTS["de"]),
        (Asked(f"Kurzfassung, bitte:\n{TEXTS['en']}"), TEXTS["de"]),
        (Asked(f"{TEXTS['en'] * 20} Kurzfassung, bitte."), TEXTS["de"]),
        (Asked("x" * 3_000 + TEXTS["han"], turns=(TEXTS["en"],)), TEXTS["han"]),
        (Asked(TEXTS["en"], system="y " * 3_000 + "Now and then say it in French."), TEXTS["fr"]),
        # Languages are named.
        (Asked("How do you say that you should not worry about it in German?"), TEXTS["de"]),
        (Asked("Translate to the language of the French: the answer is that you are the same"), TEXTS["fr"]),
        (Asked(TEXTS["en"], system="You speak Chinese and English."), TEXTS["han"]),
        (Asked("What is the kanji for love, and what are all of its readings?"), "\u611b" * 30),
        (Asked("And what about the others, are they all the same?", turns=(TEXTS["fr"],)), TEXTS["fr"]),
        (Asked(TEXTS["en"], turns=("\u4f60\u597d",)), TEXTS["han"]),
        # A long brief in English says what to make of a text in German.
        (Asked(TEXTS["de"], system="Write a report about what the customer says in the ticket."), TEXTS["en"]),
        (Asked(TEXTS["de"], system=TEXTS["en"] * 3), TEXTS["en"]),
        # No words to judge by.
        (Asked("Hi"), TEXTS["de"]),
        (Asked(TEXTS["en"]), "Tokio, M\u00fcnchen"),
        (Asked(TEXTS["en"]), "The capital of Japan is Tokyo (\u6771\u4eac)."),
        (Asked(TEXTS["en"]), ""),
        (Asked(TEXTS["en"], json=True), TEXTS["de"]),
        (Asked(TEXTS["japanese"]), "\u30ab\u30bf\u30ab\u30ca" * 9),
        (Asked(TEXTS["han"]), "\u3053\u308c\u306f\u3072\u3089\u304c\u306a" * 9),
    ],
)  # fmt: skip
def test_what_explains_another_language(asked: Asked, answer: str) -> None:
    assert mismatch(asked, Answer(answer)) is None


@pytest.mark.parametrize(
    ("asked", "answer", "why"),
    [
        (Asked(TEXTS["de"], system="You are a helpful assistant for the customers of a bank."), TEXTS["en"],
         "it is in 'en' where 'de' was spoken"),
        (Asked(TEXTS["de"], system=TEXTS["en"] * 3 + "Reply in the user's language."), TEXTS["en"],
         "it is in 'en' where 'de' was spoken"),
        (Asked(f"{TEXTS['de']}\n\n{TEXTS['de']}"), TEXTS["en"], "it is in 'en' where 'de' was spoken"),
        (Asked("ja", turns=(TEXTS["de"],)), TEXTS["en"], "it is in 'en' where 'de' was spoken"),
        (Asked(TEXTS["en"]), f"The answer is simple {TEXTS['han']}",
         "a good part of it is in han script, and nothing of what was asked"),
        (Asked("What is it?"), TEXTS["cyrillic"],
         "a good part of it is in cyrillic script, and nothing of what was asked"),
        (Asked(TEXTS["en"], system="Always answer in German."), TEXTS["en"], "it is in 'en' where 'de' was asked for"),
        (Asked(TEXTS["de"], system="Respond only in Chinese."), TEXTS["de"], "it is in 'de' where 'han' was asked for"),
    ],
)  # fmt: skip
def test_the_wrong_language(asked: Asked, answer: str, why: str) -> None:
    assert mismatch(asked, Answer(answer)) == why


@pytest.mark.parametrize("answer", [TEXTS["de"], "Ja."])
def test_the_language_that_was_asked_for(answer: str) -> None:
    assert mismatch(Asked(TEXTS["en"], system="Always answer in German."), Answer(answer)) is None


def test_two_languages_asked_for_are_a_topic() -> None:
    asked = Asked("Answer in French and then reply in German", system="")
    assert mismatch(asked, Answer(TEXTS["es"])) is None


def test_calls_have_no_language() -> None:
    assert mismatch(Asked(TEXTS["de"]), Answer(TEXTS["en"], (ToolCall("f", "{}"),))) is None


@pytest.mark.parametrize(("text", "is_one"), [("Translate it", True), ("\u00dcbersetze das", True), ("Why?", False)])
def test_translation(text: str, is_one: bool) -> None:
    assert translation_asked(Asked(text)) is is_one
