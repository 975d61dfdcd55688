"""What is deleted is gone, and the sums agree with what is left."""

from collections.abc import Callable

from llmsaver.ledger import Budget, CallRow, Claim, EvaluationRow, Hold, Ledger, TaskRow
from llmsaver.ledger import retention as module

DAY = 86_400
NOON = 20_700 * DAY + DAY / 2
Rows = Callable[..., CallRow]


def test_whole_days_are_pruned_rows_and_sums_alike(either: Ledger, row: Rows) -> None:
    for i in range(6):
        either.write(row(f"e{i}", started_at=NOON - i * DAY, cost_nano=1))
        either.evaluate(EvaluationRow(f"e{i}", "same", 1.0))
        either.write_task(TaskRow(f"t{i}", NOON - i * DAY))
    either.fold()
    assert either.prune(NOON - 2 * DAY) == 3  # the day of that noon stays whole
    with either.reader() as reader:
        assert {found["id"] for found in reader.calls()} == {"e0", "e1", "e2"}
        for by in ("feature", "user", "tag:env"):
            (line,) = reader.lines(by)
            assert (line.calls, line.cost_nano) == (3, 3)
    assert either.prune(NOON - 2 * DAY) == 0


def test_rows_written_after_the_newest_were_deleted_are_counted(either: Ledger, row: Rows) -> None:
    for i in range(4):
        either.write(row(f"e{i}", started_at=NOON - 9 * DAY))
    either.fold()
    assert either.prune(NOON) == 4
    either.write(row("new", started_at=NOON))
    either.fold()
    with either.reader() as reader:
        assert reader.totals().calls == 1


def test_old_windows_and_settled_leases_go_too(either: Ledger) -> None:
    claim = Claim(Budget("b", limit_nano=100))
    old = either.reserve([claim], nano=10, now=NOON - 9 * DAY, lease_s=1, sent=True)
    assert isinstance(old, Hold)
    either.reap(NOON - 8 * DAY)
    assert isinstance(either.reserve([claim], nano=10, now=NOON), Hold)
    either.prune(NOON)
    with either.reader() as reader:
        assert len(reader.holds()) == 1
        assert reader.budgets(NOON - 9 * DAY)[0]["window"] is None
        assert reader.budgets(NOON)[0]["held_nano"] == 10
    assert not either.settle(old, 5).settled


def test_a_users_rows_go_and_the_money_stays(either: Ledger, row: Rows, monkeypatch: object) -> None:
    assert monkeypatch is not None
    for i in range(6):
        either.write(row(f"e{i}", started_at=NOON, user="alice" if i < 4 else "bob", cost_nano=1))
    either.write_task(TaskRow("t", user="alice"))
    budget = Budget("b", limit_calls=9, scope="user")
    hold = either.reserve([either.claim(budget, user="alice")], nano=0, now=NOON)
    assert isinstance(hold, Hold)
    either.settle(hold, 0)
    assert either.delete_user("alice") == 4
    with either.reader() as reader:
        assert {found["user"] for found in reader.calls()} == {"bob"}
        assert [line.name for line in reader.lines("user")] == ["bob"]
        assert reader.totals().cost_nano == 6
        assert "alice" not in str(reader.budgets(NOON))
    assert either.delete_user("alice") == 0


def test_much_is_deleted_in_short_transactions(ledger: Ledger, row: Rows) -> None:
    module.CHUNK, before = 10, module.CHUNK
    try:
        for i in range(35):
            ledger.write(row(f"e{i}", started_at=NOON))
        assert ledger.delete_user("u42") == 35
    finally:
        module.CHUNK = before
