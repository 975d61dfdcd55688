"""What the doctor says of the ledger."""

from pathlib import Path

import pytest

from llmsaver.ledger import Budget, CallRow, Ledger
from llmsaver.reporting.doctor_books import books


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a ledger in the settings, on a disk that is not an instance's own."""
    monkeypatch.setenv("LLMSAVER_LEDGER", str(tmp_path / "ledger.db"))
    monkeypatch.setattr("llmsaver.ledger.lodging.own_disk", lambda _: None)
    return tmp_path / "ledger.db"


def test_a_ledger_that_is_not_there_yet(place: Path) -> None:
    (found,) = books()
    assert (found.state, found.what) == ("ok", f"{place}, made by the first call")
    assert not place.exists()


def test_a_sound_ledger(place: Path) -> None:
    with Ledger(place) as ledger:
        assert ledger.write(CallRow("e1")).ok
    (found,) = books()
    assert (found.state, found.what) == ("ok", str(place))


def test_rows_that_were_lost(place: Path) -> None:
    with Ledger(place) as ledger:
        ledger._writer._unsaved = 3
        assert ledger.write(CallRow("e1")).ok
    (found,) = books()
    assert found.what.endswith("; 3 rows were lost since it began")


def test_a_file_that_is_no_ledger(place: Path) -> None:
    place.write_text("no ledger " * 1_000)
    (found,) = books()
    assert (found.state, "ledger.db" in found.what) == ("absent", True)
    assert place.read_text().startswith("no ledger")  # looking repairs nothing


def test_budgets_on_a_disk_of_its_own(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.ledger.lodging.own_disk", lambda _: "a Docker container")
    assert len(list(books())) == 1
    with Ledger(place) as ledger:
        ledger.set_budget(Budget.usd("b", 1))
    _, found = books()
    assert (found.name, found.state, found.fix) == ("budgets", "absent", "point LLMSAVER_LEDGER to a shared PostgreSQL")
    assert "a Docker container" in found.what
