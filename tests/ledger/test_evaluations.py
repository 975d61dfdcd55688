"""Judgements on answers: written once for each judge, read as they came, gone with their call."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llmsaver.ledger import CallRow, EvaluationRow, Ledger, LedgerUnavailable

Row = Callable[..., CallRow]


def test_judgements_come_back_in_the_order_they_were_written(either: Ledger) -> None:
    rows = [EvaluationRow(f"e{n}", "router", n / 4, "audit", "small", {"weak": 1.0}, at=float(n)) for n in range(4)]
    assert either.evaluate_all(rows) == 4
    assert either.evaluate(EvaluationRow("e9", "same", 1.0))
    found = either.evaluations("router")
    assert [(each["call"], each["value"], each["judge"], each["arm"]) for each in found] == [
        (f"e{n}", n / 4, "audit", "small") for n in range(4)
    ]
    assert found[0]["details"] == {"weak": 1.0}
    assert [each["call"] for each in either.evaluations("router", after=found[1]["seq"])] == ["e2", "e3"]
    assert [each["call"] for each in either.evaluations("router", limit=1)] == ["e0"]
    with either.reader() as reader:
        assert [each["name"] for each in reader.evaluations(call="e9")] == ["same"]
        assert [each["call"] for each in reader.evaluations(since=1.0, until=3.0)] == ["e1", "e2"]


def test_a_judge_who_thinks_again_replaces_its_own_word_only(either: Ledger) -> None:
    either.evaluate_all([EvaluationRow("e1", "router", 1.0, "feedback"), EvaluationRow("e1", "router", 0.5, None)])
    either.evaluate_all([EvaluationRow("e1", "router", 0.0, "feedback"), EvaluationRow("e1", "router", 0.2, None)])
    either.evaluate_all([EvaluationRow("e1", "router", 1.0, "audit")])
    assert [(each["judge"], each["value"]) for each in either.evaluations("router")] == [
        ("feedback", 0.0),
        (None, 0.2),
        ("audit", 1.0),
    ]


def test_odd_names_are_kept_and_nothing_is_nothing(either: Ledger) -> None:
    assert either.evaluate_all([]) == 0
    assert either.evaluate_all([EvaluationRow("e\0", "router", details={"why": object()})]) == 1
    assert either.evaluations("router")[0]["call"] == "e\N{REPLACEMENT CHARACTER}"


def test_a_ledger_that_is_not_there_has_none_and_stays_away(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none.db")
    assert ledger.evaluations("router") == []
    assert not (tmp_path / "none.db").exists()
    with ledger.reader() as reader, pytest.raises(LedgerUnavailable):
        reader.evaluations("router")


def test_what_cannot_be_written_is_counted_as_lost(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)  # a folder
    assert ledger.evaluate_all([EvaluationRow("e1", "router")]) == 0
    assert ledger.lost == 1


def test_a_judgement_goes_with_its_call(either: Ledger, row: Row) -> None:
    either.write(row("e1", started_at=1.0))
    either.evaluate_all([EvaluationRow("e1", "router", 1.0, "audit"), EvaluationRow("file:1", "router", 1.0, "file")])
    assert either.prune(200_000.0) == 1
    assert [each["call"] for each in either.evaluations("router")] == ["file:1"]


def test_who_revises_sees_what_everybody_wrote_before(make: Callable[..., Ledger], place: str) -> None:
    def more(_: str, told: Any) -> dict[str, int]:
        return {"n": 1 + (told or {"n": 0})["n"]}

    def work(ledger: Ledger) -> None:
        start.wait(60)
        for _ in range(20):
            assert ledger.revise("memory", "j", ["f\0", "g"], more)

    start = threading.Barrier(2)
    ledgers = [make(place, patience=60.0) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, ledgers))
    found = ledgers[0].evaluations("memory")
    assert [(each["call"], each["details"]) for each in found] == [
        ("f\N{REPLACEMENT CHARACTER}", {"n": 40}),
        ("g", {"n": 40}),
    ]


def test_a_revision_that_fails_changes_nothing(ledger: Ledger) -> None:
    assert ledger.revise("memory", "j", ["f"], lambda _, told: {"told": told})

    def broken(_: str, __: object) -> dict[str, int]:
        raise KeyError("mine")

    assert not ledger.revise("memory", "j", ["f"], broken)
    assert [each["details"] for each in ledger.evaluations("memory")] == [{"told": None}]
