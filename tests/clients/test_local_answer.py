"""What a local model writes, as the SDKs' own types and accumulators see it: tools, schemas, errors, usage."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel

from llmsaver import LocalModelError
from llmsaver.local.endpoint import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver import Saver

MODEL = "local/tiny"
WIRE = httpx2.MockTransport(lambda request: pytest.fail(f"{request.url} was asked"))
HI: Any = [{"role": "user", "content": "hi"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "at": {"$ref": "#/$defs/At"}},
    "required": ["city", "at"],
    "$defs": {"At": {"type": "object", "properties": {"lat": {"type": "integer"}}, "required": ["lat"]}},
}
ARGUMENTS = {"city": 'Zürich "x" {', "at": {"lat": 3}}
TEXT = json.dumps(ARGUMENTS, indent=1, ensure_ascii=False)
FUNCTION = {"name": "look", "description": "Look.", "parameters": SCHEMA}
OTHER = {"name": "wait", "parameters": {"type": "object", "properties": {"s": {"type": "integer"}}}}


@pytest.fixture
def served(llama: Any, tier_of: Callable[..., Saver]) -> Any:
    return tier_of(Endpoint(llama.url, "local-key", "tiny"))


def tools_of(dialect: str, *functions: dict[str, Any]) -> list[Any]:
    if dialect == "chat":
        return [{"type": "function", "function": function} for function in functions]
    if dialect == "responses":
        return [{"type": "function", "strict": True, **function} for function in functions]
    return [
        {"name": function["name"], "description": "d", "input_schema": function["parameters"]} for function in functions
    ]


def forced(dialect: str, name: str | None = None) -> Any:
    if dialect == "messages":
        return {"type": "tool", "name": name} if name else {"type": "any"}
    if name is None:
        return "required"
    return {"type": "function", **({"function": {"name": name}} if dialect == "chat" else {"name": name})}


def calls_of(way: Any, values: list[Any]) -> tuple[list[tuple[str, Any]], str | None]:
    """Return the tool calls that an answer holds, as (name, arguments), and how it ended."""
    last = values[-1]
    if way.dialect == "messages":
        blocks = [block for block in last.content if block.type == "tool_use"]
        assert all(block.id.startswith("toolu_") for block in blocks)
        return [(block.name, block.input) for block in blocks], last.stop_reason
    if way.dialect == "responses":
        items = [item for item in last.output if item.type == "function_call"]
        assert all(item.call_id.startswith("call_") and item.status == "completed" for item in items)
        return [(item.name, json.loads(item.arguments)) for item in items], last.status
    choice = last.choices[0]
    calls = choice.message.tool_calls or []
    assert all(call.id.startswith("call_") for call in calls)
    return [(call.function.name, json.loads(call.function.arguments)) for call in calls], choice.finish_reason


async def ask(client: Any, way: Any, **more: Any) -> list[Any]:
    """Make the call, streamed through the SDK's own accumulator; return the events, then the final answer."""
    arguments = {"model": MODEL, **more}
    if way.dialect == "responses":
        resource, arguments = client.responses, {"input": "hi", **arguments}
    elif way.dialect == "messages":
        resource, arguments = client.messages, {"messages": HI, "max_tokens": 50, **arguments}
    else:
        resource, arguments = client.chat.completions, {"messages": HI, **arguments}
    if not way.stream:
        answer = resource.create(**arguments)
        return [await answer if way.asynchronous else answer]
    final = {"responses": "get_final_response", "messages": "get_final_message", "chat": "get_final_completion"}
    if way.asynchronous:
        async with resource.stream(**arguments) as stream:
            events = [event async for event in stream]
            return [*events, await getattr(stream, final[way.dialect])()]
    with resource.stream(**arguments) as stream:
        return [*stream, getattr(stream, final[way.dialect])()]


ENDINGS = {"chat": "tool_calls", "responses": "completed", "messages": "tool_use"}
PIECES = {"whole": [TEXT], "signs": list(TEXT), "in threes": [TEXT[at : at + 3] for at in range(0, len(TEXT), 3)]}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
async def test_one_tool_that_must_be_called(
    way: Any, caller: Any, llama: Any, served: Any, said: Any, pieces: list[str]
) -> None:
    caller.saver, llama.said = served, [said(pieces=pieces)]
    client = caller.client(way, WIRE)
    values = await ask(client, way, tools=tools_of(way.dialect, FUNCTION), tool_choice=forced(way.dialect, "look"))
    assert calls_of(way, values) == ([("look", ARGUMENTS)], ENDINGS[way.dialect])
    [body] = llama.bodies
    assert body["json_schema"]["properties"]["at"] == {"$ref": "#/$defs/r0"}
    assert "tools" not in body
    assert body["messages"][0]["role"] == "system"
    assert '"name": "look"' in body["messages"][0]["content"]
    if way.stream and len(pieces) > 1:
        assert len(values) > len(pieces)
    assert values[-1].usage is not None or way.dialect == "chat"


