"""instructor: structured output over our OpenAI client; each try of instructor's is a call with an entry of its own.

    python examples/instructor_app.py

The local model writes JSON that fits, for a grammar holds it to the schema; whether it is right is another question.
The fake provider first says something that does not validate, and instructor asks again:

    local   Ticket(team='technical', urgent=True)
    fake    Ticket(team='billing', urgent=True)
    tries   2, the second with the validation error: True
    partial 17 states, the last one Ticket(team='billing', urgent=True)
    entry   gpt-6-luna, chat, status 200
"""

from typing import Literal

import instructor
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

import llmsaver
from llmsaver.testing import Answer, FakeProvider, ToolCall


class Ticket(BaseModel):
    """A support ticket, sorted."""

    team: Literal["billing", "technical"]
    urgent: bool


ticket = "I was charged twice, please help today!"
ask: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"Sort this ticket: {ticket}"}]
saver = llmsaver.Saver()

local = instructor.from_openai(
    llmsaver.OpenAI(saver=saver, api_key="unused"), mode=instructor.Mode.JSON_SCHEMA, model="local/smollm2-135m"
)
print("local  ", repr(local.create(response_model=Ticket, messages=ask, temperature=0)))

wrong, right = (Answer(tool_calls=(ToolCall("Ticket", {"team": t, "urgent": True}),)) for t in ("cash", "billing"))
fake = FakeProvider()
fake.script([wrong, right, right])
with fake.serve() as url:
    client = instructor.from_openai(llmsaver.OpenAI(saver=saver, base_url=url, api_key="sk-fake"), model="gpt-6-luna")
    print("fake   ", repr(client.create(response_model=Ticket, messages=ask, max_retries=2)))
    print(f"tries   {fake.calls}, the second with the validation error: {b'literal_error' in fake.requests[1].body}")
    states = list(client.create_partial(response_model=Ticket, messages=ask))
    print(f"partial {len(states)} states, the last one {states[-1]!r}")
if saver.last is not None:
    print(f"entry   {saver.last.model}, {saver.last.dialect}, status {saver.last.status}")
saver.close()
