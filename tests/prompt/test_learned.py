"""What a process learns of prompts from what others leave in the ledger."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.ledger import CallRow, Ledger, Salt
from llmsaver.ledger.failures import LedgerTooNew
from llmsaver.prompt.learned import Learner, Told, told_of
from llmsaver.prompt.outline import Outline, outline_of
from llmsaver.prompt.planner import Heard, Plan, Planner
from llmsaver.prompt.worth import Tariff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLAUDE = Tariff(0.1, {"5m": 1.25, "1h": 2.0})
SYSTEM = "You answer questions about the archive. " * 200
GROUP = "f claude-sonnet-5"


class Later(SyncRuntime):
    """Keeps background work, or has no room for it."""

    def __init__(self, *, room: bool = True) -> None:
        super().__init__()
        self.room = room
        self.waiting: list[Callable[[], object]] = []

    def detach(self, fn: Callable[[], object]) -> bool:
        self.waiting += [fn] * self.room
        return self.room


def body(turns: int = 1, system: str = SYSTEM, about: str = "") -> dict[str, Any]:
    said = [
        {"role": ("user", "assistant")[n % 2], "content": f"{about} {n} " + "w " * 200} for n in range(2 * turns - 1)
    ]
    return {"model": "claude-sonnet-5", "system": system, "max_tokens": 9, "messages": said}


def outline(made: dict[str, Any], scope: bytes = b"") -> Outline:
    found = outline_of("messages", made, scope=scope)
    assert found is not None
    return found


def request(runtime: SyncRuntime, **more: Any) -> Request:
    return Request("messages", body(), "https://api.anthropic.com", Entry("messages", "m", **more), runtime)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "l.db", salt=Salt(tmp_path / "salt")) as ledger:
        yield ledger


def learner(ledger: Ledger) -> tuple[Learner, Planner]:
    planner = Planner(learns=True)
    made = Learner(ledger, planner)
    drive(made.begin(SyncRuntime()))
    assert made.ready
    return made, planner


def write(ledger: Ledger, number: int, at: float, made: Outline, plan: Plan | None = None, **more: Any) -> None:
    told = told_of("claude-sonnet-5", 1024, made, plan or Plan("5m", None))
    row = CallRow(f"e{number:026x}", started_at=at, feature="f", status=200, prefix=told.listed(), **more)
    assert ledger.write(row).ok


def test_what_is_told_can_be_read_back() -> None:
    made = outline(body(6))
    told = told_of("claude-sonnet-5", 1024, made, Plan("1h", "5m"))
    assert Told.read(told.listed()) == told
    assert (told.prefix, told.points[-1], len(told.points)) == (made.static, made.whole, 6)
    assert (told.static, told.tail, told.tokens) == ("1h", "5m", made.total_tokens)


values = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=1)


@given(st.lists(values, max_size=12))
def test_a_list_that_is_not_ours_is_none(found: list[Any]) -> None:
    told = Told.read(found)
    assert told is None or told.listed() == found


def test_a_new_process_plans_by_what_others_did(ledger: Ledger) -> None:
    one, planner = learner(ledger)
    scope, now = one.scope("key"), time.time()
    for n in range(12):  # every ten minutes: worth keeping for an hour
        write(ledger, n, now - 600.0 * (12 - n), outline(body(), scope))
    assert one.learn() == 12
    plan = planner.plan(outline(body(), scope), GROUP, CLAUDE, now, minimum=1024)
    assert plan.static == "1h"
    assert Planner().plan(outline(body(), scope), GROUP, CLAUDE, now, minimum=1024).static == "5m"
    assert one.learn() == 0


def test_what_another_process_had_kept_is_there(ledger: Ledger) -> None:
    one, planner = learner(ledger)
    scope, now = one.scope("key"), time.time()
    made = outline(body(), scope)
    write(ledger, 1, now - 10, made, cache_write_tokens=made.static_tokens)
    other = outline(body(system=f"{SYSTEM} too"), scope)
    write(ledger, 2, now - 10, other)  # marked, but the provider says that nothing was kept
    assert one.learn() == 2
    again = outline(body(about="else"), scope)
    assert planner.plan(again, GROUP, CLAUDE, now, minimum=1024).expected == made.static_tokens
    assert planner.plan(other, GROUP, CLAUDE, now, minimum=1024).expected == 0


def test_accounts_and_salts_keep_their_prefixes_apart(ledger: Ledger, tmp_path: Path) -> None:
    one, _ = learner(ledger)
    assert one.scope("key") != one.scope("other")
    other = Learner(Ledger(tmp_path / "l.db", salt=Salt(tmp_path / "other")), Planner(learns=True))
    drive(other.begin(SyncRuntime()))
    assert one.scope("key") != other.scope("key")


def test_ones_own_calls_and_failed_ones_teach_nothing_here(ledger: Ledger) -> None:
    one, _ = learner(ledger)
    now, made = time.time(), outline(body(), one.scope("key"))
    one.note(request(Later(), id=f"e{1:026x}"))
    write(ledger, 1, now, made)
    assert ledger.write(CallRow("f1", started_at=now, status=429, prefix=["m"])).ok
    assert ledger.write(CallRow("f2", started_at=now, prefix=["m"])).ok
    assert one.learn() == 0


def test_it_looks_again_after_a_while_and_never_in_the_calls_thread(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    one, _ = learner(ledger)
    full, runtime = Later(room=False), Later()
    one.note(request(full))
    one.note(request(runtime))
    one.note(request(runtime))
    assert len(runtime.waiting) == 1
    for wait, looks in ((29.0, 1), (2.0, 2), (59.0, 2), (2.0, 3), (119.0, 3), (2.0, 4), (119.0, 4), (2.0, 5)):
        clock[0] += wait
        one.note(request(runtime))
        assert len(runtime.waiting) == looks


def test_without_a_ledger_ones_own_calls_teach(tmp_path: Path) -> None:
    made, planner = learner(Ledger(tmp_path / "none.db", salt=Salt(tmp_path / "salt")))
    planner.plan(outline(body()), GROUP, CLAUDE, time.time(), minimum=1024)
    assert made.learn() == 0
    assert planner.plan(outline(body(about="b")), GROUP, CLAUDE, time.time(), minimum=1024).expected
    assert not (tmp_path / "none.db").exists()


def heard(at: float, made: Outline, static: str | None = None, tail: str | None = None) -> Heard:
    return Heard(at, made, GROUP, 1024, static, tail)


def test_conversations_that_hop_between_processes_are_seen_to_go_on() -> None:
    planner, alone = Planner(learns=True), Planner()
    dear = Tariff(0.1, {"5m": 2.0})  # worth it where more than 53 % go on
    assert planner.learn([], 0.0) == 0
    for n in range(30):
        mine = outline(body(2, about=str(n)))
        planner.plan(mine, GROUP, dear, 100.0 * n + 20, minimum=1024)
        alone.plan(mine, GROUP, dear, 100.0 * n + 20, minimum=1024)
        theirs = [
            heard(100.0 * n, outline(body(1, about=str(n)))),
            heard(100.0 * n + 40, outline(body(3, about=str(n)))),
        ]
        assert planner.learn(theirs, 100.0 * n + 60) == 2
    last = outline(body(1, about="new"))
    assert planner.plan(last, GROUP, dear, 3100.0, minimum=1024).tail == "5m"
    assert alone.plan(last, GROUP, dear, 3100.0, minimum=1024).tail is None


def test_what_a_process_did_before_it_learned_is_not_forgotten() -> None:
    planner = Planner(learns=True)
    first = outline(body(1))
    planner.plan(first, GROUP, CLAUDE, 1000.0, minimum=1024)
    planner.learn([heard(100.0 * n, outline(body(1, about=str(n)))) for n in range(120)], 1001.0)
    plan = planner.plan(outline(body(2)), GROUP, CLAUDE, 1010.0, minimum=1024)
    assert plan.expected >= first.static_tokens


def test_what_is_gone_by_now_is_not_expected() -> None:
    planner = Planner(learns=True)
    made = outline(body(1))
    planner.learn([heard(0.0, made, "5m", "5m")], 1000.0)
    assert planner.plan(outline(body(2)), GROUP, CLAUDE, 1001.0, minimum=1024).expected == 0
    other = Planner(learns=True)
    other.learn([], 0.0)
    other.learn([heard(990.0, made, "5m", "5m"), heard(980.0, made, "5m", "5m")], 1002.0)
    assert other.plan(outline(body(2)), GROUP, CLAUDE, 1003.0, minimum=1024).expected == made.total_tokens


def test_it_remembers_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsaver.prompt.planner._MOST", 3)
    planner = Planner(learns=True)
    planner.learn([heard(float(n), outline(body(3, about=str(n))), "1h", "1h") for n in range(9)], 10.0)
    assert len(planner._kept) == len(planner._passed) == 3


def test_a_newer_versions_ledger_teaches_nothing_and_stops_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, planner = learner(ledger)

    def too_new() -> None:
        raise LedgerTooNew("written by a newer version")

    monkeypatch.setattr(ledger, "reader", too_new)
    before = time.time()
    assert one.learn() == 0
    assert planner._reuse.known_until >= before


def test_only_salted_points_are_told() -> None:
    turns = [{"role": "system", "content": name} for name in "ABC"] + [{"role": "user", "content": "hi"}]
    for leading in range(4):
        asked = {"model": "gpt-6-luna", "messages": turns[3 - leading :]}
        points = []
        for scope in (b"one", b"two"):
            made = outline_of("chat", asked, scope=scope)
            assert made is not None
            points.append(told_of("gpt-6-luna", 1024, made, Plan()).points)
        assert len(points[0]) == min(2, leading + 1)
        assert not set(points[0]) & set(points[1])


def test_what_is_planned_meanwhile_is_replayed_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = Planner(learns=True)

    def plan(number: int) -> None:
        made = Outline(f"s{number}", 5000, [f"w{number}"], [6000], [1], 0, tools=False)
        planner.plan(made, GROUP, CLAUDE, float(number), minimum=1024)

    for n in range(600):
        plan(n)
    number = iter(range(600, 10_000))

    def others_plan(_: float) -> None:
        assert not planner._lock.locked()
        for _ in range(60):  # of ten times that, more than are remembered
            plan(next(number))

    monkeypatch.setattr(time, "sleep", others_plan)
    assert planner.learn((), 0.0) == 0
    last = next(number) - 1
    assert planner._journal is None
    assert all(planner._reuse.last(f"s{n}") == n for n in range(last - 499, last + 1))
    planner._replay(planner._reuse)
    assert planner._since(None) == []
