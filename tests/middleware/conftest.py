"""Twelve ways to make a call through a Saver with books of its own, over a provider that keeps its own too."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import llmsaver
from llmsaver import Saver
from llmsaver.core.entry import current_entry, latest_attempt
from llmsaver.core.orphans import orphans
from llmsaver.ledger.schema import LAPSED
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmsaver.core.entry import Entry
    from llmsaver.testing import Bill

MODELS = {"chat": "gpt-5-mini", "responses": "gpt-5-mini", "messages": "claude-haiku-4-5"}
# Nano-dollars per token, from the vendors' pages: input and output.
RATES = {"gpt-5-mini": (250, 2_000), "gpt-4o-mini": (150, 600), "claude-haiku-4-5": (1_000, 5_000)}
CAPS = {"chat": "max_completion_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}


@dataclass(frozen=True)
class Way:
    """How a call is made."""

    dialect: str
    asynchronous: bool = False
    stream: bool = False

    def arguments(self, prompt: str = "hi", most: int | None = 50, **more: Any) -> dict[str, Any]:
        """Return what a user writes for one question in this dialect, of at most so many output tokens."""
        asked = (
            {"input": prompt} if self.dialect == "responses" else {"messages": [{"role": "user", "content": prompt}]}
        )
        caps = {} if most is None else {CAPS[self.dialect]: most}
        return {"model": MODELS[self.dialect], **asked, **caps, **more}


WAYS = [
    pytest.param(Way(dialect, asynchronous, stream), id=f"{dialect}-{'async' if asynchronous else 'sync'}-{how}")
    for dialect in MODELS
    for asynchronous in (False, True)
    for stream, how in ((False, "whole"), (True, "stream"))
]


@dataclass
class Shop:
    """A provider, a ledger file, and the Savers and clients of one test; no hold may be left when it is closed."""

    path: Path
    fake: FakeProvider = field(default_factory=lambda: FakeProvider("one two three four five six"))
    savers: list[Saver] = field(default_factory=list)

    def saver(self, **settings: Any) -> Saver:
        """Open another Saver on the ledger."""
        made = Saver(**{"ledger": str(self.path), **settings})
        self.savers.append(made)
        return made

    @property
    def first(self) -> Saver:
        """The Saver that calls go through where none is named."""
        return self.savers[0] if self.savers else self.saver()

    def client(self, way: Way, saver: Saver | None = None, **options: Any) -> Any:
        """Make a client whose calls reach the provider."""
        wire = options.pop("transport", None) or (
            self.fake.async_transport() if way.asynchronous else self.fake.transport()
        )
        http: Any = (httpx2.AsyncClient if way.asynchronous else httpx2.Client)(transport=wire)
        kinds: tuple[Any, ...] = (llmsaver.OpenAI, llmsaver.AsyncOpenAI, llmsaver.Anthropic, llmsaver.AsyncAnthropic)
        kind = kinds[2 * (way.dialect == "messages") + way.asynchronous]
        return kind(http_client=http, saver=saver or self.first, **{"api_key": "sk-test", "max_retries": 0, **options})

    def resource(self, way: Way, client: Any) -> Any:
        """Return what has the ``create`` of this dialect."""
        if way.dialect == "chat":
            return client.chat.completions
        return client.responses if way.dialect == "responses" else client.messages

    def ask(
        self, way: Way, saver: Saver | None = None, *, create: Any = None, before_closing: Any = None, **options: Any
    ) -> Entry:
        """Make a call, read the answer to its end and return its entry; a synchronous client stays open meanwhile."""
        saver = saver or self.first
        arguments = create or way.arguments()
        if way.asynchronous:

            async def go() -> None:
                async with self.client(way, saver, **options) as client:
                    await self.aconsume(way, client, arguments)

            asyncio.run(go())
        else:
            with self.client(way, saver, **options) as client:
                self.consume(way, client, arguments)
                if before_closing is not None:
                    before_closing()
        return saver.recent(1)[0]

    def consume(self, way: Way, client: Any, arguments: Any, limit: int | None = None) -> None:
        """Read an answer, or so many of its events before it is closed."""
        answer = self.resource(way, client).create(**arguments, **({"stream": True} if way.stream else {}))
        if way.stream:
            with answer:
                for number, _ in enumerate(answer, 1):
                    if number == limit:
                        break

    async def aconsume(self, way: Way, client: Any, arguments: Any, limit: int | None = None) -> None:
        """Do the same on the running loop."""
        answer = await self.resource(way, client).create(**arguments, **({"stream": True} if way.stream else {}))
        if way.stream:
            async with answer:
                number = 0
                async for _ in answer:
                    number += 1
                    if number == limit:
                        break

    def rows(self) -> list[dict[str, Any]]:
        """Return the ledger's calls, latest first, all that was submitted written."""
        orphans.drain(60)
        for saver in self.savers:
            assert saver.ledger is not None
            saver.ledger.drain(60)
        with self._reader() as reader:
            return reader.calls(limit=10_000)  # type: ignore[no-any-return]

    def row(self) -> dict[str, Any]:
        """Return the only call there is."""
        (found,) = self.rows()
        return found

    def holds(self) -> list[dict[str, Any]]:
        """Return what is set aside."""
        self.rows()
        with self._reader() as reader:
            return reader.holds()  # type: ignore[no-any-return]

    def budgets(self) -> dict[str, dict[str, Any]]:
        """Return the state of each budget's open window, by name (and key, for those of many pots)."""
        self.rows()
        with self._reader() as reader:
            return {
                each["name"] + (f" {each['key']}" if each["key"] else ""): each for each in reader.budgets(time.time())
            }

    def _reader(self) -> Any:
        ledger = self.first.ledger
        assert ledger is not None
        return ledger.open().reader()

    def billed(self) -> int:
        """Return what the provider charges for everything so far, in nano-dollars, from its own counts."""
        return sum(nano(bill) for bill in self.fake.billed)


