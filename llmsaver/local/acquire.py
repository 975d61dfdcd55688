"""A lease on the server that a model needs: the one that runs already, whoever started it, or a new one."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from llmsaver.errors import LocalModelError
from llmsaver.local import folder as places
from llmsaver.local import gguf, machine, weights
from llmsaver.local.endpoint import Endpoint
from llmsaver.local.launch import Plan, failure, start, too_slow
from llmsaver.local.lease import Lease, connected
from llmsaver.local.room import make_room, need_of
from llmsaver.local.runners import IN_PEACE
from llmsaver.local.status import answers

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from llmsaver.local.models import LocalModel

__all__ = ["Starter"]

_POLL_SECONDS = 0.02
_START_SECONDS = 120.0
_HELLO_SECONDS = 10.0
_STOP_SECONDS = 5.0


@dataclass
class Starter:
    """Gets leases for one program's ``LocalServers``, whose settings it has; ``stop`` is set when that is closed."""

    context: int
    parallel: int
    threads: int | None
    sleep_idle_seconds: int
    exit_idle_seconds: int
    memory_mib: int | None
    timeout: float | None
    stop: threading.Event
    _making: set[Lease] = field(default_factory=set)

    def lease(self, tier: LocalModel) -> tuple[Lease, Plan]:
        """Return a lease on a server that answers, and the plan that it is found by.

        Raises LocalModelError, as ServerFailed where it is the server that failed.
        """
        path = weights.find(tier)
        plan = self._plan(tier, path)
        key = plan.key()
        folder = places.runtime_folder()
        timeout = _START_SECONDS if self.timeout is None else self.timeout
        deadline = time.monotonic() + timeout
        while True:
            lease = connected(folder, key, "lease", _HELLO_SECONDS) or self._begun(folder, key, plan, tier, path)
            if lease is not None:
                with self._in_the_making(lease):
                    if self._ready(lease, plan, deadline, timeout):
                        return lease, plan
            elif time.monotonic() > deadline:
                raise LocalModelError(
                    f"local/{plan.name}: another program keeps {folder / key}.lock but answers nothing; end it"
                )
            if self.stop.wait(_POLL_SECONDS):
                raise LocalModelError(f"local/{plan.name}: closed")

    def abandon(self) -> None:
        """Let go of servers that are being started: nobody wants them any more."""
        for lease in tuple(self._making):
            lease.let_go()

    def after_fork(self) -> None:
        """Forget, in a fork, what the parent was doing."""
        self._making.clear()

    @contextmanager
    def _in_the_making(self, lease: Lease) -> Iterator[None]:
        """Let ``abandon`` know the lease while we wait; whatever goes wrong, it is not left behind."""
        self._making.add(lease)
        try:
            yield
        except BaseException:
            lease.close()
            raise
        finally:
            self._making.discard(lease)

    def _ready(self, lease: Lease, plan: Plan, deadline: float, timeout: float) -> bool:
        """Wait for the server; False where it went in peace meanwhile, for others or by another's idleness."""
        if self.stop.is_set():
            lease.let_go()
        base_url = lease.ready(deadline - time.monotonic())
        if base_url is None:
            if lease.ended is None:
                raise too_slow(plan, timeout, lease.facts.get("log"))
            if lease.ended["reason"] == "stopped":
                raise LocalModelError(f"local/{plan.name} was stopped while it started")
            if lease.ended["reason"] not in IN_PEACE:
                raise failure(plan, lease.ended)
            lease.close()
            return False
        if not answers(Endpoint(base_url, "", plan.name)):
            lease.ask("stop", frozenset({"stopping"}), reason="silent")
            lease.gone(_STOP_SECONDS)
            raise failure(plan, {**lease.facts, **(lease.ended or {}), "reason": "silent"})
        return True

    def _begun(self, folder: Path, key: str, plan: Plan, tier: LocalModel, path: Path) -> Lease | None:
        """Start a server where none runs and nobody else is about to."""
        lock = places.try_lock(folder / f"{key}.lock")
        if lock is None:
            return None
        try:
            need = need_of(tier, path, plan.context, plan.parallel)
            with places.machine_wide(folder, self.stop):
                room = make_room(folder, need, self.memory_mib, anyway=plan.gpu_layers != 0 and machine.has_gpu())
                _see_that_it_is_free(plan)
                cache = machine.prompt_cache_mib(None if room is None else room - need.mib)
                plan = replace(plan, prompt_cache_mib=cache, memory_mib=need.mib + cache)
                lease = start(plan, key, folder, lock)
                # By then its facts are written, and whoever looks for room next counts it.
                lease.hello(_HELLO_SECONDS)
                return lease
        finally:
            lock.release()

    def _plan(self, tier: LocalModel, path: Path) -> Plan:
        context = tier.context or min(self.context, tier.max_context or self.context)
        return Plan(
            name=tier.name,
            path=str(path),
            context=context,
            parallel=tier.parallel or self.parallel,
            threads=self.threads or machine.threads(),
            prompt_cache_mib=0,
            sleep_idle_seconds=self.sleep_idle_seconds,
            exit_idle_seconds=self.exit_idle_seconds,
            gpu_layers=-1 if tier.gpu_layers == "auto" else tier.gpu_layers,
            lora=tuple(str(each) for each in weights.adapters(tier).values()),
            speculative=tier.speculative,
            embeddings=_pooling(path) if tier.embeddings else None,
            port=tier.port or 0,
        )


def _see_that_it_is_free(plan: Plan) -> None:
    """Raise LocalModelError where another program has the port: llama.cpp would load the weights before it says so."""
    if not plan.port:
        return
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", plan.port))
        except OSError as error:
            raise LocalModelError(
                f"local/{plan.name} cannot have port {plan.port} ({error.strerror}): another program has it. Choose "
                "another (--port, or port= of its LocalModel), or leave it out for any that is free"
            ) from error


def _pooling(path: Path) -> Literal["own", "mean"]:
    """Return how a text's vector is made of its tokens': as the weights say, or for those of no embedder as a mean."""
    header = gguf.read(path)
    return "own" if header is not None and header.pools else "mean"
