"""The blocks around a call reach the layers, whichever way the call is made; so does a refusal on its way back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from llmsaver import BudgetExceeded, Request, Response, Saver, budget, feature, options, task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider


@pytest.fixture
def seen(caller: Any, tmp_path: Path) -> Iterator[list[Request]]:
    """Every request that a layer of the caller's Saver sees; its books are its own."""
    requests: list[Request] = []

    async def looks(request: Request, call_next: CallNext) -> Response:
        requests.append(request)
        return await call_next(request)

    with Saver(stack=[looks], feature="fallback", ledger=str(tmp_path / "ledger.db")) as caller.saver:
        yield requests


def test_a_call_knows_its_path_its_budgets_and_its_task(
    way: Any, caller: Any, fake: FakeProvider, seen: list[Request]
) -> None:
    with feature("a", user="u"), budget("b", usd=1) as outer, budget("c", calls=5) as inner, task("t") as work:
        caller.ask(way, fake)
    entry, given = seen[0].entry, seen[0].options
    assert (entry.path, entry.feature, entry.user, entry.task) == (("a", "b", "c"), "c", "u", "t")
    assert (given.rules, given.work) == ((outer.rule, inner.rule), work)


def test_a_call_outside_any_block_is_booked_under_the_default(
    way: Any, caller: Any, fake: FakeProvider, seen: list[Request]
) -> None:
    caller.ask(way, fake)
    assert (seen[0].entry.path, seen[0].entry.feature, seen[0].options.rules) == (("fallback",), "fallback", ())


def test_a_feature_named_with_the_call_is_innermost(
    way: Any, caller: Any, fake: FakeProvider, seen: list[Request]
) -> None:
    with feature("a"), options(feature="b"), budget("c", usd=1):
        create = {"extra_headers": {"X-LLMSaver-Feature": "d"}, "extra_body": {"llmsaver": {"feature": "e"}}}
        caller.ask(way, fake, create=create)
    assert (seen[0].entry.path, seen[0].entry.feature) == (("a", "b", "c", "d", "e"), "e")
    assert [rule.name for rule in seen[0].options.rules] == ["c"]


def test_fifty_tasks_of_one_decorated_function(
    way_of: Any, caller: Any, fake: FakeProvider, seen: list[Request]
) -> None:
    way = way_of("chat", stream=True, asynchronous=True)

    async def every() -> None:
        async with caller.client(way, fake.async_transport()) as client:

            @budget("shared", usd=1)
            async def answer() -> AsyncIterator[str]:
                stream = await client.chat.completions.create(**way.arguments("hi"), stream=True)
                async for chunk in stream:
                    yield chunk.id

            async def one(i: int) -> None:
                with feature(f"f{i}"):
                    assert [part async for part in answer()]

            await asyncio.gather(*(one(i) for i in range(50)))

    asyncio.run(every())
    assert sorted(request.entry.path for request in seen) == sorted((f"f{i}", "shared") for i in range(50))
    assert all([rule.name for rule in request.options.rules] == ["shared"] for request in seen)


def test_a_refusal_belongs_to_both_families_and_is_not_tried_again(way: Any, caller: Any, fake: FakeProvider) -> None:
    resets_at = datetime(2026, 11, 22, tzinfo=UTC)

    async def refuses(_request: Request, _call_next: CallNext) -> Response:
        raise BudgetExceeded("b", limit=5 * 10**9, spent=5 * 10**9, asked=1, per="day", resets_at=resets_at)

    caller.saver = Saver(stack=[refuses])
    family = anthropic.AnthropicError if way.dialect == "messages" else openai.OpenAIError
    with pytest.raises(family) as caught:
        caller.ask(way, fake, max_retries=3)
    error = caught.value
    assert isinstance(error, BudgetExceeded)
    assert (error.budget, error.spent_usd, error.resets_at) == ("b", Decimal(5), resets_at)
    assert str(error).startswith("Budget 'b' allows $5.00 per day: $5.00 is spent")
    assert fake.calls == 0
