"""The calls of the demo, written as an application writes them: with the SDKs' own methods."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

import llmsaver

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from llmsaver.clients.facade import AsyncClient, Client
    from llmsaver.core.entry import Entry
    from llmsaver.saver import Saver

__all__ = ["CAP", "MODEL", "STEPS", "Said", "Stage", "Step"]

MODEL = "local/smollm2-135m"
CAP = "demo-cap"
_LIMIT = 80
_CAPITAL = "What is the capital of France?"
_COLOURS = "Name three colours."
_OPPOSITE = "What is the opposite of hot?"
_PLACE = "Paris is a city in France. Write it as JSON with city and country."


class Place(BaseModel):
    """The shape asked for in the structured call."""

    city: str
    country: str


@dataclass(frozen=True, slots=True)
class Said:
    """What one call gave the application.

    ``entry`` is the record of it, None for a call past every layer; ``usage`` is (input, output) tokens as the SDK's
    object has them; ``noted`` is the entry that the answer itself names, None where an SDK's helper drops it.
    ``refused`` tells that a budget stopped the call; the text then says why.
    """

    text: str
    entry: Entry | None = None
    usage: tuple[int, int] | None = None
    noted: str | None = None
    refused: bool = False


@dataclass(slots=True)
class Stage:
    """What the calls share; ``watch`` is told the text of an answer as it grows."""

    saver: Saver
    client: Client
    async_client: AsyncClient
    watch: Callable[[str], None] = field(default=lambda _: None)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the demo: one call, or several at once.

    ``title`` is the SDK's method, ``note`` what there is to see; ``role`` names the call for the proofs and ``repeats``
    the role of the earlier call it repeats. ``ask`` returns what was said, one ``Said`` per call.
    """

    title: str
    question: str
    ask: Callable[[Stage, str], list[Said] | Coroutine[Any, Any, list[Said]]]
    note: str = ""
    streamed: bool = False
    role: str = ""
    repeats: str = ""


def _chat_body(question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "max_tokens": _LIMIT, "temperature": 0}


def _responses_body(question: str) -> dict[str, Any]:
    return {"model": MODEL, "input": question, "max_output_tokens": _LIMIT, "temperature": 0}


def _messages_body(question: str) -> dict[str, Any]:
    # The anthropic SDK has no argument for the temperature any more; the local server has.
    messages = [{"role": "user", "content": question}]
    return {"model": MODEL, "messages": messages, "max_tokens": _LIMIT, "extra_body": {"temperature": 0}}


def _annotated(stage: Stage, text: str, answer: Any) -> Said:
    """Return what a whole answer said, with the entry that it names itself."""
    return Said(text, stage.saver.last, noted=answer.llmsaver["entry"])


def bare_chat(stage: Stage, question: str) -> list[Said]:
    """Ask past every layer; there is no record, so the usage is the answer's own."""
    with llmsaver.options(bypass=True):
        answer = stage.client.chat.completions.create(**_chat_body(question))
    return [Said(answer.choices[0].message.content, usage=(answer.usage.prompt_tokens, answer.usage.completion_tokens))]


def chat(stage: Stage, question: str) -> list[Said]:
    """``chat.completions.create``."""
    answer = stage.client.chat.completions.create(**_chat_body(question))
    return [_annotated(stage, answer.choices[0].message.content, answer)]


def chat_stream(stage: Stage, question: str) -> list[Said]:
    """``chat.completions.stream``: the openai SDK's own accumulator reads our events."""
    text = ""
    with stage.client.chat.completions.stream(**_chat_body(question)) as stream:
        for event in stream:
            if event.type == "content.delta":
                text += event.delta
                stage.watch(text)
    return [Said(text, stage.saver.last)]


def chat_parse(stage: Stage, question: str) -> list[Said]:
    """``chat.completions.parse``: a pydantic object, enforced by the local server's grammar."""
    answer = stage.client.chat.completions.parse(**_chat_body(question), response_format=Place)
    return [_annotated(stage, repr(answer.choices[0].message.parsed), answer)]


def responses(stage: Stage, question: str) -> list[Said]:
    """``responses.create``."""
    answer = stage.client.responses.create(**_responses_body(question))
    return [_annotated(stage, answer.output_text, answer)]


