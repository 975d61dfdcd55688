"""Tools as they first came."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from llmsaver.prompt.canonical import FirstSeen

if TYPE_CHECKING:
    import pytest

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
TOOLS = st.lists(st.fixed_dictionaries({"name": st.text(max_size=4), "input_schema": VALUES}), min_size=1, max_size=4)


def shuffled(draw: st.DrawFn, value: Any) -> Any:
    """Return the same with the keys of every object in another order."""
    if isinstance(value, dict):
        keys = draw(st.permutations(list(value)))
        return {key: shuffled(draw, value[key]) for key in keys}
    return [shuffled(draw, part) for part in value] if isinstance(value, list) else value


@st.composite
def twice(draw: st.DrawFn) -> tuple[list[Any], list[Any]]:
    tools = draw(TOOLS)
    return tools, [shuffled(draw, tool) for tool in draw(st.permutations(tools))]


@given(twice())
def test_the_same_tools_are_sent_as_they_first_came(both: tuple[list[Any], list[Any]]) -> None:
    first, again = both
    before = copy.deepcopy(again)
    seen = FirstSeen()
    assert seen.first("g", first) is None
    made = seen.first("g", again)
    assert again == before
    if made is None:
        assert json.dumps(again) == json.dumps(first)
    else:
        assert json.dumps(made) == json.dumps(first) != json.dumps(again)
        assert sorted(map(repr_of, made)) == sorted(map(repr_of, again))
    # Idempotent: what was arranged stays.
    assert seen.first("g", made or again) is None
    assert seen.first("other", again) is None


def repr_of(tool: Any) -> str:
    return json.dumps(tool, sort_keys=True)


def test_other_tools_are_other_tools() -> None:
    seen = FirstSeen()
    one, other = {"name": "a", "strict": 1}, {"name": "b"}
    assert seen.first("g", [one, other]) is None
    for tools in ([other], [other, {"name": "a", "strict": True}], [other, {"name": "a", "strict": 1.0}], [other] * 2):
        assert seen.first("g", tools) is None
    assert seen.first("g", [other, one]) == [one, other]


def test_what_is_no_list_of_json_is_left() -> None:
    seen = FirstSeen()
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    odd: tuple[Any, ...] = (None, [], {}, "x", [object()], [{1: 2, "a": 3}], deep, [{"name": "x" * 300_000}])
    for tools in odd:
        assert seen.first("g", tools) is None
        assert seen.first("g", tools) is None


def test_only_so_many_sets_are_remembered() -> None:
    seen = FirstSeen()
    for n in range(300):
        seen.first(f"g{n}", [{"name": f"t{n}"}])
    assert len(seen._sets) == len(seen._as_first) == 200


def test_only_so_many_orders_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.prompt.canonical._ORDERS", 5)
    seen = FirstSeen()
    for n in range(20):
        assert not seen.reorders("g", [{"name": f"t{n}"}])
    assert len(seen._orders) == 5
