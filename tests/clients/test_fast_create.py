"""A whole call past the SDK's transform: the bytes sent are the SDK's, whatever is in it and whoever looks on."""

from __future__ import annotations

import asyncio
import warnings
from types import SimpleNamespace
from typing import Any
from unittest import mock

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai._types import omit
from openai.resources.chat.completions import AsyncCompletions, Completions
from openai.resources.responses import AsyncResponses, Responses
from pydantic import BaseModel

import llmsaver
from llmsaver import Saver
from llmsaver.clients.fast_create import all_past_transform, body_names

SAVER = Saver(mode="off")
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
RESPONSE: dict[str, Any] = {"model": "gpt-4o-mini", "input": "hi", "temperature": 0.5}
WAYS = [pytest.param("chat", CHAT, id="chat"), pytest.param("responses", RESPONSE, id="responses")]


class Model(BaseModel):
    text: str = "x"


def sent_by(kind: Any, surface: str, arguments: dict[str, Any], **options: Any) -> Any:
    """Return what a client sends, or the exception it raises instead."""
    got: list[Any] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        kept = {k: v for k, v in request.headers.items() if "idempotency" not in k}
        got.append((request.method, str(request.url), request.content, kept))
        return httpx2.Response(418, json={"error": "that is all"})

    asynchronous = issubclass(kind, openai.AsyncOpenAI)
    http: Any = (httpx2.AsyncClient if asynchronous else httpx2.Client)(transport=httpx2.MockTransport(answer))
    given = {"api_key": "k", "base_url": "https://gateway.example/v1", "http_client": http, "max_retries": 0, **options}
    client = kind(**{name: value for name, value in given.items() if value is not None})
    resource = client.chat.completions if surface == "chat" else client.responses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's about odd values; the same for both
        try:
            made = resource.create(**arguments)
            asyncio.run(_awaited(made)) if asynchronous else None
        except openai.APIStatusError:
            return got
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
            return type(error), str(error)
    return got


async def _awaited(made: Any) -> Any:
    return await made


texts = st.text(max_size=8) | st.sampled_from(["", "ünï", "\u2028", '"\\', "\ud800"])
scalars = texts | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
strange = st.sampled_from([omit, openai.NOT_GIVEN, b"bytes", Model(), float("nan"), {1: 2}, (1,)])
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=6,
)
parameters = st.dictionaries(
    st.sampled_from(sorted({*body_names(Completions), *body_names(Responses)})), values | strange, max_size=5
)
about = st.fixed_dictionaries(
    {},
    optional={
        "extra_body": st.none() | st.just([1]) | st.dictionaries(st.sampled_from(["model", "user", "new"]), values),
        "extra_headers": st.just({"x-mine": "1"}),
        "extra_query": st.just({"page": "2"}),
        "timeout": st.just(5.0),
        "stream": st.sampled_from([None, True, False, omit]),
        "nonsense": st.just(1),
    },
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    surface=st.sampled_from(["chat", "responses"]),
    required=st.booleans(),
    more=parameters,
    around=about,
    asynchronous=st.booleans(),
)
def test_the_bytes_sent_are_the_sdks(
    surface: str, required: bool, more: dict[str, Any], around: dict[str, Any], asynchronous: bool
) -> None:
    usual = (CHAT if surface == "chat" else RESPONSE) if required else {}
    arguments = {**more, **usual, **around}
    bare, ours = (openai.AsyncOpenAI, llmsaver.AsyncOpenAI) if asynchronous else (openai.OpenAI, llmsaver.OpenAI)
    assert sent_by(ours, surface, arguments, saver=SAVER) == sent_by(bare, surface, arguments)


@pytest.mark.parametrize("resource", [Completions, AsyncCompletions, Responses, AsyncResponses])
def test_the_sdk_says_what_a_body_is_made_of(resource: Any) -> None:
    names = body_names(resource)
    assert {"model", "temperature", "tools", "metadata"} <= set(names)
    assert not {"stream", "extra_body", "timeout", "self"} & set(names)


