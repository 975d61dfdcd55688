"""Errors of one vendor as the other would say them, under the status they came with."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["error_of", "status_of", "told_error"]

_SERVER_ERROR = 500
_SHOWN = 500
_OVERFLOW = "context_length_exceeded"
_TOO_LONG = re.compile(r"prompt is too long|exceed(?:s|ed)? (?:the )?context")
# Sources: the vendors' error guides.
_MESSAGES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_KINDS = {kind: status for status, kind in _MESSAGES.items()}
_KINDS |= {"requests": 429, "tokens": 429, "insufficient_quota": 429}
_CHAT: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("request_forbidden", None),
    413: ("invalid_request_error", "request_too_large"),
    429: ("requests", "rate_limit_exceeded"),
    529: ("server_error", "overloaded"),
}


def error_of(content: bytes, status: int) -> dict[str, Any]:
    """Return the error in a body of either vendor; one that is no JSON is its own message."""
    body = parse(content) or {}
    error = body.get("error")
    if isinstance(error, dict) and error.get("message"):
        return error
    text = error if isinstance(error, str) else body.get("message") or content.decode(errors="replace").strip()
    return {"message": str(text)[:_SHOWN] or _phrase(status)}


def status_of(error: Mapping[str, Any]) -> int:
    """Return the status that an error within a stream would have had."""
    kind, code = str(error.get("type")), error.get("code")
    return code if type(code) is int else _KINDS.get(kind, _SERVER_ERROR)


def told_error(dialect: str, error: Mapping[str, Any], status: int) -> dict[str, Any]:
    """Return an error as a body of ``dialect``; a prompt that is too long stays recognisable in both."""
    message = str(error.get("message"))
    overflow = error.get("code") == _OVERFLOW or _TOO_LONG.search(message) is not None
    ours = status < _SERVER_ERROR
    if dialect == "messages":
        kind = _MESSAGES.get(status) or ("invalid_request_error" if ours else "api_error")
        if overflow and not _TOO_LONG.search(message):
            message = f"prompt is too long: {message}"
        return {"type": "error", "error": {"type": kind, "message": message}}
    kind, code = _CHAT.get(status) or ("invalid_request_error" if ours else "server_error", None)
    if status == HTTPStatus.NOT_FOUND and "model" in message:
        code = "model_not_found"
    told = {"message": message, "type": kind, "param": None, "code": _OVERFLOW if overflow else code}
    return {"error": told}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
