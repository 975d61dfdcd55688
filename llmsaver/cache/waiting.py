"""How long a caller waits for another's answer, and what it is told where that fails."""

from __future__ import annotations

import copy
import sys
import time
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LLMSaverError, UpstreamError, in_words

if TYPE_CHECKING:
    from llmsaver.core.request import Request

__all__ = ["copied", "late", "until"]


def copied(error: BaseException) -> Exception:
    """Return an error for another caller to raise: raising one object in several threads would mix up their traces."""
    if isinstance(error, UpstreamError):
        return UpstreamError(_copy(error.original))
    if isinstance(error, LLMSaverError):
        made: LLMSaverError = _copy(error)
        return made
    return LLMSaverError(f"the answer of an identical call, which this one shared, was cut short: {in_words(error)}")


def _copy(error: Any) -> Any:
    try:
        return copy.copy(error)
    except Exception:  # noqa: BLE001 - a stranger's class may be made in its own way
        return error


def late(request: Request | None) -> UpstreamError:
    """Return the error of a caller whose time is over, as its own client would have raised it."""
    native = getattr(getattr(request, "carrier", None), "request", None)
    kind = getattr(sys.modules.get(type(native).__module__.partition(".")[0]), "ReadTimeout", None)
    said = "an identical call that was under way has not been answered in this one's time"
    return UpstreamError(TimeoutError(said) if kind is None else kind(said, request=native))


def until(request: Request) -> float | None:
    """Return until when a caller waits for the next bytes of its answer (monotonic seconds), None for ever."""
    native = getattr(request.carrier, "request", None)
    timeout = (getattr(native, "extensions", None) or {}).get("timeout") or {}
    waits = timeout.get("read")
    ends = [] if waits is None else [time.monotonic() + waits]
    if request.deadline is not None:
        ends.append(request.deadline)
    return min(ends, default=None)