def test_an_sdk_that_does_otherwise_does_all_its_work_itself() -> None:
    class Refusing:
        def __init__(self, _: Any) -> None:
            pass

        def create(self, *, model: str) -> None:
            raise TypeError(model)

    class Adding:
        def __init__(self, client: Any) -> None:
            self._post = client.post

        def create(self, *, model: str) -> None:
            self._post("/path", body={"version": 2, "model": model})

    assert body_names(Refusing) == body_names(Adding) == ()
    assert all_past_transform((), CHAT) is None


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("surface", "arguments"), WAYS)
def test_plain_calls_take_the_short_way(surface: str, arguments: dict[str, Any], asynchronous: bool) -> None:
    ours = llmsaver.AsyncOpenAI if asynchronous else llmsaver.OpenAI
    name = "_async_transform_recursive" if asynchronous else "_transform_recursive"
    with mock.patch(f"openai._utils._transform.{name}") as walk:
        walk.side_effect = lambda data, **_: data
        sent_by(ours, surface, arguments, saver=SAVER)
    bodies = [call.args[0] for call in walk.call_args_list]
    assert bodies
    assert all(value is omit for body in bodies for value in body.values())


@pytest.mark.parametrize(("surface", "arguments"), WAYS)
def test_nothing_of_the_callers_is_changed(surface: str, arguments: dict[str, Any]) -> None:
    extra = {"user": "me"}
    written = {**arguments, "extra_body": extra}
    sent_by(llmsaver.OpenAI, surface, written, saver=SAVER)
    assert written == {**arguments, "extra_body": {"user": "me"}}


@pytest.mark.parametrize(("surface", "arguments"), WAYS)
def test_a_hook_of_an_applications_own_class_reads_the_body(surface: str, arguments: dict[str, Any]) -> None:
    seen: list[Any] = []

    class Mine(llmsaver.OpenAI):
        def _prepare_options(self, options: Any) -> Any:
            seen.append(options.json_data)
            return super()._prepare_options(options)

    sent_by(Mine, surface, arguments, saver=SAVER)
    assert seen[0]["model"] == arguments["model"]


def test_azures_deployment_is_the_model() -> None:
    options = {"azure_endpoint": "https://me.openai.azure.com", "api_version": "2024-10-21", "base_url": None}
    ours = sent_by(llmsaver.AzureOpenAI, "chat", CHAT, saver=SAVER, **options)
    assert ours == sent_by(openai.AzureOpenAI, "chat", CHAT, **options)
    assert "/deployments/gpt-4o-mini/" in ours[0][1]


@pytest.mark.parametrize(("resource", "surface", "arguments"), [(Responses, "responses", RESPONSE)])
def test_somebodys_instrumentation_sees_the_call_as_it_was_made(
    resource: Any, surface: str, arguments: dict[str, Any]
) -> None:
    seen = []
    original = resource.create

    def traced(self: Any, *args: Any, **written: Any) -> Any:
        seen.append(written)
        return original(self, *args, **written)

    with mock.patch.object(resource, "create", traced):
        sent_by(llmsaver.OpenAI, surface, arguments, saver=SAVER)
    assert seen == [arguments]


def test_a_wrapper_without_code_of_its_own_is_instrumentation_too() -> None:
    original = Responses.create
    stand_in = mock.Mock(side_effect=original)
    with mock.patch.object(Responses, "create", SimpleNamespace(__call__=stand_in)):
        client = llmsaver.OpenAI(api_key="k", saver=SAVER)
        with pytest.raises(TypeError, match="not callable"):
            client.responses.create(**RESPONSE)


def test_the_resource_looks_like_the_sdks() -> None:
    import inspect

    client, bare = llmsaver.OpenAI(api_key="k", saver=SAVER), openai.OpenAI(api_key="k")
    assert isinstance(client.responses, Responses)
    assert client.responses is client.responses
    assert inspect.signature(client.responses.create) == inspect.signature(bare.responses.create)
    assert client.responses.create.__doc__ == bare.responses.create.__doc__
    assert isinstance(llmsaver.AsyncOpenAI(api_key="k", saver=SAVER).responses, AsyncResponses)
