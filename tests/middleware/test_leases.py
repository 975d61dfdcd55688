"""Holds of live calls stay; those of dead programs do not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.ledger import Budget, Claim, Hold, Ledger
from llmsaver.middleware import leases as module
from llmsaver.middleware.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CLAIM = Claim(Budget.usd("b", 1))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "l.db") as opened:
        yield opened


def held(ledger: Ledger, lease_s: float = 60) -> Hold:
    hold = ledger.reserve([CLAIM], nano=5, lease_s=lease_s, sent=True)
    assert isinstance(hold, Hold)
    return hold


def reach(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until, "it never came about"
        time.sleep(0.005)


def test_a_live_calls_hold_outlives_its_lease(ledger: Ledger) -> None:
    leases, hold = Leases(ledger, every=0.05), held(ledger)
    first_end = hold.expires_at
    leases.add(hold)
    reach(lambda: hold.expires_at > first_end + 0.2)
    assert ledger.reap(first_end + 0.1) == 0
    leases.remove(hold)
    leases.remove(hold)
    assert ledger.release(hold)


def test_the_thread_ends_with_the_last_hold_and_begins_anew(ledger: Ledger) -> None:
    leases, hold = Leases(ledger, every=0.01), held(ledger)
    for _ in range(2):
        leases.add(hold)
        thread = leases._thread
        assert thread is not None
        leases.remove(hold)
        thread.join(60)
        assert (thread.is_alive(), leases._thread) == (False, None)
    ledger.release(hold)


def test_a_ledger_that_fails_does_not_end_the_renewals(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leases, hold, renew = Leases(ledger, every=0.02), held(ledger, 60), ledger.renew
    monkeypatch.setattr(ledger, "renew", lambda *_: 1 / 0)
    leases.add(hold)
    reach(lambda: "could not be renewed" in caplog.text)
    before = hold.expires_at
    monkeypatch.setattr(ledger, "renew", renew)
    reach(lambda: hold.expires_at > before)
    leases.remove(hold)
    ledger.release(hold)


def test_a_forked_child_renews_nothing_of_its_parents(ledger: Ledger) -> None:
    leases, hold = Leases(ledger, every=60), held(ledger, 60)
    leases.add(hold)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if leases._held == {} and leases._thread is None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert leases._held == {hold.id: hold}
    leases.remove(hold)
    ledger.release(hold)


def test_a_long_stream_keeps_its_hold(shop: Any, way_of: Callable[..., Any]) -> None:
    from llmsaver import budget
    from llmsaver.testing import Answer

    way, saver = way_of("chat", stream=True), shop.saver()
    saver._budget._reserving._leases._every = 0.05
    reserve, holds = saver.ledger.reserve, list[Any]()

    def reserved(*args: Any, **named: Any) -> Any:
        holds.append(reserve(*args, **named))
        return holds[-1]

    def answer(_: Any) -> Answer:
        (hold,) = holds
        first_end = hold.expires_at
        reach(lambda: hold.expires_at > first_end + 0.2)
        assert saver.ledger.reap(first_end + 0.1) == 0  # the moment at which it would have run out
        return Answer("one two three four five six")

    saver.ledger.reserve = reserved
    shop.fake.answer = answer
    with budget("b", usd=1):
        entry = shop.ask(way)
    assert (entry.estimated, shop.row()["estimated"]) == (False, False)
    assert (shop.budgets()["b"]["spent_nano"], entry.cost_nano) == (shop.billed(), shop.billed())


def spend(path: str, url: str, calls: int, die: bool, done: Any) -> None:
    """Make calls under a shared budget from a program of its own."""
    import openai

    import llmsaver
    from llmsaver import BudgetExceeded, Saver, budget

    saver = Saver(ledger=path, price_hosts={"127.0.0.1:*": "openai"})
    client = llmsaver.OpenAI(api_key="sk-test", base_url=f"{url}/v1", saver=saver, max_retries=0)
    made = 0
    with budget("shared", usd="0.02", per="total"):
        for number in range(calls):
            try:
                client.chat.completions.create(
                    model="gpt-5-mini",
                    messages=[{"role": "user", "content": f"call {number}"}],
                    max_completion_tokens=1_000,
                )
                made += 1
            except BudgetExceeded:
                break
            except openai.APIConnectionError:
                continue
            if die and made == 3:
                done.put(("dying", made))
                time.sleep(0.2)
                client.chat.completions.create(
                    model="gpt-5-mini",
                    messages=[{"role": "user", "content": "slow"}],
                    max_completion_tokens=1_000,
                )
    saver.close()
    done.put(("done", made))


def test_programs_that_share_a_ledger_never_pass_the_cap_even_when_killed(shop: Any) -> None:
    from llmsaver.testing import Answer, Delivery

    spawn = multiprocessing.get_context("spawn")
    shop.fake.answer = lambda received: Answer(
        "word " * 400, delivery=Delivery(delay=300.0 if "slow" in str(received.json) else 0.0)
    )
    with shop.fake.serve() as url:
        queues = [spawn.Queue() for _ in range(4)]
        programs = [
            spawn.Process(target=spend, args=(str(shop.path), url, 12, number < 2, queues[number]))
            for number in range(4)
        ]
        for program in programs[:2]:
            program.start()
        for queue in queues[:2]:
            queue.get(timeout=180)
        deadline = time.monotonic() + 180
        while sum("slow" in str(one.json) for one in shop.fake.requests) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        for program in programs[:2]:
            assert program.pid is not None
            os.kill(program.pid, signal.SIGKILL)
        for program in programs[2:]:
            program.start()
        for program in programs:
            program.join(180)
        for queue in queues:
            queue.close()
    state = shop.budgets()["shared"]
    assert state["held_nano"] > 0  # the killed programs' calls are still held: the provider bills them
    assert shop.billed() <= state["spent_nano"] + state["held_nano"] <= 20_000_000
    assert shop.first.ledger.reap(time.time() + 3_600) == 2
    state = shop.budgets()["shared"]
    assert (state["held_nano"], shop.billed() <= state["spent_nano"] <= 20_000_000) == (0, True)
    rows = shop.rows()
    lapsed = [row for row in rows if row["error"] and row["error"].startswith("lapsed")]
    assert (len(lapsed), all(row["estimated"] for row in lapsed)) == (2, True)
    assert sum(row["cost_low"] for row in rows) <= shop.billed() <= sum(row["cost_high"] for row in rows)


def test_a_forked_child_leaves_the_parents_holds_to_the_parent(ledger: Ledger) -> None:
    leases, hold = Leases(ledger, every=60), held(ledger, 60)
    leases.add(hold)
    lines = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(lines[1], f"{len(leases._held)} {leases._thread is None} {leases._lock.locked()}".encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(lines[0], 100) == b"0 True False"
    for line in lines:
        os.close(line)
    assert (list(leases._held), leases._thread is not None) == ([hold.id], True)
    # What the child's hook does, once more where its lines are counted.
    with leases._lock:
        module._after_fork()
    assert (leases._held, leases._thread, leases._lock.locked()) == ({}, None, False)
    leases.add(hold)
    assert list(leases._held) == [hold.id]
    leases.remove(hold)
    assert ledger.release(hold)
