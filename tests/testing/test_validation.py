"""Requests the vendors refuse, refused with their words; and the parameter lists against the SDKs' own."""

import json
import sys
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_params
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI
from openai.types import embedding_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from llmsaver.testing import FakeProvider
from llmsaver.testing.validation import BETA_PARAMETERS, PARAMETERS, installed

ASK: Any = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": ASK}
MESSAGES = {"model": "m", "max_tokens": 9, "messages": ASK}
CALLING = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "1"}
USING = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
USED = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]}


def marked(*times: str | None) -> list[Any]:
    controls = [{"type": "ephemeral", **({"ttl": time} if time else {})} for time in times]
    return [{"type": "text", "text": "x", "cache_control": control} for control in controls]


def names(params: Any) -> set[str]:
    return set(params.__required_keys__ | params.__optional_keys__)


SDKS = {
    "chat": names(completion_create_params.CompletionCreateParamsStreaming),
    "responses": names(response_create_params.ResponseCreateParamsStreaming),
    "embeddings": names(embedding_create_params.EmbeddingCreateParams),
    "messages": names(message_create_params.MessageCreateParamsStreaming),
    "count_tokens": names(message_count_tokens_params.MessageCountTokensParams),
    "beta": names(beta_params.MessageCreateParamsStreaming) - {"betas"},
}


@pytest.mark.parametrize("endpoint", SDKS)
def test_whatever_the_installed_sdk_can_send_is_known(endpoint: str) -> None:
    """None is refused; the lists and an SDK of another day differ by little."""
    ours = BETA_PARAMETERS | PARAMETERS["messages"] if endpoint == "beta" else PARAMETERS[endpoint]
    assert installed(endpoint) == SDKS[endpoint]
    assert len(ours - SDKS[endpoint]) <= 4, "an SDK far older than the lists, or parameters nobody has"
    assert len(SDKS[endpoint] - ours) <= 4, "the lists have fallen behind the SDK"


def test_an_endpoint_of_an_sdk_that_is_absent_has_the_lists_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai.types.chat.completion_create_params", None)
    installed.cache_clear()
    assert installed("chat") == frozenset()
    installed.cache_clear()
    monkeypatch.undo()
    assert "model" in installed("chat")


@pytest.mark.parametrize(
    ("endpoint", "body", "said", "code"),
    [
        ("chat", {**CHAT, "llmsaver": {}}, "Unrecognized request argument supplied: llmsaver", None),
        ("chat", {**CHAT, "a": 1, "b": 2}, "Unrecognized request arguments supplied: a, b", None),
        ("chat", [], "could not parse the JSON body", None),
        ("chat", b"{not json", "could not parse the JSON body", None),
        ("chat", b"", "could not parse the JSON body", None),
        ("chat", {"messages": ASK}, "you must provide a model parameter", None),
        ("chat", {"model": "m"}, "'messages'", "missing_required_parameter"),
        ("chat", {"model": "m", "messages": "hi"}, "expected an array", "invalid_type"),
        ("chat", {"model": "m", "messages": []}, "empty array", "empty_array"),
        ("chat", {**CHAT, "messages": ["hi"]}, "messages[0]", "invalid_type"),
        ("messages", {**MESSAGES, "messages": ["hi"]}, "messages.0: Input should be", None),
        ("chat", {**CHAT, "n": 0}, "between 1 and 128", "invalid_value"),
        ("chat", {**CHAT, "stream_options": {"include_usage": True}}, "only allowed when 'stream'", None),
        ("chat", {**CHAT, "messages": [*ASK, CALLING]}, "did not have response messages: a", None),
        ("chat", {**CHAT, "messages": [*ASK, CALLING, *ASK]}, "did not have response messages: a", None),
        ("chat", {**CHAT, "messages": [*ASK, RESULT]}, "must be a response to a preceeding message", None),
        (
            "responses",
            {"model": "m", "input": "x", "llmsaver": 1},
            "Unknown parameter: 'llmsaver'.",
            "unknown_parameter",
        ),
        ("responses", {"model": "m"}, "must be provided", "missing_required_parameter"),
        ("embeddings", {"model": "m", "input": []}, "'input'", "missing_required_parameter"),
        ("messages", {**MESSAGES, "llmsaver": {}}, "llmsaver: Extra inputs are not permitted", None),
        ("messages", {**MESSAGES, "mcp_servers": []}, "mcp_servers: Extra inputs are not permitted", None),
        ("messages", b"[", "not valid JSON", None),
        ("messages", {"model": "m", "messages": ASK}, "max_tokens: Field required", None),
        ("messages", {**MESSAGES, "messages": "x"}, "messages: Input should be a valid list", None),
        ("messages", {**MESSAGES, "messages": []}, "at least one message is required", None),
        ("messages", {**MESSAGES, "max_tokens": True}, "max_tokens: must be", None),
        ("messages", {**MESSAGES, "temperature": 1.5}, "temperature: range: 0..1", None),
        ("messages", {**MESSAGES, "system": marked(*[None] * 5)}, "maximum of 4 blocks with cache_control", None),
        ("messages", {**MESSAGES, "system": marked("5m", "1h")}, "must not come after", None),
        ("messages", {**MESSAGES, "messages": [*ASK, USING, *ASK]}, "messages.1: `tool_use` ids were found", None),
        ("messages", {**MESSAGES, "messages": [*ASK, USED]}, "messages.1: unexpected `tool_use_id`", None),
        ("count_tokens", {"messages": ASK}, "model: Field required", None),
    ],
)
def test_bodies_that_are_refused(wire: Any, endpoint: str, body: Any, said: str, code: str | None) -> None:
    fake = FakeProvider()
    response = wire(fake, endpoint, body)
    error = response.json()["error"]
    assert response.status_code == 400
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error.get("code") == code
    assert fake.billed == ()
    assert fake.calls == 1


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", {**CHAT, "n": 2, "messages": [*ASK, CALLING, RESULT, *ASK]}),
        ("chat", {**CHAT, "stream": True, "stream_options": {}}),
        ("responses", {"model": "m", "previous_response_id": "resp_1"}),
        ("messages", {**MESSAGES, "temperature": 1, "system": marked("1h", None, "5m")}),
        ("messages", {**MESSAGES, "messages": [*ASK, USING, USED]}),
        (
            "messages",
            {**MESSAGES, "messages": [*ASK, {"role": "user", "content": [{"type": "x", "content": marked("5m")}, 1]}]},
        ),
    ],
)
def test_bodies_that_are_served(wire: Any, endpoint: str, body: Any) -> None:
    assert wire(FakeProvider(), endpoint, body).status_code == 200


