"""Work nobody waits for: counted when it is dropped or fails, drained at exit, forgotten by forked children."""

import logging
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import pytest

from llmsaver.core import background as background_module
from llmsaver.core.background import Background

SOON = 60.0


class Gate:
    """Work that says it has begun and ends when told to."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        self.open.wait(SOON)


def test_work_runs_in_order_on_one_daemon_thread() -> None:
    background, seen = Background(), list[tuple[int, str, bool]]()

    def note(i: int) -> None:
        seen.append((i, threading.current_thread().name, threading.current_thread().daemon))

    for i in range(5):
        assert background.submit(lambda i=i: note(i)) is True  # type: ignore[misc]  # mypy cannot see the default
    assert background.drain(SOON)
    assert seen == [(i, "llmsaver-background", True) for i in range(5)]


def test_no_thread_is_started_before_it_is_needed() -> None:
    before = set(threading.enumerate())
    background = Background()
    assert background.drain(0.0) is True
    assert set(threading.enumerate()) <= before


def test_a_full_queue_drops_new_work_and_counts_it() -> None:
    background, gate, ran = Background(capacity=2), Gate(), list[int]()
    background.submit(gate)
    assert gate.begun.wait(SOON)
    assert [background.submit(lambda i=i: ran.append(i)) for i in range(5)] == [True, True, False, False, False]  # type: ignore[misc]  # as above
    assert background.dropped == 3
    gate.open.set()
    assert background.drain(SOON)
    assert ran == [0, 1]


def test_failing_work_is_logged_counted_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    background, ran = Background(), threading.Event()
    background.submit(lambda: 1 / 0)
    background.submit(ran.set)
    assert background.drain(SOON)
    assert ran.is_set()
    assert (background.failed, background.dropped) == (1, 0)
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == ["llmsaver: background work failed"]


def test_work_that_would_end_the_thread_does_not(caplog: pytest.LogCaptureFixture) -> None:
    background, ran = Background(), threading.Event()
    background.submit(sys.exit)
    background.submit(ran.set)
    assert ran.wait(SOON)
    assert background.failed == 1
    assert "SystemExit" in caplog.text


def test_draining_gives_up_in_time_and_says_so() -> None:
    background, gate = Background(), Gate()
    background.submit(gate)
    began = time.monotonic()
    assert background.drain(0.05) is False
    assert time.monotonic() - began < SOON
    gate.open.set()
    assert background.drain(SOON) is True


def test_draining_waits_for_what_is_running_not_only_for_what_is_queued() -> None:
    background, gate = Background(), Gate()
    background.submit(gate)
    assert gate.begun.wait(SOON)
    assert background.drain(0.0) is False
    gate.open.set()
    assert background.drain(SOON)


def test_a_forked_child_starts_with_an_empty_queue_and_its_own_thread() -> None:
    background, gate, ran = Background(), Gate(), threading.Event()
    background.submit(gate)
    background.submit(ran.set)
    assert gate.begun.wait(SOON)
    background._lock.acquire()  # as another thread may at the moment of the fork; nobody will release it here
    background.after_fork()
    assert background.drain(0.0) is True
    assert not ran.is_set()
    fresh = threading.Event()
    assert background.submit(fresh.set)
    assert fresh.wait(SOON)
    gate.open.set()


def test_exit_and_fork_reach_every_background_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    every, gate = weakref.WeakSet[Background](), Gate()
    monkeypatch.setattr(background_module, "_all", every)
    idle, busy = Background(), Background()
    assert set(every) == {idle, busy}
    busy.submit(gate)
    monkeypatch.setattr(background_module, "DRAIN_SECONDS", 0.02)
    began = time.monotonic()
    background_module._drain_all()
    assert time.monotonic() - began < SOON
    background_module._after_fork()
    assert busy.drain(0.0) is True
    gate.open.set()


def program(source: str) -> str:
    """Run a program to its end; return what it printed."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_queued_work_ends_before_the_program_does() -> None:
    printed = program("""
        import threading, time
        from llmsaver.core import background as module
        module.DRAIN_SECONDS = 60.0
        background, go = module.Background(), threading.Event()
        for i in range(3):
            background.submit(lambda i=i: (go.wait(), time.sleep(0.05), print(i, flush=True)))
        print("main ends", flush=True)
        go.set()
    """)
    assert printed.split("\n") == ["main ends", "0", "1", "2", ""]


def test_the_exit_waits_two_seconds_at_most_for_all_queues_together() -> None:
    printed = program("""
        import atexit, threading, types
        slept = []
        clock = types.SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
        atexit.register(lambda: print(clock.monotonic(), flush=True))  # runs after the drain, registered later
        from llmsaver.core import background as module
        module.time, for_ever = clock, threading.Event()
        kept = [module.Background(), module.Background()]
        for background in kept:
            background.submit(for_ever.wait)
    """)
    assert 2.0 < float(printed) < 2.1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_resets_every_background_of_the_child_alone() -> None:
    printed = program("""
        import os, threading, warnings
        warnings.simplefilter("ignore")
        from llmsaver.core.background import Background
        background, go, ran = Background(), threading.Event(), threading.Event()
        background.submit(lambda: go.wait(60))
        background.submit(lambda: print("parent's work", os.getpid() == parent, flush=True))
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            print("child idle", background.drain(0), flush=True)
            background.submit(ran.set)
            print("child works", ran.wait(60), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        go.set()
    """)
    assert printed.splitlines() == ["child idle True", "child works True", "parent's work True"]
