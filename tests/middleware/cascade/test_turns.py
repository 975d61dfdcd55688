"""Conversations: one decision per user turn, none in a tool loop; and what shifts, or costs more than it saves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from llmsaver import Cascade, Tier
from llmsaver.testing import Answer, ToolCall

if TYPE_CHECKING:
    import pytest

GOOD = "The capital of France is Paris, which lies on the Seine."
BEST = "It is Paris, on the Seine in the north of the country."
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CALL = Answer(tool_calls=(ToolCall("weather", {}, id="call_1"),), logprobs=(-0.0001,) * 20)


def messages(*texts: str) -> list[dict[str, str]]:
    """Return a conversation of the user and the assistant in turns."""
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_a_tool_loop_stays_where_its_turn_was_decided(plain: Any) -> None:
    plain.is_unsure()
    plain.says[plain.strong] = [CALL, BEST]
    saver = plain.saver(threshold=1.0)
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    plain.ask(saver, messages=asked, tools=[TOOL])
    assert plain.models() == [plain.cheap, plain.strong]
    call = plain.result.choices[0].message.tool_calls[0].model_dump()
    asked += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "12 degrees"},
    ]
    assert plain.ask(saver, messages=asked, tools=[TOOL]) == BEST
    assert plain.models() == [plain.cheap, plain.strong, plain.strong]
    assert plain.entry(saver).routing["start"] == plain.strong


def test_a_cheap_turns_tool_loop_stays_cheap_and_is_not_judged_anew(plain: Any) -> None:
    plain.says[plain.cheap] = [CALL, CALL, plain.unsure("It is 12 degrees in Paris and it rains a little bit.")]
    saver = plain.saver()
    asked: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    plain.ask(saver, messages=asked, tools=[TOOL])
    call = plain.result.choices[0].message.tool_calls[0].model_dump()
    asked += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "12 degrees"},
    ]
    assert plain.ask(saver, messages=asked, tools=[TOOL]).startswith("It is 12 degrees")
    assert plain.models() == [plain.cheap, plain.cheap, plain.cheap]  # two samples of the first answer


def test_a_follow_up_inherits_the_tier_of_the_turn_that_it_answers(plain: Any) -> None:
    plain.is_unsure()
    saver = plain.saver()
    plain.ask(saver, messages=messages("Plan how to move our database without any downtime, please."))
    assert plain.models() == [plain.cheap, plain.strong]
    plain.ask(saver, messages=messages("Plan how to move our database without any downtime, please.", BEST, "yes"))
    assert plain.models() == [plain.cheap, plain.strong, plain.strong]


def test_a_turn_that_outgrows_its_tier_goes_up(plain: Any) -> None:
    saver = plain.saver(Cascade([Tier(plain.cheap, max_context=300), plain.strong], audit=0))
    assert plain.ask(saver, messages=messages("What is the capital of France?")) == GOOD
    long = messages("What is the capital of France?", GOOD, "And now about Spain: " + "tell me more. " * 200)
    assert plain.ask(saver, messages=long) == BEST
    assert "context" in plain.entry(saver).routing["tried"][0]["why"]


def test_responses_that_go_on_from_one_are_one_conversation(desk_of: Any, way_of: Any) -> None:
    desk = desk_of(way_of("responses"))
    desk.is_unsure()
    saver = desk.saver()
    desk.ask(saver, "Plan how to move our database without any downtime, please.")
    first = desk.result.id
    desk.ask(saver, "yes", previous_response_id=first)
    assert desk.models() == [desk.cheap, desk.strong, desk.strong]


def test_a_cascade_that_costs_more_than_it_saves_steps_aside(plain: Any) -> None:
    plain.is_unsure()
    saver = plain.saver(Cascade(["gpt-4o-mini", "gpt-5-mini"], audit=0, threshold=1.0))
    for number in range(60):
        plain.ask(saver, f"What is the capital of country number {number}?")
        if plain.entry(saver).routing["aside"]:
            break
    entry = plain.entry(saver)
    assert entry.routing["aside"]
    assert entry.routing["why"].startswith("stepped aside")
    assert plain.models()[-2:] == [plain.strong, plain.strong]
    told = saver.router.status()[0]
    assert told.aside
    assert "fewer answers" in str(saver.router.explain(messages=messages("What is the capital of Chad?")))


def test_a_shift_of_traffic_is_said_and_the_contract_begins_anew(
    plain: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmsaver.router.drift.WINDOW", 20)
    cascade = plain.cascade(audit=0.1)
    cascade.evidence.drift._reference = 40
    saver = plain.saver(cascade)
    evidence = cascade.evidence
    for number in range(70):
        evidence.drift.see("default", 0.9 + number / 1000, (1, 2, 3), escalated=False)
    what = None
    for number in range(200):
        what = what or evidence.drift.see("default", 0.1 + number / 1000, (number, 3), escalated=True)
    assert what is not None
    with caplog.at_level(logging.WARNING, "llmsaver"):
        evidence.shifted("default", what)
    assert "has shifted" in caplog.text
    plain.ask(saver)
    routing = plain.entry(saver).routing
    assert routing["drift"]
    assert routing["evidence"] == "prior, traffic has shifted"
    assert saver.router.status()[0].drift == what
    assert any("as it is now" in change for change in saver.router.explain(messages=messages("Hi?")).changes)
