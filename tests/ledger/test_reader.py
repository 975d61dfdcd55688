"""Sums of every kind are the sums of the rows, however far folding has come; checked against plain addition."""

import json
import random
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from llmsaver.ledger import Budget, CallRow, Claim, Hold, Ledger, Line, TaskRow
from llmsaver.ledger.rows import call_values

BASE = 1_794_960_000.0 - 1_794_960_000 % 86_400  # a midnight in UTC
HOUR, DAY = 3_600, 86_400


def sample(count: int, seed: int = 7) -> list[CallRow]:
    rng = random.Random(seed)  # noqa: S311 - a sample, not a secret
    rows = []
    for i in range(count):
        cost = rng.choice([None, rng.randrange(10_000)])
        rows.append(
            CallRow(
                f"e{i}",
                started_at=BASE + rng.randrange(4 * DAY),
                feature=rng.choice(["search", "chat", "mail"]),
                user=rng.choice([None, "u1", "u2", "u3"]),
                tenant=rng.choice([None, "acme"]),
                task=rng.choice([None, "t1", "t2"]),
                tags={"env": rng.choice(["prod", "test"])} if rng.random() < 0.7 else {},
                model_asked="m",
                model_answered=rng.choice([None, "m-1", "m-2"]),
                tier=rng.choice(["api", "local"]),
                cost_nano=cost,
                cost_low=None if cost is None or rng.random() < 0.8 else cost // 2,
                cost_high=None if cost is None or rng.random() < 0.8 else cost * 2,
                baseline_nano=rng.choice([None, rng.randrange(20_000)]),
                estimated=rng.random() < 0.1,
                unpriced=cost is None,
                hit=rng.random() < 0.2,
                escalated=rng.random() < 0.1,
                truncated=rng.random() < 0.05,
                input_tokens=rng.choice([None, rng.randrange(1_000)]),
                output_tokens=rng.randrange(100),
                latency_ms=rng.choice([None, rng.uniform(10, 2_000)]),
                first_byte_ms=rng.choice([None, rng.uniform(10, 200)]),
                status=rng.choice([200, 200, 200, 429, None]),
                error=rng.choice([None, None, "boom"]),
            )
        )
    return rows


def name_of(row: CallRow, by: str, zone: str) -> str | None:
    if by == "day":
        return datetime.fromtimestamp(row.started_at, ZoneInfo(zone)).date().isoformat()
    if by == "total":
        return "total"
    if by == "model":
        return row.model_answered or row.model_asked
    if by.startswith("tag:"):
        return row.tags.get(by[4:])
    return getattr(row, by) or ""


def expected(rows: list[CallRow], by: str, since: float | None, until: float | None, zone: str) -> dict[str, Any]:
    out: dict[str, dict[str, int]] = {}
    for row in rows:
        name = name_of(row, by, zone)
        if name is None or (since is not None and row.started_at < since):
            continue
        if until is not None and row.started_at >= until:
            continue
        line = out.setdefault(name, dict.fromkeys(NAMES, 0))
        cost, low, high = row.cost_nano, row.cost_low, row.cost_high
        low, high = (cost if low is None else low), (cost if high is None else high)
        line["calls"] += 1
        line["errors"] += row.error is not None or (row.status or 0) >= 400
        line["estimated"] += row.estimated
        line["unpriced"] += row.unpriced
        line["hits"] += row.hit
        line["escalated"] += row.escalated
        line["truncated"] += row.truncated
        line["cost_nano"] += cost or 0
        line["cost_low"] += low or 0
        line["cost_high"] += high or 0
        line["baseline_nano"] += row.baseline_nano or 0
        if cost is not None and row.baseline_nano is not None and low is not None and high is not None:
            line["saved_nano"] += row.baseline_nano - cost
            line["saved_low"] += row.baseline_nano - high
            line["saved_high"] += row.baseline_nano - low
        line["input_tokens"] += row.input_tokens or 0
        line["output_tokens"] += row.output_tokens or 0
        line["task_nano"] += (cost or 0) if row.task is not None else 0
    return out


NAMES = (
    *(
        "calls",
        "errors",
        "estimated",
        "unpriced",
        "hits",
        "escalated",
        "truncated",
        "cost_nano",
        "cost_low",
        "cost_high",
    ),
    *("baseline_nano", "saved_nano", "saved_low", "saved_high", "input_tokens", "output_tokens", "task_nano"),
)


