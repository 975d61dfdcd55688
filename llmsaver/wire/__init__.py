"""The dialects that providers speak over HTTP, and which one a request is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from llmsaver.wire.chat import Chat
from llmsaver.wire.embeddings import Embeddings
from llmsaver.wire.messages import Messages
from llmsaver.wire.responses import Responses

if TYPE_CHECKING:
    from llmsaver.wire.dialect import Dialect

__all__ = ["DIALECTS", "detect"]

_CHAT: Final = Chat()
_RESPONSES: Final = Responses()
_MESSAGES: Final = Messages()
_EMBEDDINGS: Final = Embeddings()

DIALECTS: Final[dict[str, Dialect]] = {
    "chat": _CHAT,
    "responses": _RESPONSES,
    "messages": _MESSAGES,
    "embeddings": _EMBEDDINGS,
}


def detect(method: str, path: str) -> Dialect | None:
    """Return the dialect of a request, or None where it is nothing that a layer can read.

    Only the end of the path counts, so Azure's deployments and servers under a prefix are found.
    """
    if method != "POST":
        return None
    if "?" in path:
        path = path.partition("?")[0]
    path = path.removesuffix("/")
    if path.endswith("/chat/completions"):
        return _CHAT
    if path.endswith("/v1/messages") and not path.endswith("/threads/v1/messages"):
        return _MESSAGES
    if path.endswith("/responses"):
        return _RESPONSES
    return _EMBEDDINGS if path.endswith("/embeddings") else None
