"""How long to wait, and for what: back-off after failures that pass, and between looks at a job."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_base

from llmsaver.batch.outcome import BatchInterrupted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pace", "passing", "status_of", "unproven"]

log = logging.getLogger("llmsaver")
T = TypeVar("T")

# What a provider says for now, and not of the request.
_PASSING: Final = frozenset({408, 409, 425, 429})
_SERVER: Final = 500
# The SDKs' and the HTTP library's own names for a connection that failed.
_TRANSPORT: Final = frozenset({"APIConnectionError", "TransportError", "StreamError"})
_MOST_ASKED: Final = 900.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds: between two looks at a job (from ``poll_s``, growing to ``poll_most_s``), after a failure.

    ``settle_s``: how long after a submission of unknown fate a job may still appear at the provider; ``slack_s``: by
    how much its clock may be off. ``attempts``: how often a request that fails for now is sent. ``sleep`` waits.
    """

    poll_s: float = 5.0
    poll_most_s: float = 60.0
    retry_s: float = 1.0
    retry_most_s: float = 60.0
    attempts: int = 12
    settle_s: float = 30.0
    slack_s: float = 600.0
    refused_s: float = 60.0
    sleep: Callable[[float], object] = time.sleep

    def stubborn(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, made again while it fails for now; ``BatchInterrupted`` in the end."""
        retrying = Retrying(
            sleep=self._pause,
            stop=stop_after_attempt(self.attempts),
            wait=_AsAsked(self.retry_s, self.retry_most_s),
            retry=retry_if_exception(passing),
        )
        try:
            return retrying(call)
        except RetryError as error:
            last = error.last_attempt.exception()
            raise BatchInterrupted(f"the provider kept failing: {last}. Run the same command again to go on") from last

    def between(self, looks: int) -> float:
        """Return how long to wait after so many looks that found nothing new, spread at random."""
        grown = min(self.poll_most_s, self.poll_s * 1.5 ** min(looks, 64))
        return grown * random.uniform(0.8, 1.2)  # noqa: S311 - spreads waiters

    def _pause(self, seconds: float) -> None:
        self.sleep(seconds)


class _AsAsked(wait_base):
    """Waits as long as the answer asks (retry-after), else at random up to a time that doubles."""

    def __init__(self, least: float, most: float) -> None:
        self._least, self._most = least, most

    def __call__(self, retry_state: RetryCallState) -> float:
        failure = retry_state.outcome.exception() if retry_state.outcome is not None else None
        asked = _retry_after(failure)
        if asked is not None:
            return asked
        grown = min(self._most, self._least * 2.0 ** min(retry_state.attempt_number - 1, 32))
        return random.uniform(grown / 2, grown)  # noqa: S311 - spreads waiters


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an SDK's error; None where no answer came."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def passing(error: BaseException) -> bool:
    """Whether an error says nothing of the request itself, so that it may be sent again."""
    status = status_of(error)
    if status is not None:
        return status in _PASSING or status >= _SERVER
    return any(kind.__name__ in _TRANSPORT for kind in type(error).__mro__)


def unproven(error: BaseException) -> bool:
    """Whether a request that failed like this may have been carried out all the same."""
    status = status_of(error)
    return passing(error) and (status is None or status >= _SERVER or status in {408, 409})


def _retry_after(error: Any) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            asked = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 < asked <= _MOST_ASKED:
            return asked
    return None
