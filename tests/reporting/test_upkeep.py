"""Deleting: counted first, then done, and nothing is made on the way."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine

from llmsaver.ledger import CallRow, Ledger, LedgerUnavailable, Salt
from llmsaver.ledger.migrate import upgrade as migrations
from llmsaver.reporting.books import cautions
from llmsaver.reporting.report import report
from llmsaver.reporting.upkeep import Doomed, delete_user, of_user, older_than, prune, repair, upgrade

NOW = 1_795_000_000.0


def test_pruning_takes_whole_days(small: Ledger) -> None:
    doomed = older_than(small, NOW)
    assert doomed == Doomed(4, 900_000, 1_794_960_000.0)
    assert prune(small, NOW) == 4
    left = report(small, now=NOW)
    assert (left.total.calls, left.total.cost_nano) == (4, 3_500_000_000)
    assert older_than(small, NOW).calls == 0


def test_a_user_goes_and_the_spend_stays(small: Ledger) -> None:
    assert of_user(small, "u1") == Doomed(6, 1_500_450_000, partly=True)
    assert of_user(small, "u9") == Doomed(0, 0)
    assert delete_user(small, "u1") == 6
    assert of_user(small, "u1").calls == 0
    assert report(small).total.cost_nano == 3_500_900_000


def test_hashed_ids_are_found_too(tmp_path: Path) -> None:
    with Ledger(tmp_path / "hashed.db", hash_ids=True, salt=Salt(tmp_path / "salt")) as ledger:
        assert ledger.write(CallRow("c1", NOW, user="u1", unpriced=True)).ok
        doomed = of_user(ledger, "u1")
        assert doomed == Doomed(1, None, partly=True)
        assert doomed.told == "at a cost that is not known"
        assert Doomed(2, 10**9, partly=True).told == "$1.00 and what has no known price"
        assert older_than(ledger, NOW + 90_000) == Doomed(1, None, 1_795_046_400.0, partly=True)
        assert delete_user(ledger, "u1") == 1


def test_nothing_is_made_where_there_is_no_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none.db")
    assert older_than(ledger, NOW).calls == of_user(ledger, "u").calls == 0
    assert prune(ledger, NOW) == delete_user(ledger, "u") == 0
    assert not (tmp_path / "none.db").exists()


def test_an_older_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    place = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{place}")
    with engine.begin() as connection:
        migrations(connection, "0002")
    engine.dispose()
    assert report(Ledger(place), now=NOW).total.calls == 0  # looking does it by itself
    with Ledger(place).reader() as reader:
        assert reader.totals().calls == 0
    assert upgrade(Ledger(place))
    assert not upgrade(Ledger(tmp_path / "none.db"))
    assert not (tmp_path / "none.db").exists()


def test_an_older_ledger_that_cannot_be_changed_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{place}")
    with engine.begin() as connection:
        migrations(connection, "0002")
    engine.dispose()

    def refuse(_: Ledger) -> None:
        raise LedgerUnavailable("read-only")

    monkeypatch.setattr(Ledger, "open", refuse)
    with pytest.raises(LedgerUnavailable, match=r"old\.db: .*older llmsaver \(schema 0002.*ledger upgrade"):
        report(Ledger(place), now=NOW)


def test_repairing(tmp_path: Path) -> None:
    place = tmp_path / "ledger.db"
    place.write_bytes(b"this is no database at all " * 400)
    ledger = Ledger(place)
    assert not repair(ledger).whole
    ((what, fix),) = cautions(ledger, budgets=False)
    assert "broken-" in what
    assert fix == "llmsaver ledger repair"
    assert repair(ledger, accept=True).files
    assert cautions(ledger, budgets=True) == [] or "each instance" in cautions(ledger, budgets=True)[0][0]


def test_a_disk_of_its_own_matters_where_budgets_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K_SERVICE", "s")
    ledger = Ledger(tmp_path / "l.db")
    assert cautions(ledger, budgets=False) == []
    ((what, fix),) = cautions(ledger, budgets=True)
    assert "Cloud Run" in what
    assert "PostgreSQL" in fix
