"""Two settings over the same prompts: what is counted, and how sure it is."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from llmsaver.prompt.paired import Comparison, Pair, Said, paired

if TYPE_CHECKING:
    from collections.abc import Mapping

PROMPTS: list[Mapping[str, Any]] = [{"n": number} for number in range(40)]


def long(body: Mapping[str, Any]) -> Said:
    return Said(f"The answer is {body['n']}.", 20, 40)


def short(body: Mapping[str, Any]) -> Said:
    if body["n"] == 3:
        raise OSError("down")
    return Said(f"The answer is {body['n'] if body['n'] % 10 else 'unknown'}.", 5 + body["n"] % 3, 10)


def right(body: Mapping[str, Any], text: str) -> bool:
    return str(body["n"]) in text


def test_savings_and_losses() -> None:
    found = paired(PROMPTS, long, short, judge=right)
    assert (len(found.pairs), found.failed) == (39, 1)
    assert found.tokens[0] == 39 * 20
    assert 0.65 < found.saving < 0.75
    low, high = found.saving_range
    assert low <= found.saving <= high < low + 0.1
    assert found.same == 35 / 39
    assert found.good == (1.0, 35 / 39)
    assert found.changed == (4, 0)
    assert found.p_worse == 1 / 16
    assert found.nano == (39 * 40, 39 * 10)
    assert json.loads(json.dumps(found.as_dict()))["worse"] == 4


def test_without_a_judge_and_without_pairs() -> None:
    found = paired(PROMPTS[:2], long, long)
    assert found.good is None
    assert found.as_dict()["good"] is None
    assert (found.saving, found.same, found.p_worse) == (0, 1, 1)
    none = paired([], long, short)
    assert all(math.isnan(each) for each in (none.saving, none.same, *none.saving_range))
    assert math.isnan(Comparison([Pair(Said("", 0), Said("", 0), same=True)]).saving)


def test_order_is_drawn_and_repeatable() -> None:
    def order(seed: int) -> list[str]:
        asked: list[str] = []

        def one(body: Mapping[str, Any]) -> Said:
            asked.append(f"a{body['n']}")
            return long(body)

        def other(body: Mapping[str, Any]) -> Said:
            asked.append(f"b{body['n']}")
            return long(body)

        paired(PROMPTS, one, other, seed=seed)
        return asked

    assert order(1) == order(1) != order(2)
    assert {each[0] for each in order(1)[::2]} == {"a", "b"}
