"""What is made once in a process, and again in its children where a thread was at it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from llmsaver.embed.once import Once


def test_many_threads_get_the_one_thing() -> None:
    made: list[object] = []
    gate = threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    thing = Once(make)

    def get() -> None:
        gate.wait(60)
        thing.get()

    threads = [threading.Thread(target=get) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert made == [thing.get()]
    thing.forget()
    assert thing.get() is made[1]


def test_a_failure_is_not_kept() -> None:
    tried: list[int] = []

    def make() -> int:
        tried.append(1)
        if len(tried) == 1:
            raise OSError("not yet")
        return len(tried)

    thing = Once(make)
    with pytest.raises(OSError, match="not yet"):
        thing.get()
    assert thing.get() == thing.get() == 2


def test_a_child_does_not_wait_for_a_thread_that_it_has_not() -> None:
    source = """
        import os, threading
        from llmsaver.embed.once import Once
        begun, go_on, parent = threading.Event(), threading.Event(), os.getpid()

        def make():
            if os.getpid() == parent:
                begun.set()
                go_on.wait(60)
            return 7

        thing = Once(make)
        thread = threading.Thread(target=thing.get)
        thread.start()
        assert begun.wait(60)
        child = os.fork()
        if child == 0:
            os._exit(thing.get())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        go_on.set()
        print(code)"""
    done = subprocess.run(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", textwrap.dedent(source)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout == "7\n"
