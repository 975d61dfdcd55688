"""What a provider's refusal means for the next tier: come back later, not here, too long, or the caller's own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MISPLACED", "OVERFLOW", "TRANSIENT", "Refused", "refused"]

# Later, the same tier may answer; this tier cannot answer (this request, or this program); a longer one can.
TRANSIENT, MISPLACED, OVERFLOW = "transient", "misplaced", "overflow"

_LATER = frozenset({408, 409, 425, 429})
_TOO_LARGE = 413
_INVALID = frozenset({400, 422})
_SERVER = 500
_OVERFLOW_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "request_too_large"})
# What the vendors, vLLM and llama.cpp say of a prompt that does not fit.
_OVERFLOW = re.compile(
    r"prompt is too long|input is too long|too many (?:input )?tokens|(?:maximum|model's) context length"
    r"|context (?:window|size|limit)|reduce the length of the (?:messages|input|prompt)",
    re.IGNORECASE,
)
_UNSUPPORTED = frozenset({"unsupported_parameter", "unsupported_value", "model_not_found", "model_not_supported"})
_SPENT = "insufficient_quota"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a tier did not answer: ``kind`` (see above), ``why`` in words, whether it ``counts`` against the tier."""

    kind: str
    why: str
    counts: bool = True


def refused(status: int, content: bytes, *, foreign: bool) -> Refused | None:
    """Return what an error answer means; None where it is the caller's own and no other tier's business.

    ``foreign``: whether the tier is at a place that the caller did not write this request for, which may not know a
    parameter that the caller's own host does. Nothing of the message is repeated: it may quote the prompt.
    """
    error = _error_of(content)
    code = error.get("code") or error.get("type")
    code = code if isinstance(code, str) and code.replace("_", "").isalnum() else None
    why = f"it answered {status}" + (f" ({code})" if code else "")
    message = error.get("message")
    if status == _TOO_LARGE or (status in _INVALID and _too_long(error, message)):
        return Refused(OVERFLOW, f"{why}: the prompt is too long for it", counts=False)
    if status in _LATER or status >= _SERVER:
        return Refused(MISPLACED if code == _SPENT else TRANSIENT, why)
    if status in _INVALID:
        return Refused(MISPLACED, why, counts=False) if foreign or code in _UNSUPPORTED else None
    return Refused(MISPLACED, why)


def _too_long(error: Mapping[str, Any], message: Any) -> bool:
    named = {error.get("code"), error.get("type")} if _hashable(error) else set()
    return bool(named & _OVERFLOW_CODES) or (isinstance(message, str) and _OVERFLOW.search(message) is not None)


def _hashable(error: Mapping[str, Any]) -> bool:
    return all(not isinstance(error.get(name), dict | list) for name in ("code", "type"))


def _error_of(content: bytes) -> Mapping[str, Any]:
    """Return the error object of a vendor's error body; an empty one where it is none."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    error = body.get("error", body) if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}
