"""Serving a local model for a person: started, watched and started again until Ctrl-C, or left running."""

from __future__ import annotations

import contextlib
import signal
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError
from llmsaver.local.models import Attach, LocalModel
from llmsaver.local.status import answers
from llmsaver.reporting.local_list import tier_of
from llmsaver.saver import Saver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.local import LocalServers
    from llmsaver.local.endpoint import Endpoint

__all__ = ["Served", "served_name", "serving", "started"]

_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Served:
    """A model that is served: ``local/<name>`` in every program of this user, here at ``address``."""

    name: str
    address: str


def served_name(name: str) -> str:
    """Return the name under which the servers know what a person asks for; an adapter is served with its base.

    Raises LocalModelError for what is unknown and for what is not ours to run.
    """
    tier = tier_of(name)
    if isinstance(tier, Attach):
        raise LocalModelError(f"local/{tier.name} runs elsewhere, at {tier.base_url}: there is nothing to serve here")
    if isinstance(tier, LocalModel) and name.startswith(("/", "~", ".")):
        return str(Path(name).expanduser().absolute())
    return str(getattr(tier, "name", name))


def started(name: str, port: int | None = None) -> Served:
    """Start a model's server and leave it running when this program ends; ``stop`` ends it.

    ``port``: where it shall answer. Raises LocalModelError where another program has that.
    """
    name = served_name(name)
    with _saver(name, port) as saver:
        endpoint = saver.local.keep(name)
        _is_there(name, endpoint, port)
        return Served(name, endpoint.base_url)


def serving(
    name: str, told: Callable[[Served], object], stop: threading.Event | None = None, *, port: int | None = None
) -> None:
    """Serve a model until Ctrl-C, SIGTERM or ``stop``; a server that died is started again.

    ``told`` hears where it answers, every time that changes. ``port``: where it shall answer. Raises LocalModelError
    where it cannot be served.
    """
    name, over = served_name(name), stop or threading.Event()
    with _ended_by_sigterm(over), _saver(name, port) as saver:
        endpoint = _held(saver.local, name)
        _is_there(name, endpoint, port)
        told(Served(name, endpoint.base_url))
        while not over.wait(_LOOK_SECONDS):
            if answers(endpoint):
                continue
            saver.local.failed(endpoint)
            endpoint = _held(saver.local, name)
            told(Served(name, endpoint.base_url))


def _saver(name: str, port: int | None) -> Saver:
    """Return a Saver whose model of this name has the port."""
    if port is None:
        return Saver()
    tier = tier_of(name)
    if not isinstance(tier, LocalModel):
        raise LocalModelError(f"local/{name} takes no --port: that is for models that llama.cpp runs")
    return Saver(local_models={name: replace(tier, port=port)})


def _is_there(name: str, endpoint: Endpoint, port: int | None) -> None:
    if port is not None and not endpoint.base_url.endswith(f":{port}"):
        raise LocalModelError(
            f"local/{name} runs already, at {endpoint.base_url}. To move it: llmsaver local stop {name}"
        )


def _held(servers: LocalServers, name: str) -> Endpoint:
    endpoint = servers.endpoint(name)
    return servers.hold(name) if endpoint.runner == "llama.cpp" else endpoint


@contextlib.contextmanager
def _ended_by_sigterm(over: threading.Event) -> Iterator[None]:
    """End in order on SIGTERM too, as service managers ask for it; where signals are not ours, leave them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: over.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
