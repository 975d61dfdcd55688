"""Hard budgets hold in every ending and under any load, by the provider's own books."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from llmsaver import BudgetExceeded, LLMSaverError, Request, Response, Saver, budget, feature
from llmsaver.errors import ConfigurationError
from llmsaver.ledger import Budget, Ledger
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver import CallNext

FAMILY = {"chat": openai.OpenAIError, "responses": openai.OpenAIError, "messages": anthropic.AnthropicError}
TINY = "0.000001"


def spent(shop: Any, name: str) -> tuple[int, int]:
    state = shop.budgets()[name]
    return state["spent_nano"], state["held_nano"]


# -- charged ----------------------------------------------------------------------------------------------------------


def test_a_call_is_charged_what_it_cost(shop: Any, way: Any) -> None:
    with budget("b", usd=1, per="day"):
        shop.ask(way)
    assert spent(shop, "b") == (shop.billed(), 0)
    state = shop.budgets()["b"]
    (bill,) = shop.fake.billed
    assert (state["spent_calls"], state["spent_tokens"]) == (1, bill.input_tokens + bill.output_tokens)
    assert shop.row()["feature"] == "b"


def test_nested_budgets_are_all_charged_and_one_entered_twice_only_once(shop: Any, plain_way: Any) -> None:
    again = budget("outer", usd=1)
    with budget("outer", usd=1), budget("inner", usd=2, per="month"), again:
        shop.ask(plain_way)
    assert spent(shop, "outer") == spent(shop, "inner") == (shop.billed(), 0)
    assert shop.budgets()["outer"]["spent_calls"] == 1


def test_a_budget_of_users_has_a_pot_for_each(shop: Any, plain_way: Any) -> None:
    shop.saver(budgets=[{"name": "each", "calls": 1, "scope": "user", "per": "day"}])
    for user in ("u1", "u2"):
        with feature("f", user=user):
            shop.ask(plain_way)
    shop.ask(plain_way)  # nobody's
    with feature("f", user="u1"), pytest.raises(BudgetExceeded) as caught:
        shop.ask(plain_way)
    assert (caught.value.key, caught.value.unit, shop.fake.calls) == ("user:u1", "calls", 3)


def test_tokens_and_calls_are_limits_too(shop: Any, plain_way: Any) -> None:
    with budget("n", calls=1):
        shop.ask(plain_way)
        with pytest.raises(BudgetExceeded):
            shop.ask(plain_way)
    with budget("t", tokens=200):
        shop.ask(plain_way)
        with pytest.raises(BudgetExceeded) as caught:
            shop.ask(plain_way, create=plain_way.arguments("long " * 100))
    assert (caught.value.unit, caught.value.limit, shop.fake.calls) == ("tokens", 200, 2)


def test_an_aborted_stream_uses_its_bound_of_tokens(shop: Any, stream_way: Any) -> None:
    shop.fake.script([Fault(drop="disconnect", after=3, answer=Answer("word " * 40))])
    with budget("t", tokens=10_000), pytest.raises(Exception):  # noqa: B017, PT011 - the SDK's own
        shop.ask(stream_way)
    (bill,) = shop.fake.billed
    assert shop.budgets()["t"]["spent_tokens"] >= max(50, bill.input_tokens + bill.output_tokens)


# -- refused ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_once_in_the_sdks_family(shop: Any, way: Any) -> None:
    with budget("b", usd=TINY, per="day"), pytest.raises(BudgetExceeded) as caught:
        shop.ask(way, max_retries=3)
    assert isinstance(caught.value, FAMILY[way.dialect])
    assert (shop.fake.calls, shop.holds()) == (0, [])
    said = str(caught.value)
    assert "'b' allows $0.000001 per day" in said
    assert "llmsaver budgets set b" in said
    assert spent(shop, "b") == (0, 0) if "b" in shop.budgets() else True


def test_a_refusal_is_not_failed_over(shop: Any, plain_way: Any) -> None:
    seen: list[str] = []

    async def tries_again(request: Request, call_next: CallNext) -> Response:
        try:
            return await call_next(request)
        except LLMSaverError as error:
            seen.append(type(error).__name__)
            raise

    saver = shop.saver(stack=[tries_again])
    with budget("b", usd=TINY), pytest.raises(BudgetExceeded):
        shop.ask(plain_way, saver, max_retries=5)
    assert (seen, shop.fake.calls) == (["BudgetExceeded"], 0)


UNBOUNDED = [
    ("chat", {"web_search_options": {}}),
    (
        "chat",
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]},
    ),
    ("responses", {"tools": [{"type": "web_search"}]}),
    ("responses", {"tools": [{"type": "mcp", "server_label": "a", "server_url": "https://x.test"}]}),
    ("responses", {"prompt": {"id": "pmpt_1"}}),
    ("responses", {"previous_response_id": "resp_1"}),
    ("responses", {"background": True}),
    ("responses", {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/y.png"}]}]}),
    ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
    (
        "messages",
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]}
            ]
        },
    ),
]


@pytest.mark.parametrize(("dialect", "more"), UNBOUNDED)
def test_what_cannot_be_bounded_is_refused_unless_a_most_is_given(
    shop: Any, way_of: Callable[..., Any], dialect: str, more: dict[str, Any]
) -> None:
    way = way_of(dialect)
    create = {**way.arguments(), **more}
    with budget("strict", usd=5), pytest.raises(BudgetExceeded) as caught:
        shop.ask(way, create=create)
    assert caught.value.reasons
    assert "max_call_usd" in str(caught.value)
    assert shop.fake.calls == 0
    with budget("soft", usd=5, hard=False), budget("n", calls=9), budget("lax", usd=5, max_call_usd=1):
        shop.ask(way, create=create)
    assert (shop.fake.calls, shop.budgets()["n"]["spent_calls"]) == (1, 1)
    assert spent(shop, "lax")[0] > 0


def test_a_model_without_a_price_is_refused_and_told_how_to_declare_it(shop: Any, way: Any) -> None:
    create = {**way.arguments(), "model": "made-up-9"}
    with budget("b", usd=5), pytest.raises(BudgetExceeded, match=r"unpriced.*Declare the model's price.*prices="):
        shop.ask(way, create=create)
    with budget("t", tokens=10_000):
        shop.ask(way, create=create)
    assert shop.budgets()["t"]["spent_tokens"] > 0


def test_local_models_are_free_and_pass_an_empty_budget(shop: Any) -> None:
    saver = shop.saver()
    bound = saver.prices.upper_bound({"model": "local/smol", "messages": []}, dialect="chat", host="")
    assert (bound.nano_usd, [reason for reason in bound.unbounded if reason.startswith("unpriced")]) == (0, [])


def test_redeclaring_a_budget_is_an_error(shop: Any, plain_way: Any) -> None:
    with budget("b", usd=1):
        shop.ask(plain_way)
    for hard in (True, False):
        with budget("b", usd=2, hard=hard), pytest.raises(ConfigurationError, match="'b' is declared"):
            shop.ask(plain_way)
    assert shop.fake.calls == 1


# -- clamped ----------------------------------------------------------------------------------------------------------

CAP_NAMES = [
    ("chat", "max_completion_tokens"),
    ("chat", "max_tokens"),
    ("responses", "max_output_tokens"),
    ("messages", "max_tokens"),
]
MODELS = {"chat": "gpt-4o-mini", "responses": "gpt-4o-mini", "messages": "claude-haiku-4-5"}


@pytest.mark.parametrize(("dialect", "name"), CAP_NAMES)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_answer_is_shortened_only_where_the_remainder_is_scarce(
    shop: Any, way_of: Callable[..., Any], dialect: str, name: str, asynchronous: bool
) -> None:
    way = way_of(dialect, asynchronous)
    create = {**way.arguments(most=None), "model": MODELS[dialect], name: 4_000}
    per_token = 600 if dialect != "messages" else 5_000
    limit = 500 * per_token
    shop.fake.answer = Answer("word " * 3_000)
    with budget("plenty", usd=1):
        assert shop.ask(way, create=create).clamped_to is None
    assert shop.fake.requests[-1].json[name] == 4_000
    with budget("scarce", usd=f"{limit / 1e9:.9f}"):
        entry = shop.ask(way, create=create)
    sent = shop.fake.requests[-1].json
    assert 16 <= sent[name] < 500
    assert entry.clamped_to == sent[name]
    assert entry.truncated
    assert ("budget", "clamped") in [(act.name, act.action) for act in entry.layers]
    assert shop.rows()[0]["truncated"]
    assert spent(shop, "scarce")[0] <= limit
    with budget("scarce", usd=f"{limit / 1e9:.9f}"):
        with suppress(BudgetExceeded):  # what the prompt's bytes were held for and not used may do for a sentence
            shop.ask(way, create=create)
        with pytest.raises(BudgetExceeded):
            shop.ask(way, create=create)
    assert 2 <= shop.fake.calls <= 3
    assert all(received.json[name] >= 16 for received in shop.fake.requests)
    assert spent(shop, "scarce")[0] <= limit


def test_a_short_answer_under_a_cap_is_not_truncated(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    create = {**way.arguments(most=4_000), "model": "gpt-4o-mini", "n": 2}
    with budget("scarce", usd="0.0003"):
        entry = shop.ask(way, create=create)
    assert entry.clamped_to is not None
    assert (entry.clamped_to < 250, entry.truncated) == (True, False)


def test_both_names_of_the_cap_are_lowered(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    create = {**way.arguments(most=4_000), "model": "gpt-4o-mini", "max_tokens": 4_000}
    with budget("scarce", usd="0.0003"), suppress(openai.BadRequestError):  # the vendor takes one of them
        shop.ask(way, create=create)
    sent = shop.fake.requests[-1].json
    assert sent["max_tokens"] == sent["max_completion_tokens"] < 500


def test_a_prediction_is_part_of_the_bound_and_not_of_the_cap(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    create = {
        **way.arguments(most=400),
        "model": "gpt-4o-mini",
        "prediction": {"type": "content", "content": "x" * 300},
    }
    with budget("scarce", usd="0.0003"):
        entry = shop.ask(way, create=create)
    assert entry.clamped_to is not None
    assert entry.clamped_to < 200
    assert spent(shop, "scarce")[0] <= 300_000


# -- endings ----------------------------------------------------------------------------------------------------------

FAULTS = [
    pytest.param(Fault(400), 0, id="400"),
    pytest.param(Fault(429, retry_after=0.001), 0, id="429"),
    pytest.param(Fault(500), 0, id="500"),
    pytest.param(Fault(drop="connect"), 0, id="connect"),
    pytest.param(Fault(drop="connect timeout"), 0, id="connect timeout"),
    pytest.param(Fault(drop="read timeout"), 1, id="read timeout"),
    pytest.param(Fault(drop="disconnect"), 1, id="disconnect"),
    pytest.param(Fault(drop="disconnect", after=2, answer=Answer("word " * 30)), 1, id="disconnect midway"),
]


@pytest.mark.parametrize(("fault", "charged"), FAULTS)
def test_every_failure_settles_its_hold(shop: Any, way: Any, fault: Fault, charged: int) -> None:
    shop.fake.script([fault])
    with budget("b", usd=1), pytest.raises(Exception):  # noqa: B017, PT011 - the SDK's own
        shop.ask(way)
    used, held = spent(shop, "b")
    assert (held, used > 0, shop.budgets()["b"]["spent_calls"]) == (0, bool(charged), charged)
    assert used >= shop.billed()
    state = shop.budgets()["b"]
    assert state["low_nano"] <= shop.billed() <= state["spent_nano"]


def test_retries_charge_only_what_may_be_billed(shop: Any, way: Any) -> None:
    shop.fake.script([Fault(429, retry_after=0.001), Fault(drop="disconnect"), Fault(500), "done"])
    with budget("b", usd=1):
        shop.ask(way, max_retries=3)
    row, (used, held) = shop.row(), spent(shop, "b")
    assert held == 0
    assert len(row["attempts"]) == 4
    assert row["cost_low"] <= shop.billed() <= row["cost_high"] <= used
    assert shop.budgets()["b"]["spent_calls"] == 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
async def test_a_cancelled_call_is_charged_its_bound(
    shop: Any, way_of: Callable[..., Any], dialect: str, stream: bool
) -> None:
    from llmsaver.testing import Delivery

    way = way_of(dialect, True, stream)
    shop.fake.answer = Answer("word " * 20, delivery=Delivery(delay=600))
    async with shop.client(way) as client:
        with budget("b", usd=1):
            call = asyncio.create_task(shop.aconsume(way, client, way.arguments()))
        while not shop.fake.calls:  # noqa: ASYNC110 - the provider has no event to wait for
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    used, held = await asyncio.to_thread(spent, shop, "b")
    assert (held, used > 0) == (0, True)
    assert (await asyncio.to_thread(shop.row))["estimated"]


async def test_a_hold_granted_after_its_task_was_cancelled_is_given_back(shop: Any, way_of: Callable[..., Any]) -> None:
    way, saver = way_of("chat", True), shop.saver()
    reserve, entered, go = saver.ledger.reserve, threading.Event(), threading.Event()

    def slow(*args: Any, **named: Any) -> Any:
        entered.set()
        go.wait(60)
        return reserve(*args, **named)

    saver.ledger.reserve = slow
    async with shop.client(way) as client:
        with budget("b", usd=1):
            call = asyncio.create_task(shop.aconsume(way, client, way.arguments()))
        await asyncio.to_thread(entered.wait, 60)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go.set()
        for _ in range(6_000):
            now = await asyncio.to_thread(shop.budgets)
            if "b" in now and now["b"]["held_nano"] == 0:
                break
            await asyncio.sleep(0.01)
    assert (now["b"]["spent_nano"], now["b"]["held_nano"], shop.fake.calls) == (0, 0, 0)
    assert saver._budget._reserving._leases._held == {}


@pytest.mark.parametrize("early", [False, True])
def test_a_layer_that_breaks_leaves_no_hold(shop: Any, way: Any, early: bool) -> None:
    async def breaks(request: Request, call_next: CallNext) -> Response:
        if not early:
            await call_next(request)
        raise LLMSaverError("on purpose")

    saver = shop.saver(stack=[breaks])
    with budget("b", usd=1), pytest.raises(LLMSaverError, match="on purpose"):
        shop.ask(way, saver)
    assert shop.holds() == []
    if not early:
        state = shop.budgets()["b"]
        assert state["low_nano"] <= shop.billed() <= state["spent_nano"]


def test_a_bug_of_ours_stops_a_hard_budget_and_passes_a_soft_one(
    shop: Any, way: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    saver = shop.saver()
    monkeypatch.setattr(saver.prices, "upper_bound", lambda *_, **__: 1 / 0)
    with budget("b", usd=1), pytest.raises(LLMSaverError, match="'b' could not be asked: ZeroDivisionError"):
        shop.ask(way, saver)
    assert shop.fake.calls == 0
    with budget("s", usd=1, hard=False):
        shop.ask(way, saver)
    assert "soft budgets could not be charged" in caplog.text
    assert shop.row()["cost_nano"] == shop.billed()


# -- many at once -----------------------------------------------------------------------------------------------------


def test_a_hundred_threads_never_spend_more_than_the_cap(shop: Any, way_of: Callable[..., Any]) -> None:
    way, refused = way_of("chat"), list[int]()
    shop.fake.answer = Answer("word " * 400)
    create = way.arguments(most=2_000)

    def call(_: int) -> None:
        try:
            shop.consume(way, client, create)
        except BudgetExceeded:
            refused.append(1)

    with shop.client(way) as client, budget("cap", usd="0.05"), ThreadPoolExecutor(100) as pool:
        for future in [pool.submit(copy_context().run, call, number) for number in range(300)]:
            future.result()
    used, held = spent(shop, "cap")
    assert held == 0
    assert used == shop.billed() <= 50_000_000
    assert refused
    assert shop.billed() > 15_000_000  # and much of it was used


async def test_two_hundred_tasks_never_spend_more_than_the_cap(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("messages", True, True)
    shop.fake.answer = Answer("word " * 100)
    create = way.arguments(most=500)

    async def call() -> int:
        try:
            await shop.aconsume(way, client, create)
        except BudgetExceeded:
            return 0
        return 1

    async with shop.client(way) as client:
        with budget("cap", usd="0.05"):
            made = sum(await asyncio.gather(*(call() for _ in range(200))))
    used, held = await asyncio.to_thread(spent, shop, "cap")
    assert (held, used) == (0, shop.billed())
    assert used <= 50_000_000
    assert 0 < made < 200


def test_a_budget_set_from_outside_binds_the_very_first_calls(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    with Ledger(str(shop.path)) as outside:
        outside.set_budget(Budget.usd("everyone", "0.000001", scope="organisation"))
    gate = threading.Barrier(20)

    def call() -> bool:
        gate.wait()
        try:
            shop.consume(way, client, way.arguments())
        except BudgetExceeded:
            return True
        return False

    with shop.client(way) as client, ThreadPoolExecutor(20) as pool:
        refused = [future.result() for future in [pool.submit(call) for _ in range(20)]]
    assert (all(refused), shop.fake.calls) == (True, 0)


def test_a_budget_set_from_outside_is_found_later(shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.middleware.budget.LOOK_EVERY_SECONDS", 0.0)
    shop.ask(plain_way)
    with Ledger(str(shop.path)) as outside:
        outside.set_budget(Budget.usd("default", "0.000001"))
    with pytest.raises(BudgetExceeded):
        shop.ask(plain_way)
    with budget("default", usd="0.000001", per="day"), pytest.raises(BudgetExceeded):
        shop.ask(plain_way)


# -- warned -----------------------------------------------------------------------------------------------------------


def test_observing_warns_and_refuses_nothing(shop: Any, way: Any, caplog: Any) -> None:
    watcher = shop.saver(mode="observe")
    with budget("b", usd=TINY):
        for _ in range(2):
            shop.ask(way, watcher)
    assert shop.fake.calls == 2
    assert spent(shop, "b") == (shop.billed(), 0)
    assert shop.budgets()["b"]["spent_calls"] == 2
    assert caplog.text.count("budget 'b' has passed 100 %") == 1
    strict = shop.saver()  # the same budget on the same ledger, now enforced
    with budget("b", usd=TINY), pytest.raises(BudgetExceeded):
        shop.ask(way, strict)
    assert shop.fake.calls == 2


def test_a_soft_budget_is_charged_and_warns(shop: Any, way: Any, caplog: Any) -> None:
    with budget("soft", usd=TINY, hard=False):
        shop.ask(way)
        shop.ask(way)
    assert spent(shop, "soft") == (shop.billed(), 0)
    assert caplog.text.count("budget 'soft' has passed 100 %") == 1


def test_soft_budgets_take_an_estimate_as_it_is(shop: Any, stream_way: Any) -> None:
    shop.fake.script([Fault(drop="disconnect", after=4, answer=Answer("word " * 30))])
    with budget("soft", usd=1, hard=False), pytest.raises(Exception):  # noqa: B017, PT011 - the SDK's own
        shop.ask(stream_way)
    assert spent(shop, "soft") == (shop.row()["cost_nano"], 0)


def test_whoever_asked_is_told_once_at_each_threshold(shop: Any, way: Any) -> None:
    told: list[Any] = []
    shop.fake.answer = "word " * 40
    terms: dict[str, Any] = {"usd": "0.0006" if way.dialect == "messages" else "0.0003"}
    saver = shop.saver()
    with budget("b", **terms, on_exceed="call", on_threshold=[0.1, 0.5], alert=told.append):
        for _ in range(6):
            shop.ask(way, saver)
    assert saver.background.drain(60)
    assert [facts["threshold"] for facts in told] == [0.1, 0.5, 1.0]
    assert {facts["budget"] for facts in told} == {"b"}


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    got: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/alert", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_hears_of_a_threshold_once(
    shop: Any, plain_way: Any, hook: tuple[str, list[Any]], caplog: Any
) -> None:
    url, got = hook
    saver = shop.saver(budgets=[{"name": "default", "usd": "0.00001", "hard": False, "alert": url}])
    for _ in range(3):
        shop.ask(plain_way, saver)
    assert saver.background.drain(60)
    assert [(facts["budget"], facts["threshold"]) for facts in got] == [("default", 1.0)]
    assert "passed 100 %" in caplog.text


# -- odd worlds -------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_breaks_nothing(shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    with budget("b", usd=1, per="hour"):
        shop.ask(plain_way)
        monkeypatch.setattr(time, "time", lambda: now() - 7_200)
        shop.ask(plain_way)
        monkeypatch.setattr(time, "time", now)
        shop.ask(plain_way)
    rows = shop.rows()
    assert len(rows) == 3
    assert all(row["latency_ms"] >= 0 for row in rows)
    assert shop.budgets()["b"]["held_nano"] == 0


def test_a_budget_over_a_locked_ledger_refuses_clearly(shop: Any, way: Any) -> None:
    import sqlite3

    saver = Saver(ledger=str(shop.path))
    assert saver.ledger is not None
    saver.ledger._patience = saver.ledger._reserving._patience = 0.1
    saver.ledger._writer._patience = saver.ledger._writer._full_patience = 0.1
    shop.savers.append(saver)
    shop.ask(way, saver)
    blocker = sqlite3.connect(shop.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        with budget("b", usd=1), pytest.raises(LLMSaverError, match="ledger") as caught:
            shop.ask(way, saver, max_retries=2)
        assert isinstance(caught.value, FAMILY[way.dialect])
        assert shop.fake.calls == 1
        with budget("soft", usd=1, hard=False):
            shop.ask(way, saver)
        assert shop.fake.calls == 2
    finally:
        blocker.close()
    saver.ledger.drain(60)
    assert saver.ledger.lost == 1


def test_nothing_in_the_log_where_all_is_well(shop: Any, way: Any, caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG, "llmsaver"), budget("b", usd=1):
        shop.ask(way)
    assert [record.message for record in caplog.records if record.name == "llmsaver"] == []


# -- rare ways --------------------------------------------------------------------------------------------------------


def test_a_lease_that_ran_out_before_the_request_left_stops_it(
    shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = shop.saver()
    monkeypatch.setattr(saver.ledger, "mark_sent", lambda hold: not saver.ledger.release(hold))
    with budget("b", usd=1), pytest.raises(LLMSaverError, match="ran out before the request could leave"):
        shop.ask(plain_way, saver)
    with budget("s", usd=1, hard=False):
        shop.ask(plain_way, saver)
    assert shop.fake.calls == 1


def test_what_leaves_too_little_after_all_is_given_back(
    shop: Any, plain_way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver = shop.saver()
    room = saver.prices.output_room
    monkeypatch.setattr(
        saver.prices,
        "output_room",
        lambda left, *args, **named: min(room(left, *args, **named), 10**6 if left >= 2**60 else 5),
    )
    with budget("b", usd="0.004"), pytest.raises(BudgetExceeded):
        shop.ask(plain_way, saver, create=plain_way.arguments(most=4_000))
    assert (spent(shop, "b"), shop.fake.calls) == ((0, 0), 0)


def test_a_call_that_finds_no_way_out_gives_its_hold_back(shop: Any, way_of: Callable[..., Any]) -> None:
    from llmsaver.middleware.budget import BudgetLayer

    way, layers = way_of("chat"), list[Any]()

    async def nowhere(request: Request, call_next: CallNext) -> Response:  # noqa: ARG001 - there is no way on
        raise ConfigurationError("there is no key for this host")

    async def made(request: Request, call_next: CallNext) -> Response:  # noqa: ARG001 - no upstream is asked
        return Response.of({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []})

    async def short(request: Request, call_next: CallNext) -> Response:
        answer: Response = await layers[0](request, lambda inner: layers[1](inner, call_next))
        return answer

    saver = shop.saver(stack=[short])
    layers += [BudgetLayer(saver.prices, saver.ledger, saver.background), nowhere]
    with budget("b", usd=1), pytest.raises(ConfigurationError):
        shop.ask(way, saver)
    layers[1] = made
    with budget("b", usd=1):
        shop.ask(way, saver)
    assert (spent(shop, "b"), shop.fake.calls) == ((0, 0), 0)


def test_without_a_ledger_attempts_are_priced_all_the_same(shop: Any, plain_way: Any) -> None:
    from llmsaver.middleware.budget import BudgetLayer

    saver = shop.saver()
    layer = BudgetLayer(saver.prices, None, saver.background)

    async def only(request: Request, call_next: CallNext) -> Response:
        return await layer(request, call_next)

    assert shop.ask(plain_way, shop.saver(stack=[only])).cost_nano == shop.billed()
    layer.tell(type("Ticket", (), {"crossed": ()})())


def test_a_forked_childs_locks_are_its_own(shop: Any) -> None:
    layer = shop.saver()._budget
    with layer._looking, layer._settling._lock:
        layer.after_fork()
        assert not layer._looking.locked()
        assert not layer._settling._lock.locked()
    layer._reserving._leases.after_fork()


async def test_a_hold_granted_as_its_task_is_cancelled_is_given_back(shop: Any, way_of: Callable[..., Any]) -> None:
    way, saver = way_of("chat", True), shop.saver()
    offload = saver.async_runtime.offload

    async def cancelled(fn: Any, *args: Any) -> Any:
        found = await offload(fn, *args)
        if fn.__name__ == "_ask":
            raise asyncio.CancelledError
        return found

    saver.async_runtime.offload = cancelled
    async with shop.client(way) as client:
        with budget("b", usd=1), pytest.raises(asyncio.CancelledError):
            await shop.aconsume(way, client, way.arguments())
    assert saver.background.drain(60)
    assert await asyncio.to_thread(spent, shop, "b") == (0, 0)


def test_what_cannot_be_given_back_is_said(shop: Any, caplog: Any) -> None:
    shop.path.mkdir()
    saver = shop.saver()
    from llmsaver.ledger import Claim, Hold
    from llmsaver.ledger.holds import Pot

    pot = Pot(1, Claim(Budget.usd("b", 1)), "total", 0.0, 1.0)
    saver._budget._reserving._give_back(Hold(1, (pot,), 1, 1, 1, 0.0))
    assert "could not be given back" in caplog.text
    shop.savers.clear()
    saver.close()
