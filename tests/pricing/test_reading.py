"""Shapes of usage that the golden file leaves out."""

from typing import Any

import pytest

from llmsaver.pricing import Billed, Cost, PriceBook
from llmsaver.pricing.reading import read_openai


def chat(book: PriceBook, model: str, **usage: Any) -> Cost:
    return book.cost(Billed("chat", model, {"prompt_tokens": 100, "completion_tokens": 0, **usage}, host="openai"))


def test_cached_audio_may_be_either(book: PriceBook) -> None:
    cost = chat(book, "gpt-audio", prompt_tokens_details={"cached_tokens": 60, "audio_tokens": 70})
    assert "usage:audio_tokens" in cost.flags
    assert cost.low_nano < cost.nano_usd <= cost.high_nano
    assert sum(line.units for line in cost.lines) == 100


def test_images_have_a_rate_of_their_own_where_there_is_one(book: PriceBook) -> None:
    cost = chat(book, "gpt-image-1", prompt_tokens_details={"image_tokens": 90})
    assert cost.nano_usd == 10 * 5000 + 90 * 10_000
    assert chat(book, "gpt-image-1", prompt_tokens_details={"image_tokens": 900}).nano_usd == 100 * 10_000


@pytest.mark.parametrize("total", [True, 1.5, "12", [], -1, 10**15])
def test_what_cannot_be_a_count_is_unknown(total: Any) -> None:
    reading = read_openai({"prompt_tokens": total, "completion_tokens": total}, ("prompt", "completion"))
    assert reading.unknown == "input output"
    assert reading.flags == ["usage:prompt_tokens", "usage:completion_tokens"]


def test_a_lifetime_nobody_knows_is_flagged(book: PriceBook) -> None:
    split = {"ttl_30m_tokens": 5, "ttl_12h_tokens": 0, "ttl_7d_tokens": 9}
    details = {"cached_tokens": 0, "cache_write_tokens": 5, "cache_write_tokens_details": split}
    cost = book.cost(
        Billed(
            "responses",
            "gpt-6-luna",
            {"input_tokens": 9, "output_tokens": 1, "input_tokens_details": details},
            host="openai",
        )
    )
    assert cost.flags == ("field:ttl_7d_tokens",)


def test_embeddings_with_a_field_of_their_own(book: PriceBook) -> None:
    usage = {"prompt_tokens": 10, "total_tokens": 10, "image_pixels": 4}
    assert book.cost(Billed("embeddings", "text-embedding-3-small", usage, host="openai")).flags == (
        "field:image_pixels",
    )


def test_a_fallback_credit_is_flagged(book: PriceBook) -> None:
    usage = {"input_tokens": 10, "output_tokens": 1, "fallback_credit": {"status": {"type": "redeemed"}}}
    assert book.cost(Billed("messages", "claude-opus-5", usage, host="anthropic")).flags == ("fallback_credit",)


def test_iterations_that_are_no_list_are_flagged(book: PriceBook) -> None:
    usage = {"input_tokens": 10, "output_tokens": 1, "iterations": "many"}
    assert book.cost(Billed("messages", "claude-opus-5", usage, host="anthropic")).flags == ("usage:iterations",)


def test_a_split_larger_than_its_sum_is_believed_and_flagged(book: PriceBook) -> None:
    split = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0}
    usage = {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 20, "cache_creation": split}
    cost = book.cost(Billed("messages", "claude-opus-5", usage, host="anthropic"))
    assert (cost.nano_usd, cost.flags) == (10 * 5000 + 30 * 6250 + 25_000, ("usage:cache_creation",))
