"""What a call cost, beside what the provider's own books say: every dialect, streamed and not, in every ending."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import Request, Response, Saver
from llmsaver.pricing import Billed, PriceBook
from llmsaver.testing import Answer, Fault, ToolCall, usage_variants

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import CallNext

HOSTS = {"chat": "openai", "responses": "openai", "messages": "anthropic"}
VARIANTS = [(dialect, name) for dialect in HOSTS for name in usage_variants(dialect)]
UNSURE = ("missing", "negative", "absurd")
# Written out by hand for 2,000 tokens in and 500 out: gpt-5-mini at $0.25, $0.025 cached and $2 out per million,
# claude-haiku-4-5 at $1, $0.10 read, $1.25 and $2 written and $5.
BY_HAND = {
    ("chat", "plain"): 2000 * 250 + 500 * 2000,
    ("chat", "cached"): 464 * 250 + 1536 * 25 + 500 * 2000,
    ("chat", "cache_write"): 464 * 250 + 512 * 25 + 1024 * 250 + 500 * 2000,
    ("chat", "reasoning"): 2000 * 250 + 500 * 2000,
    ("chat", "rejected_prediction"): 2000 * 250 + 500 * 2000,
    ("chat", "flex"): (2000 * 250 + 500 * 2000) // 2,
    ("chat", "null_details"): 2000 * 250 + 500 * 2000,
    ("responses", "plain"): 2000 * 250 + 500 * 2000,
    ("responses", "cached"): 464 * 250 + 1536 * 25 + 500 * 2000,
    ("responses", "reasoning"): 2000 * 250 + 500 * 2000,
    ("responses", "web_search"): 2000 * 250 + 500 * 2000 + 3 * 10_000_000,
    ("messages", "plain"): 2000 * 1000 + 500 * 5000,
    ("messages", "cached"): 500 * 1000 + 1500 * 100 + 500 * 5000,
    ("messages", "cache_write_5m"): 500 * 1000 + 1500 * 1250 + 500 * 5000,
    ("messages", "cache_write_1h"): 500 * 1000 + 1500 * 2000 + 500 * 5000,
    ("messages", "cache_write_both"): 500 * 1000 + 500 * 1250 + 1000 * 2000 + 500 * 5000,
    ("messages", "thinking"): 2000 * 1000 + 500 * 5000,
    ("messages", "web_search"): 2000 * 1000 + 500 * 5000 + 3 * 10_000_000,
    ("messages", "us"): (2000 * 1000 + 500 * 5000) * 11 // 10,
    ("messages", "null_fields"): 2000 * 1000 + 500 * 5000,
}


@pytest.mark.parametrize(("dialect", "variant"), VARIANTS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_kind_of_usage_costs_what_the_provider_charges(
    shop: Any, way_of: Callable[..., Any], dialect: str, variant: str, stream: bool, asynchronous: bool
) -> None:
    way = way_of(dialect, asynchronous, stream)
    answer = usage_variants(dialect)[variant]
    shop.fake.script([answer])
    entry, row = shop.ask(way), shop.row()
    assert (row["cost_nano"], row["cost_low"], row["cost_high"]) == (entry.cost_nano, entry.cost_low, entry.cost_high)
    assert row["baseline_nano"] == row["cost_nano"]
    assert (row["estimated"], row["unpriced"]) == (entry.estimated, entry.unpriced)
    (bill,) = shop.fake.billed
    assert bill.state == "complete"
    if variant in UNSURE:
        assert entry.estimated
        assert entry.cost_nano > 0
        if variant == "missing":
            truth = shop.billed()
            assert entry.cost_low <= truth <= entry.cost_high
        return
    message = {"model": bill.model, "usage": bill.usage, **answer.extra}
    cost = PriceBook().cost(Billed.of(dialect, HOSTS[dialect], message, body=way.arguments()))
    assert (entry.cost_nano, entry.estimated, entry.flags) == (cost.nano_usd, cost.estimated, cost.flags)
    if (dialect, variant) in BY_HAND:
        assert entry.cost_nano == entry.cost_low == entry.cost_high == BY_HAND[dialect, variant]
    (attempt,) = row["attempts"]
    assert (attempt["cost_nano"], attempt["status"], attempt["estimated"]) == (cost.nano_usd, 200, cost.estimated)


def test_an_answer_says_what_it_cost(shop: Any, way: Any) -> None:
    notes: list[Any] = []

    def keep(value: Any) -> None:
        inner = getattr(value, "response", None) or getattr(value, "message", None)
        for one in (value, inner):
            note = getattr(one, "llmsaver", None)
            if note is not None:
                notes.append(note)

    async def go() -> None:
        async with shop.client(way, annotate=True) as client:
            answer = await shop.resource(way, client).create(**way.arguments(), stream=way.stream)
            if way.stream:
                async for event in answer:
                    keep(event)
            else:
                keep(answer)

    if way.asynchronous:
        asyncio.run(go())
    else:
        with shop.client(way, annotate=True) as client:
            answer = shop.resource(way, client).create(**way.arguments(), stream=way.stream)
            for event in answer if way.stream else [answer]:
                keep(event)
    row = shop.row()
    assert row["cost_nano"] == shop.billed()
    final = notes[-1]
    assert round(float(final["cost_usd"]) * 1e9) == shop.billed()
    assert final["baseline_usd"] == final["cost_usd"]
    assert (final["saved_usd"], final["estimated"]) == ("0", False)


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_a_retry_is_one_call_whose_refused_attempt_costs_nothing(shop: Any, way: Any, status: int) -> None:
    shop.fake.script([Fault(status, retry_after=0.001), "done"])
    entry, row = shop.ask(way, max_retries=2), shop.row()
    assert [(each["status"], each["cost_nano"]) for each in row["attempts"]] == [(status, None), (200, shop.billed())]
    assert (row["cost_nano"], row["estimated"], row["status"]) == (shop.billed(), False, 200)
    assert entry.id == row["id"]


def test_a_call_that_fails_for_good_costs_nothing(shop: Any, way: Any) -> None:
    shop.fake.script([Fault(400)] * 3)
    with pytest.raises(Exception, match="400"):
        shop.ask(way)
    row = shop.row()
    assert (row["cost_nano"], row["estimated"], row["unpriced"], row["status"]) == (0, False, False, 400)


@pytest.mark.parametrize("drop", ["connect", "connect timeout"])
def test_a_request_that_never_left_costs_nothing(shop: Any, way: Any, drop: Any) -> None:
    shop.fake.script([Fault(drop=drop)])
    with pytest.raises(Exception):  # noqa: B017, PT011 - the SDK's own
        shop.ask(way)
    row = shop.row()
    assert (row["cost_nano"], row["cost_high"], row["estimated"], row["status"]) == (0, 0, False, None)
    assert shop.fake.billed == ()
    (attempt,) = row["attempts"]
    assert attempt["error"] in ("ConnectError", "ConnectTimeout")


@pytest.mark.parametrize("drop", ["read timeout", "disconnect", "reset"])
def test_a_connection_that_breaks_is_an_estimate_around_the_bill(shop: Any, way: Any, drop: Any) -> None:
    shop.fake.script([Fault(drop=drop, answer=Answer("word " * 40)), "again"])
    shop.ask(way, max_retries=1)
    row = shop.row()
    lost, whole = row["attempts"]
    assert lost["estimated"]
    assert lost["cost_nano"] > 0
    assert not whole["estimated"]
    assert row["estimated"]
    assert row["cost_low"] <= shop.billed() <= row["cost_high"]
    assert row["cost_low"] < row["cost_high"]


@pytest.mark.parametrize("after", [1, 3, 7])
@pytest.mark.parametrize("hidden", ["", "let me think about this for some time"])
def test_a_stream_that_breaks_is_an_estimate_around_the_bill(
    shop: Any, stream_way: Any, after: int, hidden: str
) -> None:
    answer = Answer("word " * 30, tool_calls=(ToolCall("look", {"what": "up " * 5}),), reasoning=hidden)
    shop.fake.script([Fault(drop="disconnect", after=after, answer=answer)])
    with pytest.raises(Exception):  # noqa: B017, PT011 - the SDK's own
        shop.ask(stream_way, create=stream_way.arguments(most=200))
    row = shop.row()
    assert (row["estimated"], row["complete"]) == (True, False)
    assert 0 < row["cost_low"] <= shop.billed() <= row["cost_high"]


@pytest.mark.parametrize("limit", [1, 4])
def test_a_stream_closed_early_is_an_estimate_around_the_bill(shop: Any, stream_way: Any, limit: int) -> None:
    shop.fake.script([Answer("word " * 30)])
    arguments = stream_way.arguments(most=100)

    async def go() -> None:
        async with shop.client(stream_way) as client:
            await shop.aconsume(stream_way, client, arguments, limit)

    if stream_way.asynchronous:
        asyncio.run(go())
    else:
        with shop.client(stream_way) as client:
            shop.consume(stream_way, client, arguments, limit)
    row = shop.row()
    assert (row["estimated"], row["complete"]) == (True, False)
    assert 0 < row["cost_low"] <= shop.billed() <= row["cost_high"]


def test_a_stream_nobody_reads_is_booked_when_it_is_collected(shop: Any, stream_way: Any, caplog: Any) -> None:
    async def go() -> None:
        async with shop.client(stream_way) as client:
            await shop.resource(stream_way, client).create(**stream_way.arguments(), stream=True)
            gc.collect()

    if stream_way.asynchronous:
        asyncio.run(go())
    else:
        with shop.client(stream_way) as client:
            shop.resource(stream_way, client).create(**stream_way.arguments(), stream=True)
            gc.collect()
    row = shop.row()
    assert (row["estimated"], row["complete"]) == (True, False)
    assert row["cost_low"] <= shop.billed() <= row["cost_high"]
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_stream_that_ends_in_an_error_event_is_an_estimate(shop: Any, stream_way: Any) -> None:
    shop.fake.script([Fault(529, after=3, answer=Answer("word " * 30))])
    with pytest.raises(Exception):  # noqa: B017, PT011 - the SDK's own
        shop.ask(stream_way)
    row = shop.row()
    assert row["estimated"]
    assert row["cost_low"] <= shop.billed() <= row["cost_high"]


async def answers(request: Request, call_next: CallNext) -> Response:  # noqa: ARG001 - it asks nobody
    whole: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-5-mini"}
    said = {"role": "assistant", "content": "from here"}
    return Response.of({**whole, "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_that_a_layer_makes_costs_nothing(
    shop: Any, way_of: Callable[..., Any], stream: bool, asynchronous: bool
) -> None:
    saver = shop.saver(stack=[answers])
    entry = shop.ask(way_of("chat", asynchronous, stream), saver)
    assert (entry.cost_usd, entry.estimated, entry.unpriced, entry.attempts) == ("0", False, False, [])
    row = shop.row()
    assert (row["cost_nano"], row["cost_low"], row["cost_high"], row["unpriced"]) == (0, 0, 0, False)
    assert (row["tier"], row["upstream"], row["attempts"]) == ("none", None, [])
    assert shop.fake.calls == 0


def test_a_model_that_nobody_priced_is_flagged_and_never_free(shop: Any, way: Any) -> None:
    entry = shop.ask(way, create={**way.arguments(), "model": "made-up-9"})
    assert (entry.unpriced, entry.estimated, entry.cost_usd) == (True, True, None)
    row = shop.row()
    assert row["unpriced"]
    assert row["cost_nano"] > 0
    assert any(flag.startswith("unpriced:") for flag in row["flags"])


def test_declared_prices_count(shop: Any, way: Any) -> None:
    saver = shop.saver(prices={"made-up-9": {"input": "3", "output": "7"}})
    entry = shop.ask(way, saver, create={**way.arguments(), "model": "made-up-9"})
    (bill,) = shop.fake.billed
    assert entry.cost_nano == bill.input_tokens * 3000 + bill.output_tokens * 7000
    assert (entry.unpriced, entry.estimated, entry.flags) == (False, False, ("declared",))


def test_embeddings_are_priced(shop: Any, way_of: Callable[..., Any]) -> None:
    with shop.client(way_of("chat")) as client:
        client.embeddings.create(model="text-embedding-3-small", input=["one two three", "four"])
    row = shop.row()
    (bill,) = shop.fake.billed
    assert (row["dialect"], row["cost_nano"], row["estimated"]) == ("embeddings", bill.input_tokens * 20, False)


def test_a_gateway_that_is_known_bills_its_vendors_prices(shop: Any, way_of: Callable[..., Any]) -> None:
    saver = shop.saver(price_hosts={"127.0.0.1:*": "openai"})
    with shop.fake.serve() as url:
        for asynchronous in (False, True):
            shop.ask(way_of("chat", asynchronous), saver, base_url=f"{url}/v1")
    assert [row["estimated"] for row in shop.rows()] == [False, False]
    assert sum(row["cost_nano"] for row in shop.rows()) == shop.billed()


def test_several_choices_are_all_paid(shop: Any, way_of: Callable[..., Any], nano_of: Callable[[Any], int]) -> None:
    for stream in (False, True):
        shop.ask(way_of("chat", stream=stream), create=way_of("chat").arguments(n=3))
    assert [row["cost_nano"] for row in shop.rows()] == [nano_of(bill) for bill in shop.fake.billed[::-1]]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_legs_that_run_side_by_side_are_each_paid_once(
    shop: Any, way_of: Callable[..., Any], asynchronous: bool
) -> None:
    async def both(request: Request, call_next: CallNext) -> Response:
        first, *_ = await request.runtime.gather(*(call_next(request) for _ in range(4)))
        return first

    shop.fake.answer = lambda received: Answer("word " * (received.number + 1), delivery=None)
    saver: Saver = shop.saver(stack=[both], budgets=[{"name": "default", "usd": 1}])
    shop.ask(way_of("chat", asynchronous), saver)
    row = shop.row()
    assert len(row["attempts"]) == 4
    assert row["cost_nano"] == sum(each["cost_nano"] for each in row["attempts"]) == shop.billed()
    state = shop.budgets()["default"]
    assert (state["spent_nano"], state["held_nano"], state["spent_calls"]) == (shop.billed(), 0, 4)


def test_a_stream_collected_while_the_ledger_writes_blocks_nobody(
    shop: Any, way_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmsaver.ledger import writer

    written: Any = writer
    way, put = way_of("chat", stream=True), written.put_all
    monkeypatch.setattr(writer, "put_all", lambda *args: (gc.collect(), put(*args)))
    done = threading.Event()

    def work() -> None:
        with shop.client(way) as client:
            stream = client.chat.completions.create(**way.arguments(), stream=True)
            knot: list[Any] = [stream]
            knot.append(knot)  # only the collector finds it
            del stream, knot
            shop.consume(way_of("chat"), client, way.arguments())
        done.set()

    gc.disable()
    try:
        threading.Thread(target=work, daemon=True).start()
        assert done.wait(60), "a collected stream has locked up the call that collected it"
    finally:
        gc.enable()
    assert sorted(row["estimated"] for row in shop.rows()) == [False, True]
