"""Traffic that shifts is noticed; traffic that does not is left alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from llmsaver.router.drift import Drift, distance


def feed(drift: Drift, count: int, *, seed: int = 0, sure: float = 0.8, rate: float = 0.3, words: Any = None) -> Any:
    """Show so many calls, and return what was seen first."""
    chance = random.Random(seed)  # noqa: S311 - the same numbers in every run
    seen = None
    for number in range(count):
        told = words(number) if words else (chance.randrange(200) for _ in range(8))
        confidence = min(1.0, max(0.0, chance.gauss(sure, 0.1)))
        seen = drift.see("f", confidence, told, escalated=chance.random() < rate) or seen
    return seen


@pytest.mark.parametrize("seed", range(20))
def test_steady_traffic_never_alarms(seed: int) -> None:
    drift = Drift()
    assert feed(drift, 2_000, seed=seed) is None
    assert not drift.shifted("f")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": 0.9}, "escalation rate went from"),
        ({"sure": 0.4}, "confidence of answers"),
        ({"words": lambda n: range(10_000 + 9 * n, 10_009 + 9 * n)}, "how new questions are"),
    ],
)
def test_each_kind_of_shift_is_seen_once(change: dict[str, Any], said: str) -> None:
    drift = Drift()
    assert feed(drift, 400) is None
    assert said in feed(drift, 150, seed=1, **change)
    assert drift.shifted("f")
    assert drift.watch("f").since is not None
    assert feed(drift, 150, seed=2, **change) is None  # said once
    assert not drift.shifted("other")


def test_once_it_is_settled_the_new_traffic_is_the_reference() -> None:
    drift = Drift()
    feed(drift, 400)
    feed(drift, 150, seed=1, rate=0.9)
    drift.settled("f")
    assert not drift.shifted("f")
    assert feed(drift, 1_000, seed=3, rate=0.9) is None


def test_answers_without_a_confidence_and_empty_questions_are_counted_too() -> None:
    drift = Drift(reference=10)
    for _ in range(200):
        assert drift.see("f", None, (), escalated=True) is None


def test_the_distance_of_samples() -> None:
    assert distance([], [1.0]) == (0.0, 1.0)
    assert distance([1.0, 2.0], [1.0, 2.0])[0] == 0.0
    far, chance = distance([0.1] * 100, [0.9] * 100)
    assert far == 1.0
    assert chance < 1e-9
