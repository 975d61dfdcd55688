"""Several rows by one statement, as one by one."""

from collections.abc import Callable

import pytest

from llmsaver.ledger import AttemptRow, CallRow, Ledger
from llmsaver.ledger.calls import KnownCallError, put_all
from llmsaver.ledger.statements import Transaction

Rows = Callable[..., CallRow]


def parts(ledger: Ledger, *rows: CallRow) -> list[tuple[list[object], list[list[object]]]]:
    return [(ticket.values or [], ticket.attempts) for ticket in (ledger._ticket(row, ()) for row in rows)]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 64, 200])
def test_rows_written_together_are_those_written_one_by_one(either: Ledger, row: Rows, count: int) -> None:
    tries = [AttemptRow("first.example", "m", status=500), AttemptRow("second.example", "m", status=200, cost_nano=3)]
    rows = [row(f"e{i}", cost_nano=i, tags={"n": str(i)}, attempts=tries[: i % 3]) for i in range(count)]
    assert either.write(row("before", attempts=tries)).ok
    made = parts(either, *rows)
    either.store.transact(lambda transaction: put_all(transaction, made), 2.0)
    assert either.write(row("after")).ok
    with either.reader() as reader:
        found = {each["id"]: each for each in reader.tail(limit=1_000)}
    assert list(found) == ["before", *(each.id for each in rows), "after"]
    for i in range(count):
        mine = found[f"e{i}"]
        assert (mine["cost_nano"], mine["tags"]) == (i, {"n": str(i)})
        assert [each["upstream"] for each in mine["attempts"]] == [each.upstream for each in tries[: i % 3]]


def test_a_call_that_has_a_row_is_not_written_with_others(ledger: Ledger, row: Rows) -> None:
    assert ledger.write(row("e1", cost_nano=1)).ok
    made = parts(ledger, row("e0"), row("e1", cost_nano=2))

    def work(transaction: Transaction) -> None:
        put_all(transaction, made)

    with pytest.raises(KnownCallError):
        ledger.store.transact(work, 2.0)
    tickets = [ledger._ticket(each, ()) for each in (row("e0"), row("e1", cost_nano=2), row("e2"), row("e2"))]
    ledger._writer._commit(tickets)
    assert all(ticket.ok for ticket in tickets)
    with ledger.reader() as reader:
        assert {each["id"]: each["cost_nano"] for each in reader.tail()}["e1"] == 2
        assert reader.totals().calls == 3
