"""One model's server as one program sees it: brought up once for all who wait, started again after a crash."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError, MissingExtra
from llmsaver.local.endpoint import Endpoint
from llmsaver.local.launch import ServerFailed, log_folder
from llmsaver.local.models import Attach, LocalModel, Tier, Vllm
from llmsaver.local.runners import Attached, Leased, OwnVllm
from llmsaver.local.status import answers

if TYPE_CHECKING:
    from llmsaver.local.acquire import Starter
    from llmsaver.local.runners import Runner

__all__ = ["Slot", "was_closed"]

_log = logging.getLogger("llmsaver.local")
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_CRASH_WINDOW = 600.0
_VLLM_SECONDS = 900.0  # it may fetch weights, and compiles for minutes


def was_closed(name: str) -> LocalModelError:
    """Return the error for whoever asks for a server, or waits for one, after the end."""
    return LocalModelError(f"local/{name}: the local servers of this client were closed")


class Slot:
    """One model's place; thread-safe. ``crashes`` are the monotonic times of its server's crashes."""

    def __init__(self, name: str, tier: Tier, starter: Starter, restarts: int) -> None:
        self.name = name
        self.tier = tier
        self.crashes: deque[float] = deque()
        self._starter = starter
        self._restarts = restarts
        self._lock = threading.Lock()
        self._current: Runner | None = None
        self._flight: Future[Runner] | None = None
        self._doubted = False
        self._noted = False

    def current(self) -> Runner | None:
        """Return the server if it can be used as it is; microseconds."""
        runner = self._current
        return None if runner is None or self._doubted or not runner.alive() else runner

    def latest(self) -> Runner | None:
        """Return the server that was used last, whatever became of it."""
        return self._current

    def doubt(self) -> None:
        """Have it looked at before it is handed out again."""
        self._doubted = True

    def runner(self) -> Runner:
        """Return the server, brought up if needed; raises LocalModelError or MissingExtra with the fix."""
        with self._lock:
            flight = self._flight
            if flight is None:
                current = self.current()
                if current is not None:
                    return current
                own = self._flight = Future()
        return flight.result() if flight is not None else self._fly(own)

    def recent_crashes(self) -> int:
        """Return how many crashes there were in the last ten minutes."""
        while self.crashes and self.crashes[0] < time.monotonic() - _CRASH_WINDOW:
            self.crashes.popleft()
        return len(self.crashes)

    def after_fork(self) -> None:
        """Forget, in a fork, what only the parent's threads could finish; it gets a lease of its own when needed."""
        self._lock = threading.Lock()
        self._flight = None
        self._current = None if self._current is None else self._current.forked()

    def _fly(self, flight: Future[Runner]) -> Runner:
        """Bring the server up for everybody who waits on ``flight``."""
        error: BaseException = was_closed(self.name)
        outcome: Runner | None = None
        try:
            outcome = self._bring_up()
        except BaseException as raised:
            error = raised
            raise
        finally:
            with self._lock:
                self._flight = None
                if outcome is not None:
                    self._current, self._doubted = outcome, False
            if outcome is not None:
                flight.set_result(outcome)
            elif isinstance(error, Exception):
                flight.set_exception(error)
            else:  # Ctrl-C ends the caller that it hit, not the others
                flight.set_exception(LocalModelError(f"local/{self.name}: its start was interrupted"))
        return outcome

    def _bring_up(self) -> Runner:
        """Start the server, again after a crash with growing pauses, until it answers or has crashed too often."""
        import tenacity

        stop = self._starter.stop
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, ServerFailed) and error.diagnosis.retry),
            wait=lambda _: min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** self.recent_crashes()),
            stop=lambda _: stop.is_set() or self.recent_crashes() > self._restarts,
            sleep=tenacity.sleep_using_event(stop),
            reraise=True,
        )
        try:
            return retrying(self._attempt)
        except LocalModelError as error:
            if stop.is_set():
                raise was_closed(self.name) from None
            if isinstance(error, ServerFailed) and error.diagnosis.kind == "extra":
                raise MissingExtra(f"local/{self.name}", "local") from None
            raise

    def _attempt(self) -> Runner:
        """Start the server once, and count a crash: this start's, or that of the server that ran before."""
        try:
            before, self._current = self._current, None
            if before is not None:
                if before.alive() and answers(before.endpoint):
                    return before
                before.bury()
            return self._started()
        except ServerFailed:
            self.crashes.append(time.monotonic())
            raise

    def _started(self) -> Runner:
        tier = self.tier
        if isinstance(tier, Attach):
            from llmsaver.local import attach

            return Attached(attach.endpoint(tier), tier)
        if isinstance(tier, Vllm):
            from llmsaver.local import vllm_run

            limit = _VLLM_SECONDS if self._starter.timeout is None else self._starter.timeout
            return OwnVllm(vllm_run.start(tier, log_dir=log_folder(), timeout=limit), tier)
        if not isinstance(tier, LocalModel):
            raise LocalModelError(f"local/{self.name}: {type(tier).__name__} is no tier that can be run")
        if tier.note is not None and not self._noted:
            self._noted = True
            _log.warning("%s", tier.note)
        lease, plan = self._starter.lease(tier)
        facts = lease.facts
        endpoint = Endpoint(facts["base_url"], facts["token"], facts["name"], tier, loras=len(tier.lora))
        return Leased(lease, endpoint, plan, tier)
