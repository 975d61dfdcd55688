"""Which process claimed something, and whether it still runs, as far as that can be seen from here."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["is_alive", "this_process"]


def this_process() -> str:
    """Return a name that no other owner has: machine, process id, its start, and a number."""
    return f"{_machine()}|{os.getpid()}|{_start_of(os.getpid())}|{os.urandom(4).hex()}"


@cache
def _machine() -> str:
    """Return a name of this machine in which process ids mean the same: containers on it have their own."""
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    boot = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{platform.node()} {boot} {space}".replace("|", "/")


def _start_of(pid: int) -> str:
    """Return when a process began, in a form of its own; "" where it is gone, "?" where that cannot be known."""
    try:
        # After the name, which may hold anything: the state, and 19 fields on the start in ticks since boot.
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    else:
        return "" if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "?"


def is_alive(owner: str) -> bool | None:
    """Whether a claim's owner is a process that still runs; None where that cannot be seen from this machine."""
    machine, pid, start, _ = owner.rsplit("|", 3)
    if machine != _machine():
        return None
    found = _start_of(int(pid))
    return None if found == "?" == start else found == start
