"""Old ledgers open, newer ones are refused, and two versions of the library can meet on one file."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import Popen

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from llmsaver.ledger import CallRow, Ledger, LedgerTooNew, LedgerUnavailable
from llmsaver.ledger.failures import LedgerTooOld
from llmsaver.ledger.migrate import HEAD, upgrade
from llmsaver.ledger.schema import metadata

Make = Callable[..., Ledger]


def url_of(place: str) -> str:
    return place if "://" in place else f"sqlite:///{place}"


def test_the_migrations_arrive_at_the_schema(make: Make, place: str) -> None:
    make(place)
    engine = create_engine(url_of(place))
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD
    engine.dispose()
    assert found == []


def test_an_old_ledger_opens_with_everything_in_it(make: Make, place: str) -> None:
    engine = create_engine(url_of(place))
    with engine.begin() as connection:
        upgrade(connection, "0001")
        connection.execute(
            text(
                "INSERT INTO calls (id, started_at, feature, route, tier, cost_nano) "
                "VALUES ('e1', 1.0, 'f', 'live', 'api', 7)"
            )
        )
    engine.dispose()
    ledger = make(place)
    assert ledger.write(CallRow("e2", feature="f", started_at=2.0, cost_nano=5)).ok
    assert ledger.fold() == 2
    with ledger.reader() as reader:
        (line,) = reader.lines("feature")
    assert (line.calls, line.cost_nano) == (2, 12)


def test_what_a_ledger_of_the_third_schema_holds_is_read_beside_what_is_routed(make: Make, place: str) -> None:
    engine = create_engine(url_of(place))
    with engine.begin() as connection:
        upgrade(connection, "0003")
        connection.execute(
            text(
                "INSERT INTO calls (id, started_at, feature, route, tier, cost_nano) "
                "VALUES ('e1', 1.0, 'f', 'live', 'api', 7)"
            )
        )
        connection.execute(text("INSERT INTO evaluations (call, at, name, value) VALUES ('e1', 1.0, 'same', 1.0)"))
    engine.dispose()
    ledger = make(place)
    assert ledger.write(CallRow("e3", feature="f", started_at=3.0, cost_nano=5, routing={"tier": "small"})).ok
    with ledger.reader() as reader:
        old, new = reader.call("e1"), reader.call("e3")
        assert old is not None
        assert old["routing"] is None
        assert new is not None
        assert new["routing"] == {"tier": "small"}
        assert [line.name for line in reader.lines("router")] == ["f > small"]
    assert [each["call"] for each in ledger.evaluations("same")] == ["e1"]


def test_a_ledger_of_the_fifth_schema_gains_what_layers_did(make: Make, place: str) -> None:
    engine = create_engine(url_of(place))
    with engine.begin() as connection:
        upgrade(connection, "0005")
        for n in range(3):
            connection.execute(
                text(
                    "INSERT INTO calls (id, started_at, feature, route, tier, cost_nano, layers) "
                    "VALUES (:id, 1.0, 'f', 'live', 'api', 7, '[]')"
                ),
                {"id": f"e{n}"},
            )
    engine.dispose()
    ledger = make(place)
    assert ledger.write(CallRow("e3", feature="f", started_at=3.0, cost_nano=5, shaped={"compress": [8, 4, 2]})).ok
    assert ledger.fold() == 4
    with ledger.reader() as reader:
        assert [(line.layer, line.calls) for line in reader.layers()] == [("compress", 1)]
        (line,) = reader.lines("feature")
        old = reader.call("e1")
    assert (line.calls, line.cost_nano) == (4, 26)
    assert old is not None
    assert (old["shaped"], old["prefix"]) == ({}, None)


OPENING = """
import sys
from llmsaver.ledger import CallRow, Ledger, Salt
sys.stdin.readline()
with Ledger(sys.argv[1], salt=Salt(sys.argv[2] + "/salt"), patience=60.0) as ledger:
    assert ledger.write(CallRow(sys.argv[3], shaped={"compress": [8, 4, 2]})).ok
print("written")
"""


def test_two_processes_that_bring_a_ledger_up_to_date_at_once(
    make: Make, place: str, tmp_path: Path, python: Callable[..., Popen[str]]
) -> None:
    engine = create_engine(url_of(place))
    with engine.begin() as connection:
        upgrade(connection, "0005")
        connection.execute(
            text("INSERT INTO calls (id, started_at, feature, route, tier) VALUES ('e0', 1.0, 'f', 'live', 'api')")
        )
    engine.dispose()
    programs = [python(OPENING, place, tmp_path, f"p{n}") for n in range(3)]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    assert [program.communicate(timeout=120)[0] for program in programs] == ["written\n"] * 3
    with make(place).reader() as reader:
        assert reader.totals().calls == 4
        assert sum(line.calls for line in reader.layers()) == 3


def newer(place: str) -> None:
    """Do what a later version's additive migration does."""
    engine = create_engine(url_of(place))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE calls ADD COLUMN mood TEXT"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()


def test_a_newer_ledger_is_refused_clearly_and_calls_go_on(
    make: Make, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(place).close()
    newer(place)
    ledger = Ledger(place)
    with pytest.raises(LedgerTooNew, match=r"newer llmsaver.*upgrade"):
        ledger.open()
    assert not ledger.write(CallRow("e1")).ok
    assert ledger.lost == 1
    assert "newer llmsaver" in caplog.text


def test_an_older_version_that_is_running_goes_on_writing(make: Make, place: str) -> None:
    ledger = make(place)
    assert ledger.write(CallRow("e1")).ok
    newer(place)
    assert ledger.write(CallRow("e2")).ok
    with ledger.reader() as reader, pytest.raises(LedgerTooNew, match="upgrade"):
        reader.totals()
    assert ledger.known_budgets() == []  # what its own calls need it goes on finding


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0005"])
def test_a_reader_says_what_to_do_about_an_older_ledger(place: str, revision: str) -> None:
    engine = create_engine(url_of(place))
    with engine.begin() as connection:
        upgrade(connection, revision)
    engine.dispose()
    ledger = Ledger(place)
    for _ in range(2):
        with ledger.reader() as reader, pytest.raises(LedgerTooOld, match=rf"schema {revision}.*ledger upgrade"):
            reader.totals()
    ledger.open().close()
    with ledger.reader() as reader:
        assert reader.totals().calls == 0


def test_another_programs_tables_are_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        connection.execute("CREATE TABLE calls (number TEXT)")
    with pytest.raises(LedgerUnavailable, match="not llmsaver's"):
        Ledger(tmp_path / "l.db").open()
