"""One pass over the tiers, under the real SDKs: who is asked, who is passed over, and what the caller sees."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai
import pytest

import llmsaver
from llmsaver import BudgetExceeded, ConfigurationError, LocalModelError, Request, Response, Saver
from llmsaver.core.entry import Entry, current_entry
from llmsaver.core.runtime import AsyncRuntime
from llmsaver.middleware.failover import Failover, Sent, Tried
from llmsaver.middleware.reach import Reach
from llmsaver.router.tier import Tier
from llmsaver.testing import Answer, FakeProvider, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmsaver import CallNext

OPENAI, ANTHROPIC, OTHER = "api.openai.com", "api.anthropic.com", "other.example"
CHEAP, STRONG = Tier("gpt-5-mini"), Tier("claude-haiku-4-5")
THIRD = Tier("gpt-4o-mini", base_url="https://other.example/v1", api_key="sk-third")
ENVIRON = {"OPENAI_API_KEY": "sk-env-o", "ANTHROPIC_API_KEY": "sk-env-a"}
HI: list[Any] = [{"role": "user", "content": "hi"}]
# Nano-dollars per token: input and output.
RATES = {"gpt-5-mini": (250, 2_000), "claude-haiku-4-5": (1_000, 5_000), "gpt-4o-mini": (150, 600)}


class Internet(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """Three hosts, a fake provider at each; ``asked`` are the hosts in order."""

    def __init__(self) -> None:
        self.fakes = {host: FakeProvider(f"{host} says so") for host in (OPENAI, ANTHROPIC, OTHER)}
        self._wires = {host: (fake.transport(), fake.async_transport()) for host, fake in self.fakes.items()}
        self.asked: list[str] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.host)
        answer: httpx2.Response = self._wires[request.url.host][0].handle_request(request)
        return answer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.host)
        answer: httpx2.Response = await self._wires[request.url.host][1].handle_async_request(request)
        return answer

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def billed(self) -> int:
        """Return what all providers charge, in nano-dollars."""
        bills = [bill for fake in self.fakes.values() for bill in fake.billed]
        return sum(
            bill.input_tokens * RATES[bill.model][0] + bill.output_tokens * RATES[bill.model][1] for bill in bills
        )


class Route:
    """Sends calls for "auto" to the first tier that answers."""

    name = "route"

    def __init__(self, *tiers: Tier, environ: Any = None, send: Any = None, **options: Any) -> None:
        self.tiers = tiers
        self.failover = Failover(Reach(tiers, environ=ENVIRON if environ is None else environ), tiers, **options)
        self.order: Any = tiers
        self.send = send or {}
        self.sent: list[Sent] = []
        self.tried: list[Tried] = []

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        if request.model != "auto":
            return await call_next(request)
        self.tried = []
        sent = await self.failover.send(request, self.order, call_next, tried=self.tried, **self.send)
        self.sent.append(sent)
        return sent.response


@dataclass(frozen=True)
class Way:
    """How a call is made."""

    surface: str = "chat"
    asynchronous: bool = False
    stream: bool = False


WAYS = [
    pytest.param(Way(surface, asynchronous, stream), id=f"{surface}-{'async' if asynchronous else 'sync'}-{how}")
    for surface in ("chat", "messages")
    for asynchronous in (False, True)
    for stream, how in ((False, "whole"), (True, "stream"))
]


@dataclass
class Place:
    """An internet, a ledger and a way to make calls."""

    path: Path
    net: Internet = field(default_factory=Internet)
    savers: list[Saver] = field(default_factory=list)

    def saver(self, *layers: Any, **options: Any) -> Saver:
        made = Saver(stack=[*layers], ledger=str(self.path), **options)
        self.savers.append(made)
        return made

    def client(self, way: Way, saver: Saver, **options: Any) -> Any:
        http: Any = (httpx2.AsyncClient if way.asynchronous else httpx2.Client)(transport=self.net)
        kinds: Any = (llmsaver.OpenAI, llmsaver.AsyncOpenAI, llmsaver.Anthropic, llmsaver.AsyncAnthropic)
        kind = kinds[2 * (way.surface == "messages") + way.asynchronous]
        return kind(http_client=http, saver=saver, **{"api_key": "sk-caller", "max_retries": 0, **options})

    def ask(self, way: Way, saver: Saver, *, create: Any = None, **options: Any) -> str:
        """Make a call for "auto" and return the text of its answer."""
        arguments = {"model": "auto", "messages": HI, "max_tokens": 64, "stream": way.stream, **(create or {})}
        current_entry.set(None)

        async def go() -> str:
            async with self.client(way, saver, **options) as client:
                resource = client.messages if way.surface == "messages" else client.chat.completions
                answer = await resource.create(**arguments)
                return _text([each async for each in answer] if way.stream else answer)

        if way.asynchronous:
            return asyncio.run(go())
        with self.client(way, saver, **options) as client:
            resource = client.messages if way.surface == "messages" else client.chat.completions
            answer = resource.create(**arguments)
            return _text(list(answer) if way.stream else answer)


def _text(answer: Any) -> str:
    if not isinstance(answer, list):
        return str(answer.content[0].text if hasattr(answer, "content") else answer.choices[0].message.content)
    parts = []
    for each in answer:
        if hasattr(each, "choices"):
            parts += [choice.delta.content or "" for choice in each.choices]
        elif each.type == "content_block_delta":
            parts.append(each.delta.text)
    return "".join(parts)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "l.db")
    yield made
    for saver in made.savers:
        saver.close()


@pytest.fixture(params=WAYS)
def every_way(request: pytest.FixtureRequest) -> Any:
    """One of the eight."""
    return request.param


@pytest.fixture(params=[param for param in WAYS if param.values[0].stream])  # type: ignore[union-attr]
def stream_way(request: pytest.FixtureRequest) -> Any:
    """One of the four that stream."""
    return request.param


def faults(fake: FakeProvider, *scripted: Any) -> None:
    fake.script(scripted)


# --- the way there and back


def test_the_other_vendors_model_answers_in_the_callers_dialect(place: Place, every_way: Way) -> None:
    other = ANTHROPIC if every_way.surface == "chat" else OPENAI
    tier = STRONG if every_way.surface == "chat" else CHEAP
    saver = place.saver(route := Route(tier))
    assert place.ask(every_way, saver) == f"{other} says so"
    assert place.net.asked == [other]
    (seen,) = place.net.fakes[other].requests
    key = seen.headers["x-api-key" if other == ANTHROPIC else "authorization"]
    assert key == ("sk-env-a" if other == ANTHROPIC else "Bearer sk-env-o")
    assert "sk-caller" not in str(seen.headers)
    (entry,) = saver.recent(1)
    assert (entry.model, entry.upstream, entry.model_asked) == (tier.model, other, "auto")
    assert (entry.cost_nano, entry.unpriced, entry.complete) == (place.net.billed(), False, True)
    assert entry.usage is not None
    assert entry.usage.output_tokens == place.net.fakes[other].billed[0].output_tokens
    (sent,) = route.sent
    assert (sent.tier, sent.request.dialect) == (tier, "messages" if other == ANTHROPIC else "chat")
    assert sent.spoken.outcome is not None
    assert sent.spoken.outcome.complete


def test_two_hosts_of_one_dialect_have_each_their_key(place: Place, every_way: Way) -> None:
    if every_way.surface == "messages":
        third = Tier("claude-haiku-4-5", base_url="https://other.example", api_key="sk-third")
        first = Tier("claude-opus-4-5")
    else:
        third, first = THIRD, CHEAP
    home = ANTHROPIC if every_way.surface == "messages" else OPENAI
    faults(place.net.fakes[home], Fault(500))
    saver = place.saver(route := Route(first, third))
    assert place.ask(every_way, saver) == "other.example says so"
    assert "sk-caller" in str(place.net.fakes[home].requests[0].headers)
    (seen,) = place.net.fakes[OTHER].requests
    assert "sk-third" in seen.headers["x-api-key" if every_way.surface == "messages" else "authorization"]
    assert "sk-caller" not in str(seen.headers)
    (entry,) = saver.recent(1)
    assert [(attempt.upstream, attempt.status) for attempt in entry.attempts] == [(home, 500), (OTHER, 200)]
    # A host that is not known to take the question is not asked for a stream's usage.
    unknown = every_way.stream and every_way.surface == "chat"
    assert (entry.usage is None) is unknown
    assert unknown or entry.cost_nano == place.net.billed()
    assert [each.as_dict() for each in route.tried] == [{"tier": first.model, "why": route.tried[0].why, "status": 500}]


# --- who is asked next


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(429), "it answered 429 (rate_limit_exceeded)"),
        (Fault(429, code="insufficient_quota"), "it answered 429 (insufficient_quota)"),
        (Fault(500), "it answered 500 (server_error)"),
        (Fault(503), "it answered 503 (server_error)"),
        (Fault(529), "it answered 529 (server_error)"),
        (Fault(408), "it answered 408"),
        (Fault(409), "it answered 409"),
        (Fault(401), "it answered 401 (invalid_api_key)"),
        (Fault(404), "it answered 404 (model_not_found)"),
        (Fault(drop="connect"), "it could not be reached: ConnectError"),
        (Fault(drop="connect timeout"), "it could not be reached: ConnectTimeout"),
        (Fault(drop="read timeout"), "it could not be reached: ReadTimeout"),
        (Fault(drop="disconnect"), "it could not be reached: RemoteProtocolError"),
        (Fault(200, body=b"<html>"), "its answer broke off"),
    ],
    ids=lambda each: getattr(each, "drop", None) or str(getattr(each, "status", "")),
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_sends_a_call_on(place: Place, fault: Fault, said: str, asynchronous: bool) -> None:
    faults(place.net.fakes[OPENAI], fault)
    saver = place.saver(route := Route(CHEAP, STRONG))
    assert place.ask(Way("chat", asynchronous), saver) == f"{ANTHROPIC} says so"
    assert place.net.asked == [OPENAI, ANTHROPIC]
    (tried,) = route.tried
    assert tried.tier == "gpt-5-mini"
    assert tried.why.startswith(said)
    (entry,) = saver.recent(1)
    assert (entry.model, entry.complete) == ("claude-haiku-4-5", True)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, after=0),
        Fault(drop="reset", after=0),
        Fault(drop="disconnect", after=0),
        Fault(200, body=b"", content_type="text/event-stream"),
        Fault(200, body=b": keep-alive\n\n", content_type="text/event-stream"),
    ],
    ids=["error event", "reset", "disconnect", "nothing", "comment"],
)
def test_a_stream_that_fails_before_its_first_event_is_failed_over(place: Place, stream_way: Way, fault: Fault) -> None:
    home, tiers = (OPENAI, (CHEAP, STRONG)) if stream_way.surface == "chat" else (ANTHROPIC, (STRONG, CHEAP))
    faults(place.net.fakes[home], fault)
    saver = place.saver(Route(*tiers))
    assert place.ask(stream_way, saver) == f"{ANTHROPIC if home == OPENAI else OPENAI} says so"


def test_after_the_first_event_the_stream_is_the_callers(place: Place) -> None:
    faults(place.net.fakes[OPENAI], Fault(drop="reset", after=2))
    saver = place.saver(Route(CHEAP, STRONG))
    with pytest.raises(openai.APIConnectionError):
        place.ask(Way(stream=True), saver)
    assert place.net.asked == [OPENAI]


def test_a_whole_answer_that_breaks_off_late_is_failed_over(place: Place, every_way: Way) -> None:
    home, tiers = (OPENAI, (CHEAP, STRONG)) if every_way.surface == "chat" else (ANTHROPIC, (STRONG, CHEAP))
    faults(place.net.fakes[home], Fault(drop="reset", after=2))
    saver = place.saver(route := Route(*tiers, send={"whole": True}))
    assert place.ask(every_way, saver) == f"{ANTHROPIC if home == OPENAI else OPENAI} says so"
    assert route.sent[0].spoken.content is not None
    (entry,) = saver.recent(1)
    assert len(entry.attempts) == 2
    assert all(attempt.cost is not None for attempt in entry.attempts)  # both legs are in the bill
    assert entry.cost_nano == sum(attempt.cost.nano_usd for attempt in entry.attempts)


def test_the_callers_own_mistake_is_handed_on(place: Place) -> None:
    faults(place.net.fakes[OPENAI], Fault(400, message="Invalid 'temperature'"))
    with pytest.raises(openai.BadRequestError, match="temperature"):
        place.ask(Way(), place.saver(Route(CHEAP, STRONG)))
    assert place.net.asked == [OPENAI]


def test_what_another_host_does_not_know_is_no_mistake_of_the_callers(place: Place) -> None:
    faults(place.net.fakes[OTHER], Fault(400, message="Extra inputs are not permitted"))
    saver = place.saver(route := Route(THIRD, CHEAP))
    assert place.ask(Way(), saver) == f"{OPENAI} says so"
    assert route.tried[0].why == "it answered 400 (invalid_request_error)"


TOO_LONG = Fault(400, message="This model's maximum context length is 10 tokens.", code="context_length_exceeded")


def test_a_prompt_that_is_too_long_goes_up_and_never_down(place: Place) -> None:
    small = Tier("gpt-4o-mini", max_context=100)
    faults(place.net.fakes[OPENAI], TOO_LONG)
    saver = place.saver(route := Route(small, CHEAP, STRONG))
    route.order = (CHEAP, small, STRONG)
    assert place.ask(Way(), saver) == f"{ANTHROPIC} says so"
    assert place.net.asked == [OPENAI, ANTHROPIC]
    assert [each.tier for each in route.tried] == ["gpt-5-mini", "gpt-4o-mini"]
    assert "too long" in route.tried[0].why
    assert route.tried[1].why == "the prompt was too long for gpt-5-mini, and it holds no more"


def test_a_prompt_that_is_too_long_for_all_is_the_callers_to_see(place: Place) -> None:
    one, two = Tier("gpt-5-mini", max_context=200), Tier("gpt-4o-mini", max_context=200)
    faults(place.net.fakes[OPENAI], TOO_LONG)
    with pytest.raises(openai.BadRequestError) as raised:
        place.ask(Way(), place.saver(Route(one, two)))
    assert raised.value.code == "context_length_exceeded"
    assert place.net.asked == [OPENAI]


# --- all of them fail


def test_the_last_providers_error_is_the_sdks_own(place: Place, every_way: Way) -> None:
    for fake in place.net.fakes.values():
        fake.answer = Fault(529)
    tiers = (CHEAP, STRONG) if every_way.surface == "chat" else (STRONG, CHEAP)
    saver = place.saver(route := Route(*tiers))
    kind: Any = openai.InternalServerError if every_way.surface == "chat" else anthropic.APIStatusError
    with pytest.raises(kind) as raised:
        place.ask(every_way, saver)
    assert raised.value.status_code == 529
    assert len(place.net.asked) == 2
    assert [each.status for each in route.tried] == [529, 529]
    assert not route.sent[0].response.ok
    assert raised.value.request.url.host == (OPENAI if every_way.surface == "chat" else ANTHROPIC)
    assert "sk-env" not in str(raised.value.request.headers)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_the_sdks_own_retries_are_intact_and_each_is_one_pass(place: Place, asynchronous: bool) -> None:
    faults(place.net.fakes[OPENAI], Fault(500), Fault(500))
    faults(place.net.fakes[ANTHROPIC], Fault(529), Fault(529))
    saver = place.saver(Route(CHEAP, STRONG))
    assert place.ask(Way("chat", asynchronous), saver, max_retries=2) == f"{OPENAI} says so"
    assert place.net.asked == [OPENAI, ANTHROPIC, OPENAI, ANTHROPIC, OPENAI]
    (entry,) = saver.recent(10)
    assert [attempt.status for attempt in entry.attempts] == [500, 529, 500, 529, 200]
    assert entry.cost_nano == place.net.billed()


def test_a_transport_that_fails_last_is_the_sdks_own_error_too(place: Place) -> None:
    for fake in place.net.fakes.values():
        fake.answer = Fault(drop="connect")
    with pytest.raises(openai.APIConnectionError) as raised:
        place.ask(Way(), place.saver(Route(CHEAP, STRONG)), max_retries=1)
    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    assert place.net.asked == [OPENAI, ANTHROPIC] * 2
    for fake in place.net.fakes.values():
        fake.answer = Fault(drop="read timeout")
    with pytest.raises(openai.APITimeoutError):
        place.ask(Way(), place.saver(Route(CHEAP, STRONG)))


def test_what_may_pass_is_told_before_what_is_set_up_wrongly(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is wrong must not hide the overload that a retry would outlast."""
    place.net.fakes[OPENAI].answer = Fault(503)
    place.net.fakes[ANTHROPIC].answer = Fault(401)
    saver = place.saver(Route(CHEAP, STRONG))
    with caplog.at_level(logging.WARNING, "llmsaver"):
        for _ in range(2):
            with pytest.raises(openai.InternalServerError) as raised:
                place.ask(Way(), saver)
            assert raised.value.status_code == 503
    (entry, _) = saver.recent(10)
    assert (entry.model, entry.upstream) == ("gpt-5-mini", OPENAI)
    told = [record.message for record in caplog.records if "passed over" in record.message]
    assert told == ["llmsaver: the tier claude-haiku-4-5 is passed over: it answered 401 (authentication_error)"]


