"""What a local server cannot do is said before the call, and what it can is asked in its own words."""

from __future__ import annotations

import http.server
import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local.abilities import counting, knows_tools, needs_template, overflow, prepared
from llmsaver.local.endpoint import Endpoint
from llmsaver.local.models import LocalModel

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Endpoint("http://127.0.0.1:9", "key", "tiny")
HI: dict[str, Any] = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("dialect", "body", "says"),
    [
        ("embeddings", {"input": "a"}, "declare an embedding model as LocalModel"),
        ("chat", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "text only"),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "text only"),
        ("responses", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "text only"),
        ("responses", {"input": "hi", "previous_response_id": "resp_1"}, "keep nothing between calls"),
        ("messages", {"messages": [], "tools": [{"type": "bash_20250124", "name": "bash"}]}, "input_schema only"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_way_out(dialect: str, body: dict[str, Any], says: str) -> None:
    with pytest.raises(LocalModelError, match=says):
        prepared(dialect, body, HERE)


def test_a_plain_chat_goes_as_it_is() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    body = {"model": "local/tiny", "messages": [parts, "odd"], "temperature": 0, "n": 2, "stream": True, "seed": 1}
    asked = prepared("chat", body, HERE)
    assert (asked.path, asked.telling) == ("/v1/chat/completions", None)
    assert asked.body == {**body, "model": "tiny"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"pattern": r"^\d$"}}},
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"pattern": "^[0-9]$"}}},
        ),
        ("odd", "odd"),
    ],
)
def test_what_an_answer_is_held_to_is_made_plain(wanted: Any, expected: Any) -> None:
    assert prepared("chat", {"messages": [HI], "response_format": wanted}, HERE).body["response_format"] == expected


def test_templates_know_no_developer() -> None:
    asked = prepared("chat", {"messages": [{"role": "developer", "content": "Be kind."}]}, HERE)
    assert asked.body["messages"] == [{"role": "system", "content": "Be kind."}]


@pytest.mark.parametrize(("dialect", "timings"), [("messages", True), ("responses", False)])
def test_streams_of_other_dialects_say_their_usage(dialect: str, timings: bool) -> None:
    asked = prepared(dialect, {"messages": [HI], "input": "hi", "stream": True}, HERE)
    assert asked.body["stream_options"] == {"include_usage": True}
    assert asked.body["timings_per_token"] is timings
    assert asked.telling is not None
    assert "stream_options" not in prepared(dialect, {"messages": [HI], "input": "hi"}, HERE).body


@pytest.mark.parametrize("dialect", ["chat", "messages", "responses"])
def test_an_adapter_is_one_of_those_loaded(dialect: str) -> None:
    body = {"messages": [HI], "input": "hi"}
    assert "lora" not in prepared(dialect, body, HERE).body
    assert prepared(dialect, body, replace(HERE, loras=2)).body["lora"] == [
        {"id": 0, "scale": 0.0},
        {"id": 1, "scale": 0.0},
    ]
    assert prepared(dialect, body, replace(HERE, loras=2, lora=0)).body["lora"][0] == {"id": 0, "scale": 1.0}


@pytest.mark.parametrize("runner", ["vllm", "attach"])
def test_other_servers_are_asked_in_the_callers_words(runner: str) -> None:
    body = {"model": "local/x", "tool_choice": "required", "input": [{"content": [{"type": "input_image"}]}]}
    asked = prepared("responses", body, replace(HERE, runner=runner))
    assert (asked.path, asked.body, asked.telling) == ("/v1/responses", {**body, "model": "tiny"}, None)
    assert asked.plain
    asked = prepared("embeddings", {"input": "a"}, replace(HERE, runner=runner))
    assert (asked.path, asked.body, asked.plain) == ("/v1/embeddings", {"input": "a", "model": "tiny"}, True)


