"""The rows that calls leave: private, the same for the same, and missed by nobody where the ledger fails."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver import LLMSaverError, budget, feature, task
from llmsaver.testing import Answer, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET, SAID = "zebra-quilt-4711", "walnut-sonata-0815"


def content(shop: Any) -> bytes:
    shop.rows()
    return b"".join(path.read_bytes() for path in shop.path.parent.iterdir() if path.is_file())


@pytest.mark.parametrize("fault", [None, Fault(500), Fault(400, message=f"bad: {SECRET}"), Fault(drop="disconnect")])
def test_no_text_is_stored_unless_it_was_asked_for(shop: Any, way: Any, fault: Fault | None) -> None:
    if fault is not None:
        shop.fake.script([fault])
    shop.fake.answer = SAID
    with budget("b", usd=1):
        try:
            shop.ask(way, create=way.arguments(SECRET))
        except Exception:  # noqa: BLE001 - each SDK has its own; what is stored is the question
            assert fault is not None
    stored = content(shop)
    assert SECRET.encode() not in stored
    assert SAID.encode() not in stored
    assert shop.row()["prompt"] is None


def test_text_that_was_asked_for_is_stored(shop: Any, way: Any) -> None:
    shop.fake.answer = SAID
    shop.saver(record_text=True)
    shop.ask(way, create=way.arguments(SECRET))
    row = shop.row()
    assert SECRET in row["prompt"]
    assert SAID.replace("-", "") in row["answer"].replace("-", "").replace('", "', "")


def test_how_a_call_was_routed_is_stored(shop: Any, way: Any) -> None:
    async def router(request: Any, call_next: Any) -> Any:
        request.entry.escalated, request.entry.routing = True, {"asked": "auto", "tier": "big", "tried": []}
        return await call_next(request)

    saver = shop.saver(stack=[router, ...])
    shop.ask(way, saver)
    row = shop.row()
    assert row["escalated"] is True
    assert row["routing"] == {"asked": "auto", "tier": "big", "tried": []}
    shop.ask(way, shop.saver())
    assert shop.rows()[0]["routing"] is None


def test_ids_are_stored_as_given_or_as_hashes(shop: Any, plain_way: Any) -> None:
    saver = shop.saver(hash_ids=True)
    with feature("f", user=SECRET, tenant=SAID), budget("b", usd=1, scope="user"):
        shop.ask(plain_way, saver)
    stored = content(shop)
    assert SECRET.encode() not in stored
    assert SAID.encode() not in stored
    assert len(shop.row()["user"]) >= 16


def test_equal_requests_have_equal_prints_and_a_conversation_is_a_chain(shop: Any, plain_way: Any) -> None:
    name = "input" if plain_way.dialect == "responses" else "messages"
    first = [{"role": "user", "content": "one"}]
    longer = [*first, {"role": "assistant", "content": "two"}, {"role": "user", "content": "three"}]
    for turns in (first, first, longer):
        shop.ask(plain_way, create={**plain_way.arguments(), name: turns})
    third, second, earliest = shop.rows()
    assert earliest["fingerprint"] == second["fingerprint"] != third["fingerprint"]
    assert (len(second["chain"]), len(third["chain"])) == (1, 3)
    assert third["chain"][:1] == second["chain"] == earliest["chain"]


def test_a_task_is_written_with_its_end(shop: Any, plain_way: Any) -> None:
    with task("ticket-17") as work:
        shop.ask(plain_way)
    work.resolve()
    with shop._reader() as reader:
        (line,) = reader.lines("task")
    assert (line.name, line.calls, line.resolved) == ("ticket-17", 1, 1)


def test_a_read_only_ledger_costs_nobody_the_call(shop: Any, way: Any) -> None:
    shop.ask(way)
    shop.rows()
    ledger = shop.first.ledger
    ledger.store._connection.execute("PRAGMA query_only=1")
    assert shop.ask(way).cost_nano is not None
    ledger.drain(60)
    assert (shop.fake.calls, ledger.lost) == (2, 1)


def test_a_ledger_that_cannot_be_opened_costs_nobody_the_call(shop: Any, way: Any, caplog: Any) -> None:
    shop.path.mkdir()
    saver = shop.saver()
    entry = shop.ask(way, saver)
    assert (entry.cost_nano, saver.ledger.lost) == (shop.billed(), 1)
    with budget("b", usd=1), pytest.raises(LLMSaverError, match="ledger"):
        shop.ask(way, saver)
    with budget("s", usd=1, hard=False):
        shop.ask(way, saver)
    assert (shop.fake.calls, saver.ledger.lost) == (2, 2)
    assert "could not be written to the ledger" in caplog.text


def test_a_corrupted_ledger_is_put_aside_and_calls_go_on(shop: Any, way: Any, caplog: Any) -> None:
    shop.path.write_bytes(b"this is no database, though it is long enough to look like one " * 200)
    with budget("b", usd=1), pytest.raises(LLMSaverError, match="llmsaver ledger repair"):
        shop.ask(way)  # what the budget had spent is not known
    assert shop.fake.calls == 0
    with budget("s", usd=1, hard=False):
        shop.ask(way)
    assert shop.rows()[0]["cost_nano"] == shop.billed() > 0
    shop.first.ledger.repair(accept=True)
    with budget("b", usd=1):
        shop.ask(way)
    assert shop.budgets()["b"]["spent_calls"] == 1
    assert "broken" in caplog.text
    assert any(".repaired-" in path.name for path in shop.path.parent.iterdir())


def test_a_forked_child_books_on_its_own(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat")
    with shop.client(way) as client, budget("b", usd=1):
        shop.consume(way, client, way.arguments())
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                shop.consume(way, client, way.arguments())
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        shop.consume(way, client, way.arguments())
    rows = shop.rows()
    assert (len(rows), len({row["id"] for row in rows})) == (3, 3)
    assert shop.budgets()["b"]["spent_calls"] == 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_childs_copy_of_a_stream_is_its_parents_to_settle(shop: Any, way_of: Callable[..., Any]) -> None:
    way = way_of("chat", stream=True)
    shop.fake.answer = Answer("word " * 20)
    with shop.client(way) as client, budget("b", usd=1):
        stream = client.chat.completions.create(**way.arguments(), stream=True)
        events = iter(stream)
        next(events)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                stream.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        for _ in events:
            pass
        stream.close()
    row = shop.row()
    assert (row["estimated"], row["cost_nano"]) == (False, shop.billed())
    assert shop.budgets()["b"]["spent_nano"] == shop.billed()
