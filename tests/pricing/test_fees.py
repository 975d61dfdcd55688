"""What runs at the provider costs extra, and where nobody says how much, a flag says so."""

from typing import Any

import pytest

from llmsaver.pricing import Billed, PriceBook


def flags(book: PriceBook, usage: dict[str, Any] | None = None, **facts: Any) -> tuple[str, ...]:
    used = usage or {"input_tokens": 1, "output_tokens": 1}
    return book.cost(Billed("responses", "gpt-5-mini", used, host="openai", **facts)).flags


def test_a_shell_at_the_providers_is_billed_by_time(book: PriceBook) -> None:
    call = [{"type": "shell_call", "action": {}}]
    assert flags(book, output=call) == ()
    assert flags(book, output=call, tools=[{"type": "shell", "environment": {"type": "local"}}]) == ()
    hosted = [{"type": "shell", "environment": {"type": "container_auto"}}]
    assert flags(book, output=call, tools=hosted) == ("unpriced:shell",)


@pytest.mark.parametrize("name", ["num_sources_used", "num_search_queries"])
def test_searches_that_chat_servers_bill(book: PriceBook, name: str) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, name: 2}
    told = book.cost(Billed("chat", "gpt-4o", usage, host="openai")).flags
    assert "unpriced:search" in told


def test_a_search_model_has_a_fee_that_chat_does_not_report(book: PriceBook) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    told = book.cost(Billed("chat", "gpt-4o-search-preview", usage, host="openai")).flags
    assert told[-1] == "unpriced:web_search_preview"


def test_an_image_model_that_is_told_beside_other_tools(book: PriceBook) -> None:
    tools = [{"type": "function"}, 7, {"type": "image_generation", "model": "gpt-image-1"}]
    drawn = {"image_gen": {"input_tokens": 10, "output_tokens": 5, "cached_tokens_details": {"cached_text_tokens": 4}}}
    cost = book.cost(
        Billed(
            "responses",
            "gpt-5-mini",
            {"input_tokens": 1, "output_tokens": 1},
            host="openai",
            tools=tools,
            tool_usage=drawn,
        )
    )
    assert cost.flags == ()
    assert cost.nano_usd == 250 + 2000 + 6 * 5000 + 4 * 1250 + 5 * 40_000