@pytest.mark.parametrize("knows", [False, True], ids=["template without tools", "template with tools"])
async def test_one_of_several_tools(way: Any, caller: Any, llama: Any, served: Any, said: Any, knows: bool) -> None:
    llama.knows_tools = knows
    caller.saver, llama.said = served, [said(pieces=list(f'{{ "name":"look",\n"arguments" : {TEXT} }}'))]
    client = caller.client(way, WIRE)
    tools = tools_of(way.dialect, OTHER, FUNCTION)
    values = await ask(client, way, tools=tools, tool_choice=forced(way.dialect))
    assert calls_of(way, values) == ([("look", ARGUMENTS)], ENDINGS[way.dialect])
    [body] = llama.bodies
    assert [part["properties"]["name"]["const"] for part in body["json_schema"]["anyOf"]] == ["wait", "look"]
    assert ("tools" in body, body.get("tool_choice")) == ((True, "none") if knows else (False, None))


async def test_several_calls_at_once(way: Any, caller: Any, llama: Any, served: Any, said: Any) -> None:
    text = f'[{{"name": "wait", "arguments": {{"s": 1}}}}, {{"name": "look", "arguments": {TEXT}}}]'
    caller.saver, llama.said = served, [said(pieces=list(text))]
    client = caller.client(way, WIRE)
    tools = tools_of(way.dialect, OTHER, FUNCTION)
    choice: dict[str, Any] = {"tool_choice": forced(way.dialect), "parallel_tool_calls": True}
    if way.dialect == "messages":
        choice = {"tool_choice": {"type": "any", "disable_parallel_tool_use": False}}
    values = await ask(client, way, tools=tools, **choice)
    assert calls_of(way, values) == ([("wait", {"s": 1}), ("look", ARGUMENTS)], ENDINGS[way.dialect])
    assert llama.bodies[0]["json_schema"]["type"] == "array"


@pytest.mark.parametrize("text", [f'```json\n{{"name": "look", "arguments": {TEXT}}}\n```', None])
async def test_a_tool_that_may_be_called(
    way: Any, caller: Any, llama: Any, served: Any, said: Any, text: str | None
) -> None:
    text = text or f'<tool_call>\n{{"name": "look", "arguments": {TEXT}}}\n</tool_call>'
    caller.saver, llama.said = served, [said(pieces=list(text)), said()]
    client = caller.client(way, WIRE)
    values = await ask(client, way, tools=tools_of(way.dialect, FUNCTION))
    assert calls_of(way, values) == ([("look", ARGUMENTS)], ENDINGS[way.dialect])
    assert "json_schema" not in llama.bodies[0]
    assert calls_of(way, await ask(client, way, tools=tools_of(way.dialect, FUNCTION)))[0] == []


async def test_the_servers_own_calls_are_checked(way: Any, caller: Any, llama: Any, served: Any, said: Any) -> None:
    def called(text: str) -> Any:
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": text}}
        return said(pieces=[], finish="tool_calls", delta={"content": None, "tool_calls": [call]})

    llama.knows_tools = True
    caller.saver, llama.said = served, [called(TEXT), called('{"city": 1}')]
    client = caller.client(way, WIRE)
    tools = tools_of(way.dialect, FUNCTION)
    assert calls_of(way, await ask(client, way, tools=tools)) == ([("look", ARGUMENTS)], ENDINGS[way.dialect])
    with pytest.raises(LocalModelError, match="do not keep to its schema: 1 is not of type 'string'"):
        await ask(client, way, tools=tools)


BROKEN = [
    ('{"city": "x"}', "stop", "do not keep to its schema: 'at' is a required property"),
    (TEXT[:-9], "length", "cut off by the limit of output tokens"),
    (TEXT[:-9], "stop", "is not whole"),
    ("", "stop", "wrote no tool call|is not whole"),
    ('{"city": "x" "at"}', "stop", "are no JSON"),
]


