"""What a file or a list of requests may hold, and what is said of what it may not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.batch.parts import ANTHROPIC, OPENAI, Limits, cut, ranges, unrange
from llmsaver.batch.requests import Requests, Row
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

ASK: list[dict[str, str]] = [{"role": "user", "content": "hi"}]
CHAT = {"model": "gpt-5-mini", "messages": ASK}


@pytest.mark.parametrize(
    ("line", "via", "url"),
    [
        (CHAT, "openai", "/v1/chat/completions"),
        ({"model": "gpt-5-mini", "input": "x"}, "openai", "/v1/responses"),
        ({"model": "text-embedding-3-small", "input": ["x", "y"]}, "openai", "/v1/embeddings"),
        ({"model": "claude-haiku-4-5", "max_tokens": 1, "messages": ASK}, "anthropic", "/v1/messages"),
        ({"custom_id": "a", "params": {"model": "claude-haiku-4-5", "messages": ASK}}, "anthropic", "/v1/messages"),
        (
            {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"model": "m", "input": "x"}},
            "openai",
            "/v1/responses",
        ),
        ({"model": "local/x", "messages": ASK}, "local", "/v1/chat/completions"),
    ],
)
def test_the_way_follows_from_the_request(line: dict[str, Any], via: str, url: str) -> None:
    requests = Requests([line])
    assert (requests.via, requests.rows[0].url, len(requests)) == (via, url, 1)
    assert requests.body(requests.rows[0])["model"] == requests.rows[0].model


def test_ids_are_the_callers_or_made_from_what_is_said() -> None:
    requests = Requests([CHAT, CHAT, {"custom_id": "mine", "body": CHAT}])
    one, two, three = (row.custom_id for row in requests.rows)
    assert two == f"{one}-2"
    assert three == "mine"
    assert Requests([CHAT]).rows[0].custom_id == one
    assert Requests([CHAT]).digest != Requests([CHAT, CHAT]).digest


@pytest.mark.parametrize(
    ("lines", "via", "said"),
    [
        ([], None, "holds no request"),
        ([{}], None, "there is no body"),
        ([{**CHAT, "stream": True}], None, "cannot be streamed"),
        ([{"messages": ASK}], None, "names no model"),
        ([{"custom_id": "a", "url": "/v1/moderations", "body": CHAT}], None, "is none of"),
        ([{"custom_id": 7, "body": CHAT}], None, "is no text"),
        ([{"custom_id": "a", "body": CHAT}] * 2, None, "is there twice"),
        ([CHAT, {"model": "local/x", "messages": ASK}], None, "go different ways"),
        ([CHAT], "anthropic", "local"),
        ([CHAT], "local", "local models are called"),
        ([{"model": "local/x", "messages": ASK}], "openai", "use via=local"),
        ([{"custom_id": "a", "url": "/v1/embeddings", "body": {"model": "m", "input": "x"}}], "flex", "does not take"),
        ([CHAT], "pigeon", "is none of"),
    ],
)
def test_what_can_never_be_sent(lines: list[dict[str, Any]], via: str | None, said: str) -> None:
    if (lines, via) == ([CHAT], "anthropic"):
        assert Requests(lines, via).rows[0].url == "/v1/messages"
        return
    with pytest.raises(ConfigurationError, match=said):
        Requests(lines, via)


def test_a_file_is_read_again_where_a_body_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    text = "\n".join(json.dumps({**CHAT, "n": number, "q": "\u2028é"}, ensure_ascii=False) for number in range(3))
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\n\n").encode())
    requests = Requests(file)
    assert [requests.body(row)["n"] for row in reversed(requests.rows)] == [2, 1, 0]
    assert requests.digest == Requests([{**CHAT, "n": number, "q": "\u2028é"} for number in range(3)]).digest
    requests.close()
    requests.close()
    file.write_text("[1]\n")
    with pytest.raises(ConfigurationError, match="request 1: the line is no JSON object"):
        Requests(str(file))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Requests(tmp_path / "none")


@given(st.sets(st.integers(0, 300)))
def test_ranges_say_which_numbers(numbers: set[int]) -> None:
    assert unrange(ranges(sorted(numbers))) == sorted(numbers)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 500), st.integers(1, 9)), max_size=60),
    st.integers(1, 9),
    st.integers(200, 3000),
    st.booleans(),
)
def test_every_request_is_in_one_job_that_the_provider_takes(
    given: list[tuple[str, int, int]], most: int, size: int, one_model: bool
) -> None:
    rows = [Row(number, str(number), "/u", model, room, inputs) for number, (model, room, inputs) in enumerate(given)]
    limits = Limits(most, size, one_model=one_model, inputs=20)
    parts = list(cut(rows, limits))
    assert sorted(number for _, numbers in parts for number in numbers) == list(range(len(rows)))
    for _, numbers in parts:
        inside = [rows[number] for number in numbers]
        assert len(inside) <= most
        assert len(inside) == 1 or sum(row.size + 160 for row in inside) <= size
        assert sum(row.inputs for row in inside) <= 20
        assert not one_model or len({row.model for row in inside}) == 1


def test_the_providers_limits() -> None:
    assert (OPENAI.requests, ANTHROPIC.requests) == (50_000, 100_000)
    assert OPENAI.size < 200 * 10**6
    assert ANTHROPIC.size < 256 * 10**6
    assert OPENAI.less(None) is OPENAI
    assert ANTHROPIC.less(5).requests == 5
