"""The real llama.cpp server with the real SmolLM2: what the rest of the library relies on."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from llmsaver.errors import LocalModelError
from llmsaver.local import Endpoint, LocalServers, weights

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.local

NAME = "smollm2-135m"
HI: Any = [{"role": "user", "content": "Say hi."}]
# The server may close a connection after a stream without saying so: a pool that reuses it loses the next request.
ONE_REQUEST = {"connection": "close"}
GREEDY = {"temperature": 0}
LONG: Any = [{"role": "user", "content": "word " * 2000}]


@pytest.fixture(scope="module")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the shared server's log out of the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        yield


@pytest.fixture(scope="module")
def endpoint(_folders: None) -> Iterator[Endpoint]:
    """Return one real server for the tests that only ask it something."""
    pytest.importorskip("xllamacpp")
    if weights.installed(NAME) is None:
        pytest.skip(f"the weights of {NAME} are not installed")
    local = LocalServers(context=1024, parallel=2)
    yield local.endpoint(NAME)
    local.close()


@pytest.fixture
def chat(endpoint: Endpoint) -> Iterator[openai.OpenAI]:
    """Return the real OpenAI SDK, pointed at the server."""
    with openai.OpenAI(
        base_url=endpoint.base_url + "/v1", api_key=endpoint.api_key, max_retries=0, default_headers=ONE_REQUEST
    ) as client:
        yield client


@pytest.fixture
def claude(endpoint: Endpoint) -> Iterator[anthropic.Anthropic]:
    """Return the real Anthropic SDK, pointed at the server; its key goes into ``x-api-key``."""
    with anthropic.Anthropic(
        base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0, default_headers=ONE_REQUEST
    ) as client:
        yield client


def ask(endpoint: Endpoint, path: str, key: str | None = None) -> int:
    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=20)
    connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
    status = connection.getresponse().status
    connection.close()
    return status


class Person(BaseModel):
    name: str
    age: int


def test_chat_answers_with_usage(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.create(model=NAME, messages=HI, max_tokens=4)
    assert answer.choices[0].message.content
    assert answer.model == NAME
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.usage.prompt_tokens) == (4, 33)


def test_chat_streams_usage_when_asked(chat: openai.OpenAI) -> None:
    chunks = list(
        chat.chat.completions.create(
            model=NAME, messages=HI, max_tokens=4, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 4
    assert not chunks[-1].choices
    assert chunks[-2].choices[0].finish_reason == "length"


def test_chat_keeps_to_a_schema(chat: openai.OpenAI) -> None:
    answer = chat.chat.completions.parse(model=NAME, messages=HI, max_tokens=60, temperature=0, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_responses_keep_to_a_schema_only_in_chats_words(chat: openai.OpenAI) -> None:
    schema = Person.model_json_schema()
    asked = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    answer = chat.responses.create(
        model=NAME, input="Bob is 5.", max_output_tokens=60, temperature=0, extra_body={"response_format": asked}
    )
    assert isinstance(Person.model_validate_json(answer.output_text), Person)


def test_responses_answer_and_stream(chat: openai.OpenAI) -> None:
    answer = chat.responses.create(model=NAME, input="hi", max_output_tokens=4)
    assert answer.output_text
    assert answer.usage is not None
    assert answer.usage.output_tokens == 4
    last = list(chat.responses.create(model=NAME, input="hi", max_output_tokens=4, stream=True))[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None


def test_messages_answer_stream_and_count(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model=NAME, messages=HI, max_tokens=4, extra_body=GREEDY)
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) == 33
    assert answer.usage.output_tokens == 4
    # At other temperatures an answer may start with half a character, and llama.cpp then leaves message_start out.
    with claude.messages.stream(model=NAME, messages=HI, max_tokens=4, extra_body=GREEDY) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_message().usage.output_tokens == 4
    assert kinds[-1] == "message_stop"
    assert claude.messages.count_tokens(model=NAME, messages=HI).input_tokens == 33


def test_a_prompt_that_does_not_fit_is_told(chat: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model=NAME, messages=LONG)
    body: Any = caught.value.body
    assert (body["type"], body["n_ctx"]) == ("exceed_context_size_error", 1024)
    assert body["n_prompt_tokens"] > 2000
    with pytest.raises(anthropic.BadRequestError) as refused:
        claude.messages.create(model=NAME, messages=LONG, max_tokens=1)
    body = refused.value.body
    assert body["error"]["type"] == "exceed_context_size_error"


def test_everything_but_health_needs_the_key(endpoint: Endpoint) -> None:
    assert ask(endpoint, "/health") == 200
    for path in ("/v1/models", "/metrics", "/slots", "/props"):
        assert ask(endpoint, path) == 401
    assert ask(endpoint, "/metrics", endpoint.api_key) == 200
    assert ask(endpoint, "/v1/models", "wrong") == 401


@pytest.mark.parametrize(
    ("content", "words"), [(b"junk", "not a GGUF model"), (None, "the file is cut short")], ids=["junk", "cut short"]
)
def test_a_bad_file_is_named(smollm2: Path, tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content or smollm2.read_bytes()[:50_000_000])
    local = LocalServers()
    with pytest.raises(LocalModelError, match=words):
        local.endpoint(str(path))
    local.close()
