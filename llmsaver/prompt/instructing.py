"""An instruction of ours after the caller's own, so that all before it stays as it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["instructed"]

# Models without a system text.
_DEAF: Final = re.compile(r"(?:^|/)o1-(?:mini|preview)")
_ROLES: Final = frozenset({"system", "developer"})


def instructed(dialect: str, body: Mapping[str, Any], words: str) -> dict[str, Any] | None:
    """Return a request whose system text ends with ``words``; None where it has no place for them, or them already.

    In chat that is the last system message before the conversation; where none is, one is put there.
    """
    if dialect == "messages":
        return _with(body, "system", _after(body.get("system"), words))
    if dialect == "responses":
        own = body.get("instructions")
        # Instructions of ours would displace those of a prompt that is stored at the provider.
        if body.get("prompt") is not None or not isinstance(own, str | None):
            return None
        return _with(body, "instructions", _after(own, words))
    return _chat(body, words) if dialect == "chat" and not _DEAF.search(str(body.get("model"))) else None


def _chat(body: Mapping[str, Any], words: str) -> dict[str, Any] | None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    at = 0
    while at < len(messages) and as_dict(messages[at]).get("role") in _ROLES:
        at += 1
    if not at:
        return {**body, "messages": [{"role": "system", "content": words}, *messages]}
    last = messages[at - 1]
    content = _after(last.get("content"), words)
    if content is None:
        return None
    return {**body, "messages": [*messages[: at - 1], {**last, "content": content}, *messages[at:]]}


def _with(body: Mapping[str, Any], name: str, value: Any) -> dict[str, Any] | None:
    return None if value is None else {**body, name: value}


def _after(content: Any, words: str) -> Any:
    """Return ``content`` with ``words`` after it; None where it is of no known form, or has them."""
    if content is None or content == "":
        return words
    if isinstance(content, str):
        return None if words in content else f"{content}\n\n{words}"
    if not isinstance(content, list) or any(as_dict(part).get("text") == words for part in content):
        return None
    return [*content, {"type": "text", "text": words}]
