"""How features stand: what was routed, what labels prove, and what of it is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from llmsaver.ledger import CallRow, Ledger
from llmsaver.reporting.router_outcomes import Outcomes
from llmsaver.reporting.router_status import keep, standings
from llmsaver.reporting.router_tables import standings_as_text
from llmsaver.router.calibration import Label, NotEnough, Threshold

NOW = 1_795_000_000.0
Call = Callable[..., None]


def labels(count: int, feature: str = "faq", *, wrong: int = 0, gold: bool = True) -> list[Label]:
    """Return labels of which the last ones, the least sure, are wrong."""
    return [
        Label(feature, 1 - n / (2 * count), "logprobs", float(n < count - wrong), 1.0, 100, 1_000, "file", gold=gold)
        for n in range(count)
    ]


def stored(books: Ledger, some: list[Label], tier: str = "small") -> int:
    return keep(books, [Outcomes(some[0].feature, tier, "", tuple(some))])


@pytest.fixture
def call(books: Ledger) -> Call:
    """Return a function that writes one routed call."""

    def one(number: int, feature: str = "faq", **routing: Any) -> None:
        told = {"asked": "auto", "tiers": ["small", "big"], "tier": "small", "evidence": "contract", **routing}
        row = CallRow(f"c{number}", feature=feature, started_at=NOW + number, routing=told, cost_nano=100)
        row.baseline_nano = 1_000
        assert books.write(row).ok

    return one


def said(found: list[Any], capsys: pytest.CaptureFixture[str], width: int = 100) -> str:
    standings_as_text(found, Console(width=width, highlight=False))
    return capsys.readouterr().out


def test_nothing_yet(tmp_path: Path, books: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert standings(Ledger(tmp_path / "none.db")) == []
    assert standings(books) == []
    assert "no call was routed yet" in said([], capsys)


def test_a_feature_with_calls_and_a_promise(books: Ledger, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        call(number, min_quality=0.9, risk=0.2, threshold=0.7, signal="logprobs", drift=False, aside=False)
    assert stored(books, labels(100, wrong=20)) == 100
    (found,) = standings(books)
    assert (found.feature, found.promised) == ("faq", True)
    (promise,) = found.promises
    assert (promise.tier, promise.labels, promise.gold, promise.min_quality, promise.risk) == (
        "small",
        100,
        100,
        0.9,
        0.2,
    )
    assert isinstance(promise.found, Threshold)
    told = found.as_dict()
    assert told["tiers"][0]["verdict"] == "contract"
    assert told["latest"]["threshold"] == 0.7
    assert told["routed"]["calls"] == 3
    json.dumps(told, allow_nan=False)
    text = said([found], capsys)
    assert "now: contract, threshold 0.7000 on logprobs; no drift" in text
    assert "small: 100 labels (100 gold, 0 by agreement); for 0.9 of the last tier's quality at risk 0.2" in text


def test_labels_of_a_file_are_kept_once(books: Ledger) -> None:
    assert stored(books, labels(5)) == 5
    assert stored(books, labels(5)) == 5
    (found,) = standings(books)
    assert found.promises[0].labels == 5


def test_a_feature_that_only_has_labels(books: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    stored(books, labels(10, "", gold=False))
    (found,) = standings(books)
    assert found.routed is None
    assert isinstance(found.promises[0].found, NotEnough)
    told = found.as_dict()
    assert (told["feature"], told["routed"], told["latest"]) == (None, None, None)
    text = " ".join(said([found], capsys).split())
    assert "feature (every feature)" in text
    assert "no routed call in this time" in text
    assert "nothing is promised; for 0.95 of the last tier's quality at risk 0.1: not enough evidence: 10 of" in text


def test_labels_of_every_feature_count_for_each(books: Ledger, call: Call) -> None:
    call(1)
    call(2, feature="mail")
    call(3, feature="mail")
    stored(books, labels(60, ""))
    stored(books, labels(3, "mail"))
    found = standings(books)
    assert [(each.feature, each.promises[0].labels) for each in found] == [("mail", 63), ("faq", 60), ("", 60)]
    assert [each.feature for each in standings(books, feature="mail")] == ["mail"]
    assert standings(books, since=NOW + 1.5)[0].feature == "mail"


def test_several_cheap_tiers_share_the_promise(books: Ledger, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    call(1, tiers=["tiny", "small", "big"], tier="big", threshold=None, drift=True, aside=True, evidence="prior")
    never = [Label("faq", 0.5, "logprobs", 0.0, 1.0, 100 + n, 1_000, "file", gold=True) for n in range(300)]
    stored(books, never, tier="tiny")
    (found,) = standings(books, min_quality=0.9, risk=0.1)
    assert [(each.tier, round(each.min_quality, 3), each.risk) for each in found.promises] == [
        ("tiny", 0.95, 0.05),
        ("small", 0.95, 0.05),
    ]
    told = found.as_dict()["tiers"]
    assert told[0]["threshold"] is None
    assert told[1]["verdict"].startswith("not enough")
    text = " ".join(said([found, found], capsys).split())
    assert "no threshold; traffic HAS SHIFTED" in text
    assert "STEPPED ASIDE" in text
    assert "no threshold keeps it" in text
    assert "small: 0 labels; for" in text


def test_a_threshold_near_nothing_is_told(books: Ledger, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    call(1, threshold=1.5e-20)
    assert "threshold 1.5e-20" in said(standings(books), capsys)
