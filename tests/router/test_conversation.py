"""Turns of conversations: which one a request is, and what stays decided."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmsaver.router.conversation import Kept, is_follow_up, kept, turn_key
from llmsaver.router.tier import Tier
from llmsaver.router.turns import Standing, Turns
from llmsaver.router.views import Asked

TIERS = (Tier("small"), Tier("middle"), Tier("large"))
SPOKEN = json.loads(Path(__file__).with_name("spoken.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", SPOKEN["following"])
def test_follow_ups(text: str) -> None:
    assert is_follow_up(Asked(text))


@pytest.mark.parametrize("text", SPOKEN["new"])
def test_new_questions(text: str) -> None:
    assert not is_follow_up(Asked(text))


def test_a_turn_is_the_same_in_its_tool_loop_and_knows_the_one_before() -> None:
    first = turn_key(Asked("a", system="Today is 2026-11-21."))
    loop = turn_key(Asked("a", system="Today is 2026-11-22.", in_tool_loop=True))
    second = turn_key(Asked("b", turns=("a",), system="Today is 2026-11-22."))
    assert loop == first
    assert first.before == ()
    assert second.before == (first.turn,)
    assert second.turn != first.turn


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tenant": "a"}, {"tenant": "b"}),
        ({"account": "a"}, {"account": "b"}),
        ({"conversation": "a"}, {"conversation": "b"}),
        ({"tenant": "ab"}, {"tenant": "a", "account": "b"}),
    ],
)
def test_scopes_are_apart(one: dict[str, str], other: dict[str, str]) -> None:
    asked = Asked("b", turns=("a",))
    here = turn_key(asked, **one)  # type: ignore[arg-type]  # strings by name
    there = turn_key(asked, **other)  # type: ignore[arg-type]  # the same
    assert not {here.turn, *here.before} & {there.turn, *there.before}


def test_instructions_part_conversations_without_an_id() -> None:
    assert turn_key(Asked("a", system="x")).turn != turn_key(Asked("a", system="y")).turn
    assert turn_key(Asked("\ud800")).turn


def test_turns_are_remembered() -> None:
    turns = Turns()
    first, second = Asked("a"), Asked("b", turns=("a",))
    assert turns.standing(turn_key(first)) is None
    turns.remember(turn_key(first), "middle", prompt_tokens=70)
    assert turns.standing(turn_key(first)) == Standing("middle", same_turn=True, prompt_tokens=70)
    assert turns.standing(turn_key(second)) == Standing("middle", same_turn=False, prompt_tokens=70)
    assert len(turns) == 1


def test_an_id_finds_the_turn_before_where_the_history_was_cut() -> None:
    turns = Turns()
    turns.remember(turn_key(Asked("a"), conversation="c"), "middle")
    cut = turn_key(Asked("z", turns=("k",)), conversation="c")
    assert turns.standing(cut) == Standing("middle", same_turn=False)
    assert turns.standing(turn_key(Asked("z", turns=("k",)))) is None


def test_the_responses_dialect_goes_on_by_ids() -> None:
    turns = Turns()
    turns.remember(turn_key(Asked("a"), body={"input": "a"}), "large", answer_id="r1")
    linked = turn_key(Asked("", in_tool_loop=True), body={"previous_response_id": "r1"})
    assert turns.standing(linked) == Standing("large", same_turn=False)
    assert turns.standing(turn_key(Asked(""), body={"previous_response_id": "r2"})) is None
    turns.remember(turn_key(Asked("a"), body={"conversation": {"id": "c"}}), "small")
    assert turns.standing(turn_key(Asked("b"), body={"conversation": "c"})) is not None
    assert turns.standing(turn_key(Asked("b"), body={"conversation": 3})) is None


def test_the_memory_is_bounded_and_forgets() -> None:
    now = [0.0]
    turns = Turns(size=2, ttl=10, clock=lambda: now[0])
    keys = [turn_key(Asked(each)) for each in "abc"]
    for key in keys:
        turns.remember(key, "small")
    assert len(turns) == 2
    assert turns.standing(keys[0]) is None
    assert turns.standing(keys[2]) is not None
    now[0] = 10.0
    assert turns.standing(keys[2]) is None


def _nothing(_: Tier) -> str | None:
    return None


def test_one_decision_per_user_turn() -> None:
    here = Standing("middle", same_turn=True)
    before = Standing("middle", same_turn=False)
    loop = Asked("a", in_tool_loop=True)
    assert kept(TIERS, here, loop, _nothing) == Kept(1, fixed=True, why="the turn's tools are being called")
    follow_up = kept(TIERS, before, Asked("commit it"), _nothing)
    assert follow_up == Kept(1, fixed=True, why="it follows up on the turn before")
    sticky = kept(TIERS, before, Asked("Capital of Peru?"), _nothing)
    assert sticky == Kept(1, fixed=False, why="the conversation is there")


def test_what_is_decided_anew() -> None:
    asked = Asked("Capital of Peru?")
    assert kept(TIERS, None, asked, _nothing) is None
    assert kept(TIERS, Standing("gone", same_turn=False), asked, _nothing) is None
    assert kept(TIERS, Standing("large", same_turn=True), asked, _nothing) is None
    again = kept(TIERS, Standing("large", same_turn=True), Asked("Capital of Chile?", turns=("a",)), _nothing)
    assert again == Kept(2, fixed=False, why="the conversation is there")


def test_gaps_go_up_and_never_down() -> None:
    def only_large(tier: Tier) -> str | None:
        return None if tier.model == "large" else "has a context of 5 tokens, and this needs some 9"

    def none(_: Tier) -> str | None:
        return "is not known to read images"

    loop = Asked("a", in_tool_loop=True)
    found = kept(TIERS, Standing("small", same_turn=True), loop, only_large)
    assert found is not None
    assert (found.tier, found.fixed) == (2, True)
    assert found.why.endswith("but small has a context of 5 tokens, and this needs some 9")
    at_last = kept(TIERS, Standing("middle", same_turn=True), loop, none)
    assert at_last is not None
    assert at_last.tier == 2
    there = kept(TIERS, Standing("large", same_turn=True), loop, none)
    assert there is not None
    assert there.tier == 2
