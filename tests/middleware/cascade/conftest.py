"""A cascade of two or three models at a provider whose answers a test sets by model."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from llmsaver import Cascade
from llmsaver.testing import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import Saver
    from llmsaver.core.entry import Entry

CHEAP = {"chat": "gpt-4o-mini", "responses": "gpt-4o-mini", "messages": "claude-haiku-4-5"}
STRONG = {"chat": "gpt-5-mini", "responses": "gpt-5-mini", "messages": "claude-opus-4-5"}
SURE, UNSURE = (-0.0001,) * 60, (-3.0,) * 60
GOOD = "The capital of France is Paris, which lies on the Seine."
BAD = "It could be Lyon or it could be Marseille, I think so."
BEST = "It is Paris, on the Seine in the north of the country."
QUESTION = "What is the capital of France?"


def said(way: Any, result: Any) -> str:
    """Return the text of an answer, or of the events of one."""
    if not isinstance(result, list):
        if way.dialect == "chat":
            return str(result.choices[0].message.content)
        return str(result.output_text) if way.dialect == "responses" else str(result.content[0].text)
    texts = []
    for event in result:
        if way.dialect == "chat":
            texts += [choice.delta.content or "" for choice in event.choices]
        elif way.dialect == "responses":
            texts += [event.delta] if event.type == "response.output_text.delta" else []
        elif event.type == "content_block_delta":
            texts.append(event.delta.text)
    return "".join(texts)


@dataclass
class Desk:
    """One way to call, and what each model answers: ``says`` by model, in order, the last one for ever."""

    shop: Any
    way: Any
    says: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    result: Any = None

    def __post_init__(self) -> None:
        self.shop.fake.answer = self._answer
        self.says = {self.cheap: [self.sure()], self.strong: [BEST]}

    @property
    def cheap(self) -> str:
        """The cheaper model."""
        return CHEAP[self.way.dialect]

    @property
    def strong(self) -> str:
        """The better model."""
        return STRONG[self.way.dialect]

    def sure(self, text: str = GOOD) -> Answer:
        """Return an answer whose tokens are likely, where its dialect can say so; elsewhere two samples agree."""
        return Answer(text, logprobs=None if self.way.dialect == "messages" else SURE)

    def unsure(self, text: str = BAD) -> Answer:
        """Return an answer whose tokens are not."""
        return Answer(text, logprobs=None if self.way.dialect == "messages" else UNSURE)

    def is_unsure(self) -> None:
        """Let the cheaper model be unsure from now on."""
        self.says[self.cheap] = [self.unsure(), self.unsure("No, the capital is Toulouse, in the south of it.")] * 50

    def cascade(self, **options: Any) -> Cascade:
        """Make a cascade that does nothing in the background."""
        return Cascade([self.cheap, self.strong], **{"audit": 0, "explore": 0, "seed": 1, **options})

    def saver(self, cascade: Cascade | None = None, **options: Any) -> Saver:
        """Make a Saver with it."""
        made: Saver = self.shop.saver(stack=[..., self.cascade(**options) if cascade is None else cascade])
        return made

    def ask(self, saver: Saver, prompt: str = QUESTION, *, options: Any = None, **create: Any) -> str:
        """Make one call and return what was answered."""
        way = self.way
        arguments = {**way.arguments(prompt), "model": "auto", **({"stream": True} if way.stream else {}), **create}
        client: Any = self.shop.client(way, saver, **(options or {}))
        if way.asynchronous:

            async def go() -> Any:
                async with client:
                    result = await self.shop.resource(way, client).create(**arguments)
                    result = [event async for event in result] if way.stream else result
                    await asyncio.to_thread(saver.background.drain, 60)
                    return result

            self.result = asyncio.run(go())
        else:
            with client:
                result = self.shop.resource(way, client).create(**arguments)
                self.result = list(result) if way.stream else result
                saver.background.drain(60)  # which sends through this client
        return said(way, self.result)

    def entry(self, saver: Saver) -> Entry:
        """Return the caller's latest call: not one of the background's."""
        return next(entry for entry in saver.recent(20) if entry.feature != "quality")

    def models(self) -> list[str]:
        """Return the models that the provider was asked for, in order."""
        return [received.json["model"] for received in self.shop.fake.requests]

    def _answer(self, received: Any) -> Any:
        said_ = self.says[received.json["model"]]
        answer = said_.pop(0) if len(said_) > 1 else said_[0]
        return answer(received) if callable(answer) else answer


class Held:
    """Stands before a provider: a model's calls leave, and its answers arrive, once something has happened.

    ``before`` and ``after`` say what, by model; ``asked`` tells which models the provider has answered.
    """

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self.before: dict[str, threading.Event] = {}
        self.after: dict[str, threading.Event] = {}
        self.asked: dict[str, threading.Event] = defaultdict(threading.Event)

    def sync(self) -> httpx2.BaseTransport:
        """Return a transport for synchronous clients."""
        held, inner = self, self.fake.transport()

        class Transport(httpx2.BaseTransport):
            def handle_request(self, request: httpx2.Request) -> httpx2.Response:
                model = json.loads(request.content)["model"]
                if model in held.before:
                    assert held.before[model].wait(60)
                answer: httpx2.Response = inner.handle_request(request)
                held.asked[model].set()
                if model in held.after:
                    assert held.after[model].wait(60)
                return answer

        return Transport()

    def asynchronous(self) -> httpx2.AsyncBaseTransport:
        """Return a transport for asynchronous clients."""
        held, inner = self, self.fake.async_transport()

        async def wait(event: threading.Event | None) -> None:
            while event is not None and not event.is_set():  # noqa: ASYNC110 - a thread may set it
                await asyncio.sleep(0.002)

        class Transport(httpx2.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                model = json.loads(request.content)["model"]
                await wait(held.before.get(model))
                answer: httpx2.Response = await inner.handle_async_request(request)
                held.asked[model].set()
                await wait(held.after.get(model))
                return answer

        return Transport()


@pytest.fixture
def held(shop: Any) -> Callable[[Desk], tuple[Held, dict[str, Any]]]:
    """Return a function that puts something before a desk's provider, and how to ask through it."""

    def make(desk: Desk) -> tuple[Held, dict[str, Any]]:
        made = Held(shop.fake)
        return made, {"transport": made.asynchronous() if desk.way.asynchronous else made.sync()}

    return make


@pytest.fixture
def reach() -> Callable[[Callable[[], object]], None]:
    """Return a function that waits until something holds."""

    def wait(holds: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, "it never came about"
            time.sleep(0.005)

    return wait


@pytest.fixture
def desk(shop: Any, way: Any) -> Desk:
    """One of the twelve ways."""
    return Desk(shop, way)


@pytest.fixture
def plain(shop: Any, way_of: Any) -> Desk:
    """Chat, synchronous and whole."""
    return Desk(shop, way_of("chat"))


@pytest.fixture
def streaming(shop: Any, stream_way: Any) -> Desk:
    """One of the six that stream."""
    return Desk(shop, stream_way)


@pytest.fixture
def desk_of(shop: Any) -> Any:
    """Make a desk for one way."""
    return lambda way: Desk(shop, way)
