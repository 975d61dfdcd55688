"""The child that a supervisor looks after: its start, its one answer and its end; part of ``supervisor.py``'s program.

The standard library's ``subprocess`` would cost a megabyte, and ``pathlib`` another one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time

TYPE_CHECKING = False  # typing's own would cost half a megabyte

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Ward"]

_STOP_SECONDS = 1.0


class Ward:
    """One child; started by the main thread of a program that has no other, so that Linux ends it when that ends.

    ``stdout`` is to be polled until ``hear`` has returned something. ``returncode`` is negative for a signal.
    """

    def __init__(self, script: str, plan: Mapping[str, Any]) -> None:
        (stdin, self._stdin), (self.stdout, stdout) = os.pipe(), os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
        argv = [sys.executable, "-P", script]
        # Python ignores SIGPIPE; the child shall start as from a shell.
        self.pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsigdef=[signal.SIGPIPE])
        os.close(stdin)
        os.close(stdout)
        self.returncode: int | None = None
        self._said = b""
        with contextlib.suppress(BrokenPipeError):  # it died already, which we shall be told
            os.write(self._stdin, json.dumps({**plan, "parent": os.getpid()}).encode() + b"\n")

    def hear(self) -> str | None:
        """Read what there is: None where more must come, the address where it listens, else "".

        "" means that it is about to end by itself, and its log says why; what makes no sense raises ValueError.
        """
        more = os.read(self.stdout, 4096)
        self._said += more
        if more and b"\n" not in more:
            return None
        if not more:
            return ""
        try:
            answer = json.loads(self._said)
            return "" if answer["event"] == "failed" else str(answer["address"])
        except (KeyError, TypeError) as error:
            raise ValueError(self._said) from error

    def reap(self, flags: int = os.WNOHANG) -> bool:
        """Return whether it has ended, and remember how."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode is not None

    def ticks(self) -> int:
        """Return its processor time in clock ticks; 0 where the system does not tell."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8") as file:  # noqa: PTH123 - see the module
                fields = file.read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        except (OSError, IndexError, ValueError):
            return 0

    def stop(self) -> None:
        """End it: SIGTERM, a second, SIGKILL."""
        os.close(self._stdin)
        os.close(self.stdout)
        if self.reap():
            return
        os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < deadline:
            if self.reap():
                return
            time.sleep(0.01)
        os.kill(self.pid, signal.SIGKILL)
        self.reap(0)
