"""Labels in the ledger: written, read again, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from llmsaver.ledger import Ledger
from llmsaver.ledger.rows import EvaluationRow
from llmsaver.router.calibration import Label
from llmsaver.router.labels import NAME, of_file, read, stored, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "l.db") as opened:
        yield opened


def label(feature: str = "f", confidence: float | None = 0.5) -> Label:
    return Label(feature, confidence, "logprobs", 1.0, 1.0, 10, 200, "audit", gold=False, weight=50.0, features=(1, 2))


def test_what_is_written_is_read(ledger: Ledger) -> None:
    assert write(ledger, [stored(label(), "cheap", call="e1"), stored(label("g", None), "cheap", call="e2")]) == 2
    first, second = read(ledger)
    assert first.label == label()
    assert (first.tier, first.call, first.judge) == ("cheap", "e1", "audit")
    assert second.label.confidence is None
    assert [each.call for each in read(ledger, feature="g")] == ["e2"]
    assert read(ledger, after=second.seq) == []


def test_the_same_judge_on_the_same_call_counts_once(ledger: Ledger) -> None:
    write(ledger, [stored(label(), "cheap", call="e1")])
    write(ledger, [stored(label(confidence=0.9), "cheap", call="e1"), stored(label(), "cheap", call="e1", judge="me")])
    assert sorted(each.label.confidence or 0 for each in read(ledger)) == [0.5, 0.9]


def test_a_file_read_twice_counts_once_and_equal_rows_of_it_each(ledger: Ledger) -> None:
    rows = [label(), label(), label("g")]
    assert len({each.call for each in of_file(rows, "cheap")}) == 3
    write(ledger, of_file(rows, "cheap"))
    write(ledger, of_file(rows, "cheap"))
    assert len(read(ledger)) == 3


def test_what_is_no_label_is_passed_over(ledger: Ledger) -> None:
    ledger.evaluate(EvaluationRow("e1", NAME, 1.0, "audit", "cheap", {"feature": 3}))
    ledger.evaluate(EvaluationRow("e2", NAME, 1.0, "audit", None, label().as_dict()))
    assert read(ledger) == []