@pytest.mark.parametrize(
    ("endpoint", "headers", "status", "said"),
    [
        ("chat", {}, 401, "You didn't provide an API key"),
        ("chat", {"authorization": "Bearer "}, 401, "You didn't provide an API key"),
        ("messages", {"anthropic-version": "2023-06-01"}, 401, "x-api-key header is required"),
        ("messages", {"x-api-key": "k"}, 400, "anthropic-version: header is required"),
    ],
)
def test_callers_that_are_refused(wire: Any, endpoint: str, headers: dict[str, str], status: int, said: str) -> None:
    response = wire(FakeProvider(), endpoint, MESSAGES if endpoint == "messages" else CHAT, headers)
    assert response.status_code == status
    assert said in response.json()["error"]["message"]


@pytest.mark.parametrize("headers", [{"authorization": "Bearer k"}, {"api-key": "azure"}])
def test_callers_that_are_served(wire: Any, headers: dict[str, str]) -> None:
    assert wire(FakeProvider(), "chat", CHAT, headers).status_code == 200
    version = {"anthropic-version": "2023-06-01", "anthropic-beta": "mcp-client-2025-04-04", **headers}
    served = wire(FakeProvider(), "messages", {**MESSAGES, "mcp_servers": []}, version)
    assert served.status_code == (200 if "authorization" in headers else 401)


def test_a_leaked_parameter_is_the_sdks_bad_request(
    openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., anthropic.Anthropic]
) -> None:
    with pytest.raises(openai.BadRequestError, match="llmsaver"):
        openai_of(FakeProvider()).chat.completions.create(model="m", messages=ASK, extra_body={"llmsaver": 1})
    with pytest.raises(anthropic.BadRequestError, match="llmsaver: Extra inputs"):
        anthropic_of(FakeProvider()).messages.create(model="m", max_tokens=9, messages=ASK, extra_body={"llmsaver": 1})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 200) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "id", "text", "tool_calls", "tool_use_id"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["chat", "messages"]), st.one_of(json_values, st.lists(json_values, max_size=3)))
def test_no_message_list_is_more_than_the_fake_can_take(endpoint: str, messages: Any) -> None:
    fake = FakeProvider()
    body = {"model": "m", "messages": messages, "max_tokens": 9}
    headers = {"x-api-key": "k", "anthropic-version": "x", "authorization": "Bearer k"}
    url = "http://x/v1/messages" if endpoint == "messages" else "http://x/v1/chat/completions"
    assert fake.receive("POST", url, headers, json.dumps(body).encode()).status in (200, 400)


@pytest.mark.parametrize("version", [{}, {"anthropic-version": "2023-06-01"}])
def test_unknown_urls_get_the_vendors_404(version: dict[str, str]) -> None:
    with httpx2.Client(transport=FakeProvider().transport()) as http:
        response = http.get("https://x/v1/chat/completions", headers=version)
    assert response.status_code == 404
    error = response.json()["error"]
    expected = (
        ("not_found_error", "Not found")
        if version
        else ("invalid_request_error", "Invalid URL (GET /v1/chat/completions)")
    )
    assert (error["type"], error["message"]) == expected
