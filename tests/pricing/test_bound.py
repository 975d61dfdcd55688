"""Bounds hold for everything a request can turn into."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.pricing import Billed, PriceBook
from llmsaver.pricing.sheet import Table

TEXTS = st.text(max_size=400)
CHAT_MODELS = ["gpt-4o", "gpt-5-mini", "gpt-5.4", "gpt-6-luna", "gpt-6.1-terra", "gpt-4o-2024-05-13"]
CLAUDES = ["claude-opus-4-8", "claude-haiku-5-5", "claude-sonnet-4-5", "claude-fable-5-2"]
OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"


@pytest.fixture(scope="module")
def frozen(listed: Table) -> PriceBook:
    return PriceBook(table=listed)


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hello"}], **more}


def test_the_arithmetic(book: PriceBook) -> None:
    bound = book.upper_bound(asked(max_completion_tokens=500, n=3), dialect="chat", host=OPENAI)
    assert bound.proven
    assert bound.output_tokens == 1500
    assert bound.tokens == bound.input_tokens + 1500
    assert bound.input_nano == bound.input_tokens * 250
    assert bound.nano_usd == bound.input_nano + 1500 * 2000


def test_without_a_limit_the_models_own_holds(book: PriceBook) -> None:
    assert book.upper_bound(asked(), dialect="chat", host=OPENAI).output_tokens == 128_000
    local = PriceBook({"house-blend": {"input": 0, "output": 0}})
    body = asked(model="house-blend")
    assert local.upper_bound(body, dialect="chat", host="http://localhost:1").unbounded == ("no-max-tokens",)
    assert local.upper_bound({**body, "max_tokens": 9}, dialect="chat", host="http://localhost:1").proven


@pytest.mark.parametrize(
    ("body", "host", "reason"),
    [
        ({"model": "gpt-99"}, OPENAI, "unpriced:gpt-99"),
        ({"model": None}, OPENAI, "unpriced:model"),
        ({}, "https://llm.example.com", "assumed-provider:openai"),
        ({"service_tier": "warp"}, OPENAI, "tier:warp"),
        ({"tools": [{"type": "web_search"}]}, OPENAI, "server-tool:web_search"),
        ({"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "x"}}]}]}, OPENAI, None),
    ],
)
def test_reasons(book: PriceBook, body: dict[str, Any], host: str, reason: str | None) -> None:
    bound = book.upper_bound(asked(**body, max_tokens=5), dialect="chat", host=host)
    assert bound.unbounded == ((reason,) if reason else ())
    assert bound.nano_usd > 0
    assert (book.output_room(10**12, asked(**body, max_tokens=5), dialect="chat", host=host) is None) == bool(reason)


def test_a_document_is_bounded_by_the_window_or_not_at_all(listed: Table) -> None:
    content = [{"type": "document", "source": {"type": "base64", "data": "AAAA"}}]
    body = {"model": "claude-opus-5", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
    book = PriceBook({"claude-mine": {"input": 1, "output": 1}}, table=listed)
    assert book.upper_bound(body, dialect="messages", host=ANTHROPIC).input_tokens == 1_000_000
    assert book.upper_bound({**body, "model": "claude-mine"}, dialect="messages", host=ANTHROPIC).unbounded == (
        "document",
    )


def test_the_dearest_terms_a_request_allows_count(listed: Table) -> None:
    book = PriceBook(table=listed)

    def nano(host: str = OPENAI, dialect: str = "chat", route: str = "", **more: Any) -> int:
        return book.upper_bound(asked(max_tokens=100, **more), dialect=dialect, host=host, route=route).nano_usd

    assert nano(service_tier="flex") == nano() == nano(service_tier="default")
    assert nano(service_tier="priority") > nano()
    assert nano(route="batch") == nano() // 2
    rushed = PriceBook(table=listed, project_tier="priority")
    assert rushed.upper_bound(asked(max_tokens=100), dialect="chat", host=OPENAI).nano_usd == nano(
        service_tier="priority"
    )
    claude: dict[str, Any] = {"model": "claude-opus-5", "host": ANTHROPIC, "dialect": "messages"}
    assert nano(**claude) > nano(**claude, inference_geo="global")
    assert nano(**claude, speed="fast") > nano(**claude)
    assert nano(**claude, cache_control={"type": "ephemeral", "ttl": "1h"}) > nano(**claude)
    spoken = nano(model="gpt-audio", modalities=["text", "audio"])
    assert spoken > nano(model="gpt-audio")
    heard = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A" * 400}}]}]
    assert nano(model="gpt-audio", messages=heard) > 300 * 32_000
    assert book.upper_bound(asked(max_tokens=1, messages=heard), dialect="chat", host=OPENAI).unbounded == (
        "unpriced:audio_in",
    )


def test_a_prediction_can_be_rejected_in_full(book: PriceBook) -> None:
    body = asked(max_tokens=100)
    more = {**body, "prediction": {"type": "content", "content": "x" * 50}}
    parts = {**body, "prediction": {"type": "content", "content": [{"type": "text", "text": "x" * 50}, 7]}}
    plain = book.upper_bound(body, dialect="chat", host=OPENAI)
    for predicted in (more, parts):
        assert book.upper_bound(predicted, dialect="chat", host=OPENAI).output_tokens == plain.output_tokens + 50


def test_embeddings_have_no_output(book: PriceBook) -> None:
    body = {"model": "text-embedding-3-small", "input": ["abc"] * 10}
    bound = book.upper_bound(body, dialect="embeddings", host=OPENAI)
    assert bound.proven
    assert bound.output_tokens == 0
    assert bound.nano_usd == bound.input_nano


@st.composite
def chats(draw: st.DrawFn) -> tuple[dict[str, Any], Billed]:
    """Draw a request and an answer it can get: any split of the input, any tier it allows, all the output it allows."""
    text, cap, n = draw(TEXTS), draw(st.integers(1, 5000)), draw(st.integers(1, 3))
    repeat = draw(st.sampled_from([1, 1, 700_000 // max(len(text.encode("utf-8", "replace")), 1)]))
    tier = draw(st.sampled_from([None, "auto", "default", "flex", "priority"]))
    body = asked(model=draw(st.sampled_from(CHAT_MODELS)), max_completion_tokens=cap, n=n)
    body["messages"] = [{"role": "user", "content": text * repeat}]
    if tier:
        body["service_tier"] = tier
    prompt = draw(st.integers(1, len((text * repeat).encode("utf-8", "surrogatepass")) + 8))
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": draw(st.integers(0, cap * n)),
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
    }
    served = draw(st.sampled_from(["default", tier if tier not in (None, "auto") else "default"]))
    return body, Billed("chat", body["model"], usage, host=OPENAI, service_tier=served)


@st.composite
def claudes(draw: st.DrawFn) -> tuple[dict[str, Any], Billed]:
    text, cap = draw(TEXTS), draw(st.integers(1, 5000))
    repeat = draw(st.sampled_from([1, 1, 700_000 // max(len(text.encode("utf-8", "replace")), 1)]))
    lifetime = draw(st.sampled_from([None, "5m", "1h"]))
    block: dict[str, Any] = {"type": "text", "text": text * repeat}
    if lifetime:
        block["cache_control"] = {"type": "ephemeral", "ttl": lifetime}
    body: dict[str, Any] = {
        "model": draw(st.sampled_from(CLAUDES)),
        "max_tokens": cap,
        "messages": [{"role": "user", "content": [block]}],
    }
    if fast := draw(st.booleans()):
        body["speed"] = "fast"
    total = draw(st.integers(1, len((text * repeat).encode("utf-8", "surrogatepass")) + 8))
    read = draw(st.integers(0, total)) if lifetime else 0
    written = draw(st.integers(0, total - read)) if lifetime else 0
    short = draw(st.integers(0, written)) if lifetime == "1h" else written
    usage = {
        "input_tokens": total - read - written,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": written - short},
        "output_tokens": draw(st.integers(0, cap)),
        "speed": "fast" if fast else "standard",
        "inference_geo": draw(st.sampled_from(["us", "global"])),
    }
    return body, Billed("messages", body["model"], usage, host=ANTHROPIC)


@given(case=st.one_of(chats(), claudes()))
@settings(deadline=None, max_examples=300)
def test_no_answer_costs_more_than_its_bound(case: tuple[dict[str, Any], Billed], frozen: PriceBook) -> None:
    body, billed = case
    bound = frozen.upper_bound(body, dialect=billed.dialect, host=billed.host)
    assert bound.proven or bound.unbounded == ("speed:fast",)
    cost = frozen.cost(billed)
    if not any(flag.startswith("usage:") for flag in cost.flags):
        assert cost.nano_usd <= cost.high_nano <= bound.nano_usd


@given(case=st.one_of(chats(), claudes()), remaining=st.integers(0, 10**9))
@settings(deadline=None, max_examples=300)
def test_room_is_the_most_that_fits(case: tuple[dict[str, Any], Billed], remaining: int, frozen: PriceBook) -> None:
    body, billed = case
    name = "max_tokens" if billed.dialect == "messages" else "max_completion_tokens"
    room = frozen.output_room(remaining, body, dialect=billed.dialect, host=billed.host)
    if room is None:
        assert not frozen.upper_bound(body, dialect=billed.dialect, host=billed.host).proven
        return

    def nano(limit: int) -> int:
        return frozen.upper_bound({**body, name: limit}, dialect=billed.dialect, host=billed.host).nano_usd

    assert 0 <= room <= body[name]
    assert room == 0 or nano(room) <= remaining
    assert room == body[name] or nano(room + 1) > remaining


def test_room_where_output_is_free() -> None:
    local = PriceBook({"house-blend": {"input": 0, "output": 0, "context_window": 2048}})
    body = asked(model="house-blend")
    assert local.output_room(0, {**body, "max_tokens": 77}, dialect="chat", host="http://localhost:1") == 77
    assert local.output_room(0, body, dialect="chat", host="http://localhost:1") == 2048
    assert local.upper_bound(body, dialect="chat", host="http://localhost:1").output_tokens == 2048


def test_the_url_may_name_the_model(book: PriceBook) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    azure = "https://acme.openai.azure.com"
    assert book.upper_bound(body, dialect="chat", host=azure).unbounded == ("unpriced:model",)
    bound = book.upper_bound(body, dialect="chat", host=azure, model="o4-mini")
    assert bound.proven
    # The table has Global rates; a regional deployment may cost a tenth more.
    assert bound.input_nano == -(-bound.input_tokens * 1_100 * 11 // 10)
    assert book.output_room(10**9, body, dialect="chat", host=azure, model="o4-mini") == 5
