"""Answers that were cut short cost what can be proven of them, and never nothing."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsaver.pricing import Billed, PriceBook
from llmsaver.pricing.estimate import visible_bytes
from llmsaver.pricing.sheet import Table

OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * 100}], "max_tokens": 1000}


@pytest.fixture(scope="module")
def frozen(listed: Table) -> PriceBook:
    return PriceBook(table=listed)


def partial(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}


def test_a_chat_stream_that_broke(book: PriceBook) -> None:
    cost = book.estimate(Billed("chat", "gpt-4o", None, host=OPENAI, body=CHAT, message=partial("x" * 300)))
    assert cost.estimated
    assert cost.flags == ("usage:missing", "aborted")
    output = next(line for line in cost.lines if line.kind == "output")
    assert output.units == 100
    assert 0 < cost.low_nano < cost.nano_usd < cost.high_nano
    bound = book.upper_bound(CHAT, dialect="chat", host=OPENAI)
    assert cost.high_nano <= bound.nano_usd


def test_nothing_arrived_and_still_it_costs(book: PriceBook) -> None:
    cost = book.estimate(Billed("chat", "gpt-4o", None, host=OPENAI, body=CHAT))
    assert cost.low_nano == 0
    assert (
        1000 * 10_000 < cost.nano_usd < cost.high_nano <= book.upper_bound(CHAT, dialect="chat", host=OPENAI).nano_usd
    )


def test_message_start_tells_the_input(book: PriceBook) -> None:
    started = {
        "input_tokens": 400,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 0,
        "output_tokens": 2,
    }
    body = {"model": "claude-opus-4-8", "max_tokens": 64, "messages": []}
    answer = {"content": [{"type": "tool_use", "id": "t", "name": "find", "input": {}, "partial_json": '{"a": "bc'}]}
    billed = Billed("messages", "claude-opus-4-8", started, host=ANTHROPIC, body=body, message=answer)
    cost = book.estimate(billed)
    assert cost.flags == ("aborted",)
    tokens = -(-len('find{"a": "bc') // 3)
    assert cost.nano_usd == 400 * 5000 + 100 * 500 + tokens * 25_000
    assert cost.low_nano == 400 * 5000 + 100 * 500 + 2 * 25_000
    assert cost.high_nano == 400 * 5000 + 100 * 500 + 64 * 25_000
    assert book.estimate(billed, hard=True).nano_usd == cost.high_nano


def test_hidden_reasoning_charges_the_reservation(book: PriceBook) -> None:
    body = {"model": "gpt-5-mini", "input": "hi", "max_output_tokens": 5000}
    answer = {"output": [{"type": "message", "content": [{"type": "output_text", "text": "Well"}]}]}
    cost = book.estimate(Billed("responses", "gpt-5-mini", None, host=OPENAI, body=body, message=answer))
    assert next(line for line in cost.lines if line.kind == "output").units == 5000
    told = {"input_tokens": 9, "output_tokens": 40, "output_tokens_details": {"reasoning_tokens": 0}}
    known = book.estimate(Billed("responses", "gpt-5-mini", told, host=OPENAI, body=body, message=answer))
    assert known.low_nano == 9 * 250 + 40 * 2000
    assert known.high_nano == 9 * 250 + 5000 * 2000


def test_a_finished_answer_without_usage(book: PriceBook) -> None:
    cost = book.cost(Billed("chat", "gpt-4o", None, host=OPENAI, body=CHAT, message=partial("x" * 300)))
    assert cost.flags == ("usage:missing",)
    assert cost.nano_usd > 100 * 10_000
    nonsense: tuple[Any, ...] = ([], "nonsense", 7)
    for usage in nonsense:
        odd = Billed("chat", "gpt-4o", usage, host=OPENAI, body=CHAT, message=partial("x" * 300))
        assert book.cost(odd) == cost


def test_half_of_a_usage(book: PriceBook) -> None:
    usage: dict[str, Any] = {"prompt_tokens": 50, "completion_tokens": "many"}
    cost = book.cost(Billed("chat", "gpt-4o", usage, host=OPENAI, body=CHAT, message=partial("x" * 30)))
    assert cost.flags == ("usage:completion_tokens",)
    assert cost.nano_usd == 50 * 2500 + 10 * 10_000
    usage = {"prompt_tokens": -5, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 4}}
    other = book.cost(Billed("chat", "gpt-4o", usage, host=OPENAI, body=CHAT))
    assert other.flags == ("usage:prompt_tokens",)
    assert 50 * 10_000 < other.low_nano < other.nano_usd < other.high_nano


def test_a_usage_of_zeros_is_not_believed(book: PriceBook) -> None:
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    cost = book.cost(Billed("chat", "gpt-4o", zeros, host=OPENAI, body=CHAT))
    assert cost.flags == ("usage:zero",)
    assert cost.low_nano == 0 < cost.nano_usd


def test_nothing_is_known_but_the_model(book: PriceBook) -> None:
    cost = book.cost(Billed("chat", "gpt-4o", None, host=OPENAI))
    assert 0 < cost.low_nano < cost.nano_usd < cost.high_nano
    embedded = book.cost(Billed("embeddings", "text-embedding-3-small", None, host=OPENAI, body={"input": "abc"}))
    assert [line.kind for line in embedded.lines] == ["input"]
    assert (
        book.estimate(Billed("embeddings", "text-embedding-3-small", {"prompt_tokens": 7}, host=OPENAI)).nano_usd == 140
    )
    assert book.estimate(Billed("messages", "claude-opus-5", None, host=ANTHROPIC)).nano_usd > 0


def test_an_unbounded_input_is_bounded_by_the_window(book: PriceBook) -> None:
    body = {"model": "gpt-5-mini", "input": "hi", "previous_response_id": "r", "max_output_tokens": 1}
    cost = book.estimate(Billed("responses", "gpt-5-mini", None, host=OPENAI, body=body))
    assert cost.high_nano == 400_000 * 250 + 2000


def test_cache_writes_make_the_input_dearer(book: PriceBook) -> None:
    text = {"type": "text", "text": "x" * 1000}
    body = {"model": "claude-opus-4-8", "max_tokens": 1, "messages": [{"role": "user", "content": [text]}]}
    plain = book.estimate(Billed("messages", "claude-opus-4-8", None, host=ANTHROPIC, body=body))
    body = {**body, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    cached = book.estimate(Billed("messages", "claude-opus-4-8", None, host=ANTHROPIC, body=body))
    assert cached.high_nano > plain.high_nano * 3 // 2


@given(
    prompt=st.text(max_size=300),
    said=st.text(max_size=300),
    model=st.sampled_from(["gpt-4o", "gpt-5-mini", "gpt-6-luna"]),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
    hard=st.booleans(),
)
@settings(deadline=None)
def test_what_was_billed_lies_within_the_range(
    frozen: PriceBook, prompt: str, said: str, model: str, shares: tuple[float, ...], hard: bool
) -> None:
    """Whatever the tokenizer makes of the texts, and however much the provider wrote that never arrived."""
    cap = 500
    body = {"model": model, "max_completion_tokens": cap, "messages": [{"role": "user", "content": prompt}]}
    inputs = max(
        1, round(len(prompt.encode("utf-8", "surrogatepass")) * max(shares[0], 1 / 128)) + round(20 * shares[1])
    )
    arrived = len(said.encode("utf-8", "surrogatepass"))
    least = -(-arrived // 128)
    outputs = min(cap, least + round((cap - least) * shares[2]))
    details = {"cached_tokens": round(inputs * shares[3])}
    usage = {"prompt_tokens": inputs, "completion_tokens": outputs, "prompt_tokens_details": details}
    actual = frozen.cost(Billed("chat", model, usage, host=OPENAI))
    message = {"choices": [{"index": 0, "message": {"content": said}}]}
    guess = frozen.estimate(Billed("chat", model, None, host=OPENAI, body=body, message=message), hard=hard)
    assert guess.low_nano <= actual.nano_usd <= guess.high_nano
    assert guess.nano_usd > 0
    assert guess.high_nano <= frozen.upper_bound(body, dialect="chat", host=OPENAI).nano_usd
    assert not hard or guess.nano_usd == guess.high_nano


@pytest.mark.parametrize(
    ("message", "count"),
    [
        (None, 0),
        ({"choices": [{"message": {"content": "ab", "refusal": "c", "id": "no"}, "finish_reason": "stop"}]}, 3),
        ({"choices": [{"message": {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]}}]}, 3),
        ({"output": [{"type": "reasoning", "id": "r", "summary": [{"type": "s", "text": "é"}]}]}, 2),
        ({"content": [{"type": "thinking", "thinking": "ab", "signature": "xxxx"}]}, 2),
        ({"content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]}, 9),
        ({"content": [{"type": "tool_use", "name": "f", "input": {}}, 7, None]}, 1),
    ],
)
def test_what_a_model_wrote(message: dict[str, Any] | None, count: int) -> None:
    assert visible_bytes(message) == count
