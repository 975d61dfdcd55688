"""Refused calls: each is counted, and a program that asks without end does not fill the disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmsaver.ledger import CallRow, Ledger
from llmsaver.ledger.refusals import Refusals


def rows(count: int, **more: object) -> list[CallRow]:
    return [replace(CallRow(f"e{number}", refused=1, cost_nano=0), **more) for number in range(count)]  # type: ignore[arg-type]  # fields


def test_many_alike_are_few_rows_and_all_are_counted(ledger: Ledger) -> None:
    for one in rows(1_000):
        assert ledger.write(one).ok
    ledger.drain(60)
    with ledger.reader() as reader:
        found = reader.totals()
        written = len(reader.calls(limit=1_000))
    assert (found.refused, found.calls, found.errors) == (1_000, 0, 0)
    assert written < 200


def test_submitted_ones_land_too(ledger: Ledger) -> None:
    for one in rows(50):
        ticket = ledger.submit(one)
        assert ticket.flight is not None
        assert ticket.flight.block(60)
        assert ticket.ok
    ledger.close()
    with ledger.reader() as reader:
        assert reader.totals().refused == 50


def test_what_waits_is_in_the_next_row(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals, clock = Refusals(), [100.0]
    monkeypatch.setattr("llmsaver.ledger.refusals.time.monotonic", lambda: clock[0])
    taken = [refusals.take(one) for one in rows(30)]
    assert [one is None for one in taken] == [False] * 20 + [True] * 10
    clock[0] += 1.5
    later = refusals.take(CallRow("later", refused=1))
    assert later is not None
    assert later.refused == 11
    assert refusals.rest() == []


def test_kinds_are_kept_apart_and_bounded() -> None:
    refusals = Refusals()
    for one in rows(25, feature="a"):
        refusals.take(one)
    assert refusals.take(CallRow("b", feature="b", refused=1)) is not None
    for number in range(2_500):
        one = CallRow(f"u{number}", user=f"u{number}", refused=1)
        assert refusals.take(one) is one
    (rest,) = refusals.rest()
    assert (rest.feature, rest.refused) == ("a", 5)


def test_too_many_kinds_that_wait_are_written_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.ledger.refusals.KINDS", 2)
    refusals = Refusals()
    for feature in "ab":
        for one in rows(21, feature=feature):
            refusals.take(one)
    assert [refusals.take(one) is None for one in rows(30, feature="c")] == [False] * 30
    assert sorted(one.feature for one in refusals.rest()) == ["a", "b"]


def test_a_loss_is_counted(tmp_path: Path, make: Callable[..., Ledger]) -> None:
    ledger = make(tmp_path / "l.db")
    for one in rows(30):
        ledger.write(one)
    ledger.after_fork()  # the parent writes what waits there
    ledger.close()
    with ledger.reader() as reader:
        assert reader.totals().refused == 20
