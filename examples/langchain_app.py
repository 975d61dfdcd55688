"""LangChain: ChatOpenAI takes our HTTP clients; ChatAnthropic has no parameter for them, so it takes a small subclass.

    python examples/langchain_app.py

The first two lines come from the local model, which says what it likes, the others from a fake of both vendors:

    invoke  'The capital of France is a city in the heart of ...'
    stream  15 pieces
    tool    weather {'city': 'Paris'} -> 21 degrees in Paris
    claude  'Echo: Hello'
    claude  'Echo: Hello again', streamed
    async   'Echo: Bonjour'
    async   'Echo: Hallo'
    seen    2 x local/smollm2-135m, 2 x gpt-6-luna, 3 x claude-haiku-5-5
"""

import asyncio
from collections import Counter
from functools import cached_property

import anthropic
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

import llmsaver
from llmsaver.testing import Answer, FakeProvider, ToolCall

seen: Counter[str | None] = Counter()


async def count(request: llmsaver.Request, call_next: llmsaver.CallNext) -> llmsaver.Response:
    """Count the calls by model: a layer sees them all, whatever thread or task a framework makes them in."""
    seen[request.model] += 1
    return await call_next(request)


saver = llmsaver.Saver(stack=[count, ...])
http = {"http_client": llmsaver.http_client(saver=saver), "http_async_client": llmsaver.async_http_client(saver=saver)}


class SavingChatAnthropic(ChatAnthropic):
    """ChatAnthropic over a Saver: the two places where it makes its SDK clients, overridden."""

    @cached_property
    def _client(self) -> anthropic.Anthropic:
        return llmsaver.wrap(super()._client, saver=saver)

    @cached_property
    def _async_client(self) -> anthropic.AsyncAnthropic:
        return llmsaver.wrap(super()._async_client, saver=saver)


@tool
def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"21 degrees in {city}"


async def ask_async(gpt: ChatOpenAI, claude: ChatAnthropic) -> None:
    """Ask both under an event loop."""
    print("async  ", repr((await gpt.ainvoke("Bonjour")).text))
    print("async  ", repr((await claude.ainvoke("Hallo")).text))


local = ChatOpenAI(model="local/smollm2-135m", max_completion_tokens=16, api_key=SecretStr("unused"), **http)
print("invoke ", repr(local.invoke("What is the capital of France?").text))
print("stream ", sum(1 for chunk in local.stream("Count to ten.") if chunk.text), "pieces")

fake = FakeProvider()
with fake.serve() as url:
    gpt = ChatOpenAI(model="gpt-6-luna", base_url=url, api_key=SecretStr("sk-fake"), **http)
    fake.script([Answer(tool_calls=(ToolCall("weather", {"city": "Paris"}),))])
    call = gpt.bind_tools([weather]).invoke("How is the weather in Paris?").tool_calls[0]
    print("tool   ", call["name"], call["args"], "->", weather.invoke(call["args"]))

    claude = SavingChatAnthropic(  # type: ignore[call-arg]  # its optional fields are not declared so
        model_name="claude-haiku-5-5", base_url=url, api_key=SecretStr("sk-fake")
    )
    print("claude ", repr(claude.invoke("Hello").text))
    print("claude ", repr("".join(chunk.text for chunk in claude.stream("Hello again"))) + ", streamed")
    asyncio.run(ask_async(gpt, claude))
print("seen   ", ", ".join(f"{times} x {model}" for model, times in seen.items()))
saver.close()
