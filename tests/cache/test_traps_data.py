"""The trap suite's data alone: its shape and counts, not how any cache fares on it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

SUITES = ("traps.jsonl", "traps_second.jsonl", "traps_third.jsonl")
NEAR_MISSES = (
    "negation",
    "number",
    "unit",
    "entity",
    "role_swap",
    "direction",
    "wh_word",
    "polarity",
    "tense_time",
    "symbol",
    "quantifier",
    "reference",
)


@pytest.fixture(scope="module", params=SUITES)
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    path = Path(__file__).with_name(request.param)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_row_has_the_four_fields_and_trimmed_text(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert list(row) == ["kind", "a", "b", "same"], row
        assert type(row["same"]) is bool, row
        assert row["kind"] in {*NEAR_MISSES, "paraphrase"}, row
        for side in ("a", "b"):
            text = row[side]
            assert isinstance(text, str), row
            assert text, row
            assert text == " ".join(text.split()), row


def test_only_paraphrases_share_an_answer(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["same"] is (row["kind"] == "paraphrase"), row


def test_there_are_enough_of_each_kind(rows: list[dict[str, Any]]) -> None:
    counts = Counter(row["kind"] for row in rows)
    near_misses = [counts[kind] for kind in NEAR_MISSES]
    assert sum(near_misses) >= 420
    assert min(near_misses) >= 33
    assert max(near_misses) - min(near_misses) <= 7
    assert counts["paraphrase"] >= 210


def test_the_two_questions_of_a_pair_differ(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert row["a"] != row["b"], row


def test_no_question_is_used_twice(rows: list[dict[str, Any]]) -> None:
    counts = Counter(text for row in rows for text in (row["a"], row["b"]))
    assert [text for text, n in counts.items() if n > 1] == []


def test_lengths_are_those_of_real_questions(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        high = 45 if row["same"] else 30
        assert 2 <= len(row["a"].split()) <= high, row
        assert 2 <= len(row["b"].split()) <= high, row


def test_some_near_misses_are_typed_carelessly(rows: list[dict[str, Any]]) -> None:
    careless = [row for row in rows if not row["same"] and row["a"] == row["a"].lower() and "?" not in row["a"]]
    assert len(careless) >= 10
