"""Switches priced with their prompt caches."""

from __future__ import annotations

import pytest

from llmsaver.pricing import Rates
from llmsaver.router.economics import call_nano, pays, switch_cost, switch_pays

DEAR = Rates("p", "dear", {"input": 2_000_000_000, "cache_read": 100_000_000, "output": 10_000_000_000})
CHEAP = Rates("p", "cheap", {"input": 100_000_000, "cache_read": 10_000_000, "cache_write_30m": 125_000_000,
                             "output": 500_000_000})  # fmt: skip
MIDDLE = Rates("p", "middle", {"input": 1_000_000_000, "output": 5_000_000_000})
STEPPED = Rates("p", "s", {"input": 1_000_000}, above=((1_000, {"input": 2_000_000}), (10_000, {"input": 3_000_000})))


def test_calls() -> None:
    assert call_nano(DEAR, prompt_tokens=1_000, cached_tokens=600, output_tokens=100) == 800_000 + 60_000 + 1_000_000
    assert call_nano(MIDDLE, prompt_tokens=10, cached_tokens=50) == 10_000
    assert [call_nano(STEPPED, prompt_tokens=tokens) for tokens in (1_000, 2_000, 20_000)] == [1_000, 4_000, 60_000]
    assert call_nano(Rates("p", "free", {}), prompt_tokens=1_000, output_tokens=9) == 0


def test_the_prefix_is_lost_and_written_anew() -> None:
    assert switch_cost(DEAR, CHEAP, prefix_tokens=100_000) == 12_500_000 - 10_000_000
    assert switch_cost(CHEAP, DEAR, prefix_tokens=100_000) == 200_000_000 - 1_000_000
    assert switch_cost(MIDDLE, CHEAP, prefix_tokens=1_000) < 0


@pytest.mark.parametrize(
    ("stay", "go", "prefix", "fresh", "output", "turns", "does"),
    [
        (DEAR, CHEAP, 0, 100, 300, 1, True),
        (DEAR, CHEAP, 1_000_000, 10, 10, 1, False),  # a long prompt in the cache, a short question
        (DEAR, CHEAP, 1_000_000, 10, 10, 5, True),  # and more of them to come
        (CHEAP, DEAR, 0, 100, 300, 3, False),
        (DEAR, DEAR, 1_000, 10, 10, 3, False),
    ],
)
def test_whether_a_switch_pays(
    stay: Rates, go: Rates, prefix: int, fresh: int, output: int, turns: float, does: bool
) -> None:
    found = switch_pays(stay, go, prefix_tokens=prefix, fresh_tokens=fresh, output_tokens=output, turns=turns)
    assert found is does


def test_whether_a_cascade_pays() -> None:
    assert pays(6, 100, 0.9)
    assert not pays(6, 100, 0.94)
    assert not pays(6, 100, 0.9, extra_nano=5)
    assert not pays(0, 0, 0)
