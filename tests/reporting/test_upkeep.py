"""Deleting: counted first, then done, and nothing is made on the way."""

from pathlib import Path

from llmsaver.ledger import CallRow, Ledger, Salt
from llmsaver.reporting.report import report
from llmsaver.reporting.upkeep import Doomed, delete_user, of_user, older_than, prune

NOW = 1_795_000_000.0


def test_pruning_takes_whole_days(small: Ledger) -> None:
    doomed = older_than(small, NOW)
    assert doomed == Doomed(4, 900_000, 1_794_960_000.0)
    assert prune(small, NOW) == 4
    left = report(small, now=NOW)
    assert (left.total.calls, left.total.cost_nano) == (4, 3_500_000_000)
    assert older_than(small, NOW).calls == 0


def test_a_user_goes_and_the_spend_stays(small: Ledger) -> None:
    assert of_user(small, "u1") == Doomed(6, 1_500_450_000)
    assert of_user(small, "u9") == Doomed(0, 0)
    assert delete_user(small, "u1") == 6
    assert of_user(small, "u1").calls == 0
    assert report(small).total.cost_nano == 3_500_900_000


def test_hashed_ids_are_found_too(tmp_path: Path) -> None:
    with Ledger(tmp_path / "hashed.db", hash_ids=True, salt=Salt(tmp_path / "salt")) as ledger:
        assert ledger.write(CallRow("c1", NOW, user="u1", unpriced=True)).ok
        assert of_user(ledger, "u1") == Doomed(1, None)
        assert older_than(ledger, NOW + 90_000) == Doomed(1, None, 1_795_046_400.0)
        assert delete_user(ledger, "u1") == 1


def test_nothing_is_made_where_there_is_no_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none.db")
    assert older_than(ledger, NOW).calls == of_user(ledger, "u").calls == 0
    assert prune(ledger, NOW) == delete_user(ledger, "u") == 0
    assert not (tmp_path / "none.db").exists()
