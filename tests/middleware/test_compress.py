"""Shorter prompts on the wire, valid for the provider, and never at the price of a call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

import llmsaver
from llmsaver import ConfigurationError, Saver
from llmsaver.middleware import compress
from llmsaver.middleware.compress import Compress
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

    monkeypatch.setattr(compress, "shortened", broken)
    layer = Compress()
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
    ],
)
def test_bad_arguments_name_the_fix(arguments: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Compress(**arguments)