def test_an_answer_that_the_caller_cannot_be_told_is_another_tiers_to_give(place: Place) -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "usage": {}}
    strange = json.dumps({**message, "content": [{"type": "hologram"}]}).encode()
    faults(place.net.fakes[ANTHROPIC], Fault(200, body=strange, content_type="application/json"))
    saver = place.saver(route := Route(STRONG, CHEAP))
    assert place.ask(Way(), saver) == f"{OPENAI} says so"
    assert route.tried[0].why == "its answer cannot be told in chat"


# --- who cannot be asked


def test_a_tier_without_a_key_is_skipped_and_said(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    saver = place.saver(route := Route(STRONG, CHEAP, environ={}))
    with caplog.at_level(logging.WARNING, "llmsaver"):
        assert [place.ask(Way(), saver) for _ in range(2)] == [f"{OPENAI} says so"] * 2
    assert route.tried[0].why.startswith("no key for api.anthropic.com: set ANTHROPIC_API_KEY")
    assert len([record for record in caplog.records if "passed over" in record.message]) == 1


@pytest.mark.parametrize("surface", ["chat", "messages"])
def test_no_tier_at_all_is_a_clear_error_at_the_first_call(place: Place, surface: str) -> None:
    tier = STRONG if surface == "chat" else CHEAP
    family: Any = openai.OpenAIError if surface == "chat" else anthropic.AnthropicError
    with pytest.raises(
        ConfigurationError, match=r"no tier can be asked for this call\. .*: no key for api\."
    ) as raised:
        place.ask(Way(surface), place.saver(Route(tier, environ={})), max_retries=3)
    assert isinstance(raised.value, family)
    assert place.net.asked == []
    with pytest.raises(ConfigurationError, match="none was named"):
        place.ask(Way(surface), place.saver(Route()))


def test_what_cannot_be_translated_stays(place: Place) -> None:
    saver = place.saver(route := Route(STRONG, CHEAP))
    assert place.ask(Way(), saver, create={"n": 2}) == f"{OPENAI} says so"
    assert route.tried[0].why.startswith("the request cannot be told in messages: ")


def test_a_local_model_that_is_missing_is_passed_over(place: Place) -> None:
    local = Tier("local/there-is-no-such-model")
    saver = place.saver(route := Route(local, CHEAP))
    assert place.ask(Way(), saver) == f"{OPENAI} says so"
    assert route.tried[0].why.startswith("it cannot answer: ")
    with pytest.raises(LocalModelError):
        place.ask(Way(), place.saver(Route(local)))


def test_a_local_model_that_fails_does_not_hide_a_providers_error(place: Place) -> None:
    place.net.fakes[OPENAI].answer = Fault(500)
    with pytest.raises(openai.InternalServerError):
        place.ask(Way(), place.saver(Route(CHEAP, Tier("local/there-is-no-such-model"))))


# --- who is left alone


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_tier_that_asks_to_be_left_alone_is(place: Place) -> None:
    clock = Clock()
    faults(place.net.fakes[OPENAI], Fault(429, retry_after=7))
    saver = place.saver(route := Route(CHEAP, STRONG, clock=clock))
    for _ in range(3):
        assert place.ask(Way(), saver) == f"{ANTHROPIC} says so"
    assert place.net.asked == [OPENAI, ANTHROPIC, ANTHROPIC, ANTHROPIC]
    assert route.tried[0].why == "it asked to be left alone for another 7.0 s"
    assert route.failover.standing(CHEAP) == "it asked to be left alone for another 7.0 s"
    assert route.failover.standing(STRONG) is None
    clock.now += 7
    assert place.ask(Way(), saver) == f"{OPENAI} says so"


def test_another_account_is_not_left_alone(place: Place) -> None:
    faults(place.net.fakes[OPENAI], Fault(429, retry_after=60))
    saver = place.saver(route := Route(CHEAP, STRONG))
    seen: list[Request] = []

    def prepare(request: Request, _: Tier) -> Request:
        seen.append(request)
        return request

    route.send = {"prepare": prepare}
    assert place.ask(Way(), saver) == f"{ANTHROPIC} says so"
    assert place.ask(Way(), saver, api_key="sk-another") == f"{OPENAI} says so"
    assert route.failover.standing(CHEAP, seen[0]) is not None
    assert route.failover.standing(CHEAP, seen[-1]) is None
    assert "cannot be told" in (route.failover.standing(STRONG, seen[0].with_body(n=2)) or "")


def test_a_tier_that_keeps_failing_is_passed_over_and_found_again(place: Place) -> None:
    clock = Clock()
    place.net.fakes[OPENAI].answer = Fault(500)
    saver = place.saver(route := Route(CHEAP, STRONG, failures=3, pause=30, clock=clock))
    for _ in range(6):
        place.ask(Way(), saver)
    assert place.net.asked.count(OPENAI) == 3
    assert "failed 3 times lately" in route.tried[0].why
    clock.now += 31
    place.ask(Way(), saver)
    assert place.net.asked.count(OPENAI) == 4
    place.net.fakes[OPENAI].answer = Answer("well again")
    clock.now += 31
    assert [place.ask(Way(), saver) for _ in range(2)] == ["well again"] * 2


def test_where_all_are_left_alone_the_first_is_asked_all_the_same(place: Place) -> None:
    """Its answer is the SDK's to understand; an error of ours would not be retried."""
    place.net.fakes[OPENAI].answer = Fault(429, retry_after=60)
    saver = place.saver(Route(CHEAP))
    for _ in range(3):
        with pytest.raises(openai.RateLimitError) as raised:
            place.ask(Way(), saver)
        assert raised.value.response.headers["retry-after"] == "60"
    assert len(place.net.asked) == 3
    place.net.fakes[OPENAI].answer = Answer("here")
    assert place.ask(Way(), saver) == "here"


def test_a_full_minute_spills_to_the_next_tier(place: Place) -> None:
    clock = Clock()
    limited = Tier("gpt-5-mini", requests_per_minute=2)
    saver = place.saver(route := Route(limited, STRONG, clock=clock))
    for _ in range(3):
        place.ask(Way(), saver)
    assert place.net.asked == [OPENAI, OPENAI, ANTHROPIC]
    assert route.tried[0].why == "this minute's requests or tokens for it are used up"
    clock.now += 30
    place.ask(Way(), saver)
    assert place.net.asked[-1] == OPENAI


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_call_may_queue_for_a_moment_instead(place: Place, asynchronous: bool) -> None:
    limited = Tier("gpt-5-mini", requests_per_minute=1200)
    saver = place.saver(route := Route(limited, STRONG, max_wait=0.2, clock=(clock := Clock())))
    slept: list[float] = []
    saver.sync_runtime.sleep = saver.async_runtime.sleep = _sleeper(slept)  # type: ignore[method-assign]
    route.failover._standings.place(limited, _bare())._limits._requests.level = 0  # type: ignore[union-attr]
    assert place.ask(Way("chat", asynchronous), saver) == f"{OPENAI} says so"
    assert slept == [pytest.approx(0.05)]
    assert clock.now == 100.0


def _sleeper(slept: list[float]) -> Any:
    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    return sleep


def _bare() -> Any:
    return type("Bare", (), {"account": "none", "body": {}})()


def test_tokens_that_were_not_used_are_given_back(place: Place) -> None:
    limited = Tier("gpt-5-mini", tokens_per_minute=1000)
    saver = place.saver(Route(limited, STRONG, clock=Clock()))
    for _ in range(8):  # each may use 64 and uses few
        place.ask(Way(), saver)
    assert place.net.asked == [OPENAI] * 8
    used = sum(bill.input_tokens + bill.output_tokens for bill in place.net.fakes[OPENAI].billed)
    assert used < 1000
    place.ask(Way(), saver, create={"max_tokens": 5000})
    assert place.net.asked[-1] == ANTHROPIC


# --- budgets


def spent(place: Place, saver: Saver, times: int) -> None:
    """Spend on the strong tier what a budget has to give."""
    for _ in range(times):
        place.ask(Way(), saver)


def test_a_budget_that_says_no_is_never_failed_over(place: Place) -> None:
    budgets = [{"name": "b", "calls": 1, "scope": "organisation"}]
    saver = place.saver(Route(CHEAP, STRONG), budgets=budgets)
    place.ask(Way(), saver)
    with pytest.raises(BudgetExceeded) as raised:
        place.ask(Way(), saver, max_retries=2)
    assert isinstance(raised.value, openai.OpenAIError)
    assert not raised.value.downgrade
    assert place.net.asked == [OPENAI]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("on_exceed", ["raise", "downgrade"])
def test_a_budget_near_its_end_prefers_a_cheaper_tier(place: Place, on_exceed: str, asynchronous: bool) -> None:
    """Only where its user allows it, and before the dearer tier's answer is cut to a stump."""
    budgets = [{"name": "b", "usd": "0.0005", "scope": "organisation", "on_exceed": on_exceed}]
    saver = place.saver(route := Route(CHEAP, STRONG), budgets=budgets)
    route.order, route.send = (STRONG,), {"downgrade": (CHEAP,)}
    way = Way("chat", asynchronous)
    assert place.ask(way, saver) == f"{ANTHROPIC} says so"
    if on_exceed == "raise":
        with pytest.raises(BudgetExceeded):
            spent(place, saver, 9)
        assert OPENAI not in place.net.asked
        return
    texts = [place.ask(way, saver) for _ in range(2)]
    assert texts == [f"{OPENAI} says so"] * 2
    assert route.tried[0].why == "the budget 'b' has no room for it"
    (entry, *_) = saver.recent(3)
    assert (entry.model, entry.clamped_to) == ("gpt-5-mini", None)
    assert sum(each.cost_nano or 0 for each in saver.recent(9)) == place.net.billed()
    with pytest.raises(BudgetExceeded) as raised:
        spent(place, saver, 50)
    assert raised.value.downgrade


def test_without_a_cascade_downgrade_is_as_hard_as_raise(place: Place) -> None:
    budgets = [{"name": "b", "calls": 1, "scope": "organisation", "on_exceed": "downgrade"}]
    saver = place.saver(budgets=budgets)
    place.ask(Way(), saver, create={"model": "gpt-5-mini"})
    with pytest.raises(BudgetExceeded) as raised:
        place.ask(Way(), saver, create={"model": "gpt-5-mini"})
    assert raised.value.downgrade


def test_a_refusal_comes_back_where_the_cheaper_tiers_cannot_be_asked(place: Place) -> None:
    budgets = [{"name": "b", "usd": "0.0000001", "scope": "organisation", "on_exceed": "downgrade"}]
    cheap = Tier("gpt-4o-mini", base_url="https://other.example/v1")
    saver = place.saver(route := Route(cheap, STRONG), budgets=budgets)
    route.order, route.send = (STRONG,), {"downgrade": (cheap,)}
    with pytest.raises(BudgetExceeded):
        place.ask(Way(), saver)
    assert [each.why.partition(":")[0] for each in route.tried] == [
        "the budget 'b' has no room for it",
        "no key for other.example",
    ]


def test_what_is_held_is_priced_at_the_place_that_is_asked(place: Place) -> None:
    """A price that is declared for one host's model bounds the attempt there, and only there."""
    budgets = [{"name": "b", "usd": 5, "scope": "organisation"}]
    asked: list[tuple[str, str, str]] = []
    saver = place.saver(Route(STRONG), budgets=budgets)
    inner = saver.prices.upper_bound

    def upper_bound(body: Any, **terms: Any) -> Any:
        bound = inner(body, **terms)
        asked.append((terms["dialect"], urlsplit(terms["host"]).hostname or "", body["model"]))
        assert bound.money_proven
        return bound

    saver.prices.upper_bound = upper_bound  # type: ignore[method-assign]
    place.ask(Way(), saver)
    assert asked == [("messages", ANTHROPIC, "claude-haiku-4-5")]


def test_what_is_set_aside_for_each_attempt_is_settled(place: Place, every_way: Way) -> None:
    budgets = [{"name": "b", "usd": 5, "scope": "organisation"}]
    home, tiers = (OPENAI, (CHEAP, STRONG)) if every_way.surface == "chat" else (ANTHROPIC, (STRONG, CHEAP))
    faults(place.net.fakes[home], Fault(500))
    saver = place.saver(Route(*tiers), budgets=budgets)
    place.ask(every_way, saver)
    (entry,) = saver.recent(1)
    assert saver.ledger is not None
    saver.ledger.drain(60)
    with saver.ledger.open().reader() as reader:
        assert reader.holds() == []
        (budget,) = reader.budgets(time.time())
        (row,) = reader.calls(limit=10)
    assert budget["spent_nano"] == row["cost_nano"] == entry.cost_nano == place.net.billed() > 0


# --- bugs and cancellation


def test_what_is_prepared_is_what_leaves(place: Place) -> None:
    def prepare(request: Request, tier: Tier) -> Request:
        assert request.model == tier.model
        return request.with_body(temperature=0.25)

    saver = place.saver(route := Route(STRONG, send={"prepare": prepare}))
    place.ask(Way(), saver)
    assert place.net.fakes[ANTHROPIC].requests[0].json["temperature"] == 0.25
    assert route.sent[0].request.body["temperature"] == 0.25


@pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError(), ConfigurationError("no")])
def test_what_is_no_failure_of_a_tier_passes(place: Place, error: BaseException) -> None:
    clock = Clock()
    failover = Failover(Reach([CHEAP], environ={}), [CHEAP], failures=1, clock=clock)

    async def breaks(_: Request) -> Response:
        raise error

    async def observe(request: Request, call_next: CallNext) -> Response:
        with pytest.raises(type(error)):
            await failover.send(request, [CHEAP], breaks)
        assert failover.standing(CHEAP) is None
        return await call_next(request.replace(model="gpt-5-mini"))

    place.ask(Way(), place.saver(observe))
    assert place.net.asked == [OPENAI]


async def test_an_answer_that_somebody_has_read_is_not_awaited() -> None:
    """And a tier that is named twice is asked once."""
    failover = Failover(Reach([CHEAP], environ={}), [CHEAP])
    events = b'data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    asked: list[Request] = []

    async def answers(request: Request) -> Response:
        asked.append(request)
        return Response(500 if len(asked) == 1 else 200, {"content-type": "text/event-stream"}, content=events)

    request = Request(
        dialect="chat",
        body={"model": "auto", "messages": HI, "stream": True},
        url=f"https://{OPENAI}/v1/chat/completions",
        entry=Entry(dialect="chat", model_asked="auto"),
        runtime=AsyncRuntime(),
    )
    other = Tier("gpt-4o-mini")
    sent = await failover.send(request, [CHEAP, CHEAP, other], answers)
    assert (sent.tier, sent.response.content, len(asked)) == (other, events, 2)
