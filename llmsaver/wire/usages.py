"""The usage object of an answer, by its dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from llmsaver.wire.chat import chat_usage
from llmsaver.wire.embeddings import embeddings_usage
from llmsaver.wire.messages import messages_usage
from llmsaver.wire.responses import responses_usage

if TYPE_CHECKING:
    from llmsaver.core.usage import Usage

__all__ = ["usage_of"]

_READERS: Final = {
    "chat": chat_usage,
    "responses": responses_usage,
    "messages": messages_usage,
    "embeddings": embeddings_usage,
}


def usage_of(dialect: str, raw: Any) -> Usage | None:
    """Return what an answer's ``usage`` says; None where it is no object."""
    return _READERS[dialect](raw) if isinstance(raw, dict) else None
