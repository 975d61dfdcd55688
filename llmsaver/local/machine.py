"""What this machine can give to a server: threads, memory, a GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
_QUOTA = _CGROUPS / "cpu.max"
_MEMBERSHIP = Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")
_GPUS = (Path("/dev/nvidia0"), Path("/dev/kfd"), Path("/dev/dri/renderD128"))
_CACHE_SHARE = 10  # one tenth of what is free
_CACHE_MIB = 1024
_CACHE_MIB_UNKNOWN = 256
_MIB = 1 << 20
_NO_LIMIT = 1 << 60  # cgroup v1 writes "none" as a number of about 2^63
# (limit, use, statistics, its line of what can be dropped at once), of cgroup v2 and v1.
_ACCOUNTS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file"),
)


def _text(path: Path) -> str:
    """Return a small file's text, or nothing: these files exist on Linux only."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() else None


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


def free_memory_mib(meminfo: Path = _MEMORY, membership: Path = _MEMBERSHIP, cgroups: Path = _CGROUPS) -> int | None:
    """Return the MiB that can be had without swapping, or None where the system does not say.

    A container's limit counts, and what its files in memory take does not: those can be dropped.
    """
    known = [limit - used for limit, used in _limits(membership, cgroups)]
    available = _meminfo(meminfo, "MemAvailable")
    if available is not None:
        known.append(available)
    return max(0, min(known)) // _MIB if known else None


def total_memory_mib(meminfo: Path = _MEMORY, membership: Path = _MEMBERSHIP, cgroups: Path = _CGROUPS) -> int | None:
    """Return the machine's MiB, or the container's limit; None where the system does not say."""
    total = _meminfo(meminfo, "MemTotal")
    if total is None and "SC_PHYS_PAGES" in os.sysconf_names:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    known = [limit for limit, _ in _limits(membership, cgroups)]
    if total is not None and total > 0:
        known.append(total)
    return min(known) // _MIB if known else None


def has_gpu(devices: tuple[Path, ...] = _GPUS) -> bool:
    """Return whether layers may end up in the memory of a GPU, of which nothing is known here."""
    return sys.platform == "darwin" or any(device.exists() for device in devices)


def prompt_cache_mib(free: int | None) -> int:
    """Return the MiB for llama.cpp's prompt cache, whose own default of 8192 is more than many machines have."""
    return _CACHE_MIB_UNKNOWN if free is None else max(0, min(_CACHE_MIB, free // _CACHE_SHARE))


def _meminfo(path: Path, wanted: str) -> int | None:
    """Return one line of /proc/meminfo in bytes."""
    for line in _text(path).splitlines():
        name, _, rest = line.partition(":")
        number = _number(rest.split()[0]) if rest.split() else None
        if name == wanted and number is not None:
            return number * 1024
    return None


def _limits(membership: Path, cgroups: Path) -> Iterator[tuple[int, int]]:
    """Yield (limit, what is used of it and cannot be dropped) in bytes, of our control group and those above it."""
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers not in {"", "memory"}:
            continue
        root = cgroups / controllers
        folder = root / path.lstrip("/")
        # Inside a container the path may be the host's, and what is mounted is our group itself.
        for group in (*(each for each in (folder, *folder.parents) if each.is_relative_to(root)), root):
            for limit, used, statistics, droppable in _ACCOUNTS:
                most, current = _number(_text(group / limit)), _number(_text(group / used))
                if most is not None and current is not None and most < _NO_LIMIT:
                    spare = _stat(group / statistics, droppable)
                    yield most, max(0, current - spare)


def _stat(path: Path, wanted: str) -> int:
    for line in _text(path).splitlines():
        name, _, number = line.partition(" ")
        if name == wanted:
            return _number(number) or 0
    return 0
