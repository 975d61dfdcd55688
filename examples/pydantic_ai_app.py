"""pydantic-ai: an agent with a tool and structured output over our AsyncOpenAI; each step is a call through the stack.

    python examples/pydantic_ai_app.py

The fake provider plays the model: it asks for the tool, then answers in the shape that was asked for. Nothing is
reported to anybody: pydantic-ai's OpenTelemetry instrumentation stays off.

    advice   Advice(umbrella=False, why='21 degrees and dry')
    steps    2 model calls; the second was told 'sunny, 21 degrees in Paris'
    streamed 'Take sunglasses.' in 4 pieces
    seen     gpt-6-luna by chat, gpt-6-luna by chat, gpt-6-luna by chat
"""

import asyncio

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import llmsaver
from llmsaver.testing import Answer, FakeProvider, ToolCall


class Advice(BaseModel):
    """What the agent answers with."""

    umbrella: bool
    why: str


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny, 21 degrees in {city}"


seen: list[str] = []


async def note(request: llmsaver.Request, call_next: llmsaver.CallNext) -> llmsaver.Response:
    """Note each step as a layer sees it, in whatever task the framework makes the call."""
    seen.append(f"{request.model} by {request.dialect}")
    return await call_next(request)


async def main() -> None:
    """Ask the agent for advice, then stream a plain answer."""
    Agent.instrument_all(instrument=False)
    fake = FakeProvider()
    fake.script([
        Answer(tool_calls=(ToolCall("weather", {"city": "Paris"}),)),
        Answer('{"umbrella": false, "why": "21 degrees and dry"}'),
        Answer("Take sunglasses."),
    ])  # fmt: skip
    with fake.serve() as url, llmsaver.Saver(stack=[note, ...]) as saver:
        async with llmsaver.AsyncOpenAI(saver=saver, base_url=url, api_key="sk-fake") as client:
            model = OpenAIChatModel("gpt-6-luna", provider=OpenAIProvider(openai_client=client))

            agent = Agent(model, tools=[weather], output_type=NativeOutput(Advice))
            result = await agent.run("Do I need an umbrella in Paris?")
            print("advice  ", repr(result.output))
            told = fake.requests[1].json["messages"][-1]
            print(f"steps    {fake.calls} model calls; the second was told {told['content']!r}")

            async with Agent(model).run_stream("And what else?") as stream:
                pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
            print(f"streamed {''.join(pieces)!r} in {len(pieces)} pieces")
    print(f"seen     {', '.join(seen)}")


asyncio.run(main())
