"""Base forms, synonyms and opposites."""

from __future__ import annotations

from itertools import pairwise

import pytest

from llmsaver.cache.lexicon import lemma, lexicon, lines, word


@pytest.mark.parametrize(
    "forms",
    [
        "cancel cancels cancelled canceled cancelling canceling", "change changes changed changing", "use used using",
        "delete deleting deleted", "open opens opening", "pay paid paying", "policy policies", "box boxes",
        "child children", "organize organise organised organizing organising", "ship shipped shipping",
        "apply applied applies", "bake baking", "sell sold selling", "tan tanned tanning", "blog blogged blogging",
        "globalisation globalization", "bus buses", "try tried trying",
    ],
)  # fmt: skip
def test_forms_of_one_word_come_to_the_same(forms: str) -> None:
    assert len({lemma(form) for form in forms.split()}) == 1


@pytest.mark.parametrize(
    "pair",
    [
        "car care",
        "plan plane",
        "security securities",
        "bear bearing",
        "king k",
        "red r",
        "custom customs",
        "new news",
        "bus bu",
        "feed fe",
    ],
)
def test_different_words_stay_apart(pair: str) -> None:
    one, other = pair.split()
    assert lemma(one) != lemma(other)


def test_the_past_is_told_from_other_forms() -> None:
    assert word("went").past
    assert word("walked").past
    assert not word("gone").past
    assert not word("bed").past


def test_no_word_has_two_groups_of_synonyms() -> None:
    groups: dict[str, str] = {}
    for line in lines("synonyms.txt"):
        for each in line.split(", "):
            base = " ".join(map(lemma, each.split()))
            assert groups.setdefault(base, line) == line, each


def test_no_synonyms_are_opposites() -> None:
    words = lexicon()
    for pair in words.opposites:
        concepts = {words.concept(each) for each in pair}
        assert len(concepts) == len(pair), pair


def test_opposites_are_found_either_way_round() -> None:
    words = lexicon()
    for one, other, kind in [
        ("buy", "sell", "antonym"),
        ("legal", "illegal", "polarity"),
        ("readable", "unreadable", "negation"),
    ]:
        assert words.opposed(one, other) == words.opposed(other, one) == kind
    assert words.opposed("door", "window") is None
    assert words.opposed("door", "door") is None


def test_lists_are_of_lower_case_words_once_each() -> None:
    for name in ("verbs.txt", "names.txt"):
        assert all(line == line.lower() for line in lines(name))
    assert all(len(one[0]) >= len(other[0]) for each in lexicon().phrases.values() for one, other in pairwise(each))