def test_counting_is_asked_where_the_prompt_would_go() -> None:
    body = {"messages": [HI], "system": "Be kind."}
    asked = counting("messages", body, HERE)
    assert asked.path == "/v1/chat/completions/input_tokens"
    assert asked.body["messages"] == [{"role": "system", "content": "Be kind."}, HI]
    there = replace(HERE, runner="vllm")
    assert counting("messages", body, there).path == "/v1/messages/count_tokens"
    assert counting("responses", body, there).path == "/v1/responses/input_tokens"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"n_prompt_tokens": 3031, "n_ctx": 2048}}, (3031, 2048)),
        (500, {"error": {"n_prompt_tokens": 3031, "n_ctx": 2048}}, None),
        (400, {"error": {"n_prompt_tokens": True, "n_ctx": 2048}}, None),
        (
            400,
            {"message": "This model's maximum context length is 2048 tokens. However, you requested 3031 tokens"},
            (3031, 2048),
        ),
        (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 2048 tokens. However, you requested 10 "
                    "output tokens and your prompt contains at least 3031 input tokens, for a total of 3041."
                }
            },
            (3031, 2048),
        ),
        (
            400,
            {"message": "maximum context length is 2048 tokens. However, you requested 41 tokens (31 in the messages"},
            (31, 2048),
        ),
        (400, {"error": {"message": "maximum context length is 2048 tokens"}}, None),
        (400, {"error": "no"}, None),
        (400, [], None),
    ],
)
def test_a_prompt_that_is_too_long_is_seen(status: int, body: Any, expected: Any) -> None:
    assert overflow(status, json.dumps(body).encode()) == expected


@pytest.mark.parametrize(
    ("body", "needed"),
    [
        ({"messages": [HI]}, False),
        ({"input": "hi"}, False),
        ({"messages": [HI], "tools": [{}]}, True),
        ({"messages": [HI, {"role": "assistant", "tool_calls": [{}]}]}, True),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]}, True),
        ({"input": [{"type": "function_call"}]}, True),
    ],
)
def test_when_it_matters_what_a_template_knows(body: dict[str, Any], needed: bool) -> None:
    assert needs_template(HERE, body) is needed
    assert needs_template(replace(HERE, runner="vllm"), body) is False


@pytest.fixture
def props() -> Iterator[Any]:
    """Serve what is put into ``props.says`` at /props."""

    class Props(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append((self.path, self.headers["authorization"]))  # type: ignore[attr-defined]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served.says)  # type: ignore[attr-defined]

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Props) as served:
        served.says, served.asked = b"", []  # type: ignore[attr-defined]
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("says", "knows"),
    [
        ({"chat_template_caps": {"supports_tools": True, "supports_tool_calls": True}}, True),
        ({"chat_template_caps": {"supports_tools": False, "supports_tool_calls": False}}, False),
        ({"chat_template_caps": {"supports_tools": True, "supports_tool_calls": False}}, False),
        ({}, True),
        ([], True),
    ],
)
def test_a_server_is_asked_once_what_its_template_knows(props: Any, says: Any, knows: bool) -> None:
    props.says = json.dumps(says).encode()
    endpoint = Endpoint(f"http://127.0.0.1:{props.server_port}", f"key-{says}", "tiny")
    assert knows_tools(endpoint) is knows
    assert knows_tools(endpoint) is knows
    assert props.asked == [("/props", f"Bearer key-{says}")]


def test_a_server_that_does_not_answer_is_taken_to_know_them_and_asked_again(props: Any) -> None:
    endpoint = Endpoint(f"http://127.0.0.1:{props.server_port}", "key", "tiny")
    props.shutdown()
    props.server_close()
    assert knows_tools(endpoint)
    with http.server.HTTPServer(("127.0.0.1", props.server_port), props.RequestHandlerClass) as again:
        again.says = props.says = b'{"chat_template_caps": {"supports_tools": false}}'  # type: ignore[attr-defined]
        threading.Thread(target=again.handle_request, daemon=True).start()
        assert not knows_tools(endpoint)


def test_a_model_gives_vectors_or_answers() -> None:
    embedder = replace(HERE, tier=LocalModel("tiny", path="/x.gguf", embeddings=True))
    asked = prepared("embeddings", {"model": "local/tiny", "input": ["a"]}, embedder)
    assert (asked.path, asked.body, asked.plain) == ("/v1/embeddings", {"model": "tiny", "input": ["a"]}, True)
    with pytest.raises(LocalModelError, match="gives vectors, no answers"):
        prepared("chat", {"messages": [HI]}, embedder)
