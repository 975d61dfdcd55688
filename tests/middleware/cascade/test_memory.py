"""What a cascade has learned outlives its process."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.ledger import Ledger
from llmsaver.ledger.rows import EvaluationRow
from llmsaver.middleware import cascade_memory
from llmsaver.middleware.cascade_memory import NAME, Memory, _write_all
from llmsaver.router.stakes import Stakes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHILD = """
import sys
from llmsaver.ledger import Ledger
from llmsaver.middleware.cascade_memory import Memory

with Ledger(sys.argv[1]) as ledger:
    memory = Memory("p", ledger)
    memory.sync()
    for number in range(int(sys.argv[2])):
        memory.drift.see("f", 0.8 + number % 20 / 100, {number % 30}, escalated=number % 3 == 0)
        memory.aside.note("f", weak_nano=6, strong_nano=100, escalated=True)
        memory.stakes.note("f", 106, 100, calls=1)
    memory.sync()
    print(memory.drift.watch("f").calls)
"""


def ask_child(place: Path, calls: int) -> int:
    """Have another process make so many calls; return how many it knows of then."""
    command = [sys.executable, "-c", CHILD, str(place), str(calls)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 - our own


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "l.db") as made:
        yield made


def test_a_restarted_process_goes_on_with_the_reference_of_the_one_before(tmp_path: Path, ledger: Ledger) -> None:
    assert ask_child(tmp_path / "l.db", 150) == 150
    assert ask_child(tmp_path / "l.db", 100) == 250
    memory = Memory("p", ledger)
    memory.sync()
    watch = memory.drift.watch("f")
    assert len(watch.escalations) == 200  # frozen, in two processes
    assert len(watch.late_escalations) == 50
    assert watch.words == set(range(30))
    assert memory.aside.verdict("f").aside
    assert memory.stakes.lost("f") == pytest.approx(0.06, rel=0.01)
    seen = [memory.drift.see("f", 0.2, {7}, escalated=True) for _ in range(60)]
    assert any(seen)
    memory.stakes.note("f", 1, 1, calls=1)
    memory.sync()
    other = Memory("p", ledger)
    other.sync()
    assert other.drift.shifted("f")
    assert other.drift.watch("f").what == memory.drift.watch("f").what


def test_processes_side_by_side_hear_of_a_shift_and_of_its_end(ledger: Ledger) -> None:
    one, other = Memory("p", ledger), Memory("p", ledger)
    for memory in (one, other):
        for number in range(200):
            memory.drift.see("f", 0.8 + number % 20 / 100, {number % 30}, escalated=False)
        memory.stakes.note("f", 1, 1, calls=1)
        memory.sync()
    one.drift.watch("f").since, one.drift.watch("f").what = 5.0, "something"
    other.drift.watch("f").words = {1}
    for memory in (one, other):
        memory.stakes.note("f", 1, 1, calls=1)
        memory.sync()
    assert other.drift.shifted("f")
    assert other.drift.watch("f").words == {1}  # each has its own reference
    other.drift.settled("f")
    other.stakes.note("f", 1, 1, calls=1)
    other.sync()
    one.stakes.note("f", 1, 1, calls=1)
    one.sync()
    assert not one.drift.shifted("f")
    assert one.stakes.merged("f", {"calls": 5})["calls"] == 5  # all has been told
    assert other.drift.watch("f").began == one.drift.watch("f").began > 0


def test_cascades_with_other_terms_have_a_memory_of_their_own(ledger: Ledger) -> None:
    one = Memory("p", ledger)
    one.stakes.note("f", 10, 1, calls=1)
    one.sync()
    other = Memory("q", ledger)
    other.sync()
    assert other.stakes.lost("f") is None
    assert len(ledger.evaluations(NAME)) == 1


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"feature": "f", "drift": 3, "aside": [], "stakes": "x"},
        {"feature": "f", "drift": {"calls": 3, "began": None}},
        {"feature": "f", "drift": {"calls": 3, "began": 0.0, "since": "x"}},
    ],
)
def test_rows_that_are_none_are_passed_over(ledger: Ledger, details: dict[str, Any]) -> None:
    one = Memory("p", ledger)
    one.stakes.note("f", 1, 1, calls=1)
    one.sync()
    (row,) = ledger.evaluations(NAME)
    ledger.evaluate(EvaluationRow("feature:g", NAME, judge=row["judge"], details=details))
    other = Memory("p", ledger)
    other.sync()
    assert other.drift.watch("f").calls == 0


def test_it_is_written_often_at_first_and_then_seldom(ledger: Ledger) -> None:
    memory = Memory("p", ledger)
    written = []
    for number in range(1, 1_001):
        if memory.noted():
            memory.sync()
            written.append(number)
    assert written[:6] == [1, 2, 4, 8, 16, 32]
    assert len(written) < 30
    assert {later - earlier for earlier, later in zip(written[-5:], written[-4:], strict=False)} == {50}
    assert not Memory("p", None).noted()
    Memory("p", None).sync()


def test_a_sync_under_way_is_not_waited_for(ledger: Ledger) -> None:
    memory = Memory("p", ledger)
    memory.stakes.note("f", 1, 1, calls=1)
    with memory._lock:
        memory.sync()
    assert memory.stakes.fresh() == ["f"]
    memory.sync()
    assert memory.stakes.fresh() == []


def test_a_saver_that_starts_anew_knows_what_the_one_before_lost(plain: Any) -> None:
    plain.is_unsure()
    first = plain.saver()
    plain.ask(first)
    while plain.entry(first).routing["start"] == plain.cheap:
        plain.ask(first, f"What is the capital, asked for the {len(plain.shop.fake.requests)}. time?")
    why = plain.entry(first).routing["why"]
    assert why.startswith("stepped aside: so far all cost +")
    assert plain.entry(first).routing["aside"]
    assert "stepped aside" in str(first.router.explain(messages=[{"role": "user", "content": "Another one?"}]))
    first.close()
    again = plain.saver()
    plain.ask(again, "And is it so after a restart?")
    assert plain.entry(again).routing["aside"]
    assert plain.entry(again).routing["start"] == plain.strong


def test_what_a_cascade_may_lose_is_a_share(plain: Any) -> None:
    assert Stakes(plain.cascade(may_lose=0.2).terms.may_lose).hold("f", 1.0, 1.0) is not None
    with pytest.raises(Exception, match="may_lose="):
        plain.cascade(may_lose=2)


def test_a_ledger_that_fails_costs_nobody_the_call(plain: Any, caplog: pytest.LogCaptureFixture) -> None:
    cascade = plain.cascade()
    saver = plain.saver(cascade)

    def broken() -> None:
        raise OSError("no such disk")

    cascade.memory = type("Broken", (Memory,), {"sync": lambda _: broken()})("p", saver.ledger)
    assert plain.ask(saver)
    assert "cannot be read or kept" in caplog.text


def spent(ledger: Ledger) -> list[tuple[int, int]]:
    """Return the calls and what they cost, by feature, as the ledger has them."""
    rows = [row["details"]["stakes"] for row in ledger.evaluations(NAME)]
    return [(round(row["calls"]), round(row["spent"])) for row in rows]


def test_of_processes_that_write_at_once_both_count(ledger: Ledger, tmp_path: Path) -> None:
    start = threading.Barrier(2)

    def work(own: Ledger) -> None:
        memory = Memory("p", own)
        start.wait(60)
        for _ in range(30):
            memory.stakes.note("f", 100, 100, calls=1)
            memory.sync()

    with Ledger(tmp_path / "l.db", patience=60.0) as other, ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [Ledger(tmp_path / "l.db", patience=60.0), other]))
    ((calls, cost),) = spent(ledger)
    assert calls == pytest.approx(60, abs=1)
    assert cost == pytest.approx(6_000, rel=0.01)


def test_what_could_not_be_written_is_written_later(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory("p", ledger)
    memory.sync()
    memory.stakes.note("f", 150, 100, calls=1)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "revise", lambda *_: False)
        memory.sync()
    assert memory.stakes.lost("f") == pytest.approx(0.5)
    assert memory.stakes.fresh() == ["f"]
    memory.stakes.note("f", 50, 100, calls=1)
    memory.sync()
    assert spent(ledger) == [(2, 200)]


FORKED = """
import os, sys
from llmsaver.ledger import Ledger
from llmsaver.middleware.cascade_memory import Memory

