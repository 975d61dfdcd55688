"""Labels from files, in both shapes: a row for each call, and a row for each answer."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.reporting.router_outcomes import Outcomes, read_outcomes
from llmsaver.router.merit import merit


def wide(tmp_path: Path, *rows: dict[str, Any]) -> str:
    place = tmp_path / "rows.jsonl"
    place.write_text("\n".join(map(json.dumps, rows)))
    return str(place)


def only(found: tuple[list[Outcomes], tuple[str, ...]]) -> Outcomes:
    (one,), ignored = found
    assert ignored == ()
    return one


def test_a_row_for_each_call(tmp_path: Path) -> None:
    full = {"confidence": 0.8, "weak": 1, "strong": 0.5, "weak_usd": "0.001", "strong_usd": 0.01, "gold": False}
    full |= {"feature": "faq", "tier": "small", "signal": "agreement", "weight": 50}
    found = only(read_outcomes(wide(tmp_path, full)))
    assert (found.feature, found.tier, found.last) == ("faq", "small", "")
    (label,) = found.labels
    assert (label.confidence, label.signal, label.weak, label.strong) == (0.8, "agreement", 1.0, 0.5)
    assert (label.weak_nano, label.strong_nano, label.source, label.gold) == (1_000_000, 10_000_000, "file", False)
    assert label.weight == 50.0


def test_what_rows_leave_out_is_filled_in(tmp_path: Path) -> None:
    bare = {"confidence": None, "weak_correct": True, "strong_correct": "no", "mood": 1}
    (found,), ignored = read_outcomes(wide(tmp_path, bare), feature="mail", tier="small", last="big")
    assert (found.feature, found.tier, found.last) == ("mail", "small", "big")
    (label,) = found.labels
    assert (label.confidence, label.weak, label.strong, label.gold, label.strong_nano) == (None, 1.0, 0.0, True, 0)
    assert ignored == ("mood",)


def test_rows_are_put_together_by_feature_and_tier(tmp_path: Path) -> None:
    rows = [{"confidence": 0.5, "weak": 1, "strong": 1, "feature": name} for name in ("b", "a", "b", "")]
    found, _ = read_outcomes(wide(tmp_path, *rows))
    assert [(each.feature, len(each.labels)) for each in found] == [("", 1), ("a", 1), ("b", 2)]


def test_log_probabilities_become_what_the_router_compares(tmp_path: Path) -> None:
    rows = [{"conf": conf, "weak": 1, "strong": 1, "answer": "four"} for conf in (-1.0, "-inf", "nan", "", 0.5)]
    found = only(read_outcomes(wide(tmp_path, *rows)))
    told = [label.confidence for label in found.labels]
    assert told[0] == pytest.approx(merit(math.exp(-1.0), chars=4))
    assert told[1] is not None
    assert told[1] < 1e-20
    assert told[2:4] == [None, None]
    assert told[4] == 1.0


def test_probabilities_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = [{"conf": 0.25, "weak": 1, "strong": 1, "strong_usd": cost} for cost in (1, 4)]
    found = only(read_outcomes(wide(tmp_path, *rows)))
    first, second = (label.confidence for label in found.labels)
    assert first == 0.25
    assert second is not None
    assert second > 0.25  # a dear strong call buys more risk
    with pytest.raises(ConfigurationError, match="line 1: conf must lie between 0 and 1"):
        read_outcomes(wide(tmp_path, {"conf": 1.5, "weak": 1, "strong": 1}))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"confidnce": 1, "weak": 1}, "no column strong; unknown columns: confidnce"),
        ({"text": "x"}, "no column weak and strong; unknown"),
        ({"weak": 1, "strong": 1, "prompt": "x"}, "no column confidence or conf .* train a gatekeeper"),
        ({"weak": 1, "strong": 1, "conf": 1, "confidence": 1}, "both confidence and conf"),
        ({"weak": 2, "strong": 1, "conf": 1}, "line 1: weak must lie between"),
        ({"weak": 1, "strong": 1, "conf": 1, "weak_usd": -1}, "line 1: weak_usd must not be below 0"),
        ({"weak": 1, "strong": 1, "conf": "high"}, "line 1: conf must be a number, not 'high'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        read_outcomes(wide(tmp_path, row))


def answers(tmp_path: Path, *rows: tuple[str, str, str, int, float, float]) -> str:
    names = ("dataset", "model", "prompt", "correct", "conf", "cost")
    return wide(tmp_path, *(dict(zip(names, row, strict=True)) for row in rows))


ROWS = (
    ("d", "small", "p1", 1, -0.5, 0.001),
    ("d", "big", "p1", 1, -0.1, 0.01),
    ("d", "middle", "p1", 0, -0.1, 0.005),
    ("d", "small", "p2", 0, -0.9, 0.001),
    ("d", "big", "p2", 1, -0.1, 0.01),
    ("d", "small", "p3", 0, -0.9, 0.001),
    ("e", "small", "p1", 0, -0.9, 0.001),
)


def test_a_row_for_each_answer_is_paired_by_prompt(tmp_path: Path) -> None:
    found = only(read_outcomes(answers(tmp_path, *ROWS)))
    assert (found.feature, found.tier, found.last) == ("d", "small", "big")
    assert [(label.weak, label.strong, label.strong_nano) for label in found.labels] == [
        (1.0, 1.0, 10_000_000),
        (0.0, 1.0, 10_000_000),
    ]
    chosen = only(read_outcomes(answers(tmp_path, *ROWS), last="middle"))
    assert (chosen.last, len(chosen.labels)) == ("middle", 1)
    assert read_outcomes(answers(tmp_path, *ROWS), feature="x")[0] == []


def test_answers_that_cannot_be_paired(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no dataset has answers of 'huge'; there are: big, middle, small"):
        read_outcomes(answers(tmp_path, *ROWS), last="huge")
    with pytest.raises(ConfigurationError, match="no dataset has answers of two models"):
        read_outcomes(answers(tmp_path, ROWS[0]))
    with pytest.raises(ConfigurationError, match="no prompt of d has answers of both small and big"):
        read_outcomes(answers(tmp_path, ROWS[0], ROWS[4]))
