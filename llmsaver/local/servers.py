"""One server per local model: started by the first call, shared by all, restarted after a crash, closed at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError, LocalModelError, MissingExtra
from llmsaver.local import machine, weights
from llmsaver.local.launch import Child, Plan, ServerFailed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger("llmsaver.local")
_HEALTH_SECONDS = 5.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_CRASH_WINDOW = 600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running local model answers.

    ``base_url`` is ``http://127.0.0.1:PORT`` without ``/v1``; ``api_key`` is random per server, accepted as
    ``Authorization: Bearer`` and as ``x-api-key``; ``model`` is the name that the server gives itself in its answers.
    """

    base_url: str
    api_key: str = field(repr=False)
    model: str


@dataclass(slots=True)
class _Slot:
    """One model's state. ``child`` is None in a fork that uses its parent's server; ``crashes`` are monotonic times."""

    child: Child | None = None
    endpoint: Endpoint | None = None
    flight: Future[Endpoint] | None = None
    crashes: deque[float] = field(default_factory=deque)

    def recent_crashes(self) -> int:
        """Return how many crashes there were in the last ten minutes."""
        while self.crashes and self.crashes[0] < time.monotonic() - _CRASH_WINDOW:
            self.crashes.popleft()
        return len(self.crashes)


class LocalServers:
    """The local servers of one program; thread-safe.

    ``models`` maps names of your own (or of the catalogue) to GGUF files. ``context`` is in tokens per request and
    ``parallel`` the number of requests answered at once: memory grows with their product. ``threads`` defaults to the
    physical cores. After ``sleep_idle_seconds`` without a request a server gives its memory back and wakes in under a
    second (-1: never). ``start_timeout`` is in seconds; a crashed server is started again at most ``restarts`` times in
    ten minutes. A fork of the program uses the parent's servers while they answer and never ends them.
    """

    def __init__(
        self,
        *,
        models: Mapping[str, str | Path] | None = None,
        context: int = 4096,
        parallel: int = 4,
        threads: int | None = None,
        sleep_idle_seconds: int = 300,
        gpu_layers: int = -1,
        start_timeout: float = 120.0,
        restarts: int = 3,
    ) -> None:
        for name, value, least in (
            ("context", context, 1),
            ("parallel", parallel, 1),
            ("threads", threads or 1, 1),
            ("restarts", restarts, 0),
        ):
            if value < least:
                raise ConfigurationError(f"local: {name} must be {least} or more, not {value}")
        self._models = dict(models or {})
        self._context = context
        self._parallel = parallel
        self._threads = threads
        self._sleep_idle_seconds = sleep_idle_seconds
        self._gpu_layers = gpu_layers
        self._start_timeout = start_timeout
        self._restarts = restarts
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._slots: dict[str, _Slot] = {}
        _instances.add(self)

    def endpoint(self, name: str) -> Endpoint:
        """Return where ``name`` (without ``local/``) answers; start its server if needed and block until it is ready.

        Concurrent callers wait for one start and share its outcome. Raises LocalModelError or MissingExtra, whose
        messages name the fix.
        """
        with self._lock:
            if self._closed.is_set():
                raise self._was_closed(name)
            slot = self._slots.setdefault(name, _Slot())
            if slot.flight is None and slot.endpoint is not None and slot.child is not None and slot.child.alive():
                return slot.endpoint
            flight = slot.flight
            if flight is None:
                own = slot.flight = Future()
        return flight.result() if flight is not None else self._fly(name, slot, own)

    def close(self) -> None:
        """Stop every server this program started (SIGTERM, 10 s, SIGKILL); twice is once."""
        with self._lock:
            self._closed.set()
            children = [slot.child for slot in self._slots.values() if slot.child is not None]
            self._slots.clear()
        for child in children:
            child.stop()

    def _fly(self, name: str, slot: _Slot, flight: Future[Endpoint]) -> Endpoint:
        """Bring the server up for everybody who waits on ``flight``."""
        outcome: Endpoint | None = None
        error: BaseException | None = None
        try:
            outcome = self._bring_up(name, slot)
        except BaseException as raised:
            error = raised
            raise
        finally:
            with self._lock:
                slot.flight = None
            if outcome is not None:
                flight.set_result(outcome)
            elif isinstance(error, Exception):
                flight.set_exception(error)
            else:  # Ctrl-C ends the caller that it hit, not the others
                flight.set_exception(LocalModelError(f"local/{name}: its start was interrupted"))
        return outcome

    def _bring_up(self, name: str, slot: _Slot) -> Endpoint:
        """Start the server, again after a crash with growing pauses, until it answers or has crashed too often."""
        if slot.endpoint is not None and slot.child is None and _healthy(slot.endpoint):
            return slot.endpoint  # the parent's, seen from a fork
        import tenacity

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, ServerFailed) and error.diagnosis.retry),
            wait=lambda _: min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** slot.recent_crashes()),
            stop=lambda _: self._closed.is_set() or slot.recent_crashes() > self._restarts,
            sleep=tenacity.sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            return retrying(self._attempt, name, slot)
        except ServerFailed as error:
            if self._closed.is_set():
                raise self._was_closed(name) from None
            if error.diagnosis.kind == "extra":
                raise MissingExtra(f"local/{name}", "local") from None
            raise

    def _attempt(self, name: str, slot: _Slot) -> Endpoint:
        """Start the server once, and count a crash: this start's, or that of the server that ran before."""
        try:
            return self._start(name, slot)
        except ServerFailed:
            slot.crashes.append(time.monotonic())
            raise

    def _start(self, name: str, slot: _Slot) -> Endpoint:
        """Start the server; where one ran before, raise why it ended, so that the next attempt comes after a pause."""
        earlier, slot.child, slot.endpoint = slot.child, None, None
        if earlier is not None:
            raise earlier.failure()
        with contextlib.ExitStack() as undo:
            undo.callback(self._drop, slot)
            child = self._child(name, slot)
            endpoint = Endpoint(child.ready(self._start_timeout), child.api_key, child.plan.name)
            if not _healthy(endpoint):
                raise child.failure()
            undo.pop_all()
        slot.endpoint = endpoint
        return endpoint

    def _drop(self, slot: _Slot) -> None:
        """End what a failed or interrupted start left behind."""
        if slot.child is not None:
            slot.child.stop()
            slot.child = None

    def _was_closed(self, name: str) -> LocalModelError:
        return LocalModelError(f"local/{name}: the local servers of this client were closed")

    def _child(self, name: str, slot: _Slot) -> Child:
        """Make the child and let ``close`` know it before anybody waits for it."""
        path = weights.find(name, self._models)
        plan = Plan(
            name=path.stem if name.startswith(("/", "~")) else name,
            path=str(path),
            context=self._context,
            parallel=self._parallel,
            threads=self._threads or machine.threads(),
            prompt_cache_mib=machine.prompt_cache_mib(machine.free_memory_mib()),
            sleep_idle_seconds=self._sleep_idle_seconds,
            gpu_layers=self._gpu_layers,
        )
        model = weights.catalogue().get(name)
        if model is not None and model.note is not None and not slot.crashes:
            _log.warning("%s", model.note)
        with self._lock:
            if self._closed.is_set():
                raise self._was_closed(name)
            slot.child = Child(plan)
        return slot.child

    def _after_fork(self) -> None:
        """Forget, in a fork, what only the parent's threads could finish; keep its servers as guests."""
        self._lock = threading.Lock()
        for slot in self._slots.values():
            slot.flight = None
            if slot.child is not None:
                slot.child.disown()
                slot.child = None


def _healthy(endpoint: Endpoint) -> bool:
    """Return whether the server answers; /health neither needs the key nor wakes a sleeping model."""
    import http.client

    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=_HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


_instances: weakref.WeakSet[LocalServers] = weakref.WeakSet()


def _after_fork() -> None:
    for servers in list(_instances):
        servers._after_fork()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
