"""The doctor's calls: through the real SDKs and the whole stack to a fake provider, and one to a local model."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmsaver.clients.native import module_of
from llmsaver.errors import ConfigurationError
from llmsaver.reporting.doctor_parts import Finding
from llmsaver.saver import Saver
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.core.entry import Entry

    Call = Callable[[Saver], tuple[str | None, Entry | None]]

__all__ = ["call_path", "local_call"]

_MODEL = "local/smollm2-135m"
_TEXT = "the call path works"
_ASKED: Any = [{"role": "user", "content": "Does it?"}]
# No retries: a fault should be told at once. The URL is nobody's, and so is the key.
_ARGUMENTS: dict[str, Any] = {"api_key": "sk-doctor", "base_url": "http://fake.invalid/v1", "max_retries": 0}


def call_path() -> Iterator[Finding]:
    """Make one call per dialect, and one on the asynchronous client, to a fake provider inside this process."""
    try:
        # By name, so that a setting that switches the layers off does not hide whether they would work.
        Saver(mode="safe", disabled=False).close()
    except ConfigurationError:
        yield Finding("call path", "all", "absent", "not tried", "correct the settings first")
        return
    for name, call in (
        ("chat", _chat),
        ("responses", _responses),
        ("messages", _messages),
        ("chat, async", _async_chat),
    ):
        yield _tried("call path", name, call, "pip install --force-reinstall llmsaver")


def local_call() -> Iterator[Finding]:
    """Start the local model, which also checks its weights' sha256, and make one call to it."""
    yield _tried("local call", _MODEL, _local, "see what is said above, and the server's log it names")


def _tried(part: str, name: str, call: Call, fix: str) -> Finding:
    began = time.monotonic()
    try:
        with Saver(mode="safe", disabled=False) as saver:
            said, entry = call(saver)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the user wants to hear
        return Finding(part, name, "broken", f"{type(error).__name__}: {error}", fix)
    if entry is None or not entry.complete:
        return Finding(part, name, "broken", "an answer came, but the stack did not see it", fix)
    if part == "call path" and said != _TEXT:
        return Finding(part, name, "broken", f"the provider said {_TEXT!r}, the SDK returned {said!r}", fix)
    return Finding(part, name, "ok", f"answered in {time.monotonic() - began:.2f} s")


def _http(sdk: str, *, asynchronous: bool = False) -> Any:
    """Return an HTTP client, of the module that ``sdk`` stands on, whose other end is a fake provider."""
    module, fake = module_of(import_module(sdk).DefaultHttpxClient), FakeProvider(_TEXT)
    if asynchronous:
        return module.AsyncClient(transport=fake.async_transport(module.__name__))
    return module.Client(transport=fake.transport(module.__name__))


def _openai(saver: Saver) -> Any:
    from llmsaver.clients.openai import OpenAI

    return OpenAI(**_ARGUMENTS, http_client=_http("openai"), saver=saver)


def _chat(saver: Saver) -> tuple[str | None, Entry | None]:
    with _openai(saver) as client:
        answer = client.chat.completions.create(model="gpt-doctor", messages=_ASKED)
    return answer.choices[0].message.content, saver.last


def _responses(saver: Saver) -> tuple[str | None, Entry | None]:
    with _openai(saver) as client:
        answer = client.responses.create(model="gpt-doctor", input=_ASKED)
    return answer.output_text, saver.last


def _messages(saver: Saver) -> tuple[str | None, Entry | None]:
    from llmsaver.clients.anthropic import Anthropic

    arguments: dict[str, Any] = {**_ARGUMENTS, "http_client": _http("anthropic")}
    with Anthropic(**arguments, saver=saver) as client:
        answer: Any = client.messages.create(model="claude-doctor", max_tokens=20, messages=_ASKED)
    return answer.content[0].text, saver.last


def _async_chat(saver: Saver) -> tuple[str | None, Entry | None]:
    from llmsaver.clients.openai import AsyncOpenAI

    async def ask() -> tuple[str | None, Entry | None]:
        http = _http("openai", asynchronous=True)
        async with AsyncOpenAI(**_ARGUMENTS, http_client=http, saver=saver) as client:
            answer = await client.chat.completions.create(model="gpt-doctor", messages=_ASKED)
        return answer.choices[0].message.content, saver.last  # here, where the call's context is

    return asyncio.run(ask())


def _local(saver: Saver) -> tuple[str | None, Entry | None]:
    from llmsaver.clients.facade import Client

    with Client(saver=saver) as client:
        answer = client.chat.completions.create(model=_MODEL, messages=_ASKED, max_tokens=8)
    return answer.choices[0].message.content, saver.last
