"""Programs side by side on one file, for the benchmarks that race ours against bare SQLite."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FORK", "raced"]

FORK = multiprocessing.get_context("fork")


def raced(run: Callable[[Path, float], int], path: Path, seconds: float, programs: int) -> float:
    """Return how often a second ``run(path, seconds)`` did its work, over all of the programs."""
    done: multiprocessing.SimpleQueue[int] = FORK.SimpleQueue()
    started = [FORK.Process(target=lambda: done.put(run(path, seconds))) for _ in range(programs)]
    for program in started:
        program.start()
    total = sum(done.get() for _ in started)
    for program in started:
        program.join()
    return total / seconds
