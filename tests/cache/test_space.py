"""Many questions: how many are kept in all, and what they cost before they are looked at."""

from __future__ import annotations

from typing import Any

import pytest

np = pytest.importorskip("numpy")

from llmsaver.cache import guards  # noqa: E402 - needs numpy, which is an extra's
from llmsaver.cache.semantic import Questions  # noqa: E402 - the same
from llmsaver.cache.space import Space  # noqa: E402 - the same


def unit(seed: int) -> Any:
    vector = np.random.default_rng(seed).normal(size=8)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def test_a_question_is_parsed_when_it_is_first_looked_at_and_once() -> None:
    known = Space(8, 10)
    known.add("k", "How do I pay?", unit(1), 1, 100.0)
    [(found, _)] = known.near(unit(1), 0.0)
    assert found._sketch is None
    assert found.sketch is found.sketch
    assert found.sketch == guards.sketch("How do I pay?")


def test_spaces_used_longest_ago_go_where_there_are_too_many_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.cache.semantic.ALL_QUESTIONS", 5)
    questions = Questions(0.01, 8)
    for name in ("one", "two", "three"):
        known = questions.space(name)
        for number in range(4):
            known.add(f"k{number}", f"question {number}", unit(number), number, 10.0)
    assert [name for name in ("one", "two", "three") if name in questions._spaces] == ["two", "three"]
    questions.space("four")
    assert len(questions._spaces) == 2
