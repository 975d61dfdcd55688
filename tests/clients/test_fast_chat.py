"""The one resource we override: whatever the messages, the bytes sent are those of the SDK's own."""

from __future__ import annotations

import asyncio
import io
import warnings
from collections import OrderedDict
from typing import Any
from unittest import mock

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai._types import omit
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

import llmsaver
from llmsaver import Saver
from llmsaver.clients.fast_chat import past_transform
from llmsaver.clients.plain import is_plain

MODEL = "gpt-4o-mini"
SAVER = Saver(mode="off")
STOP = "that is all"


class Sent(Exception):  # noqa: N818 - carries what was sent, and stops the call there
    """The request, as it would leave."""


def sent_by(kind: Any, how: str, arguments: dict[str, Any], **options: Any) -> Any:
    """Return the bytes and headers a client sends, or the exception it raises instead."""
    got: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        kept = {k: v for k, v in request.headers.items() if "idempotency" not in k}
        got.append((request.method, str(request.url), request.content, kept))
        return httpx2.Response(418, json={"error": STOP})

    asynchronous = issubclass(kind, openai.AsyncOpenAI)
    http: Any = (httpx2.AsyncClient if asynchronous else httpx2.Client)(transport=httpx2.MockTransport(answer))
    client = kind(api_key="k", base_url="https://gateway.example/v1", http_client=http, max_retries=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's about odd values; the same for both
        try:
            asyncio.run(_acall(client, how, arguments)) if asynchronous else _call(client, how, arguments)
        except openai.APIStatusError:
            return got
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return type(error), str(error)
    return got


def _call(client: Any, how: str, arguments: dict[str, Any]) -> None:
    method = getattr(client.chat.completions, how)
    if how == "stream":
        with method(**arguments) as stream:
            list(stream)
    else:
        method(**arguments)


async def _acall(client: Any, how: str, arguments: dict[str, Any]) -> None:
    method = getattr(client.chat.completions, how)
    if how == "stream":
        async with method(**arguments):
            pass
    else:
        await method(**arguments)


class Answer(BaseModel):
    text: str


class Odd(str):
    __slots__ = ()


texts = st.text(max_size=8) | st.sampled_from(["", "ünï", "\u2028", "a" * 100, '"\\', "\x00", "😀"])
scalars = texts | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
strange = st.sampled_from(
    [
        omit,
        openai.NOT_GIVEN,
        Odd("x"),
        b"bytes",
        io.BytesIO(b"x"),
        Answer(text="x"),
        float("nan"),
        "\ud800",
        {1: 2},
        (1,),
    ]
)
json_values: st.SearchStrategy[Any] = st.recursive(
    scalars | strange,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
plain_values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=6
)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.fixed_dictionaries({"url": texts}, optional={"detail": st.sampled_from(["auto", "low"])}),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("input_audio"),
            "input_audio": st.fixed_dictionaries({"data": texts, "format": st.just("wav")}),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("file"), "file": st.fixed_dictionaries({}, optional={"file_id": texts, "file_data": texts})}
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts}),
)
contents = texts | st.lists(parts, max_size=3) | st.lists(parts, max_size=3).map(tuple) | st.none()
calls = st.fixed_dictionaries(
    {
        "id": texts,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": texts, "arguments": texts}),
    }
)
messages = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": contents}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": contents,
            "tool_calls": st.lists(calls, max_size=2) | st.lists(calls, max_size=2).map(iter),
            "refusal": st.none() | texts,
            "name": texts,
            "audio": st.none() | st.fixed_dictionaries({"id": texts}),
            "function_call": st.none() | st.fixed_dictionaries({"name": texts, "arguments": texts}),
            "reasoning_content": json_values,
        },
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": contents, "tool_call_id": texts}),
    st.fixed_dictionaries({"role": st.just("function"), "content": texts, "name": texts}),
    st.builds(lambda text: ChatCompletionMessage(role="assistant", content=text), texts),
    st.builds(OrderedDict, st.fixed_dictionaries({"role": st.just("user"), "content": texts})),
    st.dictionaries(texts, json_values, max_size=3),
    json_values,
)
extras = st.none() | st.dictionaries(
    st.sampled_from(["user", "messages", "model", "seed"]) | texts, plain_values, max_size=2
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    listed=st.lists(messages, max_size=4),
    shape=st.sampled_from(["list", "list", "tuple", "generator"]),
    how=st.sampled_from(["create", "create", "create streamed", "parse", "stream"]),
    asynchronous=st.booleans(),
    extra=extras,
)
def test_the_bytes_sent_are_the_sdks(listed: list[Any], shape: str, how: str, asynchronous: bool, extra: Any) -> None:
    def arguments() -> dict[str, Any]:
        fresh: Any = [_fresh(message) for message in listed]
        shaped = {"list": fresh, "tuple": tuple(fresh), "generator": (message for message in fresh)}[shape]
        made: dict[str, Any] = {"model": MODEL, "messages": shaped, "temperature": 0.5}
        if extra is not None:
            made["extra_body"] = extra
        if how == "create streamed":
            made["stream"] = True
        if how == "parse":
            made["response_format"] = Answer
        return made

    bare, ours = (openai.AsyncOpenAI, llmsaver.AsyncOpenAI) if asynchronous else (openai.OpenAI, llmsaver.OpenAI)
    name = how.partition(" ")[0]
    assert sent_by(ours, name, arguments(), saver=SAVER) == sent_by(bare, name, arguments())


