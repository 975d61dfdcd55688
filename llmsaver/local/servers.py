"""The local servers that one program uses: found or started by the first call, given up at the end."""

from __future__ import annotations

import os
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local.acquire import Starter
from llmsaver.local.busy import Meter
from llmsaver.local.catalogue import known_model
from llmsaver.local.endpoint import Endpoint
from llmsaver.local.models import LocalModel, Tier
from llmsaver.local.runners import Leased
from llmsaver.local.slots import Slot, was_closed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.local.busy import ServerTime
    from llmsaver.local.endpoint import Load, Use
    from llmsaver.local.runners import Runner

__all__ = ["Endpoint", "LocalServers"]

_FILES = ("/", "~")
_STATUS = frozenset({"status"})


class LocalServers:
    """The local servers that one program uses; thread-safe.

    ``models`` are the declared tiers by name (or paths of GGUF files); the catalogue's names need no declaration.
    ``context`` is in tokens per request and ``parallel`` the number of requests answered at once: memory grows with
    their product. ``threads`` defaults to the physical cores. A llama.cpp server is one for all programs of the user
    that ask for the same: after ``sleep_idle_seconds`` without a request it gives its memory back and wakes in under a
    second, after ``exit_idle_seconds`` it ends, to be started again by the next call (-1: never). ``memory_mib`` is
    what all of them may take (None: four fifths of the machine); those that nobody calls make room.
    ``start_timeout`` is in seconds (None: two minutes, 15 for vLLM); a crashed server is started again at most
    ``restarts`` times in ten minutes.
    """

    def __init__(  # noqa: PLR0913 - settings, by keyword
        self,
        *,
        models: Mapping[str, Tier | str | Path] | None = None,
        context: int = 4096,
        parallel: int = 4,
        threads: int | None = None,
        sleep_idle_seconds: int = 300,
        exit_idle_seconds: int = 1800,
        memory_mib: int | None = None,
        start_timeout: float | None = None,
        restarts: int = 3,
    ) -> None:
        for name, value, least in (
            ("context", context, 1),
            ("parallel", parallel, 1),
            ("threads", threads, 1),
            ("memory_mib", memory_mib, 1),
            ("restarts", restarts, 0),
        ):
            if value is not None and value < least:
                raise ConfigurationError(f"local: {name} must be {least} or more, not {value}")
        for name, value in (("sleep_idle_seconds", sleep_idle_seconds), ("exit_idle_seconds", exit_idle_seconds)):
            if value < 1 and value != -1:
                raise ConfigurationError(f"local: {name} must be 1 or more, or -1 for never, not {value}")
        self._models: dict[str, Tier] = {
            name: tier if isinstance(tier, Tier) else LocalModel(name, path=tier)
            for name, tier in (models or {}).items()
        }
        self._restarts = restarts
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._starter = Starter(
            context=context,
            parallel=parallel,
            threads=threads,
            sleep_idle_seconds=sleep_idle_seconds,
            exit_idle_seconds=exit_idle_seconds,
            memory_mib=memory_mib,
            timeout=start_timeout,
            stop=self._closed,
        )
        self._slots: dict[str, Slot] = {}
        self._used: dict[str, Runner] = {}
        self._past: dict[str, ServerTime] = {}
        self._strays = Meter()
        _instances.add(self)

    def tier(self, name: str) -> Tier | None:
        """Return what is declared (or known) of ``name``, with or without its ``:adapter``; None where nothing is."""
        base, _ = self._split(name)
        if base.startswith(_FILES) and base not in self._models:
            return LocalModel(Path(base).stem.replace(":", "_"), path=base)
        return self._models.get(base) or known_model(base)

    def endpoint(self, name: str) -> Endpoint:
        """Return where ``name`` (without ``local/``) answers; start its server if needed and block until it is ready.

        Concurrent callers wait for one start and share its outcome. Raises LocalModelError or MissingExtra, whose
        messages name the fix.
        """
        base, adapter = self._split(name)
        slot = self._slots.get(base)
        if slot is None or self._closed.is_set():
            slot = self._new_slot(base)
        lora = _adapter(slot.tier, adapter, base)
        runner = slot.current()
        if runner is None:
            runner = self._brought_up(slot)
        endpoint = runner.endpoint
        if adapter is None:
            return endpoint
        # vLLM serves an adapter as a model of that name, llama.cpp by its number.
        return replace(endpoint, lora=lora) if isinstance(slot.tier, LocalModel) else replace(endpoint, model=adapter)

    def keep(self, name: str) -> Endpoint:
        """Start its server and let it stay when this program and all others have ended, until it is stopped by name.

        It sleeps when idle, but neither leaves nor makes room for others, and is started again after a crash.
        """
        return self._insist(name, "keep")

    def hold(self, name: str) -> Endpoint:
        """Start its server and let it stay for as long as this program lives: no idleness ends it."""
        return self._insist(name, "hold")

    def failed(self, endpoint: Endpoint) -> None:
        """Say that a call to it failed at the transport: it is looked at again before it is handed out next time."""
        for slot in list(self._slots.values()):
            runner = slot.latest()
            if runner is not None and runner.endpoint.base_url == endpoint.base_url:
                slot.doubt()

    def use(self, endpoint: Endpoint) -> Use:
        """Begin a call, just before it is sent; its ``end()`` returns its share of the server's time."""
        runner = self._used.get(endpoint.base_url)
        return self._strays.begin() if runner is None else runner.begin()

    def load(self, name: str) -> Load | None:
        """Return how busy it is now; None where it does not run for this program, or nothing can be known."""
        slot = self._slots.get(self._split(name)[0])
        runner = None if slot is None else slot.current()
        return None if runner is None else runner.load()

    def usage(self) -> list[ServerTime]:
        """Return how long each server that this program used was up and busy, with all other programs' calls."""
        with self._lock:
            runners = list(self._used.values())
        for runner in runners:
            found = runner.time()
            if found is not None:
                self._past[found.id] = found
            if not runner.alive():
                self._used.pop(runner.endpoint.base_url, None)
        return list(self._past.values())

    def close(self) -> None:
        """Give every server up, and wait for the end of those that nobody else uses; twice is once."""
        with self._lock:
            self._closed.set()
            slots = list(self._slots.values())
        self._starter.abandon()
        self.usage()
        with self._lock:
            self._slots.clear()
            self._used.clear()
        runners = [runner for slot in slots if (runner := slot.latest()) is not None]
        for runner in runners:
            runner.let_go()
        for runner in runners:
            runner.close()

    def _split(self, name: str) -> tuple[str, str | None]:
        """Return the model's name and the adapter's; a declared name or a path is taken as it is."""
        if name in self._models or name.startswith(_FILES):
            return name, None
        base, _, adapter = name.partition(":")
        return base, adapter or None

    def _new_slot(self, base: str) -> Slot:
        tier = self.tier(base)
        if tier is None:
            from llmsaver.local import weights

            tier = weights.model_of(base, self._models)  # raises, naming those there are
        with self._lock:
            if self._closed.is_set():
                raise was_closed(base)
            return self._slots.setdefault(base, Slot(base, tier, self._starter, self._restarts))

    def _brought_up(self, slot: Slot) -> Runner:
        runner = slot.runner()
        with self._lock:
            if not self._closed.is_set():
                self._used[runner.endpoint.base_url] = runner
                return runner
        runner.let_go()
        raise was_closed(slot.name)

    def _insist(self, name: str, op: str) -> Endpoint:
        endpoint = self.endpoint(name)
        runner = self._used.get(endpoint.base_url)
        if not isinstance(runner, Leased):
            raise LocalModelError(f"local/{name} is not a llama.cpp server, and not ours to {op}")
        if not runner.lease.ask(op, _STATUS):
            raise LocalModelError(f"local/{name}: its supervisor gave no answer; try again")
        return endpoint

    def _after_fork(self) -> None:
        """Forget, in a fork, what is the parent's."""
        self._lock = threading.Lock()
        self._used = {}
        self._past = {}
        self._starter.after_fork()
        for slot in self._slots.values():
            slot.after_fork()
            runner = slot.latest()
            if runner is not None:
                self._used[runner.endpoint.base_url] = runner


def _adapter(tier: Tier, adapter: str | None, base: str) -> int | None:
    """Return the adapter's number; raises LocalModelError where there is none of that name."""
    if adapter is None:
        return None
    names = list(getattr(tier, "lora", ()))
    if adapter in names:
        return names.index(adapter)
    there = f"there are {', '.join(names)}" if names else "it has none: LocalModel(..., lora={name: path})"
    raise LocalModelError(f"local/{base} has no adapter {adapter!r}; {there}")


_instances: weakref.WeakSet[LocalServers] = weakref.WeakSet()


def _after_fork() -> None:
    for servers in list(_instances):
        servers._after_fork()  # noqa: SLF001 - of this module


os.register_at_fork(after_in_child=_after_fork)
