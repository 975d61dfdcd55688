"""Quantiles of output lengths: how exact, and in how much memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.lengths import Lengths, Sketch

if TYPE_CHECKING:
    import pytest

KEY = ("f", "m", "")


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=300), st.floats(0.5, 1))
def test_a_quantile_is_at_most_a_step_too_high(lengths: list[int], share: float) -> None:
    sketch = Sketch()
    for length in lengths:
        sketch.add(length)
    true = max(1, sorted(lengths)[math.ceil(share * len(lengths)) - 1])
    assert true <= sketch.quantile(share) <= true * 1.04 + 1


def test_memory_is_bounded_and_old_counts_fade(monkeypatch: pytest.MonkeyPatch) -> None:
    sketch = Sketch()
    assert sketch.quantile(0.5) == 0
    for length in [*range(1, 100_000, 7), 10**9, -5]:
        sketch.add(length)
    assert len(sketch._buckets) <= 413
    monkeypatch.setattr("llmsaver.prompt.lengths._HALF_LIFE", 100)
    fading = Sketch()
    for _ in range(90):
        fading.add(10)
    for _ in range(400):
        fading.add(1_000)
    assert fading.total < 100
    assert fading.quantile(0.5) >= 1_000


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.prompt.lengths._MOST_KEYS", 2)
    lengths = Lengths()
    for feature in ("a", "b", "a", "c"):
        lengths.note((feature, "m", ""), 5)
    assert lengths.quantile(("a", "m", ""), 0.5, 1) == (6, 2)
    assert lengths.quantile(("b", "m", ""), 0.5, 1) is None
    assert lengths.quantile(("a", "m", ""), 0.5, 3) is None


class Books:
    """A ledger with these rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def open(self) -> Books:
        return self

    def reader(self) -> Books:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def calls(self, **_: object) -> list[dict[str, Any]]:
        return self.rows


def test_history_counts_whole_answers_of_one_attempt() -> None:
    one: dict[str, Any] = {"feature": "f", "output_tokens": 7, "attempts": [{"model": "m"}]}
    rows = [one, {**one, "attempts": [{"model": "m"}] * 2}, {**one, "output_tokens": None}, {**one, "attempts": []}]
    lengths = Lengths()
    books: Any = Books(rows)
    assert lengths.read(books) == 1
    assert lengths.quantile(KEY, 0.5, 1) == (8, 1)