def plain(lines: list[Line]) -> dict[str, dict[str, int]]:
    return {line.name: {name: getattr(line, name) for name in NAMES} for line in lines}


@pytest.mark.parametrize("folded", [0, 150, 400])
def test_sums_are_those_of_the_rows(either: Ledger, folded: int) -> None:
    rows = sample(400)
    for row in rows[:folded]:
        either.write(row)
    either.fold()
    for row in rows[folded:]:
        either.write(row)
    spans = [
        (None, None),
        (BASE + DAY, BASE + 3 * DAY),
        (BASE + 5 * HOUR + 17.5, BASE + 2 * DAY + 90.25),
        (BASE + 10.0, BASE + 20.0),
        (BASE + HOUR / 2, None),
        (None, BASE + 30 * HOUR),
    ]
    with either.reader() as reader:
        for since, until in spans:
            for by in ("feature", "model", "tier", "user", "tenant", "task", "tag:env", "day", "total"):
                found = plain(reader.lines(by, since=since, until=until))
                assert found == expected(rows, by, since, until, "UTC"), (by, since, until)
            local = plain(reader.lines("day", since=since, until=until, tz="America/New_York"))
            assert local == expected(rows, "day", since, until, "America/New_York")
        assert reader.totals(since=BASE + 90 * DAY) == Line("total")


@pytest.mark.parametrize("folded", [0, 200, 400])
@pytest.mark.parametrize("by", ["user", "tenant", "task"])
def test_the_dearest_of_many_are_those_of_all(either: Ledger, folded: int, by: str) -> None:
    rng = random.Random(5)  # noqa: S311 - a sample, not a secret
    rows = sample(400)
    for row in rows:
        row.user, row.tenant, row.task = (rng.choice([None, *(f"n{i}" for i in range(40))]) for _ in range(3))
    for row in rows[:folded]:
        either.write(row)
    either.fold()
    for row in rows[folded:]:
        either.write(row)
    for name in ("n1", "n7"):
        either.write_task(TaskRow(name, BASE + DAY, BASE + DAY, "resolved", "mail", name, name))
    with either.reader() as reader:
        for since, until in ((None, None), (BASE + 7.5 * HOUR, BASE + 3 * DAY + 90.25), (BASE + 10.0, BASE + 2e4)):
            every = [line for line in reader.lines(by, since=since, until=until) if line.calls]
            ranked = sorted(every, key=lambda line: (-line.cost_nano, -line.calls, line.name))
            found, number = reader.dearest(by, 10, since=since, until=until)
            assert number == len(every) > 10
            assert {line.name: line for line in found} == {line.name: line for line in ranked[:10]}
            everything, number = reader.dearest(by, 100, since=since, until=until)
            assert [line.name for line in everything if line.calls] == [line.name for line in every]
            assert number >= len(every)
        assert reader.dearest("feature", 1)[1] == 3


def test_lines_are_ordered_and_say_their_latency(either: Ledger) -> None:
    rows = sample(300)
    for row in rows:
        either.write(row)
    either.fold()
    with either.reader() as reader:
        lines = reader.lines("feature")
        days = reader.lines("day")
        total = reader.totals()
    assert [line.cost_nano for line in lines] == sorted((line.cost_nano for line in lines), reverse=True)
    assert [line.name for line in days] == sorted(line.name for line in days)
    latencies = [row.latency_ms for row in rows if row.latency_ms is not None]
    cuts = statistics.quantiles(latencies, n=100)
    for percent in (50, 90, 99):
        assert total.latency_ms(percent / 100) == pytest.approx(cuts[percent - 1], rel=0.08)
    shown = total.as_dict()
    assert shown["latency_p50_ms"] == total.latency_ms(0.5)
    assert shown["first_byte_p99_ms"] == total.first_byte_ms(0.99)
    assert json.dumps(shown)


