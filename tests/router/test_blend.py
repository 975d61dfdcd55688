"""A confidence and a gatekeeper together."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.router.blend import Blend, combined

Rows = tuple[list[float | None], list[float], list[float], list[float]]


def rows(count: int, knows: float, seed: int = 2) -> Rows:
    """Return merits, predicted gains and qualities where the prediction knows a share of what the merit does not."""
    draw = random.Random(seed)  # noqa: S311 - repeatable
    merits: list[float | None] = []
    gains, weak = [], []
    for _ in range(count):
        merit, hard = draw.random(), draw.random()
        chance = min(1.0, max(0.0, 0.2 + 0.5 * merit - 0.5 * (hard - 0.5)))
        merits.append(merit)
        gains.append(knows * hard + (1 - knows) * draw.random())
        weak.append(float(draw.random() < chance))
    return merits, gains, weak, [1.0] * count


def test_a_gatekeeper_that_adds_to_the_confidence_is_listened_to() -> None:
    blend = Blend.fit(*rows(800, 1.0))
    assert blend.weight > 0
    low, usual, high = (combined(0.5, blend.center + move, blend) for move in (-0.3, 0.0, 0.3))
    assert low is not None
    assert usual is not None
    assert high is not None
    assert low > usual > high
    assert usual == pytest.approx(0.5)


def test_one_that_knows_nothing_changes_next_to_nothing() -> None:
    weights = [Blend.fit(*rows(300, 0.0, seed)).weight for seed in range(30)]
    assert sum(weight > 0 for weight in weights) <= 3
    assert max(weights) < 0.5


def test_too_few_labels_or_none_with_a_merit_change_nothing() -> None:
    assert Blend.fit(*rows(20, 1.0)) == Blend()
    _, gains, weak, strong = rows(100, 1.0)
    assert Blend.fit([None] * 100, gains, weak, strong) == Blend()
    assert Blend.fit([0.5] * 100, gains, weak, strong).weight == 0.0


def test_a_confidence_that_says_the_opposite_is_not_corrected() -> None:
    merits, gains, weak, strong = rows(800, 1.0)
    upside_down = [None if merit is None else 1 - merit for merit in merits]
    assert Blend.fit(upside_down, gains, weak, strong).weight == 0.0


def test_where_there_is_nothing_to_combine_the_merit_stays() -> None:
    blend = Blend(2.0, 0.1)
    assert combined(None, 0.5, blend) is None
    assert combined(0.4, None, blend) == combined(0.4, 0.5, None) == combined(0.4, 0.5, Blend()) == 0.4
    assert combined(0.0, 0.5, blend) == 0.0
    assert combined(1.0, 0.5, blend) == 1.0


@given(st.floats(0.001, 0.999), st.floats(-10, 10), st.floats(0, 100))
def test_it_stays_a_merit(merit: float, gain: float, weight: float) -> None:
    made = combined(merit, gain, Blend(weight, 0.0))
    assert made is not None
    assert 0.0 <= made <= 1.0
    assert not math.isnan(made)