def nano(bill: Bill) -> int:
    """Return what one answer without cached or other special tokens costs."""
    rate_in, rate_out = RATES[bill.model]
    return bill.input_tokens * rate_in + bill.output_tokens * rate_out


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """Return a provider and a ledger; when the test is over nothing may be set aside any more."""
    made = Shop(tmp_path / "l.db")
    yield made
    if made.savers:
        try:
            left = [hold for hold in made.holds() if hold["state"] != LAPSED]
        except llmsaver.LLMSaverError:
            left = []  # the test has broken the ledger
        for saver in made.savers:
            saver.close()
        assert left == []


@pytest.fixture
def way_of() -> Callable[..., Way]:
    """Make a way by name, where a test needs one in particular."""
    return Way


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Any:
    """One of the twelve."""
    return request.param


@pytest.fixture(params=[param for param in WAYS if param.values[0].stream])  # type: ignore[union-attr]
def stream_way(request: pytest.FixtureRequest) -> Any:
    """One of the six that stream."""
    return request.param


@pytest.fixture(params=[param for param in WAYS if not param.values[0].stream and not param.values[0].asynchronous])  # type: ignore[union-attr]
def plain_way(request: pytest.FixtureRequest) -> Any:
    """One of the three that are synchronous and whole."""
    return request.param


@pytest.fixture
def ways() -> dict[str, Any]:
    """Return all twelve by what they are called."""
    return {str(param.id): param.values[0] for param in WAYS}


@pytest.fixture
def nano_of() -> Callable[[Any], int]:
    """Return what one plain bill costs."""
    return nano


@pytest.fixture(autouse=True)
def _quick_and_clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wait for no retry, warn of no container, and leave no entry behind in the thread that runs all tests."""
    monkeypatch.setattr("llmsaver.ledger.lodging.own_disk", lambda _: None)
    for sdk in ("openai", "anthropic"):
        monkeypatch.setattr(f"{sdk}._base_client.INITIAL_RETRY_DELAY", 0.001)
        monkeypatch.setattr(f"{sdk}._base_client.MAX_RETRY_DELAY", 0.002)
    yield
    current_entry.set(None)
    latest_attempt.set(None)
