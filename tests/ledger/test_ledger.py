"""Rows: written once and for good, on SQLite and PostgreSQL alike."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmsaver.core.runtime import AsyncRuntime
from llmsaver.errors import ConfigurationError
from llmsaver.ledger import (
    AttemptRow,
    Budget,
    CallRow,
    Due,
    EvaluationRow,
    Hold,
    Ledger,
    LedgerUnavailable,
    TaskRow,
    Ticket,
    default_path,
)

NOW = 1_795_000_000.0


def test_everything_a_row_holds_comes_back(either: Ledger, row: Callable[..., CallRow]) -> None:
    written = row("e1", started_at=NOW, stream=True, chain=["aa", "bb"], flags=["clamped"], task="t1", arm="held")
    assert either.write(written).ok
    with either.reader() as reader:
        found = reader.call("e1")
    assert found is not None
    for name in CallRow.__slots__:
        if name not in {"attempts", "feature_path"}:
            assert found[name] == getattr(written, name), name
    assert found["feature_path"] == ["shop", "search"]
    (attempt,) = found["attempts"]
    assert (attempt["upstream"], attempt["status"], attempt["cost_nano"]) == ("api.openai.com", 200, 1_000)


def test_a_call_written_again_takes_the_place_of_its_row(either: Ledger, row: Callable[..., CallRow]) -> None:
    either.write(row("e1", started_at=NOW, status=500, error="boom", cost_nano=0))
    either.write(row("e2", started_at=NOW))
    either.fold()  # the first version is in the sums by now
    with either.reader() as reader:
        last = reader.tail()[-1]["seq"]
    tries = [AttemptRow("h", "m", status=500), AttemptRow("h", "m", status=200)]
    assert either.write(row("e1", started_at=NOW, attempts=tries)).ok
    with either.reader() as reader:
        assert [found["id"] for found in reader.tail(last)] == ["e1"]  # a tail sees the new version
        totals = reader.totals()
        assert (totals.calls, totals.errors, totals.cost_nano) == (2, 0, 2_000)
        found = reader.call("e1")
        assert found is not None
        assert [attempt["status"] for attempt in found["attempts"]] == [500, 200]
    either.fold()
    with either.reader() as reader:
        assert reader.totals().calls == 2


def test_the_last_row_can_be_replaced_again_and_again(either: Ledger, row: Callable[..., CallRow]) -> None:
    for cost in (1, 2, 3):
        either.write(row("e1", cost_nano=cost))
        either.fold()
    with either.reader() as reader:
        assert (reader.totals().calls, reader.totals().cost_nano) == (1, 3)


def test_absurd_values_are_clamped_rather_than_lost(either: Ledger, row: Callable[..., CallRow]) -> None:
    odd = row("e1", input_tokens=10**40, error="a\ud800\0b", model_asked=object(), status=200)
    assert either.write(odd).ok
    assert either.lost == 0
    with either.reader() as reader:
        found = reader.call("e1")
    assert found is not None
    assert found["input_tokens"] == 2**62
    assert found["error"].startswith("a?")


def test_a_row_that_cannot_be_tamed_is_a_loss(either: Ledger, row: Callable[..., CallRow]) -> None:
    broken: Any = None
    assert not either.write(row("e1", feature=broken)).ok
    assert either.lost == 1
    assert either.write(row("e2")).ok
    with either.reader() as reader:
        assert reader.meta()["lost"] == "1"


def test_text_is_left_out_unless_asked_for(
    make: Callable[..., Ledger], place: str, row: Callable[..., CallRow]
) -> None:
    make(place).write(row("e1", prompt="secret", answer="too"))
    make(place, record_text=True).write(row("e2", prompt="kept", answer="as well"))
    with make(place).reader() as reader:
        one, two = reader.call("e1"), reader.call("e2")
    assert one is not None
    assert two is not None
    assert (one["prompt"], one["answer"]) == (None, None)
    assert (two["prompt"], two["answer"]) == ("kept", "as well")


def test_ids_can_be_stored_as_salted_hashes(
    make: Callable[..., Ledger], place: str, row: Callable[..., CallRow]
) -> None:
    ledger = make(place, hash_ids=True)
    ledger.write(row("e1", user="alice", tenant=None))
    ledger.write_task(TaskRow("t", user="alice"))
    budget = Budget("b", limit_calls=5, scope="user")
    assert isinstance(ledger.reserve([ledger.claim(budget, user="alice")], nano=0), Hold)
    with ledger.reader() as reader:
        assert reader.call("e1")["user"] == ledger.salt.hide("alice")  # type: ignore[index]  # it is there
        assert len(reader.calls(user="alice")) == 1
        assert "alice" not in str(reader.calls()) + str(reader.budgets(time.time())) + str(reader.lines("user"))
    assert ledger.delete_user("alice") == 1


def test_the_memory_of_hashed_ids_is_bounded(make: Callable[..., Ledger], tmp_path: Path) -> None:
    ledger = make(tmp_path / "l.db", hash_ids=True)
    for i in range(10_100):
        ledger.hide(str(i))
    assert len(ledger._hidden) < 10_002
    assert ledger.hide(None) is None


def test_a_row_and_its_settlement_are_one_transaction(either: Ledger, row: Callable[..., CallRow]) -> None:
    claim = either.claim(Budget.usd("b", 1, thresholds=(0.5,)))
    hold = either.reserve([claim], nano=600_000_000, tokens=10)
    assert isinstance(hold, Hold)
    ticket = either.write(row("e1"), settle=[Due(hold, 550_000_000, 9)])
    assert ticket.ok
    assert [crossing.threshold for crossing in ticket.crossed] == [0.5]
    with either.reader() as reader:
        (budget,) = reader.budgets(time.time())
    assert (budget["spent_nano"], budget["held_nano"], budget["spent_calls"]) == (550_000_000, 0, 1)
    assert either.settle(hold, 1).settled is False


def test_a_settlement_needs_no_row(either: Ledger) -> None:
    hold = either.reserve([either.claim(Budget("b", limit_calls=2))], nano=5)
    assert isinstance(hold, Hold)
    assert either.write(None, settle=[Due(hold, 3)]).ok
    assert either.settle(hold, 3).settled is False


def test_tasks_and_evaluations_are_kept(either: Ledger, row: Callable[..., CallRow]) -> None:
    either.write(row("e1", task="t1"))
    assert either.write_task(TaskRow("t1", feature="search"))
    assert either.write_task(TaskRow("t1", feature="search", ended_at=NOW, outcome="resolved"))
    assert either.evaluate(EvaluationRow("e1", "same", 1.0, details={"why": "equal"}))
    assert either.evaluate(EvaluationRow("e1", "same"))
    with either.reader() as reader:
        (line,) = reader.lines("task")
    assert (line.name, line.resolved, line.task_nano) == ("t1", 1, 1_000)


def test_an_asynchronous_caller_waits_on_a_flight(either: Ledger, row: Callable[..., CallRow]) -> None:
    async def write() -> list[Ticket]:
        runtime = AsyncRuntime()
        tickets = [either.submit(row(f"e{i}")) for i in range(50)]
        for ticket in tickets:
            assert ticket.flight is not None
            assert await runtime.wait(ticket.flight, 10.0)
        return tickets

    assert all(ticket.ok for ticket in asyncio.run(write()))
    with either.reader() as reader:
        assert reader.totals().calls == 50


def test_the_default_place_is_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Ledger() as ledger:
        assert ledger.write(CallRow("e1")).ok
    assert default_path().exists()
    assert str(default_path()).endswith("llmsaver/ledger.db")


def test_a_sqlite_url_is_a_path(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path}/l.db") as ledger:
        assert ledger.write(CallRow("e1")).ok
    assert (tmp_path / "l.db").exists()


@pytest.mark.parametrize(
    "place", ["", "sqlite://", "sqlite:///:memory:", "mysql://h/d", "no such://", "postgresql+nothing://h/d"]
)
def test_places_that_keep_no_books_are_refused(place: str) -> None:
    with pytest.raises(ConfigurationError):
        Ledger(place)


def test_an_unreachable_server_is_unavailable_and_calls_go_on() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    ledger = Ledger("postgresql://nobody@/none?host=/nowhere&connect_timeout=1", patience=0.1)
    with pytest.raises(LedgerUnavailable):
        ledger.open()
    assert ledger.write(CallRow("e1")).ok is False
    assert ledger.lost == 1
    with pytest.raises(LedgerUnavailable), ledger.reader() as reader:
        reader.totals()


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, llmsaver.ledger as l; assert l.Budget and l.CallRow and l.Salt; "
        "print([m for m in ('sqlalchemy', 'alembic', 'platformdirs') if m in sys.modules])"
    )
    out = subprocess.check_output([sys.executable, "-c", code], text=True)  # noqa: S603 - our own program
    assert out.strip() == "[]"


def test_the_namespace_is_what_it_says() -> None:
    import llmsaver.ledger as package

    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        package.nothing  # noqa: B018 - the access is the test
