"""Following calls live, across processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from llmsaver.ledger import AttemptRow, CallRow, Ledger, LedgerUnavailable, Salt
from llmsaver.reporting import tail
from llmsaver.reporting.tail import follow, line_of, row_as_json

NOW = 1_795_000_000.0
WRITE = """
import sys
from llmsaver.ledger import CallRow, Ledger, Salt
with Ledger(sys.argv[1], salt=Salt(sys.argv[1] + ".salt")) as ledger:
    for name in sys.argv[2:]:
        assert ledger.write(CallRow(name)).ok
"""


class Enough(Exception):  # noqa: N818 - ends a follower in a test
    pass


def ids(rows: Iterator[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


def until_it_waits(ledger: Ledger, *then: Any, latest: int = 10) -> list[str]:
    """Return the ids that a follower yields; each time it waits the next of ``then`` is done, and last it ends."""
    left = list(then)

    def sleep(_: float) -> None:
        if not left:
            raise Enough
        left.pop(0)()

    found = []
    try:
        for row in follow(ledger, latest=latest, sleep=sleep):
            found.append(row["id"])  # noqa: PERF401 - what came before the end counts
    except Enough:
        pass
    return found


def test_the_latest_and_then_what_another_process_writes(small: Ledger) -> None:
    path = str(small.store.path)  # type: ignore[attr-defined]  # a file's

    def elsewhere() -> None:
        subprocess.run([sys.executable, "-c", WRITE, path, "new1", "new2"], check=True, timeout=60)  # noqa: S603 - ours

    assert until_it_waits(small, elsewhere, latest=2) == ["c7", "c8", "new1", "new2"]


def test_without_following_it_ends(small: Ledger, tmp_path: Path) -> None:
    assert ids(follow(small, latest=3, forever=False)) == ["c6", "c7", "c8"]
    assert ids(follow(small, latest=0, forever=False)) == []
    assert ids(follow(Ledger(tmp_path / "none.db"), forever=False)) == []
    assert not (tmp_path / "none.db").exists()


def test_a_ledger_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    made = Ledger(tmp_path / "later.db", salt=Salt(tmp_path / "salt"))

    def write() -> None:
        assert made.write(CallRow("first", NOW)).ok

    assert until_it_waits(Ledger(tmp_path / "later.db"), lambda: None, write, latest=0) == ["first"]
    made.close()


def test_a_burst_comes_whole_and_in_order(books: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_PAGE", 3)
    names = [f"n{number}" for number in range(10)]

    def burst() -> None:
        for name in names:
            assert books.write(CallRow(name, NOW)).ok

    assert books.write(CallRow("old", NOW)).ok
    assert until_it_waits(books, burst) == ["old", *names]


def test_numbers_that_start_over_are_followed(small: Ledger) -> None:
    def forget() -> None:
        small.delete_user("u1")

    def write() -> None:
        assert small.write(CallRow("fresh", NOW)).ok

    assert until_it_waits(small, forget, lambda: None, write, latest=0) == ["fresh"]


def test_on_a_server_late_rows_are_not_passed_over(small: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "SQLiteStore", int)  # taken for a server's

    def write() -> None:
        assert small.write(CallRow("fresh", NOW)).ok

    assert until_it_waits(small, write, latest=1) == ["c8", "fresh"]


def test_what_is_no_ledger_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no ledger")
    with pytest.raises(LedgerUnavailable):
        list(islice(follow(Ledger(tmp_path / "notes")), 1))


def rows_of(ledger: Ledger, *rows: CallRow) -> list[dict[str, Any]]:
    for row in rows:
        assert ledger.write(row).ok
    return list(follow(ledger, latest=len(rows), forever=False))


def test_lines_fit_eighty_columns(books: Ledger) -> None:
    plain, hit, failed, dropped, long, bare = rows_of(
        books,
        CallRow(
            "a", NOW, feature="search", model_answered="gpt-5-mini", status=200, input_tokens=1_475, output_tokens=64,
            latency_ms=760.0, cost_nano=254_000,
        ),
        CallRow("b", NOW, feature="search", model_asked="gpt-5", status=200, hit=True, input_tokens=1, output_tokens=2,
                latency_ms=0.34, cost_nano=0),
        CallRow("c", NOW, feature="bot", model_asked="gpt-5", status=429, latency_ms=60.0, cost_nano=0),
        CallRow("d", NOW, feature="bot", error="ConnectTimeout: nobody there", estimated=True, unpriced=True),
        CallRow("e", NOW, feature="名" * 30, model_answered="m" * 99, status=200, input_tokens=10**9,
                output_tokens=10**9, latency_ms=1e6, cost_nano=1_234_567_890_123, estimated=True, unpriced=True),
        CallRow("f", NOW),
    )  # fmt: skip
    told = [line_of(row, UTC) for row in (plain, hit, failed, dropped, long, bare)]
    assert told == [
        "11:06:40 search        gpt-5-mini         200     1,475 > 64  760 ms   $0.000254",
        "11:06:40 search        gpt-5              hit          1 > 2 0.34 ms       $0.00",
        "11:06:40 bot           gpt-5              429         failed   60 ms       $0.00",
        "11:06:40 bot           -                  ERR  ConnectTimeo…       -   unknown~?",
        f"11:06:40 {'名' * 6}… {'m' * 16}… 200  1,000.0M > 1… 16.7 min $1,234.57~?",
        "11:06:40 default       -                  -                        -     unknown",
    ]
    assert {cell_len(line) for line in told} == {80}


def test_the_machines_own_time_is_told(books: Ledger) -> None:
    (row,) = rows_of(books, CallRow("a", NOW))
    assert line_of(row)[2:3] == ":"


def test_json_has_dollars_as_exact_decimals(books: Ledger) -> None:
    attempts = (AttemptRow("api.openai.com", "gpt-5", "api", 200, cost_nano=1),)
    (row,) = rows_of(
        books, CallRow("a", NOW, cost_nano=1, cost_low=0, cost_high=2, tags={"env": "prod"}, attempts=attempts)
    )
    told = json.loads(row_as_json(row))
    assert (told["cost_usd"], told["cost_low_usd"], told["cost_high_usd"]) == ("0.000000001", "0", "0.000000002")
    assert told["baseline_usd"] is None
    assert told["tags"] == {"env": "prod"}
    assert told["attempts"][0]["cost_usd"] == "0.000000001"
    assert "\n" not in row_as_json(row)
