"""What a ledger has of routed calls beyond their sums, on either database."""

from collections.abc import Callable

from llmsaver.ledger import CallRow, EvaluationRow, Ledger, TaskRow

Row = Callable[..., CallRow]
NOW = 1_795_000_000.0


def test_the_latest_routed_calls(either: Ledger, row: Row) -> None:
    either.write(row("e1", started_at=NOW, feature="a", routing={"tier": "small"}))
    either.write(row("e2", started_at=NOW + 2, feature="b", routing={"tier": "big"}))
    either.write(row("e3", started_at=NOW + 1, feature="a", routing={"tier": "big"}))
    either.write(row("e4", started_at=NOW + 9, feature="a"))
    with either.reader() as reader:
        assert [each["id"] for each in reader.routed(limit=5)] == ["e2", "e3", "e1"]
        (found,) = reader.routed("a")
    assert found == {"id": "e3", "feature": "a", "started_at": NOW + 1, "routing": {"tier": "big"}}


def test_tasks_with_all_their_calls(either: Ledger, row: Row) -> None:
    either.write(row("e1", started_at=NOW, task="t", feature="a", routing={"tier": "small"}, cost_nano=1))
    either.write(row("e2", started_at=NOW + 50, task="t", feature="b", routing={}, cost_nano=2))
    either.write(row("e3", started_at=NOW, task="t", feature="b", routing={"why": "none"}, cost_nano=None))
    either.write(row("e4", started_at=NOW, task="u", cost_nano=5))
    either.write(row("e5", started_at=NOW, task="old", routing={"tier": "small"}))
    for task, began in (("t", NOW), ("u", NOW), ("old", NOW - 100)):
        either.write_task(TaskRow(task, started_at=began, outcome="resolved"))
    with either.reader() as reader:
        (found,) = reader.routed_tasks(since=NOW - 1, until=NOW + 1)
        assert {each.id for each in reader.routed_tasks()} == {"t", "old"}
    assert (found.id, found.outcome, found.cost_nano) == ("t", "resolved", 3)
    assert found.routes == {("a", "small"), ("b", "")}


def test_judgements_on_routed_calls(either: Ledger, row: Row) -> None:
    either.write(row("e1", started_at=NOW, feature="a", routing={"tier": "small"}, baseline_nano=9))
    either.write(row("e2", started_at=NOW + 100, routing={"tier": "small"}))
    either.write(row("e3", started_at=NOW))
    either.evaluate_all([EvaluationRow(call, "router", 1.0, "audit", details={"n": 1}) for call in ("e1", "e2", "e3")])
    either.evaluate_all([EvaluationRow("e1", "router", judge="feedback"), EvaluationRow("e1", "same")])
    with either.reader() as reader:
        found = reader.judged("router", until=NOW + 1)
        assert len(reader.judged("router", since=NOW)) == 3
    assert [(each.call, each.feature, each.baseline_nano, each.judge) for each in found] == [
        ("e1", "a", 9, "audit"),
        ("e1", "a", 9, "feedback"),
    ]
    assert (found[0].routing, found[0].details, found[1].details) == ({"tier": "small"}, {"n": 1}, {})


def test_routing_that_is_no_object_is_none(either: Ledger, row: Row) -> None:
    either.write(row("e1", routing={"tier": "small"}))
    either.store.transact(lambda transaction: transaction.cursor.execute("UPDATE calls SET routing = '[1]'"), 1.0)
    with either.reader() as reader:
        assert reader.routed()[0]["routing"] == {}