ledger = Ledger(sys.argv[1]).open()
memory = Memory("p", ledger)
for _ in range(40):
    memory.stakes.note("f", 100, 100, calls=1)
hold = memory.stakes.hold("f", 1.0, 100.0)
for _ in range(3):
    child = os.fork()
    if not child:
        memory.stakes.note("f", 100, 100, calls=1)
        memory.sync()
        room = memory.stakes.hold("f", 1.4, 100.0) is not None
        os._exit(0 if room else 1)
    assert os.waitpid(child, 0)[1] == 0
assert memory.stakes.hold("f", 1.4, 100.0) is None
print("ends without a word")
"""


def test_forked_children_write_their_own_and_a_program_that_just_ends_writes_too(
    ledger: Ledger, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", FORKED, str(tmp_path / "l.db")]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own
    assert (ended.stdout, ended.stderr) == ("ends without a word\n", "")
    ((calls, cost),) = spent(ledger)
    assert calls == 43
    assert cost == pytest.approx(4_300, rel=0.01)


def test_at_exit_nothing_is_made_nor_said(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [Memory("p", None), Memory("p", Ledger(tmp_path / "none.db")), Memory("p", ledger), Memory("q", ledger)]
    for memory in kept:
        memory.stakes.note("f", 100, 100, calls=1)
    monkeypatch.setattr(cascade_memory, "_all", kept)
    monkeypatch.setattr(kept[2].stakes, "_purses", None)  # whatever may be wrong with one
    _write_all()
    assert not (tmp_path / "none.db").exists()
    assert spent(ledger) == [(1, 100)]


def test_thresholds_follow_a_shift_that_another_process_saw(plain: Any) -> None:
    saver = plain.saver()
    plain.ask(saver)
    one, other = plain.cascade(), plain.cascade()
    for cascade in (one, other):
        cascade.use_books(None, saver.ledger)
        for _ in range(200):
            cascade.evidence.drift.see("f", 0.9, {1}, escalated=False)
        cascade.memory.stakes.note("f", 1, 1, calls=1)
        cascade._look()
        assert not cascade.evidence.bar("f", plain.cheap).strict
    one.evidence.drift.watch("f").since = 5.0
    for cascade in (one, other):
        cascade.memory.stakes.note("f", 1, 1, calls=1)
        cascade._look()
    assert other.evidence.bar("f", plain.cheap).strict
