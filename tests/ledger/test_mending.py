"""A ledger that was found broken: hard budgets wait for a word, everything else goes on in a fresh file."""

import contextlib
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmsaver.ledger import Budget, CallRow, Claim, Due, Hold, Ledger, LedgerUnavailable

Make = Callable[..., Ledger]
NOISE = b"this is no database at all " * 400
HARD, SOFT = Claim(Budget.usd("hard", 1)), Claim(Budget.usd("soft", 1, hard=False))


def spend(ledger: Ledger, claim: Claim, nano: int) -> None:
    hold = ledger.reserve([claim], nano=nano)
    assert isinstance(hold, Hold)
    ledger.settle(hold, nano)


def spent(ledger: Ledger, name: str) -> tuple[int, int]:
    with ledger.reader() as reader:
        (found,) = reader.budgets(time.time(), name)
    return found["spent_nano"], found["held_nano"]


def break_calls(path: Path) -> None:
    """Overwrite the pages of the table of calls, as a bad disk does; what it says of budgets stays whole."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'calls'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)


def aside(path: Path) -> list[Path]:
    return list(path.parent.glob(path.name + ".broken-*"))


def test_a_hard_budget_does_not_start_again_at_zero(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "l.db"
    path.write_bytes(NOISE)
    ledger = Ledger(path)
    with pytest.raises(LedgerUnavailable, match=r"broken-.*llmsaver ledger repair"):
        ledger.reserve([HARD], nano=1)
    with pytest.raises(LedgerUnavailable, match="repair"):
        ledger.reserve([SOFT, HARD], nano=1)
    assert ledger.write(CallRow("e1")).ok
    spend(ledger, SOFT, 5)
    assert isinstance(ledger.reserve([HARD], nano=0, calls=0), Hold)  # what costs nothing needs no room
    with pytest.raises(LedgerUnavailable, match="repair"):
        make(path).reserve([HARD], nano=1)  # another program is told the same
    done = ledger.repair()
    assert (done.whole, len(done.files)) == (False, 1)
    with pytest.raises(LedgerUnavailable):
        ledger.reserve([HARD], nano=1)
    assert ledger.repair(accept=True).files
    spend(ledger, HARD, 1)
    assert spent(ledger, "hard") == (1, 0)
    assert ledger.repair().files == ()
    assert (ledger.lost, aside(path)) == (0, [])
    assert list(tmp_path.glob("l.db.repaired-*"))


def test_what_was_spent_is_carried_over(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "l.db"
    first = make(path)
    first.write(CallRow("e1"))
    spend(first, HARD, 400_000_000)
    spend(first, SOFT, 7)
    assert isinstance(first.reserve([HARD], nano=100_000_000), Hold)  # under way when the disk went bad
    first.close()
    break_calls(path)
    second = make(path)
    assert second.write(CallRow("e2")).ok
    assert len(aside(path)) == 1
    spend(second, SOFT, 5)
    with pytest.raises(LedgerUnavailable):
        second.reserve([HARD], nano=1)
    done = second.repair()
    assert (done.whole, done.budgets, done.windows) == (True, 2, 2)
    assert spent(second, "soft") == (12, 0)
    assert spent(second, "hard") == (500_000_000, 0)
    spend(second, HARD, 500_000_000)
    assert not isinstance(second.reserve([HARD], nano=1), Hold)


def test_removing_the_broken_file_is_an_answer_too(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "l.db"
    path.write_bytes(NOISE)
    ledger = make(path)
    with pytest.raises(LedgerUnavailable):
        ledger.reserve([HARD], nano=1)
    for found in aside(path):
        found.unlink()
    spend(ledger, HARD, 1)


BREAK = """
import sys
from llmsaver.ledger import CallRow, Ledger
ledger = Ledger(sys.argv[1])
assert ledger.write(CallRow("other")).ok
"""


def test_a_program_that_had_the_file_open_hears_of_it(
    tmp_path: Path, make: Make, python: Callable[..., subprocess.Popen[str]]
) -> None:
    path = tmp_path / "l.db"
    ledger = make(path)
    hold = ledger.reserve([HARD], nano=10)
    assert isinstance(hold, Hold)
    path.with_name("new").write_bytes(NOISE)
    path.with_name("new").replace(path)
    other = python(BREAK, path)  # finds it broken and moves it aside
    other.communicate()
    assert other.returncode == 0
    with pytest.raises(LedgerUnavailable, match="repair"):
        ledger.reserve([HARD], nano=10)
    assert ledger.write(None, settle=[Due(hold, 10)]).ok
    assert ledger.repair(accept=True).files
    found = ledger.reserve([HARD], nano=10)
    assert isinstance(found, Hold)
    assert ledger.release(found)
    assert spent(ledger, "hard") == (0, 0)


def test_a_server_has_nothing_to_repair(make: Make, postgres: str) -> None:
    ledger = make(postgres)
    assert ledger.repair().files == ()
    spend(ledger, HARD, 1)
