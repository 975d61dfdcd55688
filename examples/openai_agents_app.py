"""OpenAI Agents SDK: an agent with one tool and structured output, on responses, over our AsyncOpenAI.

    python examples/openai_agents_app.py

The fake provider plays the model. Tracing would upload every run to OpenAI: it is off here. A model's name may also be
"local/smollm2-135m" (this one is too small to choose tools well).

    advice   Advice(umbrella=False, why='21 degrees and dry')
    steps    2 model calls; the second was told 'sunny, 21 degrees in Paris'
    streamed 'Take sunglasses.' in 4 pieces
    seen     gpt-6-luna by responses, gpt-6-luna by responses, gpt-6-luna by responses
"""

import asyncio

from agents import Agent, OpenAIProvider, RunConfig, Runner, function_tool, set_tracing_disabled
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel

import llmsaver
from llmsaver.testing import Answer, FakeProvider, ToolCall


class Advice(BaseModel):
    """What the agent answers with."""

    umbrella: bool
    why: str


@function_tool
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
    set_tracing_disabled(disabled=True)
    fake = FakeProvider()
    fake.script([
        Answer(tool_calls=(ToolCall("weather", {"city": "Paris"}),)),
        Answer('{"umbrella": false, "why": "21 degrees and dry"}'),
        Answer("Take sunglasses."),
    ])  # fmt: skip
    with fake.serve() as url, llmsaver.Saver(stack=[note, ...]) as saver:
        async with llmsaver.AsyncOpenAI(saver=saver, base_url=url, api_key="sk-fake") as client:
            config = RunConfig(model="gpt-6-luna", model_provider=OpenAIProvider(openai_client=client))

            agent = Agent("Adviser", tools=[weather], output_type=Advice)
            result = await Runner.run(agent, "Do I need an umbrella in Paris?", run_config=config)
            print("advice  ", repr(result.final_output))
            told = fake.requests[1].json["input"][-1]
            print(f"steps    {fake.calls} model calls; the second was told {told['output']!r}")

            run = Runner.run_streamed(Agent("Plain"), "And what else?", run_config=config)
            events = [event.data async for event in run.stream_events() if event.type == "raw_response_event"]
            pieces = [data.delta for data in events if isinstance(data, ResponseTextDeltaEvent)]
            print(f"streamed {''.join(pieces)!r} in {len(pieces)} pieces")
    print(f"seen     {', '.join(seen)}")


asyncio.run(main())
