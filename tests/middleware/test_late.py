"""What comes late, or never: attempts that end after their call, and tasks in which no call is made."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from llmsaver import budget, feature, task
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.testing import FakeProvider


def tasks(shop: Any) -> list[dict[str, Any]]:
    from sqlalchemy import text

    shop.rows()
    with shop.first.ledger.reader() as reader, reader._look() as connection:
        return [dict(row) for row in connection.execute(text("SELECT * FROM tasks ORDER BY id")).mappings()]


def test_a_task_without_any_call_is_in_the_ledger(shop: Any) -> None:
    shop.saver()
    with feature("support", user="u1", tenant="acme"), task("t1") as t:
        t.resolve()
    with task("t2"):
        pass
    first, second = tasks(shop)
    assert (first["id"], first["outcome"], first["feature"]) == ("t1", "resolved", "support")
    assert (first["user"], first["tenant"]) == ("u1", "acme")
    assert (second["id"], second["outcome"], second["feature"]) == ("t2", None, "default")
    with shop.first.ledger.reader() as reader:
        assert {line.name: line.resolved for line in reader.lines("feature")} == {"support": 1}


def test_a_task_is_of_the_feature_of_its_first_call(shop: Any, plain_way: Any) -> None:
    first, second = shop.saver(), shop.saver(ledger=str(shop.path.with_name("other.db")))
    with task("t1") as t:
        with feature("search", user="u2"):
            shop.ask(plain_way, first)
        with feature("mail"):
            shop.ask(plain_way, first)
        t.resolve()
    (found,) = tasks(shop)
    assert (found["feature"], found["user"], found["outcome"]) == ("search", "u2", "resolved")
    with second.ledger.open().reader() as reader:
        assert reader.lines("task") == []  # what a call was made in is told where that call was booked


def test_without_a_saver_nobody_books_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.core.scope._homes", [])
    with task("t1") as t:
        t.resolve()
    assert t.resolved


class Hedge:
    """Sends a call twice, answers with the first once both are out, and lets the other end when it does."""

    name = "hedge"

    def __init__(self, slow: "Slow") -> None:
        self.slow = slow
        self.left: asyncio.Task[Response] | None = None

    async def __call__(self, request: Request, call_next: Callable[[Request], Any]) -> Response:
        async def second() -> Response:
            slow = request.replace(body={**request.body, "user": "slow"})
            response: Response = await call_next(slow)
            await response.read()
            return response

        self.left = asyncio.create_task(second())
        response: Response = await call_next(request)
        await self.slow.billed.wait()
        await response.read()
        return response


class Slow(httpx2.AsyncBaseTransport):
    """Holds back the answer to the calls of the user "slow", whom the provider has billed by then."""

    def __init__(self, fake: FakeProvider) -> None:
        self.inner = fake.async_transport()
        self.billed, self.go = asyncio.Event(), asyncio.Event()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = await self.inner.handle_async_request(request)
        if b'"slow"' in request.content:
            self.billed.set()
            await self.go.wait()
        return response


async def test_an_attempt_that_ends_after_its_call_is_added_to_the_row(shop: Any, way_of: Callable[..., Any]) -> None:
    slow = Slow(shop.fake)
    hedge = Hedge(slow)
    saver = shop.saver(stack=[hedge, ...])
    way = way_of("chat", asynchronous=True)
    async with shop.client(way, saver, transport=slow) as client:
        with budget("b", usd=1):
            await shop.aconsume(way, client, way.arguments())
        (early,) = await asyncio.to_thread(shop.rows)
        assert 2 * early["cost_nano"] == shop.billed()
        assert {attempt["cost_nano"] for attempt in early["attempts"]} == {None, early["cost_nano"]}
        assert hedge.left is not None
        slow.go.set()
        await hedge.left
    row = await asyncio.to_thread(shop.row)
    assert len(shop.fake.billed) == 2
    assert [attempt["status"] for attempt in row["attempts"]] == [200, 200]
    assert (row["cost_nano"], row["estimated"]) == (shop.billed(), False)
    state = (await asyncio.to_thread(shop.budgets))["b"]
    assert (state["spent_nano"], state["held_nano"], state["spent_calls"]) == (shop.billed(), 0, 2)
