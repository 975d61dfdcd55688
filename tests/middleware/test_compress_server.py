"""Originals on a PostgreSQL server: what programs on several machines send is the same."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from llmsaver import Stubs
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.compress import Compress
from llmsaver.pricing import PriceBook
from llmsaver.prompt.originals import Originals
from llmsaver.prompt.stub_places import PlaceUnavailable, place_of

_spec = importlib.util.spec_from_file_location(
    "ledger_conftest", Path(__file__).parent.with_name("ledger") / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_ledger = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_ledger)
server, postgres = _ledger.server, _ledger.postgres

TOOL = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}}}


def asked(count: int) -> dict[str, Any]:
    turns: list[Any] = [{"role": "user", "content": "go"}]
    for number in range(count):
        call = {"id": f"c{number}", "type": "function", "function": {"name": "bash\0\ud800", "arguments": "{}"}}
        turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
        turns.append({"role": "tool", "tool_call_id": f"c{number}", "content": f"{number}\0\ud800 line\n" * 300})
    return {"model": "gpt-6-luna", "messages": turns, "tools": [TOOL]}


def send(layer: Compress, body: dict[str, Any], now: float) -> Any:
    sent: list[Any] = []

    async def below(request: Request) -> Response:
        sent.append(request.body)
        return Response(200, {}, content=b"{}")

    entry = Entry("chat", "gpt-6-luna", tenant="\0\ud800")
    url = "https://api.openai.com/v1/chat/completions"
    with mock.patch.object(time, "time", return_value=now):
        drive(layer(Request("chat", body, url, entry, SyncRuntime()), below))
    return sent[0]


def test_programs_on_a_server_send_the_same(postgres: str) -> None:
    layers = [Compress(stubs=Stubs(recent=2)) for _ in range(4)]
    for layer in layers:
        layer.use_books(PriceBook())
        layer.use_originals(postgres, None)
    now = time.time()
    send(layers[0], asked(6), now)
    now += 5_000
    sent: list[Any] = []
    ready = threading.Barrier(4)

    def go(layer: Compress) -> None:
        ready.wait()
        sent.append(send(layer, asked(7), now))

    with mock.patch.object(time, "time", return_value=now):
        threads = [threading.Thread(target=go, args=(layer,)) for layer in layers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(sent) == 4
    assert len({json.dumps(each) for each in sent}) == 1
    assert sum("left out here" in str(turn["content"]) for turn in sent[0]["messages"]) == 5
    later = send(layers[3], asked(8), now + 60)
    assert later["messages"][: len(sent[0]["messages"])] == sent[0]["messages"]
    store = Originals(postgres)
    assert store.recall(sent[0]["messages"][2]["content"], "\0\ud800") == asked(1)["messages"][2]["content"]
    assert store.stats()["originals"] == 5
    assert store.purge() == 5
    store.close()
    for layer in layers:
        layer.close()


def test_a_server_that_is_not_there_is_said_so_without_its_password() -> None:
    place = place_of("postgresql://u:secret@127.0.0.1:9/d")
    assert place.there
    with pytest.raises(PlaceUnavailable) as caught:
        place.transact(lambda _: None)
    assert "secret" not in str(caught.value)


def test_a_server_that_failed_is_left_alone_for_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    layer = Compress(stubs=True)
    store = layer.use_originals("postgresql://u:secret@127.0.0.1:9/d", None)
    assert store is not None
    tries: list[int] = []
    transact = store.place.transact

    def counted(work: Any) -> Any:
        tries.append(1)
        return transact(work)

    with mock.patch.object(store.place, "transact", counted):
        for _ in range(3):
            assert send(layer, asked(6), time.time()) == asked(6)
        assert len(tries) == 1
        with mock.patch.object(time, "monotonic", return_value=time.monotonic() + 6):
            send(layer, asked(6), time.time())
        assert len(tries) == 2
    assert caplog.text.count("tool outputs are sent whole") == 1
