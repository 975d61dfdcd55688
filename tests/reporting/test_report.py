"""The report's figures, on a ledger whose sums can be done in the head."""

import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.ledger import CallRow, Ledger, LedgerUnavailable
from llmsaver.reporting.books import begun, ledger_at, place, reading
from llmsaver.reporting.figures import Figures, less, merged
from llmsaver.reporting.report import Report, list_prices_as_of, report, report_of
from llmsaver.testing.rows import call_rows, task_rows

NOW = 1_795_000_000.0
DAY = 86_400.0


def by_name(made: Report) -> dict[str, Figures]:
    return {line.name: line for line in made.lines}


def test_the_total(small: Ledger) -> None:
    total = report(small, now=NOW).total
    assert (total.calls, total.errors, total.hits, total.escalated, total.truncated) == (8, 1, 1, 1, 1)
    assert (total.estimated, total.unpriced) == (2, 1)
    # 2 x $0.00045, two free calls, $2 + $1 + $0.50; one without a price.
    assert total.spend == 3_500_900_000
    assert (total.cost_low, total.cost_high) == (3_400_900_000, 3_600_900_000)
    assert (total.baseline_nano, total.saved) == (2_250_000, 1_350_000)
    assert total.saved_share == 0.6
    assert total.per_thousand == 437_612_500_000
    # $0.0009 in t1, which was resolved, and $0.50 in t2, which failed.
    assert (total.resolved, total.per_resolved) == (1, 500_900_000)
    assert (total.tokens_in, total.tokens_out) == (875, 88)
    assert total.latency_ms[0] == pytest.approx(500.0, rel=0.045)
    assert total.first_byte_ms[0] == pytest.approx(200.0, rel=0.045)
    assert total.flags == "~?"


def test_by_feature_dearest_first(small: Ledger) -> None:
    made = report(small, now=NOW)
    assert [line.name for line in made.lines] == ["bot", "search"]
    bot, search = made.lines
    assert (bot.calls, bot.spend, bot.saved, bot.saved_share) == (4, 3_500_000_000, None, None)
    assert (search.calls, search.spend, search.saved, search.flags) == (4, 900_000, 1_350_000, "")
    assert search.rate("errors") == 0.25


def test_what_has_no_user_or_tag_is_in_a_line_of_its_own(small: Ledger) -> None:
    users = report(small, "user", now=NOW)
    assert [(line.name, line.calls) for line in users.lines] == [("u1", 6), ("u2", 1), ("", 1)]
    assert sum(line.cost_nano for line in users.lines) == users.total.cost_nano
    assert [(line.name, line.calls) for line in report(small, "tag:env").lines] == [("prod", 7), ("", 1)]
    assert by_name(report(small, "task"))["t1"].per_resolved == 900_000


def test_the_models_and_days_are_there_whatever_it_is_cut_by(small: Ledger) -> None:
    made = report(small, "tier", now=NOW)
    assert [line.name for line in made.lines] == ["api", "cache"]
    assert [(line.name, line.spend) for line in made.models] == [
        ("gpt-5", 3_500_000_000),
        ("gpt-5-mini", 900_000),
        ("mine", None),  # unknown, and not $0
    ]
    assert [line.name for line in made.days] == ["2026-11-17", "2026-11-18"]
    assert report(small, "day").lines == made.days
    assert report(small, "model").lines == made.models


def test_since_and_until(small: Ledger) -> None:
    assert report(small, since=NOW - 60).total.calls == 4
    assert report(small, until=NOW - 60).total.calls == 4
    none = report(small, since=NOW + 60)
    assert (none.total.calls, none.written) == (0, 8)
    assert (none.total.per_thousand, none.total.tokens_in, none.total.rate("hits")) == (None, None, None)


def test_days_of_another_zone(small: Ledger) -> None:
    made = report(small, "day", tz="Pacific/Kiritimati")  # fourteen hours ahead
    assert [line.name for line in made.lines] == ["2026-11-18", "2026-11-19"]


def test_folded_or_not_is_all_the_same(small: Ledger) -> None:
    before = report(small, "user", now=NOW)
    assert small.fold() == 8
    assert report(small, "user", now=NOW) == before


