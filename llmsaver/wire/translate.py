"""Chat and messages, one told as the other: requests, answers, errors and streams.

A translation keeps the meaning or refuses: what the other dialect cannot say raises ``Untranslatable``, which names the
field, and the request keeps its original model. Left out without a word is only what changes no answer: where a cache
may break, labels, hints about speed, and thoughts that nobody asked for. Three things are said in other words: a chat
request without a limit gets ``DEFAULT_MAX_TOKENS``, a tool's result that is an error begins with "Error:" in chat, and
an answer that ended at a stop sequence is ``end_turn`` where the server does not say which sequence it was.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from llmsaver.wire.translate_answers import chat_answer, messages_answer
from llmsaver.wire.translate_chunks import Chunks
from llmsaver.wire.translate_errors import error_of, told_error
from llmsaver.wire.translate_events import Events
from llmsaver.wire.translate_terms import DEFAULT_MAX_TOKENS, Untranslatable
from llmsaver.wire.translate_to_chat import chat_request
from llmsaver.wire.translate_to_messages import messages_request

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.wire.translate_stream import Retelling

__all__ = ["DEFAULT_MAX_TOKENS", "Untranslatable", "answer_to", "error_to", "request_to", "stream_to"]

_PAIRS = {("chat", "messages"), ("messages", "chat")}


def request_to(dialect: str, body: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return a request of the dialect ``source`` as one of ``dialect``; ``body`` is not changed.

    Raises ``Untranslatable``. A messages request that streams asks, as a chat request, for its usage.
    """
    _check(dialect, source)
    return messages_request(body) if dialect == "messages" else chat_request(body)


def answer_to(dialect: str, message: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """Return a whole answer in the dialect ``source`` as one of ``dialect``; raises ``Untranslatable``."""
    _check(dialect, source)
    return messages_answer(message) if dialect == "messages" else chat_answer(message)


def error_to(dialect: str, content: bytes, status: int, *, source: str) -> bytes:
    """Return the body of an error as the vendor of ``dialect`` writes it, for the same status; never fails."""
    _check(dialect, source)
    return json.dumps(told_error(dialect, error_of(content, status), status)).encode()


def stream_to(dialect: str, *, source: str, asked: Mapping[str, Any]) -> Retelling:
    """Return a shaper that tells a stream of the dialect ``source`` as the events of ``dialect``.

    ``asked`` is the caller's request, in ``dialect``. An event that has no equal becomes an error event, the last.
    """
    _check(dialect, source)
    return Events() if dialect == "messages" else Chunks(asked)


def _check(dialect: str, source: str) -> None:
    if (source, dialect) not in _PAIRS:
        raise Untranslatable(f"there is no translation from the {source} dialect to the {dialect} dialect")
