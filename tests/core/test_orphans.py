"""What the garbage collector finds is settled, wherever it strikes."""

from __future__ import annotations

import os
import threading

from llmsaver.core.orphans import Orphans, locked_here


def test_what_is_left_is_done_by_a_thread_of_its_own() -> None:
    orphans, done = Orphans(), list[str]()
    orphans.ready()
    orphans.ready()
    orphans.leave(lambda: done.append(threading.current_thread().name))
    orphans.drain(60)
    orphans.drain(60)
    assert done == ["llmsaver-settle"]


def test_what_is_left_before_there_is_a_thread_waits_for_one() -> None:
    orphans, done = Orphans(), list[int]()
    orphans.leave(lambda: done.append(1))
    assert done == []
    orphans.ready()
    orphans.drain(60)
    assert done == [1]


def test_code_that_locks_is_known_by_its_module() -> None:
    space = {"__name__": "llmsaver.ledger.writer", "locked_here": locked_here}
    exec("def asks():\n    return locked_here()", space)  # noqa: S102 - a function of that module
    assert space["asks"]() is True  # type: ignore[operator]  # made above
    assert locked_here() is False


def test_a_forked_child_starts_afresh() -> None:
    orphans = Orphans()
    orphans.ready()
    pid = os.fork()
    if pid == 0:
        orphans.after_fork()
        done = threading.Event()
        orphans.leave(done.set)
        orphans.ready()
        os._exit(0 if done.wait(60) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    orphans.drain(60)