async def async_responses_stream(stage: Stage, question: str) -> list[Said]:
    """``responses.create(stream=True)`` on the asynchronous client."""
    text = ""
    async for event in await stage.async_client.responses.create(**_responses_body(question), stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
            stage.watch(text)
    return [Said(text, stage.saver.last)]


def messages(stage: Stage, question: str) -> list[Said]:
    """``messages.create`` of the anthropic SDK."""
    answer = stage.client.messages.create(**_messages_body(question))
    return [_annotated(stage, answer.content[0].text, answer)]


def messages_stream(stage: Stage, question: str) -> list[Said]:
    """``messages.stream`` of the anthropic SDK."""
    text = ""
    with stage.client.messages.stream(**_messages_body(question)) as stream:
        for piece in stream.text_stream:
            text += piece
            stage.watch(text)
    return [Said(text, stage.saver.last)]


async def async_messages_stream(stage: Stage, question: str) -> list[Said]:
    """``messages.stream`` on the asynchronous client."""
    text = ""
    async with stage.async_client.messages.stream(**_messages_body(question)) as stream:
        async for piece in stream.text_stream:
            text += piece
            stage.watch(text)
    return [Said(text, stage.saver.last)]


async def async_chat(stage: Stage, question: str) -> list[Said]:
    """``chat.completions.create`` on the asynchronous client."""
    answer = await stage.async_client.chat.completions.create(**_chat_body(question))
    return [_annotated(stage, answer.choices[0].message.content, answer)]


async def _async_responses(stage: Stage, question: str) -> list[Said]:
    answer = await stage.async_client.responses.create(**_responses_body(question))
    return [_annotated(stage, answer.output_text, answer)]


async def _async_messages(stage: Stage, question: str) -> list[Said]:
    answer = await stage.async_client.messages.create(**_messages_body(question))
    return [_annotated(stage, answer.content[0].text, answer)]


async def three_at_once(stage: Stage, question: str) -> list[Said]:
    """One call in each dialect, side by side on one event loop."""
    said = await asyncio.gather(
        async_chat(stage, question), _async_responses(stage, question), _async_messages(stage, question)
    )
    return [one for each in said for one in each]


def capped(stage: Stage, question: str) -> list[Said]:
    """Ask under a budget of fewer tokens than an answer can take: refused before anything leaves."""
    try:
        with llmsaver.budget(CAP, tokens=20):
            answer = stage.client.chat.completions.create(**_chat_body(question))
    except llmsaver.BudgetExceeded as error:
        return [Said(str(error), stage.saver.last, refused=True)]
    return [_annotated(stage, answer.choices[0].message.content, answer)]  # budgets only warn in mode "observe"


STEPS = (
    Step("chat.completions.create", _CAPITAL, bare_chat, "past every layer, to compare with", role="bare"),
    Step("chat.completions.create", _CAPITAL, chat, "the same through the stack", role="styled"),
    Step("chat.completions.create", _CAPITAL, chat, "the same again", role="again", repeats="styled"),
    Step("chat.completions.stream", _COLOURS, chat_stream, "streamed", streamed=True, role="chat-stream"),
    Step(
        "chat.completions.stream", _COLOURS, chat_stream, "the same stream again", streamed=True, repeats="chat-stream"
    ),
    Step("chat.completions.parse", _PLACE, chat_parse, "structured output, as a pydantic object"),
    Step("responses.create", _OPPOSITE, responses),
    Step("responses.create(stream=True)", _CAPITAL, async_responses_stream, "async, streamed", streamed=True),
    Step("messages.create", _OPPOSITE, messages, "the anthropic SDK"),
    Step("messages.stream", _COLOURS, messages_stream, "streamed", streamed=True, role="messages-stream"),
    Step(
        "messages.stream", _COLOURS, async_messages_stream, "the same, async", streamed=True, repeats="messages-stream"
    ),
    Step("chat.completions.create", _OPPOSITE, async_chat, "async; the first attempt fails", role="retried"),
    Step("chat, responses, messages", "How many days are in a week?", three_at_once, "async, three at once"),
    Step("chat.completions.create", "Tell me everything.", capped, "under a budget of 20 tokens", role="capped"),
)
