"""The llama.cpp servers of all programs of this user: what runs, how it is doing, and how to stop it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.local import folder as places
from llmsaver.local.launch import log_folder, log_stem
from llmsaver.local.lease import connected

if TYPE_CHECKING:
    from llmsaver.local.endpoint import Endpoint

__all__ = ["ServerState", "answers", "evict", "log_path", "look", "running", "stop"]

_HELLO_SECONDS = 2.0
_STOP_SECONDS = 5.0
_HEALTH_SECONDS = 5.0
_STATUS = frozenset({"status"})
_STOPPING = frozenset({"stopping", "busy"})
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server as it is now.

    ``pid`` is its supervisor's and ``child`` its own; ``address`` is None while it loads; ``context`` is in tokens per
    slot. ``leases`` counts the programs that use it, ``calls`` those under way; ``kept``: it stays without any program.
    ``sleeping`` is None where it did not say. ``rss_mib`` is of both programs; ``memory_mib`` what it may come to need.
    """

    key: str
    model: str
    path: str
    pid: int
    child: int
    address: str | None
    context: int
    slots: int
    started_at: float
    up_s: float
    busy_s: float
    quiet_s: float
    calls: int
    leases: int
    kept: bool
    sleeping: bool | None
    rss_mib: int | None
    memory_mib: int
    log: Path


def running() -> list[ServerState]:
    """Return every llama.cpp server of this user on this machine, whichever program started it."""
    folder = places.runtime_folder()
    return [_state(status) for key in places.keys(folder) if (status := look(folder, key))]


def stop(name: str) -> bool:
    """Stop the servers of this model name (or key), used or not, and wait for their end; return whether there was one.

    Programs that still use one start it again with their next call.
    """
    folder = places.runtime_folder()
    found = [key for key in places.keys(folder) if name in {key, (places.facts(folder, key) or {}).get("name")}]
    stopped = [_told_to_stop(folder, key, "stopped", if_free=False) for key in found]
    return any(stopped)


def evict(folder: Path, key: str) -> bool:
    """Stop a server that nobody calls, to make room; return whether it is gone."""
    return _told_to_stop(folder, key, "evicted", if_free=True)


def log_path(name: str) -> Path | None:
    """Return the log of this model's server, or of its last one that failed; None where there is none."""
    for state in running():
        if name in {state.key, state.model}:
            return state.log
    logs = sorted(log_folder().glob(f"{log_stem(name)}*.log"), key=lambda path: path.stat().st_mtime)
    return logs[-1] if logs else None


def look(folder: Path, key: str) -> dict[str, Any]:
    """Return what a supervisor says about its server; nothing, and no stale facts left, where there is none."""
    visit = connected(folder, key, "look", _HELLO_SECONDS)
    if visit is None:
        lock = places.try_lock(folder / f"{key}.lock")
        if lock is not None:
            (folder / f"{key}.json").unlink(missing_ok=True)
            lock.release()
        return {}
    status = visit.ask("status", _STATUS)
    visit.close()
    return status


def answers(endpoint: Endpoint) -> bool:
    """Return whether the server answers; /health neither needs the key nor wakes a sleeping model."""
    return _get(endpoint.base_url, "/health") is not None


def _told_to_stop(folder: Path, key: str, reason: str, *, if_free: bool) -> bool:
    visit = connected(folder, key, "look", _HELLO_SECONDS)
    if visit is None:
        return False
    answer = visit.ask("stop", _STOPPING, reason=reason, if_free=if_free)
    if answer.get("event") != "stopping":
        visit.close()
        return False
    return visit.gone(_STOP_SECONDS)


def _state(status: dict[str, Any]) -> ServerState:
    return ServerState(
        key=status["key"],
        model=status["name"],
        path=status["path"],
        pid=status["pid"],
        child=status["child"],
        address=status["base_url"],
        context=status["context"],
        slots=status["parallel"],
        started_at=status["started_at"],
        up_s=status["up_s"],
        busy_s=status["busy_s"],
        quiet_s=status["quiet_s"],
        calls=status["calls"],
        leases=status["leases"],
        kept=status["kept"],
        sleeping=_sleeping(status["base_url"], status["token"]),
        rss_mib=_rss_mib(status["pid"], status["child"]),
        memory_mib=status["memory_mib"],
        log=Path(status["log"]),
    )


def _get(base_url: str, path: str, key: str = "") -> bytes | None:
    """Return the body of a 200; the connection is this call's own."""
    connection = http.client.HTTPConnection(base_url.removeprefix("http://"), timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.client.OK else None


def _sleeping(base_url: str | None, key: str) -> bool | None:
    body = _get(base_url, "/props", key) if base_url else None
    try:
        found = json.loads(body or b"{}").get("is_sleeping")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, bool) else None


def _rss_mib(*pids: int) -> int | None:
    """Return the memory that these programs have together, in whole MiB; None where the system does not tell."""
    sizes = [_rss_bytes(pid) for pid in pids]
    return sum(size for size in sizes if size) // _MIB if any(sizes) else None


def _rss_bytes(pid: int) -> int | None:
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        said = subprocess.run(  # noqa: S603 - a system's own program and a number
            ["/bin/ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=5
        )
        return int(said.stdout) * 1024
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
