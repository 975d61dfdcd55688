"""Counters of energy that this machine keeps: RAPL for its processors and memory, NVML for its NVIDIA GPUs."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Counter", "counters", "nvml", "rapl"]

_POWERCAP: Final = Path("/sys/class/powercap")
# Packages hold their cores and GPU parts; memory is counted apart. "psys" would count packages twice.
_ZONE: Final = re.compile(r"intel-rapl:\d+(:\d+)?$")


@dataclass(slots=True)
class Counter:
    """A sum of joules that only grows: ``source`` is "rapl" or "nvml"; ``wraps_at`` is where it begins again, if so."""

    source: str
    read: Callable[[], float] = field(repr=False)
    wraps_at: float = 0.0
    _last: float = 0.0
    _lost: float = 0.0

    def joules(self) -> float:
        """Return the joules so far; raises what reading them raises."""
        now = self.read()
        if now < self._last:
            self._lost += self.wraps_at or self._last
        self._last = now
        return self._lost + now


def counters() -> tuple[Counter, ...]:
    """Return every counter that this program may read; slow (files, a driver), so never on an event loop."""
    return (*rapl(), *nvml())


def rapl(root: Path = _POWERCAP) -> Iterator[Counter]:
    """Yield the processors' and the memory's counters; on most systems only root may read them.

    Source: the Linux kernel's power capping framework, which shows AMD's counters under Intel's name.
    """
    for zone in sorted(root.glob("intel-rapl:*")):
        with contextlib.suppress(OSError, ValueError):
            name = (zone / "name").read_text(encoding="ascii").strip()
            if not _ZONE.fullmatch(zone.name) or not name.startswith(("package", "dram")):
                continue
            read = partial(_micro, zone / "energy_uj")
            read()
            yield Counter("rapl", read, _micro(zone / "max_energy_range_uj"))


def nvml(library: Any = None) -> Iterator[Counter]:
    """Yield a counter for each GPU that programs here may use; none without ``nvidia-ml-py`` or a driver.

    ``library`` is ``pynvml``. GPUs before Volta keep no such counter.
    """
    if library is None:
        try:
            library = import_module("pynvml")
        except ImportError:
            return
    with contextlib.suppress(library.NVMLError):
        library.nvmlInit()
        for index in _visible(library.nvmlDeviceGetCount()):
            with contextlib.suppress(library.NVMLError):
                handle = library.nvmlDeviceGetHandleByIndex(index)
                read = partial(_milli, library.nvmlDeviceGetTotalEnergyConsumption, handle)
                read()
                yield Counter("nvml", read)


def _visible(count: int) -> list[int]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` leaves, in its order; names of GPUs in it are not looked up."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    numbers = [part.strip() for part in told.split(",") if part.strip()]
    if not numbers or not all(number.isdecimal() for number in numbers):
        return list(range(count))
    return [int(number) for number in numbers if int(number) < count]


def _micro(path: Path) -> float:
    return int(path.read_text(encoding="ascii")) / 1e6


def _milli(read: Callable[[Any], int], handle: Any) -> float:
    return read(handle) / 1e3
