"""What this machine can give to a server: threads and memory."""

from __future__ import annotations

import os
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_MEMORY = Path("/proc/meminfo")
_CACHE_SHARE = 10  # one tenth of what is free
_CACHE_MIB = 1024
_CACHE_MIB_UNKNOWN = 256


def _text(path: Path) -> str:
    """Return a small file's text, or nothing: these files exist on Linux only."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def usable_cpus() -> set[int]:
    """Return the numbers of the CPUs that this program may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return set(affinity(0)) if affinity else set(range(os.cpu_count() or 1))


def threads(cpus: set[int] | None = None, root: Path = _CPUS, quota: Path = _QUOTA) -> int:
    """Return one thread per physical core we may use: a second one per core slows matrix products down.

    A container's CPU quota (cgroup v2 ``cpu.max``: ``quota period`` in microseconds, or ``max``) bounds it.
    """
    usable = usable_cpus() if cpus is None else cpus
    siblings = {_text(root / f"cpu{cpu}" / "topology" / "thread_siblings_list").strip() or str(cpu) for cpu in usable}
    allowed, _, period = _text(quota).strip().partition(" ")
    if allowed.isdecimal() and period.isdecimal() and int(period) > 0:
        return max(1, min(len(siblings), int(allowed) // int(period)))
    return max(1, len(siblings))


def free_memory_mib(meminfo: Path = _MEMORY) -> int | None:
    """Return the MiB that can be had without swapping, or None where the system does not say."""
    for line in _text(meminfo).splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if name == "MemAvailable" and number and number[0].isdecimal():
            return int(number[0]) // 1024
    return None


def prompt_cache_mib(free: int | None) -> int:
    """Return the MiB for llama.cpp's prompt cache, whose own default of 8192 is more than many machines have."""
    return _CACHE_MIB_UNKNOWN if free is None else min(_CACHE_MIB, free // _CACHE_SHARE)
