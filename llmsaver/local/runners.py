"""What stands behind an endpoint: a lease on a llama.cpp server, a vLLM of our own, or somebody else's server."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from llmsaver.local.busy import Meter, ServerTime
from llmsaver.local.endpoint import Load
from llmsaver.local.launch import failure

if TYPE_CHECKING:
    from llmsaver.local.endpoint import Endpoint, Use
    from llmsaver.local.launch import Plan
    from llmsaver.local.lease import Lease
    from llmsaver.local.models import Attach, Tier

__all__ = ["IN_PEACE", "Attached", "Leased", "OwnVllm", "Runner"]

_LOAD_SECONDS = 0.05  # how long an answer about the load is good for
_STOPPING = frozenset({"stopping"})
# Why a server ends that is no crash: nobody called it, others needed the room, its last user went, somebody said so.
IN_PEACE = frozenset({"idle", "evicted", "unused", "stopped"})
_STATUS = frozenset({"status"})
_STOP_SECONDS = 5.0


class Runner(Protocol):
    """One server that this program uses."""

    endpoint: Endpoint

    def alive(self) -> bool:
        """Return whether it runs, as far as is known without asking it."""

    def begin(self) -> Use:
        """Begin a call."""

    def load(self) -> Load | None:
        """Return how busy it is, None where that is not known."""

    def time(self) -> ServerTime | None:
        """Return how long it has been up and busy; None where that is not ours to count."""

    def bury(self) -> None:
        """End what is left of one that is of no use any more; raise ServerFailed where it did not go in peace."""

    def forked(self) -> Runner | None:
        """Return what a fork of the program may go on using; None where it needs its own."""

    def let_go(self) -> None:
        """Begin to give it up; nothing is waited for."""

    def close(self) -> None:
        """Give it up, and wait for its end where we were the last to use it."""


class Leased:
    """A llama.cpp server that several programs may use."""

    def __init__(self, lease: Lease, endpoint: Endpoint, plan: Plan, tier: Tier) -> None:
        self.lease = lease
        self.endpoint = endpoint
        self._plan = plan
        self._tier = tier
        self._load: tuple[float, Load] | None = None
        self._time: ServerTime | None = None

    def alive(self) -> bool:
        """See ``Runner``."""
        return self.lease.alive()

    def begin(self) -> Use:
        """See ``Runner``."""
        return self.lease.begin()

    def load(self) -> Load | None:
        """See ``Runner``; all programs' calls count."""
        known, now = self._load, time.monotonic()
        if known is not None and now - known[0] < _LOAD_SECONDS:
            return known[1]
        status = self.lease.ask("status", _STATUS)
        if not status:
            return None
        calls, slots = status["calls"], status["parallel"]
        load = Load(min(calls, slots), max(0, calls - slots), slots, status["mean_s"])
        self._load = (now, load)
        return load

    def time(self) -> ServerTime | None:
        """See ``Runner``; what was last known, once it is gone."""
        status = self.lease.ask("status", _STATUS) or self.lease.ended or {}
        if "id" in status:
            self._time = ServerTime(
                status["id"],
                status["name"],
                status["started_at"],
                status["up_s"],
                status["busy_s"],
                _rate(self._tier),
            )
        return self._time

    def bury(self) -> None:
        """See ``Runner``; one that hangs is stopped."""
        if self.lease.alive():
            self.lease.ask("stop", _STOPPING, reason="silent")
            self.lease.gone(_STOP_SECONDS)
        ended = self.lease.ended or {"reason": "silent"}
        self.lease.close()
        if ended["reason"] not in IN_PEACE:
            raise failure(self._plan, ended)

    def forked(self) -> None:
        """See ``Runner``."""

    def let_go(self) -> None:
        """See ``Runner``."""
        self.lease.let_go()

    def close(self) -> None:
        """See ``Runner``."""
        self.lease.gone(_STOP_SECONDS)


class OwnVllm:
    """A vLLM that this program started, and that ends with it."""

    def __init__(self, server: Any, tier: Tier) -> None:
        self.endpoint: Endpoint = server.endpoint
        self._server = server
        self._tier = tier
        self._meter = Meter()
        self._started = (time.time(), time.monotonic())

    def alive(self) -> bool:
        """See ``Runner``."""
        return bool(self._server.alive())

    def begin(self) -> Use:
        """See ``Runner``."""
        return self._meter.begin()

    def load(self) -> Load | None:
        """See ``Runner``."""
        found: Load | None = self._server.load()
        return found

    def time(self) -> ServerTime | None:
        """See ``Runner``."""
        at, since = self._started
        up = time.monotonic() - since
        name = self.endpoint.model
        return ServerTime(f"vllm-{name}-{at:.6f}", name, at, up, self._meter.busy_s, _rate(self._tier))

    def bury(self) -> None:
        """See ``Runner``; why it ended is in its log, and in the error of the next start if that fails too."""
        self._server.stop()

    def forked(self) -> Runner:
        """See ``Runner``: a second vLLM would need another GPU."""
        return Attached(self.endpoint, None)

    def let_go(self) -> None:
        """See ``Runner``: the others' end may begin meanwhile."""
        self._stopping = threading.Thread(target=self._server.stop, daemon=True)
        self._stopping.start()

    def close(self) -> None:
        """See ``Runner``."""
        self._stopping.join()


class Attached:
    """A server that is none of ours to start or end, nor to count the idle time of: elsewhere, or a fork's parent's."""

    def __init__(self, endpoint: Endpoint, tier: Attach | None) -> None:
        self.endpoint = endpoint
        self._tier = tier
        self._meter = Meter()

    def alive(self) -> bool:
        """See ``Runner``."""
        return True

    def begin(self) -> Use:
        """See ``Runner``."""
        return self._meter.begin()

    def load(self) -> Load | None:
        """See ``Runner``."""
        if self._tier is None:
            return None
        from llmsaver.local import attach

        found: Load | None = attach.load(self._tier)
        return found

    def time(self) -> ServerTime | None:
        """See ``Runner``."""
        return None

    def bury(self) -> None:
        """See ``Runner``."""

    def forked(self) -> Runner:
        """See ``Runner``."""
        return self

    def let_go(self) -> None:
        """See ``Runner``."""

    def close(self) -> None:
        """See ``Runner``."""


def _rate(tier: Tier) -> Any:
    return tier.hourly_usd  # a Decimal by now, see ``models.py``