def _fresh(message: Any) -> Any:
    """Return a copy in which iterators are new: two clients cannot share one."""
    if isinstance(message, dict) and hasattr(message.get("tool_calls"), "__next__"):
        kept = list(message["tool_calls"])
        message["tool_calls"] = iter(kept)
        return {**message, "tool_calls": iter(kept)}
    return message


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("how", ["create", "parse", "stream"])
def test_plain_messages_take_the_short_way_and_others_do_not(how: str, asynchronous: bool) -> None:
    plain = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    bare, ours = (openai.AsyncOpenAI, llmsaver.AsyncOpenAI) if asynchronous else (openai.OpenAI, llmsaver.OpenAI)
    with mock.patch("openai._utils._transform._transform_recursive") as walk:
        walk.side_effect = lambda data, **_: data
        sent_by(ours, how, {"model": MODEL, "messages": plain}, saver=SAVER)
        seen = [call.args[0] for call in walk.call_args_list]
    assert plain not in seen
    assert sent_by(ours, how, {"model": MODEL, "messages": plain}, saver=SAVER) == sent_by(
        bare, how, {"model": MODEL, "messages": plain}
    )


def test_nothing_of_the_callers_is_changed() -> None:
    listed: list[Any] = [{"role": "user", "content": "hi"}]
    extra = {"user": "me"}
    sent_by(llmsaver.OpenAI, "create", {"model": MODEL, "messages": listed, "extra_body": extra}, saver=SAVER)
    assert listed == [{"role": "user", "content": "hi"}]
    assert extra == {"user": "me"}


def test_a_list_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in (loop, [{"role": "user", "content": loop}]):
        assert not is_plain(value)
        arguments = {"model": MODEL, "messages": value}
        ours = sent_by(llmsaver.OpenAI, "create", arguments, saver=SAVER)
        bare = sent_by(openai.OpenAI, "create", arguments)
        assert ours == bare
        assert ours[0] in {RecursionError, ValueError}


@pytest.mark.parametrize(
    "value",
    [None, 1, "x", [], {}, [[]], {"a": [1.5, None, True, {"b": "c"}]}],
)
def test_plain(value: Any) -> None:
    assert is_plain(value)


@pytest.mark.parametrize(
    "value", [(), b"", object(), {1: 2}, [()], {"a": Odd("x")}, {Odd("x"): 1}, OrderedDict(), [omit], iter([])]
)
def test_not_plain(value: Any) -> None:
    assert not is_plain(value)


def test_more_than_is_worth_walking_is_not_plain() -> None:
    assert not is_plain([[0] * 10] * 30_000)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"messages": []},
        {"messages": "hi"},
        {"messages": ({"role": "user"},)},
        {"messages": [{"role": "user"}], "extra_body": [1]},
        {"messages": [{"role": "user"}], "extra_body": {"messages": []}},
        {"messages": [object()]},
    ],
)
def test_what_takes_the_long_way(arguments: Any) -> None:
    assert past_transform(arguments) is arguments


def test_somebodys_instrumentation_sees_the_call_as_it_was_made() -> None:
    """Tracing libraries replace the SDK's method on its class; what they record must be what the user wrote."""
    from openai.resources.chat.completions import Completions

    listed: Any = [{"role": "user", "content": "hi"}]
    seen = []
    original = Completions.create

    def traced(self: Any, *args: Any, **arguments: Any) -> Any:
        seen.append(arguments["messages"])
        return original(self, *args, **arguments)

    with mock.patch.object(Completions, "create", traced):
        sent_by(llmsaver.OpenAI, "create", {"model": MODEL, "messages": listed}, saver=SAVER)
    assert seen == [listed]
    sent_by(llmsaver.OpenAI, "create", {"model": MODEL, "messages": listed}, saver=SAVER)
    assert len(seen) == 1


def test_the_resources_look_like_the_sdks() -> None:
    import inspect

    client = llmsaver.OpenAI(api_key="k", saver=SAVER)
    bare = openai.OpenAI(api_key="k")
    assert isinstance(client.chat.completions, type(bare.chat.completions))
    assert client.chat is client.chat
    assert client.chat.completions is client.chat.completions
    for name in ("create", "parse", "stream"):
        ours, theirs = getattr(client.chat.completions, name), getattr(bare.chat.completions, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert ours.__doc__ == theirs.__doc__
