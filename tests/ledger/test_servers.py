"""What local servers were up and busy for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmsaver.ledger import CallRow, Ledger, ServerRow


def test_a_servers_time_only_grows(either: Ledger) -> None:
    assert either.write_server(ServerRow("s1", "qwen", 100.0, 160.0, 60.0, 12.0, 400_000_000))
    assert either.write_server(ServerRow("s1", "qwen", 100.0, 220.0, 120.0, 30.0))
    assert either.write_server(ServerRow("s1", "qwen", 100.0, 200.0, 100.0, 25.0))
    assert either.write_server(ServerRow("s2", "phi", 300.0, 310.0, 10.0, 1.0))
    with either.reader() as reader:
        first, second = reader.servers()
        assert first == {
            "id": "s1",
            "name": "qwen",
            "started_at": 100.0,
            "updated_at": 220.0,
            "up_s": 120.0,
            "busy_s": 30.0,
            "hourly_nano": 400_000_000,
        }
        assert (second["id"], second["hourly_nano"]) == ("s2", None)
        assert [row["id"] for row in reader.servers(since=250.0)] == ["s2"]
        assert [row["id"] for row in reader.servers(until=250.0)] == ["s1"]


def test_what_cannot_be_written_breaks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "folder").write_text("in the way")
    ledger = Ledger(tmp_path / "folder" / "ledger.db")
    assert not ledger.write_server(ServerRow("s1", "qwen", 1.0, 2.0, 1.0, 1.0))
    assert ledger.lost == 1
    assert "could not be written" in caplog.text


def test_local_time_and_energy_are_summed(either: Ledger, row: Callable[..., CallRow]) -> None:
    local = {"tier": "local", "busy_s": 1.25, "energy_low_wh": 0.01, "energy_high_wh": 0.04}
    either.write(row("e1", **local, started_at=1.0))
    either.write(row("e2", spilled=True, started_at=2.0))
    either.write(row("e3", hit=True, hit_kind="semantic", started_at=3.0))
    either.write(row("e4", refused=3, cost_nano=0, error="BudgetExceeded: no room", started_at=4.0))

    def look() -> tuple[int, ...]:
        with either.reader() as reader:
            found = reader.totals()
        assert found.errors == 0
        return (
            found.calls,
            found.refused,
            found.spilled,
            found.semantic_hits,
            found.busy_ms,
            found.energy_low_mwh,
            found.energy_high_mwh,
            found.cost_nano,
        )

    before = look()
    assert before == (3, 3, 1, 1, 1250, 10, 40, 3_000)
    either.fold()
    assert look() == before
    either.write(row("e4", refused=1, cost_nano=0, started_at=4.0))
    either.fold()
    assert look() == (3, 1, *before[2:])
