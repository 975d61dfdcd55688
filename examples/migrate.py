"""Migration: change one import, or wrap a client that is already there; the rest of the program stays as it is.

    python examples/migrate.py

Against a fake of both vendors:

    before   'Echo: Hello'
    import   'Echo: Hello', openai.OpenAI: True; gpt-6-luna, attempts with status [200]
    import   'Echo: Hello', anthropic.Anthropic: True; claude-haiku-5-5, attempts with status [200]
    wrapped  'Echo: Hello'; gpt-6-luna, attempts with status [200]
    errors   RateLimitError, the SDK's own; gpt-6-luna, attempts with status [429, 429]
"""

import anthropic
import openai

import llmsaver
from llmsaver.testing import FakeProvider, Fault


def chat(client: openai.OpenAI) -> str | None:
    """Stand for a program that knows nothing of llmsaver."""
    answer = client.chat.completions.create(model="gpt-6-luna", messages=[{"role": "user", "content": "Hello"}])
    return answer.choices[0].message.content


def message(client: anthropic.Anthropic) -> str:
    """Do the same with the other SDK."""
    answer = client.messages.create(
        model="claude-haiku-5-5", max_tokens=20, messages=[{"role": "user", "content": "Hello"}]
    )
    return "".join(block.text for block in answer.content if block.type == "text")


def entry(saver: llmsaver.Saver) -> str:
    """Say what llmsaver knows about the latest call; the SDK's retries belong to it."""
    last = saver.last
    return f"{last.model}, attempts with status {[each.status for each in last.attempts]}" if last else "not seen"


fake = FakeProvider()
with fake.serve() as url:
    before = openai.OpenAI(base_url=url, api_key="sk-fake", max_retries=1)
    print(f"before   {chat(before)!r}")

    client = llmsaver.OpenAI(base_url=url, api_key="sk-fake")  # the import was: from openai import OpenAI
    print(f"import   {chat(client)!r}, openai.OpenAI: {isinstance(client, openai.OpenAI)}; {entry(client.saver)}")

    claude = llmsaver.Anthropic(base_url=url, api_key="sk-fake")  # and: from anthropic import Anthropic
    said, kin = message(claude), isinstance(claude, anthropic.Anthropic)
    print(f"import   {said!r}, anthropic.Anthropic: {kin}; {entry(claude.saver)}")

    saver = llmsaver.Saver()
    wrapped = llmsaver.wrap(before, saver=saver)  # a client that somebody else made; it is not changed
    print(f"wrapped  {chat(wrapped)!r}; {entry(saver)}")

    fake.script([Fault(429, retry_after=0.01), Fault(429, retry_after=0.01)])
    try:
        chat(wrapped)
    except openai.RateLimitError as error:
        print(f"errors   {type(error).__name__}, the SDK's own; {entry(saver)}")
