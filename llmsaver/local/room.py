"""Room in memory for one more server: what it needs, what there is, who makes way, and what would fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError
from llmsaver.local import folder as places
from llmsaver.local import gguf, machine
from llmsaver.local.status import evict, look

if TYPE_CHECKING:
    from pathlib import Path

    from llmsaver.local.models import LocalModel

__all__ = ["Need", "make_room", "need_of"]

_MIB = 1 << 20
_COMPUTE_MIB = 96  # llama.cpp's buffers beside weights and cache
_SHARE = 0.8  # of the machine, for all servers together
_STEP = 256  # tokens: a context that is proposed is a multiple of it
_LEAST = 512  # tokens: no smaller one is proposed


@dataclass(frozen=True, slots=True)
class Need:
    """What a server needs: its files in MiB, bytes of cache per token (0: unknown), tokens per slot, slots."""

    name: str
    files_mib: int
    token_bytes: int
    context: int
    parallel: int

    @property
    def cache_mib(self) -> int:
        """The KV cache, all of it."""
        return -(-self.token_bytes * self.context * self.parallel // _MIB)

    @property
    def mib(self) -> int:
        """Everything; an estimate from above, for caches of sliding windows are smaller."""
        return self.files_mib + self.cache_mib + _COMPUTE_MIB

    def fitting(self, room: int) -> str:
        """Return what of the same weights would fit into so many MiB, in words."""
        left = room - self.files_mib - _COMPUTE_MIB
        if left <= 0 or not self.token_bytes:
            return "choose smaller weights"
        tokens = left * _MIB // self.token_bytes
        context, parallel = tokens // self.parallel // _STEP * _STEP, tokens // self.context
        ways = [f"context={context}"] if context >= _LEAST else []
        ways += [f"parallel={parallel}"] if parallel else []
        return f"{' or '.join(ways)} would fit" if ways else "choose smaller weights"


def need_of(model: LocalModel, path: Path, context: int, parallel: int) -> Need:
    """Return what a server for these weights needs; the file itself says how much a token takes."""
    header = None if model.kv_bytes is not None else gguf.read(path)
    token_bytes = model.kv_bytes or (header.kv_bytes if header is not None else None) or 0
    files = [path, *(path.__class__(each).expanduser() for each in model.lora.values())]
    size = sum(each.stat().st_size for each in files)
    return Need(model.name, -(-size // _MIB), token_bytes, context, parallel)


def make_room(folder: Path, need: Need, budget: int | None, *, anyway: bool = False) -> int | None:
    """Return the MiB that a server may take, having stopped those that nobody calls, least recently used first.

    ``budget`` is in MiB for all servers together (None: four fifths of the machine). ``anyway``: its layers go to a
    GPU, of whose memory nothing is known here. None: the system does not say. Raises LocalModelError where it is too
    big, with what is missing and what would fit. To be called by one program at a time.
    """
    total = machine.total_memory_mib()
    most = budget if budget is not None else None if total is None else int(total * _SHARE)
    while True:
        others = [status for key in places.keys(folder) if (status := look(folder, key))]
        room = _room(others, most)
        if room is None or need.mib <= room or (anyway and budget is None):
            return room
        free = sorted((each for each in others if _may_go(each)), key=lambda each: -each["quiet_s"])
        if need.mib > room + sum(each["memory_mib"] for each in free):
            raise LocalModelError(_too_big(need, room, most, others, free))
        if not any(evict(folder, each["key"]) for each in free):
            raise LocalModelError(_too_big(need, room, most, others, []))


def _room(others: list[dict[str, Any]], most: int | None) -> int | None:
    """Return what is left of the budget and of the machine; what loads now has not taken all of its memory yet."""
    free = machine.free_memory_mib()
    rooms = [] if free is None else [free - sum(each["memory_mib"] for each in others if not each["base_url"])]
    if most is not None:
        rooms.append(most - sum(each["memory_mib"] for each in others))
    return max(0, min(rooms)) if rooms else None


def _may_go(status: dict[str, Any]) -> bool:
    return bool(status["base_url"]) and not status["kept"] and not status["calls"]


def _too_big(need: Need, room: int, most: int | None, others: list[dict[str, Any]], free: list[dict[str, Any]]) -> str:
    """Say what is missing, who has it, and what would fit."""
    had = room + sum(each["memory_mib"] for each in free)
    staying = [f"local/{each['name']} ({each['memory_mib']:,} MiB)" for each in others if each not in free]
    shared = f", besides what {', '.join(staying)} may take" if staying else ""
    limit = "" if most is None else f" (of {most:,} MiB for all local models: memory_mib)"
    return (
        f"local/{need.name} does not fit into memory: it needs {need.mib:,} MiB ({need.files_mib:,} for its weights, "
        f"{need.cache_mib:,} for {need.parallel} x {need.context:,} tokens of context), {had:,} MiB can be had{limit}"
        f"{shared}: {need.mib - had:,} MiB are missing; {need.fitting(had)}"
    )
