"""Group commit, the writer's own thread, and losses that are told."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

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
        until = time.monotonic() + 60
        while sum(batches) + len(ledger._writer._waiting) < 20:  # the first is held up until all others wait
            assert time.monotonic() < until
            time.sleep(0.005)
        real(batch)

    monkeypatch.setattr(ledger._writer, "_commit", slow)
    threads = [threading.Thread(target=ledger.write, args=(row(f"e{i}"),)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(batches) == 20
    assert len(batches) <= 2
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
    ledger.drain(60)
    with ledger.reader() as reader:
        assert int(reader.meta()["rolled"]) >= 100
        assert reader.totals().calls == 120


class Paced:
    """The writer's queue; that nothing came for a while is for the test to say."""

    def __init__(self) -> None:
        self.inner: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put, self.get_nowait, self.empty = self.inner.put, self.inner.get_nowait, self.inner.empty
        self.silence, self.seen_to = threading.Semaphore(0), threading.Semaphore(0)
        self.silent = False

    def get(self, timeout: float | None = None) -> Any:
        if self.silent:
            self.silent = False
            self.seen_to.release()
        while True:
            with suppress(queue.Empty):
                return self.inner.get(timeout=0.005)
            if timeout is not None and self.silence.acquire(blocking=False):
                self.silent = True
                raise queue.Empty

    def falls_silent(self) -> None:
        self.silence.release()
        assert self.seen_to.acquire(timeout=60)


def test_rows_are_folded_in_a_quiet_moment(ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def rolled() -> int:
        with ledger.reader() as reader:
            return int(reader.meta().get("rolled", 0))

    monkeypatch.setattr(module, "TIDY_EVERY", 10)
    paced = Paced()
    monkeypatch.setattr(ledger._writer, "_queue", paced)
    for i in range(60):
        ledger.write(row(f"e{i}"))
        if i % 20 == 19:
            paced.falls_silent()
            assert rolled() == 0, "others were writing in threads of their own"
    paced.falls_silent()
    assert rolled() == 60


def test_upkeep_that_fails_is_left_for_later(ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: float) -> int:
        raise LedgerUnavailable("locked")

    monkeypatch.setattr(ledger._writer, "fold", refuse)
    monkeypatch.setattr(module, "TIDY_EVERY", 5)
    monkeypatch.setattr(module, "FOLD_EVERY", 5)
    for i in range(10):
        ledger.write(row(f"e{i}"))
    ledger.drain(60)
    assert ledger.submit(row("after")).flight.block(60)  # type: ignore[union-attr]  # a submitted row has one


def test_upkeep_does_not_overtake_rows_that_were_submitted(
    ledger: Ledger, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIDY_EVERY", 3)
    tickets = [ledger.submit(row(f"e{i}")) for i in range(200)]
    for ticket in tickets:
        assert ticket.flight is not None
        assert ticket.flight.block(60)
    assert all(ticket.ok for ticket in tickets)


def test_it_can_be_drained_and_used_again(ledger: Ledger, row: Rows) -> None:
    for round_ in range(5):
        tickets = [ledger.submit(row(f"{round_}-{i}")) for i in range(20)]
        ledger.drain(60)
        assert all(ticket.ok for ticket in tickets)
    ledger.drain(0.1)


def test_other_rows_are_lost_as_quietly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "l.db")
    assert not ledger.write_task(TaskRow("t"))
    assert not ledger.submit(CallRow("e")).flight.block(60) or ledger.lost == 2  # type: ignore[union-attr]
    ledger.drain(1.0)
    assert ledger.lost == 2


def test_what_was_submitted_is_written_before_the_program_ends(tmp_path: Path, python: Python) -> None:
    code = (
        "import sys; from llmsaver.ledger import CallRow, Ledger; ledger = Ledger(sys.argv[1], patience=60)\n"
        # On a busy machine the two seconds of an exit are few.
        "drain = Ledger.drain; Ledger.drain = lambda self, _: drain(self, 60)\n"
        "for i in range(300): ledger.submit(CallRow(str(i)))"
    )
    program = python(code, tmp_path / "l.db")
    program.communicate()
    assert program.returncode == 0
    with Ledger(tmp_path / "l.db") as ledger, ledger.reader() as reader:
        assert reader.totals().calls == 300
