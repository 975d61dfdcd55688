"""Watt-hours of a call on a tier of one's own: measured where the hardware tells, else a range that says it is one."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import weakref
from bisect import bisect_left
from collections import deque
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from llmsaver.local.energy_sources import Counter, counters
from llmsaver.local.machine import threads
from llmsaver.local.models import Attach, LocalModel, Vllm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from llmsaver.core.entry import Attempt, Entry
    from llmsaver.local.models import Tier

__all__ = ["Energy"]

log = logging.getLogger("llmsaver.local")

EVERY_SECONDS = 1.0
# The thread that reads counters ends when no call has come for so long.
_LINGER_SECONDS: Final = 60.0
_KEPT: Final = 4_000
# A core at work, from a frugal server's (AMD EPYC 9754: 360 W for 128) to a desktop's (Intel Core i9-14900K: 253 W for
# 8 fast and 16 slow); a GPU from an NVIDIA T4 (70 W) to a B200 (1,000 W). Source: the vendors' specifications.
_CORE_WATTS: Final = (2.0, 20.0)
_GPU_WATTS: Final = (70.0, 1_000.0)
# What a data centre needs on top of its servers, from nothing to the world's average. Source: Uptime Institute, 2024.
_OVERHEAD: Final = (1.0, 1.56)
_SIZE: Final = re.compile(r"(?<![0-9.])(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})

Sample = tuple[float, tuple[float, ...]]


class Energy:
    """Notes on each entry what its local attempts took, in watt-hours, and how that is known.

    Sources, best first: "rapl" and "nvml" (or both: "nvml+rapl"), the machine's counters over the time of the call,
    less what belongs to other calls at that time (idle draw and other programs are in it); "ecologits", where that is
    installed and a model's name says its size; "estimate", the range of what cores or GPUs of all kinds draw. A server
    elsewhere without ecologits has none. Counters are read by a thread of our own each ``every`` seconds, while there
    are calls; nothing is read on a call's way.
    """

    def __init__(
        self,
        find: Callable[[], Sequence[Counter]] = counters,
        *,
        every: float = EVERY_SECONDS,
        linger: float = _LINGER_SECONDS,
    ) -> None:
        self._find = find
        self._every = every
        self._linger = linger
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._counters: Sequence[Counter] | None = None
        self._ecologits: Any = None
        self._samples: deque[Sample] = deque(maxlen=_KEPT)
        self._asked_at = time.monotonic()

    def after_fork(self) -> None:
        """Start anew in a forked child, which has no thread."""
        self._reset()

    def watch(self) -> None:
        """Say that a call begins: the counters are read from now on, where there are any."""
        self._asked_at = time.monotonic()
        if self._thread is not None or self._counters == ():
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="llmsaver-energy", daemon=True)
                self._thread.start()

    def __call__(self, entry: Entry, attempt: Attempt, output_tokens: int | None) -> None:
        """Add what an attempt that has just ended took to its entry."""
        found = self._taken(attempt, output_tokens)
        if found is None:
            return
        low, high, source = found
        before = entry.energy_wh or (0.0, 0.0)
        entry.energy_wh = (before[0] + low, before[1] + high)
        known = entry.energy_source
        entry.energy_source = source if known in (None, source) else f"{known}, {source}"

    def _taken(self, attempt: Attempt, output_tokens: int | None) -> tuple[float, float, str] | None:
        tier, seconds = attempt.local, attempt.share.seconds
        now = time.monotonic()
        began = now - seconds if attempt.began is None else attempt.began
        chosen = self._counters_of(tier)
        joules = self._between(began, now, chosen)
        if joules is not None:
            own = joules / 3600 * min(1.0, seconds / max(now - began, 1e-9))
            source = "+".join(sorted({(self._counters or ())[index].source for index in chosen}))
            return own if attempt.share.exact else 0.0, own, source
        if not isinstance(tier, Vllm | Attach):
            watts = tuple(threads_here() * each for each in _CORE_WATTS)
            return watts[0] * seconds / 3600, watts[1] * seconds / 3600, "estimate"
        told = self._by_size(tier, output_tokens, now - began)
        if told is not None or isinstance(tier, Attach):
            return told
        watts = tuple(tier.gpus * each for each in _GPU_WATTS)
        return watts[0] * seconds / 3600, watts[1] * seconds / 3600, "estimate"

    def _counters_of(self, tier: Tier | None) -> list[int]:
        """Return the counters of what a tier runs on, by their place in the list."""
        if isinstance(tier, Attach) and (urlsplit(tier.base_url).hostname or "") not in _HERE:
            return []
        gpus = tier.gpus if isinstance(tier, Vllm) else None
        if isinstance(tier, LocalModel) and tier.gpu_layers == 0:
            gpus = 0
        chosen: list[int] = []
        for index, counter in enumerate(self._counters or ()):
            if counter.source == "nvml" and gpus is not None:
                if not gpus:
                    continue
                gpus -= 1
            chosen.append(index)
        return chosen

    def _between(self, began: float, ended: float, chosen: Sequence[int]) -> float | None:
        """Return the joules of some counters between two moments; None where nobody read them then."""
        samples = list(self._samples)
        if not chosen or len(samples) < 2:  # noqa: PLR2004 - a difference needs two
            return None
        if began < samples[0][0] - self._every or ended > samples[-1][0] + 2 * self._every:
            return None
        return sum(_at(samples, ended, index) - _at(samples, began, index) for index in chosen)

    def _by_size(
        self, tier: Vllm | Attach, output_tokens: int | None, latency_s: float
    ) -> tuple[float, float, str] | None:
        """Return what ecologits says of a model of this size on a GPU server, without the data centre's share at least.

        Source: EcoLogits' methodology for requests to language models, whose other figures are not used.
        """
        size = _SIZE.search(tier.model or tier.name)
        if self._ecologits is None or size is None or not output_tokens:
            return None
        billions = float(size[1]) * (1.0 if size[2] in "bB" else 1e-3)
        low, high = (
            self._ecologits(
                model_active_parameter_count=billions,
                model_total_parameter_count=billions,
                output_token_count=output_tokens,
                request_latency=latency_s,
                datacenter_pue=overhead,
                datacenter_wue=0.0,
                **dict.fromkeys([f"if_electricity_mix_{each}" for each in ("adpe", "pe", "gwp", "wue")], 0.0),
            ).energy.value
            for overhead in _OVERHEAD
        )
        return float(getattr(low, "min", low)) * 1e3, float(getattr(high, "max", high)) * 1e3, "ecologits"

    def _work(self) -> None:
        """Find the sources, then read them until nobody calls any more."""
        if self._counters is None:
            threads_here()
            self._ecologits = _ecologits()
            self._counters = self._found()
        while self._counters and time.monotonic() - self._asked_at < self._linger:
            try:
                self._samples.append((time.monotonic(), tuple(counter.joules() for counter in self._counters)))
            except Exception:
                log.warning("llmsaver: energy counters can no longer be read", exc_info=True)
                self._counters = ()
            time.sleep(self._every)
        with self._lock:
            self._thread = None

    def _found(self) -> Sequence[Counter]:
        try:
            return tuple(self._find())
        except Exception:
            log.warning("llmsaver: energy counters could not be looked for", exc_info=True)
            return ()


def _at(samples: Sequence[Sample], when: float, index: int) -> float:
    """Return a counter's value at a moment, on the line through the two readings next to it."""
    after_at = min(max(bisect_left(samples, when, key=itemgetter(0)), 1), len(samples) - 1)
    before, after = samples[after_at - 1], samples[after_at]
    slope = (after[1][index] - before[1][index]) / max(after[0] - before[0], 1e-9)
    return before[1][index] + slope * (when - before[0])


def _ecologits() -> Any:
    """Return EcoLogits' function, None where it is not installed or has become another."""
    try:
        from ecologits.impacts.llm import (  # type: ignore[import-not-found, unused-ignore]  # optional
            compute_llm_impacts,
        )
    except ImportError:
        return None
    return compute_llm_impacts


@cache
def threads_here() -> int:
    """Return how many cores a server here uses; files are read once."""
    return threads()


_all: weakref.WeakSet[Energy] = weakref.WeakSet()


def _after_fork() -> None:
    for energy in list(_all):
        energy.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