def test_resolved_tasks_are_counted_where_they_belong(either: Ledger) -> None:
    for name, outcome in (("t1", "resolved"), ("t2", "failed"), ("t3", "resolved")):
        either.write(CallRow(f"e-{name}", started_at=BASE + 5, feature="mail", user="u1", task=name, cost_nano=10))
        either.write_task(TaskRow(name, BASE + 5, BASE + 9, outcome, "mail", "u1", "acme"))
    either.write_task(TaskRow("old", BASE - 5 * DAY, BASE, "resolved", "mail"))
    with either.reader() as reader:
        for by, name in (("feature", "mail"), ("user", "u1"), ("tenant", "acme"), ("total", "total"), ("task", "t1")):
            found = {line.name: line.resolved for line in reader.lines(by, since=BASE, until=BASE + DAY)}
            assert found[name] == (1 if by == "task" else 2)
        (day,) = reader.lines("day", since=BASE)
        assert (day.resolved, day.task_nano, day.cost_nano) == (2, 30, 30)
        assert reader.lines("model", since=BASE)[0].resolved == 0


@pytest.mark.parametrize("folded", [0, 2, 4])
def test_routed_calls_are_summed_by_feature_and_tier(either: Ledger, row: Callable[..., CallRow], folded: int) -> None:
    told = [
        ("a", {"tier": "small"}, False),
        ("a", {"tier": "big"}, True),
        ("b", {"tier": "big"}, True),
        ("b", {}, False),
    ]
    for n, (feature, routing, escalated) in enumerate([*told, ("b", None, False)]):
        either.write(row(f"e{n}", feature=feature, routing=routing, escalated=escalated))
        if n + 1 == folded:
            either.fold()
    either.write(row("e9", feature="a", routing=["nonsense"]))
    with either.reader() as reader:
        found = {line.name: (line.calls, line.escalated) for line in reader.lines("router")}
        assert reader.totals().calls == 6
    assert found == {"a > small": (1, 0), "a > big": (1, 1), "b > big": (1, 1), "a > ": (1, 0)}


@pytest.mark.parametrize("by", ["", "colour", "tag:"])
def test_what_cannot_be_cut_by_is_refused(ledger: Ledger, by: str) -> None:
    with ledger.reader() as reader, pytest.raises(ValueError, match="cut by"):
        reader.lines(by)


def test_rows_can_be_asked_for_by_time_and_by_column(either: Ledger, row: Callable[..., CallRow]) -> None:
    for i in range(5):
        either.write(row(f"e{i}", started_at=BASE + i, user=f"u{i % 2}"))
    with either.reader() as reader:
        assert [found["id"] for found in reader.calls(limit=2)] == ["e4", "e3"]
        assert [found["id"] for found in reader.calls(since=BASE + 1, until=BASE + 4, user="u1")] == ["e3", "e1"]
        assert reader.calls(user="nobody") == []
        assert reader.call("nothing") is None
        assert [found["id"] for found in reader.tail(limit=2)] == ["e3", "e4"]
        assert [found["id"] for found in reader.tail(reader.tail(limit=2)[0]["seq"])] == ["e4"]


def test_budgets_are_shown_with_their_open_windows(either: Ledger) -> None:
    now = BASE + 5
    daily, total = Budget("daily", limit_nano=100), Budget("total", limit_calls=5, per="total", hard=False)
    hold = either.reserve([Claim(daily), Claim(total)], nano=30, now=now)
    assert isinstance(hold, Hold)
    with either.reader() as reader:
        found = {window["name"]: window for window in reader.budgets(now)}
        assert (found["daily"]["limit_nano"], found["daily"]["limit_calls"]) == (100, None)
        assert (found["daily"]["held_nano"], found["daily"]["window"]) == (30, daily.window(now).id)
        assert (found["total"]["hard"], found["total"]["held_calls"]) == (False, 1)
        later = {window["name"]: window["window"] for window in reader.budgets(now + DAY)}
        assert later == {"daily": None, "total": "total"}
        assert len(reader.holds()) == 2


def test_a_report_reads_sums_and_not_rows(tmp_path: Path, make: Callable[..., Ledger]) -> None:
    ledger = make(tmp_path / "big.db")
    names = [column for column in CallRow.__slots__ if column != "attempts"]
    marks = ", ".join("?" * len(names))
    rows = (call_values(row) for row in sample(40_000))
    import sqlite3

    with closing(sqlite3.connect(tmp_path / "big.db")) as connection, connection:
        connection.executemany(f"INSERT INTO calls ({', '.join(names)}) VALUES ({marks})", rows)  # noqa: S608 - our own names
    assert ledger.fold() == 40_000
    with ledger.reader() as reader:
        began = time.thread_time()
        lines = reader.lines("feature")
        elapsed = time.thread_time() - began
    assert sum(line.calls for line in lines) == 40_000
    assert elapsed < 0.5
