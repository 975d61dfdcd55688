"""What a local server cannot do is said before the call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import LocalModelError
from llmsaver.local.abilities import StartRepair, prepared

START = b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'


@pytest.mark.parametrize(
    ("dialect", "body", "says"),
    [
        ("embeddings", {"input": "a"}, "no embeddings"),
        ("chat", {"tool_choice": "required"}, "cannot be forced"),
        ("chat", {"tool_choice": {"type": "function", "function": {"name": "f"}}}, "cannot be forced"),
        ("messages", {"tool_choice": {"type": "any"}}, "cannot be forced"),
        ("messages", {"output_config": {"format": {"type": "json_schema"}}}, "chat and responses"),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text only"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "text only"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_way_out(dialect: str, body: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalModelError, match=says):
        prepared(dialect, body)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], "tool_choice": "auto"}),
        ("chat", {"messages": [{"role": "user", "content": "hi"}, "odd"], "tool_choice": "none"}),
        ("messages", {"messages": [], "tool_choice": {"type": "auto"}, "output_config": {"effort": "low"}}),
        ("responses", {"input": "hi", "text": {"verbosity": "low"}}),
    ],
)
def test_the_rest_goes_as_it_is(dialect: str, body: dict[str, Any]) -> None:
    assert prepared(dialect, body) == body


def test_a_schema_on_the_responses_surface_goes_where_the_server_reads_it() -> None:
    schema = {"type": "object"}
    body = {"input": "hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": schema}}}
    assert prepared("responses", body) == {**body, "json_schema": schema}
    assert "json_schema" not in body


def repaired(stream: bytes, cut: int) -> bytes:
    repair = StartRepair()
    return repair.feed(stream[:cut]) + repair.feed(stream[cut:]) + repair.flush()


@given(st.integers(0, 200))
def test_a_stream_with_its_start_is_untouched(cut: int) -> None:
    assert repaired(START + DELTA, cut) == START + DELTA


@given(st.integers(0, 200))
def test_a_missing_start_is_put_back_once(cut: int) -> None:
    whole = repaired(DELTA + DELTA, cut)
    assert whole.endswith(DELTA + DELTA)
    assert whole.count(b"event: message_start\n") == 1
    assert whole.startswith(b"event: message_start\n")


def test_an_error_stands_alone_and_half_an_event_is_not_lost() -> None:
    error = b'event: error\ndata: {"type":"error","error":{"message":"no"}}\n\n'
    assert repaired(error, 5) == error
    assert repaired(b"event: mess", 3) == b"event: mess"
