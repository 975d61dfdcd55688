"""Calls known late: one row and one charge for each, whoever books it and however often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.ledger import AttemptRow, Budget, CallRow, Claim, Due, Hold, Ledger
from llmsaver.ledger.late import PENDING, LateCall, book, late_id, remember
from llmsaver.ledger.schema import LAPSED

if TYPE_CHECKING:
    from pathlib import Path

CAP = Claim(Budget("cap", limit_nano=1_000, per="total"))


@pytest.fixture
def ledger(either: Ledger) -> Ledger:
    """Open a ledger of either kind."""
    return either


def run_of(row_id: str = "r1", nano: int = 70, *, told: bool = True, **more: Any) -> LateCall:
    values = {"route": "background", "cost_nano": nano, "cost_low": nano, "cost_high": nano, "complete": True, **more}
    attempt = AttemptRow("host", "m", "api", 200, cost_nano=nano, cost_low=nano, cost_high=nano)
    return LateCall(CallRow(row_id, 5.0, attempts=(attempt,), **values), nano, nano, 9, told)


def booked(ledger: Ledger, *late: LateCall, claims: tuple[Claim, ...] = (CAP,)) -> list[Any]:
    crossed: list[Any] = []
    assert book(ledger, late, claims, crossed.extend).block(60)
    return crossed


def rows(ledger: Ledger) -> list[dict[str, Any]]:
    ledger.drain(60)
    with ledger.reader() as reader:
        return reader.calls(limit=100)


def pot(ledger: Ledger) -> tuple[int, int, int, int, int]:
    with ledger.reader() as reader:
        (each,) = reader.budgets(5.0)
    names = ("spent_nano", "spent_tokens", "spent_calls", "held_nano", "low_nano")
    return tuple(each[name] for name in names)


def pending(ledger: Ledger, row_id: str = "r1", *, nano: int = 400) -> Due:
    hold = ledger.reserve([CAP], nano=nano, tokens=50, sent=True)
    assert isinstance(hold, Hold)
    due = Due(hold, nano, 50, 1, 0)
    assert remember(ledger, row_id, due).block(60)
    attempt = AttemptRow("host", "m", "api", 200, cost_nano=nano, cost_low=0, cost_high=nano, estimated=True)
    row = CallRow(row_id, 5.0, cost_nano=nano, cost_low=0, cost_high=nano, estimated=True, flags=(PENDING,))
    row.attempts = (attempt,)
    row.feature = "mine"
    assert ledger.write(row, [due]).ok
    return due


def test_ids_are_the_same_everywhere_and_apart() -> None:
    assert late_id("API.openai.com", "resp_1") == late_id("api.openai.com", "resp_1")
    ids = {late_id(*names) for names in (("a", "b"), ("a", "c"), ("b", "b"), ("a", "b", ""), ("a", "\ud800"))}
    assert len(ids) == 5


def test_what_is_new_is_charged_once(ledger: Ledger) -> None:
    booked(ledger, run_of("r1"), run_of("r2", 30))
    booked(ledger, run_of("r1"), run_of("r3", 5))
    assert pot(ledger) == (105, 27, 3, 0, 105)
    assert sorted(row["id"] for row in rows(ledger)) == ["r1", "r2", "r3"]
    with ledger.reader() as reader:
        assert reader.holds() == []


def test_what_does_not_fit_is_spent_and_told(ledger: Ledger) -> None:
    claim = Claim(Budget("cap", limit_nano=100, per="total", thresholds=(0.5, 1.0)))
    crossed = booked(ledger, run_of("r1", 5_000), claims=(claim,))
    assert [each.threshold for each in crossed] == [0.5, 1.0]
    assert pot(ledger)[0] == 5_000


def test_a_pending_run_is_put_right(ledger: Ledger) -> None:
    pending(ledger)
    assert pot(ledger) == (400, 50, 1, 0, 0)
    ledger.fold()
    for _ in range(3):
        booked(ledger, run_of(feature="theirs", input_tokens=4))
    assert pot(ledger) == (70, 9, 1, 0, 70)
    (row,) = rows(ledger)
    assert (row["feature"], row["route"], row["input_tokens"]) == ("mine", "background", 4)
    assert (row["cost_nano"], row["cost_low"], row["cost_high"], row["baseline_nano"]) == (70, 70, 70, 70)
    assert (row["estimated"], row["flags"]) == (0, [])
    assert [each["cost_nano"] for each in row["attempts"]] == [70]
    with ledger.reader() as reader:
        assert reader.holds() == []
        assert reader.totals().cost_nano == 70


def test_without_usage_the_bound_stands(ledger: Ledger) -> None:
    pending(ledger)
    booked(ledger, run_of(told=False))
    assert pot(ledger) == (400, 50, 1, 0, 0)
    assert rows(ledger)[0]["flags"] == [PENDING]


def test_a_row_that_was_deleted_meanwhile_is_not_charged_twice(ledger: Ledger) -> None:
    pending(ledger)
    ledger.prune(10 * 86_400.0)
    assert rows(ledger) == []
    with ledger.reader() as reader:
        assert [hold["state"] for hold in reader.holds()] == [LAPSED]
    booked(ledger, run_of())
    assert pot(ledger) == (70, 9, 1, 0, 70)
    assert len(rows(ledger)) == 1


def test_an_earlier_row_of_the_call_gets_the_new_id(ledger: Ledger) -> None:
    assert ledger.write(CallRow("e1", 5.0, error="ReadTimeout")).ok
    assert remember(ledger, "r1", None, before="e1").block(60)
    assert [row["id"] for row in rows(ledger)] == ["r1"]
    assert ledger.write(CallRow("e2", 5.0)).ok
    assert remember(ledger, "r1", None, before="e2").block(60)
    assert sorted(row["id"] for row in rows(ledger)) == ["e2", "r1"]


def test_values_may_be_anything(ledger: Ledger) -> None:
    booked(ledger, run_of("r1", 10, model_answered="\ud800\0", input_tokens=10**30), claims=())
    (row,) = rows(ledger)
    assert row["model_answered"] == "??" or "\N{REPLACEMENT CHARACTER}" in row["model_answered"]
    assert row["input_tokens"] == 2**62


def test_users_are_hidden_as_elsewhere(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db", hash_ids=True) as ledger:
        booked(ledger, run_of(user="u1", tenant="t1"))
        (row,) = rows(ledger)
        assert (row["user"], row["tenant"]) == (ledger.hide("u1"), ledger.hide("t1"))
        assert row["user"] != "u1"


def test_a_ledger_that_fails_counts_what_it_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "l.db").mkdir()
    ledger = Ledger(tmp_path / "l.db", patience=0.1)
    assert booked(ledger, run_of("r1"), run_of("r2")) == []
    assert ledger.lost == 2
    assert "could not be charged" in caplog.text
    hold = Hold(1, (), 0, 0, 0, 0.0)
    assert remember(ledger, "r1", Due(hold, 1)).block(60)
    ledger.close()


def test_a_budget_that_cannot_be_charged_costs_no_row(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    booked(ledger, run_of("r1"))
    other = Claim(Budget("cap", limit_nano=7, per="day"))
    booked(ledger, run_of("r2"), claims=(other,))
    assert len(rows(ledger)) == 2
    assert "could not be charged" in caplog.text
    assert pot(ledger)[0] == 70
