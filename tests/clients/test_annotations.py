"""Every answer explains itself: headers always, a key in the body where it was asked for, and entries."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import llmsaver
from llmsaver import Request, Response, Saver
from llmsaver.testing import Fault

if TYPE_CHECKING:
    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider

KEYS = {
    "entry",
    "feature",
    "model",
    "tier",
    "upstream",
    "cost_usd",
    "baseline_usd",
    "saved_usd",
    "estimated",
    "layers",
}


async def says(request: Request, call_next: CallNext) -> Response:
    request.entry.act("says", "thought", "about it")
    return await call_next(request)


def test_headers_always_and_the_key_when_asked(way: Any, caller: Any, fake: FakeProvider) -> None:
    caller.saver = Saver(stack=[says])
    told = caller.ask(way, fake)
    assert told.note is None
    assert told.headers["x-llmsaver-model"] == way.model
    told = caller.ask(way, fake, annotate=True)
    assert told.text == "one two three four five six"
    assert set(told.note) == KEYS
    assert told.note["entry"] == told.headers["x-llmsaver-entry"]
    assert told.note["layers"] == [{"name": "says", "action": "thought", "why": "about it"}]
    assert told.note["model"] == way.model
    assert caller.saver.entry(told.note["entry"]).complete
    assert caller.saver.entry("unknown") is None


def test_the_key_is_asked_for_per_call(way: Any, caller: Any, fake: FakeProvider) -> None:
    caller.saver = Saver()
    on, off = ({"extra_body": {"llmsaver": {"annotate": wish}}} for wish in (True, False))
    assert caller.ask(way, fake, create=on).note
    assert caller.ask(way, fake, create=off, annotate=True).note is None
    header = {"extra_headers": {"X-LLMSaver-Annotate": "on"}}
    assert caller.ask(way, fake, create=header).note
    with llmsaver.options(annotate=True):
        assert caller.ask(way, fake).note
    caller.saver = Saver(annotate=True)
    assert caller.ask(way, fake).note
    assert caller.ask(way, fake, annotate=False).note is None


def test_a_layers_own_answer_explains_itself(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def answers(_request: Request, _call_next: CallNext) -> Response:
        return Response.of(way.answer("mine, with a lone \ud800"))

    caller.saver = Saver(stack=[answers])
    told = caller.ask(way, fake, annotate=True)
    assert told.text.startswith("mine, with a lone")
    assert told.note["layers"] == [{"name": "answers", "action": "answered", "why": "without an upstream call"}]
    assert told.note["upstream"] is None


def test_errors_are_not_annotated(way: Any, caller: Any, fake: FakeProvider) -> None:
    fake.script([Fault(400)])
    caller.saver = Saver()
    with pytest.raises(Exception, match="400") as raised:
        caller.ask(way, fake, annotate=True)
    error: Any = raised.value
    assert "llmsaver" not in error.response.text
    assert error.response.headers["x-llmsaver-entry"]


def test_options_nest_and_keep_to_their_thread_and_task(way: Any, caller: Any, fake: FakeProvider) -> None:
    seen: dict[str, Any] = {}

    async def looks(request: Request, call_next: CallNext) -> Response:
        seen[way.prompt_of(request.body)] = (request.feature, request.tenant, dict(request.options.tags))
        return await call_next(request)

    caller.saver = Saver(stack=[looks], feature="app")
    with llmsaver.options(feature="outer", tenant="acme", tags={"a": "1"}):
        with llmsaver.options(feature="inner", tags={"b": "2"}):
            caller.ask(way, fake, prompt="inner")
        caller.ask(way, fake, prompt="outer")
        thread = threading.Thread(target=caller.ask, args=(way, fake), kwargs={"prompt": "thread"})
        thread.start()
        thread.join()
        mine = {"extra_body": {"llmsaver": {"feature": "call", "tags": {"a": "9"}}}}
        caller.ask(way, fake, prompt="call", create=mine)
    caller.ask(way, fake, prompt="after")
    assert seen == {
        "inner": ("inner", "acme", {"a": "1", "b": "2"}),
        "outer": ("outer", "acme", {"a": "1"}),
        "thread": ("app", None, {}),
        "call": ("call", "acme", {"a": "9"}),
        "after": ("app", None, {}),
    }


def test_the_last_entry_is_this_threads(caller: Any, way_of: Any, fake: FakeProvider) -> None:
    way = way_of("chat", False, False)
    caller.saver = Saver()
    caller.ask(way, fake, prompt="main")
    mine, others = caller.saver.last, []

    def work() -> None:
        others.append(caller.saver.last)
        caller.ask(way, fake, prompt="thread")
        others.append(caller.saver.last)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert others[0] is None
    assert others[1] is not mine
    assert caller.saver.last is mine


async def test_the_last_entry_is_this_tasks(caller: Any, way_of: Any, fake: FakeProvider) -> None:
    way = way_of("messages", True, True)
    caller.saver = Saver()
    fake.delivery = type(fake.delivery)(pause=0.001)

    async def work(number: int) -> Any:
        with llmsaver.options(feature=f"f{number}"):
            told = await caller.aask(way, fake, way.arguments())
        assert caller.saver.last.id == told.headers["x-llmsaver-entry"]
        return caller.saver.last

    entries = await asyncio.gather(*(work(number) for number in range(16)))
    assert len({entry.id for entry in entries}) == 16
    assert [entry.feature for entry in entries] == [f"f{number}" for number in range(16)]
    assert caller.saver.last is None


@pytest.mark.parametrize("model", ["gpt\r\nx-evil: 1", "ünïcode", "\x00", "m" * 10_000, "\ud800"])
def test_a_models_name_may_be_anything(caller: Any, way_of: Any, fake: FakeProvider, model: str) -> None:
    async def renames(request: Request, call_next: CallNext) -> Response:
        return await call_next(request.replace(model=model))

    renames.__name__ = "a\nb"
    caller.saver = Saver(stack=[renames])
    told = caller.ask(way_of("chat", False, False), fake)
    assert "\n" not in told.headers["x-llmsaver-model"] + told.headers["x-llmsaver-layers"]
    assert "x-evil" not in told.headers
    assert told.headers["x-llmsaver-layers"] == "a b=changed"


def test_embeddings_go_through_the_stack_too(fake: FakeProvider) -> None:
    import httpx2

    async def doubles(request: Request, call_next: CallNext) -> Response:
        assert request.dialect == "embeddings"
        return await call_next(request.with_body(input=["a", "b"]))

    async def answers(_request: Request, _call_next: CallNext) -> Response:
        row = {"object": "embedding", "index": 0, "embedding": [1.0, 2.0]}
        return Response.of(
            {"object": "list", "model": "m", "data": [row], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
        )

    saver = Saver(stack=[doubles])
    http = httpx2.Client(transport=fake.transport())
    client = llmsaver.OpenAI(api_key="k", saver=saver, http_client=http, annotate=True)
    got: Any = client.embeddings.create(model="text-embedding-3-small", input="a")
    assert len(got.data) == 2
    assert got.llmsaver["layers"] == [{"name": "doubles", "action": "changed", "why": "input"}]
    assert saver.last is not None
    assert saver.last.usage is not None
    assert saver.last.usage.input_tokens == fake.billed[0].input_tokens
    own: Any = client.with_options(saver=Saver(stack=[answers])).embeddings.create(model="m", input="a")
    assert own.data[0].embedding == [1.0, 2.0]
