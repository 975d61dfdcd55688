"""Streams of a cascade: judged whole and replayed, or judged by their beginning; and how long anybody waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from llmsaver.testing import Answer, Fault, ToolCall

GOOD = "The capital of France is Paris, which lies on the Seine."
BEST = "It is Paris, on the Seine in the north of the country."
LONG = " ".join(f"Paris has a {n}. district, and people live in it." for n in range(40))


def test_a_judged_answer_is_told_as_the_stream_that_was_asked_for(streaming: Any) -> None:
    saver = streaming.saver()
    assert streaming.ask(saver) == GOOD
    assert len(streaming.result) > 2
    entry = streaming.entry(saver)
    assert entry.stream
    assert entry.usage.output_tokens > 0
    assert not streaming.shop.fake.requests[0].json.get("stream")


def test_an_optimistic_stream_is_released_once_its_beginning_is_good(streaming: Any) -> None:
    if streaming.way.dialect == "messages":
        streaming.says[streaming.cheap] = [LONG]
    else:
        streaming.says[streaming.cheap] = [Answer(LONG, logprobs=(-0.0001,) * 400)]
    saver = streaming.saver(streaming="optimistic", hold_tokens=8)
    limit = {"chat": "max_completion_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}
    create = {limit[streaming.way.dialect]: 900}
    assert streaming.ask(saver, **create) == LONG
    assert streaming.shop.fake.requests[0].json["stream"] is True
    entry = streaming.entry(saver)
    assert entry.model == streaming.cheap
    assert entry.complete
    assert entry.usage is not None
    if streaming.way.dialect != "messages":
        assert entry.routing["signal"] == "prefix"
        assert len(streaming.models()) == 1
        assert "-0.0001" not in str([event.model_dump() for event in streaming.result])
        assert len(streaming.result) > 100  # its own events, not a replay's
    assert streaming.shop.row()["cost_nano"] == entry.cost_nano == streaming.shop.billed()


@pytest.mark.parametrize("hold", [6, 16])
def test_an_optimistic_stream_with_a_bad_beginning_is_never_seen(streaming: Any, hold: int) -> None:
    streaming.says[streaming.cheap] = [
        Answer("I'm sorry, but I can't help with that. " + LONG, logprobs=(-0.0001,) * 400)
    ]
    if streaming.way.dialect == "messages":
        streaming.says[streaming.cheap] = ["I'm sorry, but I can't help with that. " + LONG]
    saver = streaming.saver(streaming="optimistic", hold_tokens=hold)
    assert streaming.ask(saver) == BEST
    entry = streaming.entry(saver)
    assert entry.escalated
    assert entry.model == streaming.strong
    assert len(entry.attempts) == 2
    assert all(attempt.cost is not None for attempt in entry.attempts)


def test_a_short_optimistic_stream_is_judged_whole(streaming: Any) -> None:
    saver = streaming.saver(streaming="optimistic", hold_tokens=500)
    assert streaming.ask(saver) == GOOD
    signal = "agreement" if streaming.way.dialect == "messages" else "logprobs"
    assert streaming.entry(saver).routing["signal"] == signal


def test_an_optimistic_stream_that_breaks_before_its_release_goes_up(streaming: Any) -> None:
    streaming.says[streaming.cheap] = [Fault(drop="disconnect", after=4, answer=Answer(GOOD))]
    saver = streaming.saver(streaming="optimistic", hold_tokens=500)
    assert streaming.ask(saver) == BEST


def test_calls_with_tools_are_buffered_even_optimistically(desk_of: Any, way_of: Any) -> None:
    desk = desk_of(way_of("chat", stream=True))
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    desk.says[desk.cheap] = [Answer(tool_calls=(ToolCall("weather", {}),))]
    saver = desk.saver(streaming="optimistic", agreement=False)
    desk.ask(saver, tools=[tool])
    assert not desk.shop.fake.requests[0].json.get("stream")


def test_closing_a_released_stream_early_settles_it(desk_of: Any, way_of: Any) -> None:
    desk = desk_of(way_of("chat", stream=True))
    desk.says[desk.cheap] = [Answer(LONG, logprobs=(-0.0001,) * 400)]
    saver = desk.saver(streaming="optimistic", hold_tokens=8)
    with desk.shop.client(desk.way, saver) as client:
        stream = client.chat.completions.create(**desk.way.arguments(most=900) | {"model": "auto"}, stream=True)
        next(iter(stream))
        stream.close()
    entry = desk.entry(saver)
    assert entry.complete is False
    assert entry.attempts[0].cost.estimated


def test_a_cheap_tier_gets_so_much_time_only(desk: Any, held: Any, reach: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.middleware.cascade_run._GRACE", 60.0)  # nothing else ends the call
    wire, options = held(desk)
    go = wire.after[desk.cheap] = threading.Event()
    saver = desk.saver(max_wait=0.2)
    assert desk.ask(saver, options=options) == BEST
    entry = desk.entry(saver)
    assert entry.model == desk.strong
    assert not entry.escalated
    assert {"tier": desk.cheap, "why": "it was not waited for longer than 0.2 s"} in entry.routing["tried"]
    go.set()
    reach(lambda: desk.shop.holds() == [])


def test_an_answer_in_time_is_served_however_long_it_may_take(desk: Any) -> None:
    saver = desk.saver(max_wait=600.0, hedge=300.0)
    assert desk.ask(saver) == GOOD
    assert set(desk.models()) == {desk.cheap}


def test_the_last_tier_is_asked_meanwhile_where_the_cheap_one_is_slow(desk: Any, held: Any) -> None:
    desk.says[desk.cheap] = [Answer(text, logprobs=(-3.0,) * 60) for text in ("No, it is Lyon.", "It may be Toulouse.")]
    wire, options = held(desk)
    wire.after[desk.cheap], wire.before[desk.strong] = wire.asked[desk.strong], wire.asked[desk.cheap]
    saver = desk.saver(hedge=0.05)
    assert desk.ask(saver, options=options) == BEST
    entry = desk.entry(saver)
    assert entry.routing["signals"]["hedged"] == 1.0
    assert entry.model == desk.strong
    assert desk.models()[:2] == [desk.cheap, desk.strong]
    assert desk.models().count(desk.strong) == 1


def test_a_good_cheap_answer_wins_over_a_hedge_and_both_are_paid(
    desk_of: Any, way_of: Any, held: Any, reach: Any
) -> None:
    desk = desk_of(way_of("chat"))
    wire, options = held(desk)
    wire.after[desk.cheap] = wire.asked[desk.strong]
    go = wire.after[desk.strong] = threading.Event()
    cascade = desk.cascade(hedge=0.05)
    saver = desk.saver(cascade)
    assert desk.ask(saver, options=options) == GOOD
    entry = desk.entry(saver)
    assert entry.model == desk.cheap
    lost = cascade.memory.stakes.lost(entry.feature)
    assert lost is not None
    assert lost > 0
    aside = cascade.memory.aside.verdict(entry.feature)
    assert aside.weak_nano > aside.strong_nano
    go.set()
    reach(lambda: desk.shop.row()["cost_nano"] == desk.shop.billed())
    row = desk.shop.row()
    assert len(row["attempts"]) == 2
    assert row["baseline_nano"] < row["cost_nano"]


@pytest.mark.parametrize(("hedge", "aside"), [(None, False), (300.0, True)])
def test_a_hedge_is_held_before_it_is_asked(plain: Any, hedge: float | None, aside: bool) -> None:
    cascade = plain.cascade(hedge=hedge)
    saver = plain.saver(cascade)
    # Half a call of the last tier may still be lost: a cheap answer, and no hedge beside it.
    cascade.memory.stakes.note("default", 2_000_000, 1_000_000, calls=1)
    plain.ask(saver)
    assert plain.entry(saver).routing["aside"] is aside
    assert plain.entry(saver).model == (plain.strong if aside else plain.cheap)


@pytest.mark.parametrize("hedge", [None, 0.05])
def test_a_spent_budget_passes_up_from_beside(desk_of: Any, way_of: Any, hedge: float | None) -> None:
    from llmsaver import BudgetExceeded

    desk = desk_of(way_of("chat"))
    saver = desk.shop.saver(
        stack=[..., desk.cascade(max_wait=2.0, hedge=hedge)], budgets=[{"name": "default", "usd": "0.0000001"}]
    )
    with pytest.raises(BudgetExceeded):
        desk.ask(saver)
