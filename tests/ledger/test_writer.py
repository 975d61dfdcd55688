"""Group commit, the writer's own thread, and losses that are told."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from llmsaver.ledger import CallRow, Ledger, LedgerUnavailable, TaskRow
from llmsaver.ledger import writer as module

Rows = Callable[..., CallRow]
Python = Callable[..., Popen[str]]


def test_rows_that_wait_together_share_a_transaction(
    ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    real = ledger._writer._commit

    def slow(batch: list[module.Ticket]) -> None:
        batches.append(len(batch))
        time.sleep(0.05)
        real(batch)

    monkeypatch.setattr(ledger._writer, "_commit", slow)
    threads = [threading.Thread(target=ledger.write, args=(row(f"e{i}"),)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(batches) == 20
    assert len(batches) < 10
    with ledger.reader() as reader:
        assert reader.totals().calls == 20


def test_one_bad_row_does_not_take_others_with_it(ledger: Ledger, row: Rows) -> None:
    bad = ledger._ticket(row("bad", feature=None), ())
    good = [ledger._ticket(row(f"e{i}"), ()) for i in range(3)]
    ledger._writer._commit([good[0], bad, *good[1:]])
    assert [ticket.ok for ticket in good] == [True] * 3
    assert (bad.ok, bad.done, ledger.lost) == (False, True, 1)


def test_the_thread_does_upkeep_by_itself(ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIDY_EVERY", 50)
    monkeypatch.setattr(module, "FOLD_EVERY", 100)
    for i in range(120):
        ledger.write(row(f"e{i}"))
    ledger.drain(10.0)
    with ledger.reader() as reader:
        assert int(reader.meta()["rolled"]) >= 100
        assert reader.totals().calls == 120


def test_rows_are_folded_in_a_quiet_moment(ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIDY_EVERY", 10)
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.2)
    rolled: list[int] = []
    for i in range(60):
        ledger.write(row(f"e{i}"))
        time.sleep(0.01)
        if i % 20 == 19:
            with ledger.reader() as reader:
                rolled.append(int(reader.meta().get("rolled", 0)))
    assert rolled == [0, 0, 0], "somebody was writing all the time"
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with ledger.reader() as reader:
            if int(reader.meta().get("rolled", 0)) == 60:
                return
        time.sleep(0.05)
    pytest.fail("what was written was not folded")


def test_upkeep_that_fails_is_left_for_later(ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: float) -> int:
        raise LedgerUnavailable("locked")

    monkeypatch.setattr(ledger._writer, "fold", refuse)
    monkeypatch.setattr(module, "TIDY_EVERY", 5)
    monkeypatch.setattr(module, "FOLD_EVERY", 5)
    for i in range(10):
        ledger.write(row(f"e{i}"))
    ledger.drain(5.0)
    assert ledger.submit(row("after")).flight.block(5.0)  # type: ignore[union-attr]  # a submitted row has one


def test_upkeep_does_not_overtake_rows_that_were_submitted(
    ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIDY_EVERY", 3)
    tickets = [ledger.submit(row(f"e{i}")) for i in range(200)]
    for ticket in tickets:
        assert ticket.flight is not None
        assert ticket.flight.block(10.0)
    assert all(ticket.ok for ticket in tickets)


def test_it_can_be_drained_and_used_again(ledger: Ledger, row: Rows) -> None:
    for round_ in range(5):
        tickets = [ledger.submit(row(f"{round_}-{i}")) for i in range(20)]
        ledger.drain(5.0)
        assert all(ticket.ok for ticket in tickets)
    ledger.drain(0.1)


def test_other_rows_are_lost_as_quietly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "l.db")
    assert not ledger.write_task(TaskRow("t"))
    assert not ledger.submit(CallRow("e")).flight.block(5.0) or ledger.lost == 2  # type: ignore[union-attr]
    ledger.drain(1.0)
    assert ledger.lost == 2


def test_what_was_submitted_is_written_before_the_program_ends(tmp_path: Path, python: Python) -> None:
    code = (
        "import sys; from llmsaver.ledger import CallRow, Ledger; ledger = Ledger(sys.argv[1])\n"
        "for i in range(300): ledger.submit(CallRow(str(i)))"
    )
    program = python(code, tmp_path / "l.db")
    program.communicate()
    assert program.returncode == 0
    with Ledger(tmp_path / "l.db") as ledger, ledger.reader() as reader:
        assert reader.totals().calls == 300
