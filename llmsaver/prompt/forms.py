"""What a request says of the form of its answer: tools, JSON, and how long it may get."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from llmsaver.wire.payload import as_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPS", "cap_name", "capped", "structured", "tooled"]

CAPS: Final = {
    "chat": ("max_completion_tokens", "max_tokens"),
    "responses": ("max_output_tokens",),
    "messages": ("max_tokens",),
}
_TOOLS: Final = ("tools", "functions", "mcp_servers")
# Models that refuse ``max_tokens`` in the chat dialect, wherever they are hosted.
_NEW_NAME: Final = re.compile(r"(?:^|/)(?:o\d|gpt-(?:[5-9]|\d\d))")


def tooled(body: Mapping[str, Any]) -> bool:
    """Whether the answer may be a tool call; a stored prompt may bring tools that nobody sees here."""
    return any(body.get(name) for name in _TOOLS) or body.get("prompt") is not None


def structured(body: Mapping[str, Any]) -> bool:
    """Whether the answer must be JSON, or of any other form that is cut or reworded at its peril."""
    given = (
        body.get("response_format"),
        as_dict(body.get("text")).get("format"),
        as_dict(body.get("output_config")).get("format"),
        body.get("output_format"),
    )
    return any(each is not None and as_dict(each).get("type") != "text" for each in given)


def capped(dialect: str, body: Mapping[str, Any]) -> bool:
    """Whether a request limits its answer, well or badly."""
    return any(body.get(name) is not None for name in CAPS.get(dialect, ()))


def cap_name(dialect: str, url: str, model: str) -> str | None:
    """Return the parameter that limits the answer of ``model`` at ``url``; None where every request has one already.

    OpenAI's own host takes ``max_completion_tokens`` for all its models; servers that speak its dialect may know only
    the older ``max_tokens``, except for models that refuse that.
    """
    if dialect == "responses":
        return "max_output_tokens"
    if dialect != "chat":
        return None
    host = urlsplit(url).hostname or ""
    new = (host == "openai.com" or host.endswith(".openai.com")) and not model.startswith("local/")
    return "max_completion_tokens" if new or _NEW_NAME.search(model) else "max_tokens"
