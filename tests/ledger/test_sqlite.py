"""What can happen to a file: locked, read-only, full, broken, deleted, forked over, left by killed programs."""

import logging
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llmsaver.ledger import Budget, CallRow, Hold, Ledger, LedgerUnavailable
from llmsaver.ledger import sqlite as module

Make = Callable[..., Ledger]
Rows = Callable[..., CallRow]
Python = Callable[..., "subprocess.Popen[str]"]


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])


def test_files_belong_to_their_owner_alone(tmp_path: Path, make: Make, row: Rows) -> None:
    os.umask(0o022)
    ledger = make(tmp_path / "deep" / "ledger.db")
    ledger.write(row("e1"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "deep").iterdir()}
    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700


def test_a_row_is_durable_when_write_returns(tmp_path: Path, make: Make, row: Rows) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.write(row("e1"))
    assert count(tmp_path / "l.db") == 1


def test_a_locked_file_loses_the_row_not_the_call(
    tmp_path: Path, make: Make, row: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = make(tmp_path / "l.db", patience=0.3)
    with closing(sqlite3.connect(tmp_path / "l.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert not ledger.write(row("e1")).ok
        assert 0.25 < time.monotonic() - began < 60.0
        assert ledger._writer._patience < 0.1
        assert not any(ledger.write(row(f"e{i}")).ok for i in range(2, 5))  # nobody waits long again
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.reserve([ledger.claim(Budget("b", limit_calls=1))], nano=0)
        other.execute("ROLLBACK")
    assert ledger.lost == 4
    assert len([record for record in caplog.records if "losses are counted" in record.message]) == 1
    assert ledger.write(row("e9")).ok
    with ledger.reader() as reader:
        assert reader.meta()["lost"] == "4"


def test_writers_who_meet_all_get_their_turn(tmp_path: Path, make: Make, row: Rows) -> None:
    one, two = make(tmp_path / "l.db"), make(tmp_path / "l.db")
    results: list[bool] = []

    def work(ledger: Ledger, name: str) -> None:
        results.extend(ledger.write(row(f"{name}{i}")).ok for i in range(100))

    threads = [threading.Thread(target=work, args=(ledger, f"{n}-")) for n, ledger in enumerate([one, two, one, two])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 400
    assert count(tmp_path / "l.db") == 400


def test_a_read_only_folder_cannot_be_opened_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "l.db")
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        ledger.open()
    assert not ledger.write(CallRow("e1")).ok


def test_a_file_that_became_read_only_loses_rows_until_it_is_not(
    tmp_path: Path, make: Make, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.write(row("e1"))
    real = module._connect

    def read_only(path: Path) -> sqlite3.Connection:
        connection = real(path)
        connection.execute("PRAGMA query_only=1")  # what SQLite says then, root or not
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(module, "_connect", read_only)
        ledger.store.close()
        assert not ledger.write(row("e2")).ok
    assert ledger.write(row("e3")).ok
    with ledger.reader() as reader:
        assert reader.meta()["lost"] == "1"


FULL = """
import resource, signal, sys
from llmsaver.ledger import CallRow, Ledger, Budget, LedgerUnavailable
ledger = Ledger(sys.argv[1], patience=60).open()
assert ledger.write(CallRow("first")).ok
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
results = [ledger.write(CallRow(f"e{i}", error="x" * 20_000)).ok for i in range(40)]
assert results[0] and not results[-1], results
assert ledger.lost == results.count(False)
try:
    ledger.reserve([ledger.claim(Budget("b", limit_calls=9))], nano=0, about={"id": "x", "error": "y" * 90_000})
    print("reserved")
except LedgerUnavailable:
    print("unavailable")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert ledger.write(CallRow("last")).ok
with ledger.reader() as reader:
    assert reader.meta()["lost"] == str(results.count(False)), reader.meta()
    assert reader.totals().calls == results.count(True) + 2
ledger.close()
"""


def test_a_full_disk_loses_rows_and_counts_them(tmp_path: Path, python: Python) -> None:
    program = python(FULL, tmp_path / "l.db")
    out, _ = program.communicate()
    assert program.returncode == 0
    assert out.strip() == "unavailable"


def test_a_broken_file_is_moved_aside_and_a_fresh_one_begins(
    tmp_path: Path, make: Make, row: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "l.db"
    path.write_bytes(b"this is no database at all " * 400)
    ledger = make(path)
    assert ledger.write(row("e1")).ok
    assert count(path) == 1
    (aside,) = tmp_path.glob("l.db.broken-*")
    assert aside.read_bytes().startswith(b"this is no database")
    assert any(record.levelno == logging.ERROR and "moved" in record.message for record in caplog.records)
    assert not list(tmp_path.glob("*.repair"))


def test_a_file_that_breaks_while_open_is_replaced(tmp_path: Path, make: Make, row: Rows) -> None:
    path = tmp_path / "l.db"
    ledger = make(path)
    for i in range(50):
        ledger.write(row(f"e{i}"))
    ledger.close()
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(page * 4096)
            file.write(os.urandom(4096))
    second = make(path)
    assert second.write(row("new")).ok
    assert list(tmp_path.glob("l.db.broken-*"))


def test_a_broken_file_that_cannot_be_moved_is_a_loss(
    tmp_path: Path, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "l.db").write_bytes(b"this is no database at all " * 400)

    def refuse(*_: object) -> None:
        raise PermissionError("not allowed")

    monkeypatch.setattr(Path, "replace", refuse)
    ledger = Ledger(tmp_path / "l.db")
    with pytest.raises(LedgerUnavailable, match="cannot be moved aside"):
        ledger.open()
    assert not ledger.write(row("e1")).ok


def test_what_another_program_has_repaired_is_used_as_it_is(tmp_path: Path, make: Make) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.write(CallRow("e1"))
    ledger.store._move_aside(1.0, LedgerUnavailable("seen before the repair", broken=True))  # type: ignore[attr-defined]
    assert count(tmp_path / "l.db") == 1


def test_a_file_deleted_while_open_starts_over_there(
    tmp_path: Path, make: Make, row: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = make(tmp_path / "l.db")
    claim = ledger.claim(Budget("b", limit_calls=1))
    assert isinstance(ledger.reserve([claim], nano=0), Hold)
    ledger.write(row("e1"))
    for path in tmp_path.glob("l.db*"):
        path.unlink()
    assert ledger.write(row("e2")).ok
    assert count(tmp_path / "l.db") == 1
    assert "deleted or replaced" in caplog.text
    assert isinstance(ledger.reserve([claim], nano=0), Hold)  # its window is made anew, not guessed


def test_a_file_emptied_while_open_starts_over(
    tmp_path: Path, make: Make, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.write(row("e1"))
    monkeypatch.setattr(module, "TIDY_BYTES", 1)
    ledger.store.tidy()
    os.truncate(tmp_path / "l.db", 0)
    results = [ledger.write(row(f"e{i}")).ok for i in range(2, 6)]
    assert results[-1], results
    assert ledger.lost == results.count(False)
    assert isinstance(ledger.reserve([ledger.claim(Budget("b", limit_calls=1, hard=False))], nano=0), Hold)


def test_a_table_that_is_gone_makes_the_ledger_unavailable(tmp_path: Path, make: Make, row: Rows) -> None:
    ledger = make(tmp_path / "l.db")
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        connection.execute("DROP TABLE holds")
    with pytest.raises(LedgerUnavailable, match="no such table"):
        ledger.reserve([ledger.claim(Budget("b", limit_calls=1))], nano=0)
    assert ledger.write(row("e1")).ok


def test_a_sqlite_too_old_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 0))
    with pytest.raises(LedgerUnavailable, match=r"3\.35"):
        Ledger(tmp_path / "l.db").open()


def test_a_transaction_left_open_is_rolled_back_first(tmp_path: Path, make: Make, row: Rows) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.store._connection.execute("BEGIN")  # type: ignore[attr-defined]
    assert ledger.write(row("e1")).ok


FORK = """
import os, sys
from llmsaver.ledger import CallRow, Ledger, Budget, Hold
ledger = Ledger(sys.argv[1], patience=60).open()
ledger.write(CallRow("parent-1"))
ledger.submit(CallRow("parent-2")).flight.block(60)
claim = ledger.claim(Budget("b", limit_calls=100))
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        ok = all(ledger.write(CallRow(f"child-{child}-{i}")).ok for i in range(20))
        ok = ok and ledger.submit(CallRow(f"child-{child}-last")).flight.block(60)
        ok = ok and isinstance(ledger.reserve([claim], nano=0), Hold)
        ledger.close()
        if child % 2:
            sys.exit(0 if ok else 1)  # a full interpreter exit, with everything it collects
        os._exit(0 if ok else 1)
    children.append(pid)
assert all(ledger.write(CallRow(f"parent-{i}")).ok for i in range(3, 30))
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
assert ledger.write(CallRow("parent-end")).ok
with ledger.reader() as reader:
    assert reader.totals().calls == 30 + 4 * 21, reader.totals().calls
    (budget,) = reader.budgets(__import__("time").time())
    assert budget["held_calls"] == 4
print("ok")
"""


def test_forked_children_write_on_connections_of_their_own(tmp_path: Path, python: Python) -> None:
    program = python(FORK, tmp_path / "l.db")
    assert program.communicate()[0].strip() == "ok"
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


FIRST = """
import sys
from llmsaver.ledger import CallRow, Ledger
sys.stdin.readline()
ledger = Ledger(sys.argv[1], patience=60)
print(all(ledger.write(CallRow(f"{sys.argv[2]}-{i}")).ok for i in range(50)))
ledger.close()
"""


def test_programs_that_start_together_make_one_ledger(tmp_path: Path, python: Python) -> None:
    programs = [python(FIRST, tmp_path / "l.db", n) for n in range(6)]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    assert [program.communicate()[0].strip() for program in programs] == ["True"] * 6
    assert count(tmp_path / "l.db") == 300


KILLED = """
import sys
from llmsaver.ledger import CallRow, Ledger
ledger = Ledger(sys.argv[1], patience=60).open()
i = 0
while True:
    assert ledger.write(CallRow(f"{sys.argv[2]}-{i}")).ok
    print(i, flush=True)
    i += 1
"""


def test_what_was_written_survives_its_programs_death(tmp_path: Path, python: Python) -> None:
    programs = [python(KILLED, tmp_path / "l.db", n) for n in range(3)]
    promised = 0
    for program in programs:
        assert program.stdout is not None
        last = [program.stdout.readline() for _ in range(100)][-1]
        program.kill()
        rest = program.stdout.read().split()
        program.communicate()
        promised += int(rest[-1] if rest else last) + 1
    assert promised <= count(tmp_path / "l.db") <= promised + 3
    with closing(sqlite3.connect(tmp_path / "l.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_reading_never_waits_for_a_writer_nor_makes_one_wait(tmp_path: Path, make: Make, row: Rows) -> None:
    ledger = make(tmp_path / "l.db", patience=0.2)
    ledger.write(row("e1"))
    with ledger.reader() as reader, reader._look() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM calls").scalar()
        assert ledger.write(row("e2")).ok  # while a reader is in the middle of its moment
        assert connection.exec_driver_sql("SELECT count(*) FROM calls").scalar() == 1
    with closing(sqlite3.connect(tmp_path / "l.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ledger.reader() as reader:
            assert reader.totals().calls == 2


def test_a_reader_cannot_write(tmp_path: Path, make: Make, row: Rows) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.write(row("e1"))
    with (
        ledger.reader() as reader,
        pytest.raises(LedgerUnavailable, match="readonly"),
        reader._look() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM calls")


def test_there_is_nothing_to_read_before_there_is_a_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db").reader() as reader, pytest.raises(LedgerUnavailable, match="cannot be read"):
        reader.totals()


def test_a_ledger_on_read_only_media_can_still_be_read(tmp_path: Path, make: Make, row: Rows) -> None:
    ledger = make(tmp_path / "l.db")
    ledger.write(row("e1"))
    ledger.close()
    code = (
        "import os, sys; from llmsaver.ledger import Ledger\n"
        "with Ledger(sys.argv[2]) as warm, warm.reader() as reader: reader.totals()\n"  # imports what nobody may not
        "os.setuid(65534) if os.getuid() == 0 else None\n"
        "with Ledger(sys.argv[1]).reader() as reader: print(reader.totals().calls)"
    )
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    tmp_path.chmod(0o555)
    (tmp_path / "l.db").chmod(0o444)
    try:
        command: list[str | Path] = [sys.executable, "-c", code, tmp_path / "l.db", tmp_path.parent / "warm.db"]
        out = subprocess.check_output(command, text=True)  # noqa: S603 - our own program
    finally:
        tmp_path.chmod(0o755)
    assert out.strip() == "1"


def test_upkeep_empties_the_write_ahead_log(
    tmp_path: Path, make: Make, row: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make(tmp_path / "l.db")
    log = tmp_path / "l.db-wal"
    for i in range(20):
        ledger.write(row(f"e{i}"))
    before = log.stat().st_size
    ledger.store.tidy()  # too little to bother
    ledger.write(row("one"))
    assert log.stat().st_size > before
    monkeypatch.setattr(module, "TIDY_BYTES", 1)
    ledger.store.tidy()
    before = log.stat().st_size
    ledger.write(row("two"))
    assert log.stat().st_size == before  # written over from the start
    monkeypatch.setattr(module, "HUGE_BYTES", 1)
    ledger.store.tidy()
    assert log.stat().st_size == 0
    ledger.write(row("three"))
    monkeypatch.setattr(module, "TIDY_SECONDS", 0.05)
    with closing(sqlite3.connect(tmp_path / "l.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ledger.store.tidy()  # given up while somebody writes for long
        assert log.stat().st_size > 0
        other.execute("ROLLBACK")
    for path in tmp_path.glob("l.db*"):
        path.unlink()
    ledger.store.tidy()  # no harm where the file is gone


WRITER = """
import sys, time
from llmsaver.ledger import CallRow, Ledger
ledger, until, i = Ledger(sys.argv[1], patience=60).open(), time.monotonic() + 2.0, 0
while time.monotonic() < until:
    assert ledger.write(CallRow(f"{sys.argv[2]}-{i}", error="x" * 500)).ok
    i += 1
print(i)
ledger.close()
"""


def test_the_log_stays_small_while_many_programs_write(tmp_path: Path, python: Python) -> None:
    programs = [python(WRITER, tmp_path / "l.db", n) for n in range(4)]
    largest = 0
    while any(program.poll() is None for program in programs):
        time.sleep(0.05)
        if (tmp_path / "l.db-wal").exists():
            largest = max(largest, (tmp_path / "l.db-wal").stat().st_size)
    written = sum(int(program.communicate()[0]) for program in programs)
    assert count(tmp_path / "l.db") == written
    assert largest < 64 << 20
