"""A Saver and a client over a fake provider, with times so short that nobody waits."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from llmsaver import Client, Saver
from llmsaver.batch import Pace
from llmsaver.pricing import Billed
from llmsaver.testing import BatchTroubles, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from llmsaver.batch import BatchResult

MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5", "flex": "gpt-5-mini", "local": "local/mine"}
QUICK = {"poll_s": 0.001, "poll_most_s": 0.002, "retry_s": 0.001, "retry_most_s": 0.002, "settle_s": 0.02}


@dataclass
class Bench:
    """One ledger, one provider; ``run`` is one program's call of ``saver.batch``."""

    folder: Path
    fake: FakeProvider
    saver: Saver
    client: Client

    def pace(self, **changes: Any) -> Pace:
        """Return times that are over at once."""
        return Pace(**{**QUICK, "refused_s": 0.001, **changes})

    def bodies(self, count: int, via: str = "openai") -> list[dict[str, Any]]:
        """Return plain bodies."""
        ask: dict[str, Any] = {"model": MODELS[via], "max_tokens": 20}
        return [{**ask, "messages": [{"role": "user", "content": f"q{number}"}]} for number in range(count)]

    def run(self, requests: Any, **terms: Any) -> BatchResult:
        """Run a batch."""
        found: BatchResult = self.saver.batch(requests, **{"client": self.client, "pace": self.pace(), **terms})
        return found

    def paid(self) -> int:
        """Return what the provider charged by its own books, in nano-dollars."""
        book = self.saver.prices
        costs = [
            book.cost(
                Billed(
                    bill.dialect,
                    bill.model,
                    bill.usage,
                    host="openai" if bill.dialect != "messages" else "anthropic",
                    route="batch",
                )
            )
            for bill in self.fake.billed
        ]
        return sum(cost.nano_usd for cost in costs)

    def booked(self) -> int:
        """Return what is in the ledger."""
        assert self.saver.ledger is not None
        self.saver.ledger.drain(60)
        with self.saver.ledger.reader() as reader:
            return reader.totals().cost_nano


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Return a function that makes one."""
    with ExitStack() as stack:

        def make(
            answer: Any = None, *, troubles: BatchTroubles | None = None, polls: int = 1, **settings: Any
        ) -> Bench:
            fake = FakeProvider(answer, troubles=troubles, polls=polls)
            saver = stack.enter_context(Saver(ledger=str(tmp_path / "books" / "ledger.db"), **settings))
            http = [httpx2.Client(transport=fake.transport()) for _ in range(2)]
            vendor: dict[str, Any] = {"api_key": "k", "max_retries": 0}
            client = stack.enter_context(
                Client(saver=saver, http_client=http[0], anthropic={**vendor, "http_client": http[1]}, **vendor)
            )
            return Bench(tmp_path, fake, saver, client)

        yield make
