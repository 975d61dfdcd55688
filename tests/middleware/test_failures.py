"""What an error answer means for the next tier."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.middleware.failures import MISPLACED, OVERFLOW, TRANSIENT, Refused, refused


def openai_error(message: str = "m", **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", **more}}).encode()


def anthropic_error(message: str = "m", kind: str = "invalid_request_error") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_what_may_pass(status: int) -> None:
    found = refused(status, b"", foreign=False)
    assert found == Refused(TRANSIENT, f"it answered {status}")


@pytest.mark.parametrize("status", [302, 401, 402, 403, 404, 405, 410])
def test_what_is_set_up_wrongly(status: int) -> None:
    found = refused(status, openai_error(code="invalid_api_key"), foreign=False)
    assert found == Refused(MISPLACED, f"it answered {status} (invalid_api_key)")


def test_a_spent_quota_does_not_come_back_soon() -> None:
    found = refused(429, openai_error(code="insufficient_quota"), foreign=False)
    assert found is not None
    assert found.kind == MISPLACED


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (400, openai_error("This model's maximum context length is 128000 tokens.", code="context_length_exceeded")),
        (400, openai_error("no words", code="context_length_exceeded")),
        (400, anthropic_error("prompt is too long: 210000 tokens > 200000 maximum")),
        (400, anthropic_error("input length and `max_tokens` exceed context limit: 198000 + 8192 > 200000")),
        (413, anthropic_error("Request exceeds the maximum size", "request_too_large")),
        (413, b"<html>too large</html>"),
        (400, json.dumps({"object": "error", "message": "the model's context length is only 8192 tokens"}).encode()),
        (400, openai_error("the request exceeds the available context size", type="exceed_context_size_error")),
        (422, openai_error("Please reduce the length of the messages")),
    ],
)
@pytest.mark.parametrize("foreign", [False, True])
def test_a_prompt_that_is_too_long(status: int, content: bytes, foreign: bool) -> None:
    found = refused(status, content, foreign=foreign)
    assert found is not None
    assert (found.kind, found.counts) == (OVERFLOW, False)


@pytest.mark.parametrize("status", [400, 422])
def test_a_bad_request_is_the_callers_at_home_only(status: int) -> None:
    assert refused(status, openai_error(), foreign=False) is None
    found = refused(status, openai_error(), foreign=True)
    assert found == Refused(MISPLACED, f"it answered {status} (invalid_request_error)", counts=False)
    found = refused(status, openai_error(code="unsupported_parameter"), foreign=False)
    assert found is not None
    assert not found.counts


def test_nothing_of_a_message_is_repeated() -> None:
    found = refused(500, openai_error("the prompt was: my secret", code="my secret, said the code"), foreign=True)
    assert found is not None
    assert "secret" not in found.why


@given(st.integers(300, 599), st.binary() | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "type", "message"]), inner),
).map(lambda value: json.dumps(value).encode()), st.booleans())  # fmt: skip
def test_any_answer_is_understood_somehow(status: int, content: bytes, foreign: bool) -> None:
    found = refused(status, content, foreign=foreign)
    assert found is None or found.kind in {TRANSIENT, MISPLACED, OVERFLOW}
    assert found is not None or status in {400, 422}