def test_a_ledger_that_is_not_there_is_empty_and_stays_away(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none" / "ledger.db")
    made = report(ledger, now=NOW)
    assert (made.total.calls, made.lines, made.lost, made.written) == (0, (), 0, 0)
    assert not (tmp_path / "none").exists()


def test_lost_rows_are_told(small: Ledger) -> None:
    with sqlite3.connect(place(small)) as connection:
        connection.execute("INSERT INTO meta VALUES ('lost', '3')")
    connection.close()
    assert report(small).lost == 3


@pytest.mark.parametrize(("by", "tz"), [("nonsense", "UTC"), ("tag:", "UTC"), ("day", "Mars/Olympus")])
def test_nothing_to_cut_by(books: Ledger, by: str, tz: str) -> None:
    with pytest.raises(ConfigurationError):
        report(books, by, tz=tz)


def test_looking_at_something_else_leaves_it_alone(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("no ledger at all, and dear to somebody")
    with pytest.raises(LedgerUnavailable, match=r"notes\.txt: ") as failed:
        report(Ledger(other))
    assert "\n" not in str(failed.value)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_read_only_copy_can_be_read(small: Ledger, tmp_path: Path) -> None:
    small.close()
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(place(small), copy / "ledger.db")
    (copy / "ledger.db").chmod(0o400)
    assert report(Ledger(copy / "ledger.db")).total.calls == 8


def test_a_writer_in_the_midst_of_it_is_not_in_the_way(small: Ledger) -> None:
    writer = sqlite3.connect(place(small), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert report(small).total.calls == 8
    writer.execute("ROLLBACK")
    writer.close()


def test_writing_goes_on_while_it_is_read(small: Ledger) -> None:
    with reading(small) as reader:
        reader.totals()
        done: list[bool] = []
        thread = threading.Thread(target=lambda: done.append(small.write(CallRow("late", NOW)).ok))
        thread.start()
        thread.join(60)
    assert done == [True]


def test_of_rows_it_is_the_same(small: Ledger) -> None:
    with reading(small) as reader:
        rows = reader.calls()
    made = report_of(rows, "tag:env", made_at=NOW)
    assert [(line.name, line.calls) for line in made.lines] == [("prod", 7), ("", 1)]
    assert made.models == report(small).models


def test_sums_over_many_rows_add_up(books: Ledger) -> None:
    rows = list(call_rows(600, ends_at=NOW, days=3))
    for row in rows:
        books.submit(row)
    for task in task_rows(600, ends_at=NOW, days=3):
        assert books.write_task(task)
    books.drain(60)
    books.fold()
    made = report(books, "tenant", now=NOW)
    assert made.total.calls == 600
    assert made.total.cost_nano == sum(row.cost_nano or 0 for row in rows)
    assert made.total.hits == sum(row.hit for row in rows) > 0
    assert made.total.resolved > 0
    for cut in (made.lines, made.models, made.days):
        assert sum(line.cost_nano for line in cut) == made.total.cost_nano


def test_what_is_left_over_is_never_negative(small: Ledger) -> None:
    with reading(small) as reader:
        total, lines = reader.totals(), [line for line in reader.lines("user") if line.name]
    rest = less(total, merged(lines))
    assert (rest.calls, rest.cost_nano, sum(rest.latency.values())) == (1, 2_000_000_000, 1)
    assert less(merged(lines), total).calls == 0


def test_where_the_ledger_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(ledger_at()).endswith("llmsaver/ledger.db")
    monkeypatch.setenv("LLMSAVER_LEDGER", str(tmp_path / "set.db"))
    monkeypatch.setenv("LLMSAVER_HASH_IDS", "1")
    assert place(ledger_at()) == str(tmp_path / "set.db")
    assert str(ledger_at().hide("u1")).startswith("h:")
    assert place(ledger_at(f"sqlite:///{tmp_path}/given.db")) == str(tmp_path / "given.db")


def test_a_server_that_is_down_is_named_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    ledger = Ledger("postgresql://me:secret@127.0.0.1:1/books")
    assert place(ledger) == "postgresql+psycopg://me:***@127.0.0.1:1/books"
    with pytest.raises(LedgerUnavailable, match=r"127\.0\.0\.1:1") as failed:
        begun(ledger)
    assert "secret" not in str(failed.value)


def test_a_server_is_asked_for_its_ledger(small: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.ledger.sqlite.SQLiteStore", int)  # taken for a server's
    assert begun(small)


def test_the_price_tables_day() -> None:
    assert list_prices_as_of().year >= 2026