@pytest.mark.parametrize(("text", "finish", "says"), BROKEN)
async def test_a_call_that_is_none_is_never_passed_on(
    way: Any, caller: Any, llama: Any, served: Any, said: Any, text: str, finish: str, says: str
) -> None:
    caller.saver, llama.said = served, [said(pieces=[text], finish=finish)]
    client = caller.client(way, WIRE, max_retries=2)
    with pytest.raises(LocalModelError, match=says) as raised:
        await ask(client, way, tools=tools_of(way.dialect, FUNCTION), tool_choice=forced(way.dialect))
    family: Any = anthropic.AnthropicError if way.dialect == "messages" else openai.OpenAIError
    assert isinstance(raised.value, family)
    assert len(llama.bodies) == 1
    assert served._local.running == 0


class Person(BaseModel):
    name: str
    age: int


async def test_an_answer_held_to_a_schema(way: Any, caller: Any, llama: Any, served: Any, said: Any) -> None:
    caller.saver, llama.said = served, [said(pieces=['{"name": "Bo",', ' "age": 5}'])]
    client = caller.client(way, WIRE)
    schema = Person.model_json_schema()
    if way.dialect == "chat":
        wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
        values = await ask(client, way, response_format=wanted)
        text = values[-1].choices[0].message.content
    elif way.dialect == "responses":
        text_format = {"format": {"type": "json_schema", "name": "person", "schema": schema}}
        values = await ask(client, way, text=text_format)
        text = values[-1].output_text
    else:
        values = await ask(client, way, output_config={"format": {"type": "json_schema", "schema": schema}})
        text = values[-1].content[0].text
    assert Person.model_validate_json(text) == Person(name="Bo", age=5)
    assert llama.bodies[0]["response_format"]["json_schema"]["schema"] == schema


def test_parse(caller: Any, way_of: Any, llama: Any, served: Any, said: Any) -> None:
    caller.saver, llama.said = served, [said(pieces=['{"name": "Bo", "age": 5}']) for _ in range(3)]
    with caller.client(way_of("chat", False, False), WIRE) as client:
        answer = client.chat.completions.parse(model=MODEL, messages=HI, response_format=Person)
        assert answer.choices[0].message.parsed == Person(name="Bo", age=5)
        assert client.responses.parse(model=MODEL, input="hi", text_format=Person).output_parsed == Person(
            name="Bo", age=5
        )
    with caller.client(way_of("messages", False, False), WIRE) as client:
        answer = client.messages.parse(model=MODEL, messages=HI, max_tokens=9, output_format=Person)
        assert answer.parsed_output == Person(name="Bo", age=5)


async def test_every_choice_gets_its_call(caller: Any, way_of: Any, llama: Any, served: Any, said: Any) -> None:
    caller.saver, llama.said = served, [said(pieces=[TEXT])]
    way = way_of("chat", False, False)
    client = caller.client(way, WIRE)
    [answer] = await ask(client, way, n=2, tools=tools_of("chat", FUNCTION), tool_choice="required")
    assert [choice.message.tool_calls[0].function.name for choice in answer.choices] == ["look", "look"]
    assert len({choice.message.tool_calls[0].id for choice in answer.choices}) == 2


def error_of(raised: Any) -> Any:
    return raised.value.body.get("error", raised.value.body)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_is_too_long(
    sync_way: Any, caller: Any, llama: Any, served: Any, said: Any, streamed: bool
) -> None:
    told = {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_prompt_tokens": 3031, "n_ctx": 2048}
    caller.saver, llama.said = served, [said(status=400, body={"error": told})]
    client = caller.client(sync_way, WIRE, max_retries=2)
    family: Any = anthropic.BadRequestError if sync_way.dialect == "messages" else openai.BadRequestError
    arguments = {**sync_way.arguments(), "model": MODEL, "stream": streamed}
    with pytest.raises(family, match="3031 tokens > 2048") as raised:
        caller.resource(sync_way, client).create(**arguments)
    error = error_of(raised)
    assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == ("invalid_request_error", 3031, 2048)
    assert sync_way.dialect == "messages" or error["code"] == "context_length_exceeded"
    assert served.last.attempts[-1].overflow == (3031, 2048)
    assert len(llama.bodies) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (422, "invalid_request_error"), (500, "api_error")]
)
def test_other_errors_keep_their_words(
    sync_way: Any, caller: Any, llama: Any, served: Any, said: Any, status: int, kind: str
) -> None:
    told = {"code": status, "message": "JSON schema error at #", "type": "x"}
    caller.saver, llama.said = served, [said(status=status, body={"error": told})]
    client = caller.client(sync_way, WIRE, max_retries=0)
    family: Any = anthropic.APIStatusError if sync_way.dialect == "messages" else openai.APIStatusError
    with pytest.raises(family, match="JSON schema error at #") as raised:
        caller.resource(sync_way, client).create(**{**sync_way.arguments(), "model": MODEL})
    assert raised.value.status_code == status
    assert error_of(raised)["type"] == (kind if sync_way.dialect == "messages" else "x")
    assert "local-key" not in str(raised.value.request.headers)


