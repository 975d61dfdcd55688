"""The checkpoints of batches, in a file and on a server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from llmsaver.ledger import Ledger, LedgerUnavailable
from llmsaver.ledger.batches import Batches, BatchPart, BatchRun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUN = BatchRun("b1", 1.0, 1.0, "openai", "https://api.openai.com/v1/", "open", "f", 3, limit_nano=7, out="/o")
PART = BatchPart("b1", 0, "t0", "0-1", "/v1/responses", "planned", 2, bound_nano=5)


def test_a_run_and_its_jobs(make: Callable[..., Ledger], place: str) -> None:
    books = Batches(make(place))
    assert books.find("b1") is None
    books.begin(RUN)
    books.begin(BatchRun("b2", 2.0, 2.0, "local", "local", "open", "f", 1))
    assert books.find("b1") == RUN
    assert [run.id for run in books.latest()] == ["b2", "b1"]
    assert [run.id for run in books.latest(1)] == ["b2"]
    changed = books.note(RUN, state="finished", answered=3)
    assert changed.updated_at > 1.0
    assert books.find("b1") == changed
    other = BatchPart("b1", 1, "t1", "2", "/v1/responses", "planned", 1)
    books.plan([PART, other])
    sent = books.mark(PART, state="sent", job="batch_1", sent_at=3.0)
    assert books.parts("b1") == [sent, other]
    assert books.parts("b2") == []


def test_jobs_are_planned_all_or_none(make: Callable[..., Ledger], place: str) -> None:
    books = Batches(make(place))
    books.begin(RUN)
    books.plan([PART])
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        books.plan([BatchPart("b1", 1, "t", "2", "/u", "planned", 1), PART])
    assert books.parts("b1") == [PART]


def test_a_ledger_that_is_not_there_holds_nothing_and_a_broken_one_says_so(tmp_path: Path) -> None:
    assert Batches(Ledger(tmp_path / "none.db")).latest() == []
    assert not (tmp_path / "none.db").exists()
    Ledger(tmp_path / "l.db").open().close()
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        connection.execute("DROP TABLE batches")
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        Batches(Ledger(tmp_path / "l.db")).latest()


def test_tenants_are_hidden_where_that_is_asked(tmp_path: Path) -> None:
    assert Batches(Ledger(tmp_path / "l.db")).hide("t") == "t"
    assert Batches(Ledger(tmp_path / "l.db", hash_ids=True)).hide("t") != "t"
