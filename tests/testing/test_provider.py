"""The public surface: scripts, books, models, and an import that loads nothing heavy."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

import llmsaver.testing
from llmsaver.testing import Answer, FakeProvider, Fault, Received

ASK: Any = [{"role": "user", "content": "hi"}]


def test_all_is_what_the_docstring_promises() -> None:
    assert sorted(llmsaver.testing.__all__) == llmsaver.testing.__all__
    assert all(hasattr(llmsaver.testing, name) for name in llmsaver.testing.__all__)


def test_importing_it_is_light() -> None:
    heavy = (
        "{'openai', 'anthropic', 'httpx', 'httpx2', 'pydantic', 'llmsaver.wire', 'llmsaver.core', 'llmsaver.clients'}"
    )
    program = (
        f"import sys, llmsaver.testing; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    )
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    assert (done.returncode, done.stderr) == (0, "")


def test_a_script_is_used_in_order_then_the_default_again(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider(answer="default")
    fake.script([Answer("one"), "two"])
    client = openai_of(fake)
    said = [client.chat.completions.create(model="m", messages=ASK).choices[0].message.content for _ in range(3)]
    assert said == ["one", "two", "default"]


def test_a_function_answers_from_the_request(openai_of: Callable[..., OpenAI]) -> None:
    def answer(received: Received) -> Answer | Fault | str:
        assert received.vendor == "openai"
        return Fault(503) if received.json["model"] == "down" else f"{received.endpoint} {received.number}"

    fake = FakeProvider(answer)
    client = openai_of(fake)
    assert client.responses.create(model="m", input="x").output_text == "responses 0"
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="down", messages=ASK)
    assert fake.calls == 2


def test_the_books_keep_what_arrived(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    client = openai_of(fake, organization="org-1")
    list(client.chat.completions.create(model="m", messages=ASK, stream=True))
    client.models.list()
    first, second = fake.requests
    assert (first.method, first.path, first.endpoint, first.stream) == ("POST", "/v1/chat/completions", "chat", True)
    assert first.url == "https://api.openai.com/v1/chat/completions"
    assert first.headers["openai-organization"] == "org-1"
    assert b'"stream":true' in first.body
    assert first.at <= second.at
    assert (second.endpoint, second.json, second.stream) == ("models", None, False)


def test_models(openai_of: Callable[..., OpenAI], anthropic_of: Callable[..., Anthropic]) -> None:
    client, other = openai_of(FakeProvider()), anthropic_of(FakeProvider())
    listed = client.models.list().data
    assert client.models.retrieve(listed[0].id) == listed[0]
    models = list(other.models.list())
    assert other.models.retrieve(models[0].id).display_name == models[0].display_name
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")
    with pytest.raises(anthropic.NotFoundError):
        other.models.retrieve("nope")


def test_threads_share_one_fake(openai_of: Callable[..., OpenAI]) -> None:
    fake = FakeProvider()
    fake.script(str(number) for number in range(100))
    client = openai_of(fake)

    def ask(number: int) -> str | None:
        return client.chat.completions.create(model=str(number), messages=ASK).choices[0].message.content

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(100)))
    assert sorted(map(str, answers), key=int) == [str(number) for number in range(100)]
    assert [request.number for request in fake.requests] == list(range(100))
    assert {bill.state for bill in fake.billed} == {"complete"}
    assert fake.calls == 100