def test_an_error_that_is_no_json_and_an_answer_that_is_none(
    caller: Any, way_of: Any, llama: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.saver = served
    monkeypatch.setattr(llama, "answer", lambda *_: (503, "text/plain", [b"Loading model"]))
    way = way_of("messages", False, False)
    with caller.client(way, WIRE, max_retries=0) as client:
        with pytest.raises(anthropic.InternalServerError, match="Loading model"):
            client.messages.create(model=MODEL, messages=HI, max_tokens=5)
        monkeypatch.setattr(llama, "answer", lambda *_: (200, "application/json", [b"[]"]))
        with pytest.raises(LocalModelError, match="cannot be read"):
            client.messages.create(model=MODEL, messages=HI, max_tokens=5)


async def test_an_error_in_the_middle_of_a_stream(stream_way: Any, caller: Any, llama: Any, served: Any) -> None:
    events = [
        b'data: {"id":"c-1","model":"tiny","choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}\n\n',
        b'data: {"error":{"code":500,"message":"it broke","type":"server_error"}}\n\n',
    ]
    caller.saver = served
    llama.answer = lambda *_: (200, "text/event-stream", events)
    client = caller.client(stream_way, WIRE, max_retries=0)
    if stream_way.dialect == "responses":  # here OpenAI's SDK hands the error on as an event
        arguments = {"model": MODEL, "input": "hi", "stream": True}
        stream = client.responses.create(**arguments)
        told: list[Any] = [event async for event in await stream] if stream_way.asynchronous else list(stream)
        assert (told[-1].type, told[-1].message) == ("error", "it broke")
        return
    family: Any = anthropic.APIError if stream_way.dialect == "messages" else openai.APIError
    with pytest.raises(family, match="it broke"):
        await ask(client, stream_way)


async def test_thinking_has_its_place(way: Any, caller: Any, llama: Any, served: Any, said: Any) -> None:
    caller.saver, llama.said = served, [said(delta={"reasoning_content": "hm"})]
    client = caller.client(way, WIRE)
    last = (await ask(client, way))[-1]
    if way.dialect == "messages":
        assert [block.type for block in last.content] == ["thinking", "text"]
        assert last.content[0].thinking == "hm"
    elif way.dialect == "responses":
        assert [item.type for item in last.output] == ["reasoning", "message"]
        assert last.output[0].content[0].text == "hm"
    else:
        assert last.choices[0].message.reasoning_content == "hm"


async def test_how_an_answer_ended(way: Any, caller: Any, llama: Any, served: Any, said: Any) -> None:
    caller.saver, llama.said = served, [said(finish="length")]
    way = type(way)(way.dialect, way.asynchronous, False)
    client = caller.client(way, WIRE)
    [answer] = await ask(client, way)
    if way.dialect == "messages":
        assert answer.stop_reason == "max_tokens"
        llama.said = [said(top={"__verbose": {"stopping_word": "END"}})]
        [answer] = await ask(client, way, stop_sequences=["END"])
        assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "END")
        assert (llama.bodies[-1]["stop"], llama.bodies[-1]["verbose"]) == (["END"], True)
    elif way.dialect == "responses":
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert answer.output[0].status == "incomplete"
    else:
        assert answer.choices[0].finish_reason == "length"


def test_the_first_event_of_a_message_knows_the_prompt(caller: Any, way_of: Any, llama: Any, served: Any) -> None:
    caller.saver = served
    with caller.client(way_of("messages", False, True), WIRE) as client:
        events = list(client.messages.create(model=MODEL, messages=HI, max_tokens=5, stream=True))
    usage = events[0].message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (5, 4, 0)
    assert (events[-2].usage.output_tokens, events[-2].usage.cache_read_input_tokens) == (3, 4)
    assert llama.bodies[0]["timings_per_token"] is True
