"""Layers of your own: ``async def layer(request, call_next)``, or an object whose ``__call__`` is one.

    python examples/custom_middleware.py

A layer is written once and works under sync and async clients, streamed or not. Here one changes requests, one answers
by itself and one looks at how answers end. The provider is a fake that says back what reached it:

    sync            'Echo: Write to <email>'  mask_addresses: changed (messages)
    sync, streamed  'Echo: Write to <email>'
    sync            'From 9 to 5.'  answer_known: answered (without an upstream call)
    sync, streamed  'From 9 to 5.'
    async           'Echo: Write to <email>'
    async, streamed 'Echo: Write to <email>'
    async           'From 9 to 5.'
    async, streamed 'From 9 to 5.'
    8 calls, 4 of them reached the provider; output tokens: 7, 7, 0, 0, 7, 7, 0, 0
"""

import asyncio
import re
from typing import Any

from llmsaver import AsyncClient, CallNext, Client, Outcome, Request, Response, Saver
from llmsaver.testing import FakeProvider

ADDRESS = re.compile(r"[\w.]+@[\w.]+")
KNOWN = {"When are you open?": "From 9 to 5."}
CALLS = [{"model": "gpt-6-luna", "messages": [{"role": "user", "content": c}]} for c in ("Write to a@b.org", *KNOWN)]
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
used: list[str] = []


def masked(value: Any) -> Any:
    """Return JSON with the mail addresses in its strings masked, at any depth: so every dialect is covered."""
    if isinstance(value, str):
        return ADDRESS.sub("<email>", value)
    if isinstance(value, list):
        return [masked(each) for each in value]
    return {key: masked(each) for key, each in value.items()} if isinstance(value, dict) else value


async def mask_addresses(request: Request, call_next: CallNext) -> Response:
    """Change a request: no mail address leaves the process."""
    return await call_next(request.replace(body=masked(request.body)))


async def answer_known(request: Request, call_next: CallNext) -> Response:
    """Answer in the request's dialect, without a call; a caller who streams gets the same as events."""
    text = KNOWN.get(str(request.body["messages"][-1].get("content"))) if request.dialect == "chat" else None
    if text is None:
        return await call_next(request)
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    answer = {"id": "known", "object": "chat.completion", "created": 0, "model": request.model, "choices": [choice]}
    return Response.of(answer)


class Watch:
    """Look at outcomes: the callback runs exactly once, when the answer has ended, however it ended."""

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on, and note what the answer used."""
        response = await call_next(request)
        response.on_complete(self.ended)
        return response

    def ended(self, outcome: Outcome) -> None:
        """Note the output tokens; an answer that no provider gave has no usage."""
        used.append(str(outcome.usage.output_tokens if outcome.usage else 0))


def ask(client: Client) -> None:
    """Make each call twice, whole and streamed."""
    for call in CALLS:
        completion = client.chat.completions.create(**call)
        acts = [f"{act['name']}: {act['action']} ({act['why']})" for act in completion.llmsaver["layers"]]
        print(f"sync            {completion.choices[0].message.content!r} ", *acts)
        chunks = client.chat.completions.create(**call, **STREAMED)
        print(f"sync, streamed  {''.join(c.delta.content or '' for chunk in chunks for c in chunk.choices)!r}")


async def ask_async(url: str) -> None:
    """Do the same under an event loop."""
    async with AsyncClient(saver=saver, base_url=url, api_key="sk-fake") as client:
        for call in CALLS:
            completion = await client.chat.completions.create(**call)
            print(f"async           {completion.choices[0].message.content!r}")
            chunks = await client.chat.completions.create(**call, **STREAMED)
            text = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
            print(f"async, streamed {''.join(text)!r}")


fake = FakeProvider()
# Outermost first; ... stands for the layers of the Saver's mode, so mask_addresses is the last before the network.
saver = Saver(stack=[Watch(), answer_known, ..., mask_addresses])
with fake.serve() as url:
    with Client(saver=saver, base_url=url, api_key="sk-fake") as client:
        ask(client)
    asyncio.run(ask_async(url))
print(f"8 calls, {fake.calls} of them reached the provider; output tokens: {', '.join(used)}")
