"""Shorter prompts on the wire, valid for the provider, and never at the price of a call."""

from __future__ import annotations

import asyncio
import json
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import llmsaver
from llmsaver import ConfigurationError, Saver, Stubs
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import AsyncRuntime
from llmsaver.middleware.compress import Compress
from llmsaver.middleware.exact_cache import ExactCache
from llmsaver.prompt.shorter import ALL
from llmsaver.testing import FakeProvider

if TYPE_CHECKING:
    from pathlib import Path

ROWS = json.dumps([{"id": n, "name": f"name {n}", "price": n / 8} for n in range(30)], indent=2)
CALL: Any = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
TALK: Any = [
    {"role": "user", "content": "What is the price of name 7?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": ROWS},
]
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def ask(tmp_path: Path, layer: Compress, messages: Any) -> tuple[Any, Any]:
    provider = FakeProvider("0.875")
    http = httpx2.Client(transport=provider.transport())
    with Saver(stack=[layer], ledger=str(tmp_path / "ledger.db")) as saver:
        client = llmsaver.OpenAI(api_key="k", http_client=http, saver=saver)
        client.chat.completions.create(model="gpt-5-mini", messages=messages, tools=[TOOL])
        return provider.requests[-1].json, saver.last


def test_a_tools_rows_are_a_table(tmp_path: Path) -> None:
    body, entry = ask(tmp_path, Compress(), TALK)
    assert body["messages"][:2] == TALK[:2]
    assert body["messages"][2]["content"].startswith("[table 1: 30 rows")
    assert body["messages"][2]["tool_call_id"] == "c1"
    assert body["tools"] == [TOOL]
    (act,) = [act for act in entry.layers if act.name == "compress"]
    assert act.why.startswith(f"{len(ROWS):,} bytes of tools and documents to ")
    assert act.figures["before"] == len(ROWS) > 2 * act.figures["after"]


def test_what_has_nothing_to_shorten_is_sent_as_it_was(tmp_path: Path) -> None:
    body, entry = ask(tmp_path, Compress("all"), TALK[:1])
    assert body["messages"] == TALK[:1]
    assert [act for act in entry.layers if act.name == "compress"] == []


def test_a_fault_in_here_costs_nobody_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("a bug")

    layer = Compress()
    monkeypatch.setattr(layer._shaper, "shape", broken)
    for _ in range(2):
        body, _ = ask(tmp_path, layer, TALK)
        assert body["messages"] == TALK
    assert caplog.text.count("a prompt is sent as it was: RuntimeError: a bug") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": "some"}, "not 'some'"),
        ({"steps": ["json", "zip"]}, "not 'zip'"),
        ({"keep": 0}, "keep="),
        ({"ratio": 0.5}, "ratio="),
        ({"stubs": "yes"}, "stubs="),
        ({"stubs": None}, "stubs="),
    ],
)
def test_bad_arguments_name_the_fix(arguments: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Compress(**arguments)


@pytest.mark.parametrize(("rows", "threads"), [(20, 0), (2_000, 1)])
def test_many_new_bytes_are_shaped_in_a_thread_and_known_ones_at_once(
    monkeypatch: pytest.MonkeyPatch, rows: int, threads: int
) -> None:
    """An event loop waits for no more than a few milliseconds."""
    layer = Compress()
    text = json.dumps([{"id": n, "name": f"name {n}"} for n in range(rows)], indent=2)
    body = {"model": "gpt-5-mini", "messages": [*TALK[:2], {**TALK[2], "content": text}]}
    shaped_in: list[bool] = []
    sent: list[Any] = []
    shape = layer._shaper.shape

    def watched(*arguments: Any) -> Any:
        shaped_in.append(threading.current_thread() is not threading.main_thread())
        return shape(*arguments)

    async def below(request: Request) -> Response:
        sent.append(request.body)
        return Response(200, {}, content=b"{}")

    async def go() -> None:
        for _ in range(2):
            entry = Entry("chat", "gpt-5-mini")
            request = Request("chat", body, "https://api.openai.com/v1/chat/completions", entry, AsyncRuntime())
            await layer(request, below)

    monkeypatch.setattr(layer._shaper, "shape", watched)
    asyncio.run(go())
    assert shaped_in == [bool(threads), False]
    assert sent[0] == sent[1]
    assert sent[0]["messages"][2]["content"].startswith("[table 1")


def test_without_stubs_nothing_of_them_is_there(tmp_path: Path) -> None:
    with Saver(mode="max", ledger=str(tmp_path / "ledger.db")) as saver:
        (layer,) = [each for each in saver.layers if isinstance(each, Compress)]
        assert "Stubs" not in str(layer.policy)
        assert layer.use_originals(None, None) is None
    assert Compress(stubs=True).policy == repr(Stubs())


class Shortest:
    """An application's own selection."""

    def __call__(self, text: str, question: str, ratio: float) -> str:
        """Return the first letter."""
        return text[:1] if question and ratio else text


def first_word(text: str, question: str, ratio: float) -> str:
    return text.split(maxsplit=1)[0] if question and ratio else text


def test_what_decides_an_answer_is_part_of_the_keys_of_caches_above() -> None:
    assert Compress().policy is None
    assert Compress(["json", "space"], keep=0.5).policy is None
    lossy: list[Any] = [
        {},
        {"keep": 0.9},
        {"ratio": 4},
        {"ratio": 20},
        {"ratio": 4, "passages": first_word},
        {"ratio": 4, "passages": Shortest()},
        {"ratio": 4, "passages": partial(first_word)},
        {"stubs": True},
    ]
    told = [Compress("all", **each).policy for each in lossy]
    assert len(set(told)) == len(lossy)
    assert None not in told
    # The same in every process: no order of names, no place of objects.
    assert told[0] == Compress([*reversed(ALL), "bulk"]).policy
    assert told[5] == Compress("all", ratio=4, passages=Shortest()).policy
    assert "0x" not in "".join(map(str, told))


def test_an_answer_to_a_shortened_prompt_is_no_answer_to_a_whole_one(tmp_path: Path) -> None:
    shops = " ".join(f"The number of shop {n} is {n * 37}. It lies in the street of the town." for n in range(200))
    asked: Any = [{"role": "user", "content": f"<documents>{shops}</documents>\nWhat is the number of shop 77?"}]
    provider = FakeProvider("I cannot find that.")
    stacks: list[list[Any]] = [
        [..., ExactCache(), Compress("all", ratio=20)],
        [..., ExactCache()],
        [..., ExactCache(), Compress("all", ratio=20)],
    ]
    for stack in stacks:
        http = httpx2.Client(transport=provider.transport())
        with Saver(stack=stack, ledger=str(tmp_path / "ledger.db")) as saver:
            client = llmsaver.OpenAI(api_key="k", http_client=http, saver=saver)
            client.chat.completions.create(model="gpt-5-mini", messages=asked, temperature=0, max_completion_tokens=50)
    assert provider.calls == 2
