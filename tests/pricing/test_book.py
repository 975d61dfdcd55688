"""Properties of every figure, and nonsense of every kind."""

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.pricing import Billed, Cost, PriceBook
from llmsaver.pricing.sheet import Table
from llmsaver.testing.variants import usage_variants

HOSTS = {"chat": "openai", "responses": "openai", "messages": "anthropic", "embeddings": "openai"}
MODELS = {
    "chat": "gpt-5-mini",
    "responses": "gpt-6-luna",
    "messages": "claude-opus-5",
    "embeddings": "text-embedding-3-small",
}
COUNTS = st.integers(0, 60_000)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**16) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details",
    "input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details", "cached_tokens",
    "cache_write_tokens", "cache_write_tokens_details", "audio_tokens", "reasoning_tokens", "image_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation", "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens", "server_tool_use", "web_search_requests", "iterations", "type", "model",
    "service_tier", "speed", "inference_geo", "fallback_credit", "thinking_tokens",
]  # fmt: skip
DETAILS = st.dictionaries(st.sampled_from(FIELDS), JSON | COUNTS, max_size=4)
NONSENSE = st.dictionaries(st.sampled_from(FIELDS), JSON | DETAILS | st.lists(DETAILS, max_size=2), max_size=8)


def usage_of(dialect: str, parts: tuple[int, int, int, int]) -> dict[str, Any]:
    fresh, read, written, output = parts
    if dialect == "messages":
        split = {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0}
        counts = {"input_tokens": fresh, "cache_read_input_tokens": read, "cache_creation_input_tokens": written}
        return {**counts, "cache_creation": split, "output_tokens": output}
    first, second = ("prompt", "completion") if dialect == "chat" else ("input", "output")
    details = {"cached_tokens": read, "cache_write_tokens": written}
    total = fresh + read + written
    return {f"{first}_tokens": total, f"{first}_tokens_details": details, f"{second}_tokens": output}


@pytest.fixture(scope="module")
def frozen(listed: Table) -> PriceBook:
    return PriceBook(table=listed)


def priced(book: PriceBook, dialect: str, usage: Any, **facts: Any) -> Cost:
    return book.cost(Billed(dialect, MODELS[dialect], usage, host=HOSTS[dialect], **facts))


THREE = st.sampled_from(["chat", "responses", "messages"])
PARTS = st.tuples(st.integers(1, 60_000), COUNTS, COUNTS, COUNTS)


@given(THREE, PARTS, PARTS)
@settings(deadline=None)
def test_costs_add_up(frozen: PriceBook, dialect: str, one: Any, other: Any) -> None:
    both = tuple(a + b for a, b in zip(one, other, strict=True))
    first, second, total = (priced(frozen, dialect, usage_of(dialect, parts)) for parts in (one, other, both))
    assert abs(first.nano_usd + second.nano_usd - total.nano_usd) <= 1
    assert sum(line.nano_usd for line in total.lines) == total.nano_usd
    assert not total.estimated


@given(THREE, PARTS, st.integers(0, 3), st.integers(1, 1000))
@settings(deadline=None)
def test_more_tokens_never_cost_less(frozen: PriceBook, dialect: str, parts: Any, which: int, more: int) -> None:
    grown = tuple(count + (more if index == which else 0) for index, count in enumerate(parts))
    less, longer = (priced(frozen, dialect, usage_of(dialect, counts)).nano_usd for counts in (parts, grown))
    assert 0 < less <= longer


@given(
    st.sampled_from(["chat", "responses", "messages", "embeddings"]),
    NONSENSE | JSON,
    JSON,
    st.dictionaries(st.sampled_from(["web_search", "image_gen", "input_tokens", "x"]), JSON | DETAILS, max_size=3)
    | JSON,
)
@settings(deadline=None, max_examples=500)
def test_nonsense_is_an_estimate_and_never_free(
    frozen: PriceBook, dialect: str, usage: Any, odd: Any, tools: Any
) -> None:
    facts: dict[str, Any] = {"service_tier": odd, "tool_usage": tools, "output": tools, "tools": odd, "asked": odd}
    cost = priced(frozen, dialect, usage, **facts)
    assert cost.nano_usd > 0
    assert 0 <= cost.low_nano <= cost.nano_usd <= cost.high_nano
    assert cost.estimated == (cost.flags != ())
    assert sum(line.nano_usd for line in cost.lines) in (cost.nano_usd, 0)
    assert isinstance(cost.explain(), str)


@pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])
def test_every_variant_of_the_fake_provider_has_a_price(frozen: PriceBook, dialect: str) -> None:
    flagged = {"missing", "negative", "absurd", "audio_in", "audio_out", "cache_write_ttl", "cache_write_unsplit"}
    flagged |= {"ultrafast"} | ({"priority"} if dialect == "messages" else set())
    for name, answer in usage_variants(dialect).items():
        usage = None if answer.usage == "missing" else answer.usage
        told: dict[str, Any] = dict(answer.extra or {})
        cost = frozen.cost(Billed.of(dialect, HOSTS[dialect], {"model": MODELS[dialect], "usage": usage, **told}))
        assert cost.nano_usd > 0
        assert cost.estimated == (name in flagged), (name, cost.flags)


def test_threads_agree(listed: Table) -> None:
    book = PriceBook(table=listed)
    usage = usage_of("chat", (100, 200, 300, 400))
    seen: list[Cost] = []
    threads = [threading.Thread(target=lambda: seen.append(priced(book, "chat", usage))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 16
    assert len(set(seen)) == 1


def test_made_up_names_do_not_fill_the_memory(listed: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.pricing.book._KEPT", 10)
    book = PriceBook(table=listed)
    for number in range(50):
        book.cost(Billed("chat", f"made-up-{number}", {"prompt_tokens": 1, "completion_tokens": 1}, host="openai"))
    assert len(book._cards) <= 10


def test_rates_are_shown_with_their_source(book: PriceBook) -> None:
    rates = book.rates("https://eu.api.openai.com/v1", "GPT-5.4")
    assert rates is not None
    assert (rates.provider, rates.model, rates.source, rates.context_window) == (
        "openai",
        "gpt-5.4",
        "list_prices.json",
        1_050_000,
    )
    assert rates.kinds["input"] == 2_750_000_000
    assert rates.above[0][0] == 272_000
    assert rates.above[0][1]["output"] == 24_750_000_000
    assert "audio_in" not in rates.kinds
    assert rates.kinds["web_search"] == 10 * 10**12
    assert book.as_of.year == 2026


def test_a_name_that_is_no_name(book: PriceBook) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    for model in (None, "", 7, ["x"]):
        cost = book.cost(Billed("chat", model, usage, host="openai"))  # type: ignore[arg-type]  # nonsense
        assert cost.flags == ("unpriced:model",)
        assert not cost.priced
        assert cost.nano_usd > 0
