"""A tier that is too busy, or down: who answers instead, and what the entry says of it."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import AsyncRuntime, SyncRuntime, drive
from llmsaver.errors import BudgetExceeded, ConfigurationError, LocalModelError, UpstreamError
from llmsaver.local.endpoint import Load
from llmsaver.local.models import Attach, LocalModel, Tier, Vllm
from llmsaver.middleware.own_tiers import OwnTiers
from llmsaver.middleware.spill import Spill
from llmsaver.pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FREE: Any = {"local/*": {"input": "0", "output": "0"}}
OPENAI = "https://api.openai.com/v1/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"


def ask(model: str | None = "local/small", url: str = OPENAI, runtime: Any = None) -> Request:
    body = {"messages": []} if model is None else {"model": model, "messages": []}
    return Request("chat", body, url, Entry("chat", model), runtime or SyncRuntime())


def layer(*tiers: Tier, load: Load | Exception | None = None, prices: Any = FREE, slots: int = 1) -> Spill:
    def look(_: str) -> Load | None:
        if isinstance(load, Exception):
            raise load
        return load

    return Spill(OwnTiers({tier.name: tier for tier in tiers}), look, PriceBook(prices), slots=slots)  # type: ignore[attr-defined]  # every kind of tier has a name


def small(**more: Any) -> LocalModel:
    return LocalModel("small", **{"spill_to": "gpt-5-mini", **more})


class Below:
    """What is under the layer: answers, or fails as told by model."""

    def __init__(self, **fails: BaseException | int) -> None:
        self.fails = {name.replace("_", "/"): what for name, what in fails.items()}
        self.asked: list[str | None] = []

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request.model)
        failure = self.fails.get(request.model or "", 200)
        if isinstance(failure, BaseException):
            raise failure
        return Response(failure, content=b"{}")


def through(spill: Spill, below: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    return drive(spill(request, below))


@pytest.mark.parametrize("model", [None, "gpt-5", "local/other", "small"])
def test_who_asks_for_no_tier_that_spills_is_passed_on(model: str | None) -> None:
    below = Below()
    request = ask(model)
    through(layer(small(max_queue=0), load=Load(9, 9, 1)), below, request)
    assert below.asked == [model]
    assert request.entry.layers == []


@pytest.mark.parametrize(
    ("terms", "load", "stays"),
    [
        ({"max_queue": 0}, Load(0, 0, 1), True),
        ({"max_queue": 0}, Load(1, 0, 1), False),
        ({"max_queue": 0}, Load(1, 0, 2), True),
        ({"max_queue": 2}, Load(1, 1, 1), True),
        ({"max_queue": 2}, Load(1, 2, 1), False),
        ({"max_wait": 3}, Load(2, 0, 2, mean_s=6.0), True),
        ({"max_wait": 3}, Load(2, 1, 2, mean_s=6.0), False),
        ({"max_wait": 3}, Load(2, 9, 2), True),  # nobody knows how long calls take
        ({}, Load(9, 9, 1), True),  # for when it is down only
    ],
)
def test_a_call_goes_where_it_may_start_in_time(terms: Any, load: Load, stays: bool) -> None:
    below = Below()
    request = ask()
    through(layer(small(**terms), load=load), below, request)
    assert below.asked == ["local/small" if stays else "gpt-5-mini"]
    assert request.entry.spilled is not stays
    if not stays:
        (act,) = request.entry.layers
        assert (act.name, act.action) == ("spill", "spilled")
        assert act.why.startswith("local/small to gpt-5-mini: ")
        assert "would wait" in act.why


def test_calls_under_way_here_count_though_the_server_has_not_said_so_yet() -> None:
    spill = layer(small(max_queue=0), load=Load(0, 0, 1))
    asked: list[str | None] = []
    everybody = asyncio.Event()

    async def below(request: Request) -> Response:
        asked.append(request.model)
        if len(asked) == 8:
            everybody.set()
        await everybody.wait()
        return Response(200, content=b"{}")

    async def go() -> None:
        runtime = AsyncRuntime()
        await asyncio.gather(*[spill(ask(runtime=runtime), below) for _ in range(8)])

    asyncio.run(go())
    assert sorted(map(str, asked)) == ["gpt-5-mini"] * 7 + ["local/small"]
    assert drive(spill(ask(), Below())).status == 200
    assert all(own.running == 0 for own in spill._own.values())


def test_a_call_that_fails_or_is_cancelled_is_counted_out() -> None:
    spill = layer(small(max_queue=0), load=Load(0, 0, 1))
    for failure in (RuntimeError("a bug"), asyncio.CancelledError(), BudgetExceeded("b", limit=1)):
        with pytest.raises(type(failure)):
            through(spill, Below(local_small=failure), ask())
    below = Below()
    through(spill, below, ask())
    assert below.asked == ["local/small"]


@pytest.mark.parametrize(
    "failure", [LocalModelError("no weights"), UpstreamError(ConnectionError("refused")), 429, 503, 502, 504]
)
@pytest.mark.parametrize("terms", [{}, {"max_queue": 5}])
def test_a_tier_that_is_down_is_stood_in_for(failure: Any, terms: Any) -> None:
    below = Below(local_small=failure)
    request = ask()
    assert through(layer(small(**terms), load=Load(0, 0, 1)), below, request).status == 200
    assert below.asked == ["local/small", "gpt-5-mini"]
    assert request.entry.spilled
    assert request.entry.written_cost is None  # it could not have answered at any price


def test_other_failures_are_the_callers_to_see() -> None:
    class ReadTimeout(Exception):  # noqa: N818 - httpx's name
        pass

    for failure in (UpstreamError(ReadTimeout()), BudgetExceeded("b", limit=1), ConfigurationError("no extra")):
        below = Below(local_small=failure)
        with pytest.raises(type(failure)):
            through(layer(small()), below, ask())
        assert below.asked == ["local/small"]
    below = Below(local_small=400)
    assert through(layer(small()), below, ask()).status == 400


def test_a_load_that_cannot_be_told_stops_nothing() -> None:
    below = Below()
    through(layer(small(max_queue=0), load=RuntimeError("broken")), below, ask())
    assert below.asked == ["local/small"]


def test_tiers_spill_in_a_chain_and_the_last_takes_what_comes() -> None:
    big = Attach("big", base_url="http://gpu:1/v1", max_wait=1.0, spill_to="local/last")
    last = Vllm("org/last", max_seqs=1)
    below = Below()
    request = ask()
    through(layer(small(max_queue=0, spill_to="local/big"), big, last, load=Load(1, 0, 1, mean_s=9.0)), below, request)
    assert below.asked == ["local/last"]
    assert [act.why.partition(":")[0] for act in request.entry.layers] == [
        "local/small to local/big",
        "local/big to local/last",
    ]
    below = Below(local_last=LocalModelError("gone"))
    with pytest.raises(LocalModelError):
        through(layer(last), below, ask("local/last"))


def test_a_chain_needs_an_end() -> None:
    with pytest.raises(ConfigurationError, match=r"in a circle \(local/a -> local/b -> local/a\)"):
        layer(LocalModel("a", spill_to="local/b"), LocalModel("b", spill_to="local/a"))
    with pytest.raises(ConfigurationError, match="write spill_to='local/b'"):
        layer(LocalModel("a", spill_to="b"), LocalModel("b"))


@pytest.mark.parametrize(
    ("url", "spill_to", "fix"),
    [(OPENAI, "claude-haiku-4-5", "gpt-5-mini"), (ANTHROPIC, "gpt-5-mini", "claude-haiku-4-5")],
)
def test_the_other_vendors_model_is_a_clear_error_at_the_first_call(url: str, spill_to: str, fix: str) -> None:
    below = Below()
    with pytest.raises(ConfigurationError, match=f"'{spill_to}'.*does not translate.*'{fix}'"):
        through(layer(small(spill_to=spill_to)), below, ask(url=url))
    assert below.asked == []
    through(layer(small(spill_to=spill_to)), below, ask(url="http://gateway.test/v1/chat/completions"))
    assert below.asked == ["local/small"]


def test_an_adapter_belongs_to_its_tier_and_nothing_but_the_model_changes() -> None:
    seen: list[Request] = []

    async def below(request: Request) -> Response:
        seen.append(request)
        return Response(200, content=b"{}")

    request = ask("local/small:triage").with_body(grammar="root ::= x")
    through(layer(small(max_queue=0), load=Load(1, 0, 1)), below, request)
    assert seen[0].body == {**request.body, "model": "gpt-5-mini"}


@pytest.mark.parametrize(
    ("tier", "load", "prices", "figures"),
    [
        (small(max_queue=0), Load(2, 0, 2), FREE, (0, 0, 0)),
        (small(max_queue=0), Load(2, 0, 2), {"local/*": {"input": "1", "output": "1"}}, None),
        (small(max_queue=0, hourly_usd="3.6"), Load(2, 0, 2), FREE, None),
        # 8 s at $0.001 a second: two slots at work, so half of it, and all of it if the other ends.
        (small(max_queue=0, hourly_usd="3.6"), Load(2, 0, 2, mean_s=8.0), FREE, (4_000_000, 4_000_000, 8_000_000)),
    ],
)
def test_the_baseline_is_what_the_tier_would_have_cost(tier: Tier, load: Load, prices: Any, figures: Any) -> None:
    request = ask()
    through(layer(tier, load=load, prices=prices), Below(), request)
    written = request.entry.written_cost
    assert (None if written is None else (written.low_nano, written.nano_usd, written.high_nano)) == figures


def test_a_retry_that_finds_room_was_not_spilled() -> None:
    spill = layer(small(max_queue=0, hourly_usd=Decimal(1)), load=Load(0, 0, 1))
    request = ask()
    request.entry.spilled = True
    through(spill, Below(), request)
    assert not request.entry.spilled
    (own,) = spill._own.values()
    assert own.mean_s is not None
    assert own.mean_s < 1.0
