"""What a question's surface tells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.features import LEVELS, SHAPE_FROM, SHAPES, WORDS, hashed


@given(st.text(max_size=4_000))
def test_any_text_has_features_and_one_level_of_each_shape(text: str) -> None:
    found = hashed(text)
    shape = [number for number in found if number >= SHAPE_FROM]
    assert found == tuple(sorted(found))
    assert [(number - SHAPE_FROM) // LEVELS for number in shape] == list(range(len(SHAPES)))
    assert min(found) >= 0


def test_they_are_the_same_in_every_process() -> None:
    words = [number for number in hashed("Who wrote it?") if number < 2 * WORDS]
    assert words == [1376, 3546, 4845, 7437, 11880, 13041, 13635]


def test_words_count_as_often_as_they_occur() -> None:
    assert len(hashed("no no no")) > len(hashed("no no"))


def test_the_middle_of_a_long_text_is_not_read() -> None:
    head, tail = "begin " * 250, " end" * 500
    assert hashed(head + "x" * 5_000 + tail) == hashed(head + "y" * 9_000 + tail)


def test_letters_of_any_script_and_lone_surrogates_are_read() -> None:
    assert hashed("Wie heißt die Hauptstadt?") != hashed("Wie heisst die Hauptstadt?")
    assert hashed("\ud800 broken")
    assert hashed("")


def test_numbers_of_a_thousand_digits_are_a_number() -> None:
    assert hashed("9" * 1_000)
