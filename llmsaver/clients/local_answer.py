"""A local server's native answer on its way back: told in the caller's dialect, its errors in words of the caller's."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from llmsaver.clients.upstream import json_bytes
from llmsaver.errors import LocalModelError, UpstreamError
from llmsaver.local.abilities import overflow
from llmsaver.local.chat_as_messages import messages_error
from llmsaver.wire.payload import as_dict, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.clients.upstream import Carrier
    from llmsaver.core.entry import Attempt
    from llmsaver.core.outcome import Body
    from llmsaver.local.abilities import Prepared
    from llmsaver.local.tools_answer import Telling

__all__ = ["LocalBody", "retold"]

_BODY_HEADERS = frozenset({"content-length", "content-encoding", "transfer-encoding"})


class LocalBody:
    """A local server's stream in the caller's dialect; ``failed`` is called where the transport breaks."""

    __slots__ = ("_body", "_ended", "_failed", "_telling")

    def __init__(self, body: Body, telling: Telling | None, failed: Callable[[], object]) -> None:
        self._body = body
        self._telling = telling
        self._failed = failed
        self._ended = False

    def __aiter__(self) -> LocalBody:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            try:
                chunk = await self._body.__anext__()
            except StopAsyncIteration:
                self._ended = True
                chunk = self._telling.flush() if self._telling is not None else b""
            except UpstreamError:
                self._failed()
                raise
            else:
                chunk = chunk if self._telling is None else self._telling.feed(chunk)
            if chunk:
                return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._body.aclose()


def retold(answer: Any, carrier: Carrier, asked: Prepared, attempt: Attempt) -> Any:
    """Return a native answer as the caller's SDK reads it; a stream passes, for ``LocalBody`` to tell.

    Where the prompt was too long, ``attempt.overflow`` is set to its tokens and those there is room for.
    """
    answer.request = carrier.request  # the one that left holds the local server's key
    if not answer.is_stream_consumed:
        return answer
    content = answer.content
    if answer.is_success:
        if asked.telling is None:
            return answer
        meter = carrier.dialect.meter(streamed=True)
        meter.feed(asked.telling.whole(content))
        message = meter.message()
        if message is None:
            raise LocalModelError(f"the local server's answer cannot be read: {content[:200]!r}")
        return _with(answer, carrier, json_bytes(message))
    attempt.overflow = overflow(answer.status_code, content)
    error = as_dict((parse(content) or {}).get("error"))
    if asked.plain:
        return answer
    if attempt.overflow is not None:
        error = _too_long(error, attempt, carrier.dialect.name)
    elif asked.telling is None or carrier.dialect.name != "messages" or not error:
        return answer
    told = messages_error(error) if carrier.dialect.name == "messages" else {"error": error}
    return _with(answer, carrier, json.dumps(told).encode())


def _too_long(error: dict[str, Any], attempt: Attempt, dialect: str) -> dict[str, Any]:
    """Return the error of a prompt that does not fit, as the vendors say it, with the counts."""
    tokens, room = attempt.overflow or (0, 0)
    message = f"{attempt.model}: the prompt is too long: {tokens} tokens > {room} that a request may have there"
    told = {**error, "message": message, "n_prompt_tokens": tokens, "n_ctx": room, "type": "invalid_request_error"}
    if dialect != "messages":
        told |= {"code": "context_length_exceeded", "param": "input" if dialect == "responses" else "messages"}
    return told


def _with(answer: Any, carrier: Carrier, content: bytes) -> Any:
    """Return a native answer with another content."""
    headers = [(name, value) for name, value in answer.headers.multi_items() if name.lower() not in _BODY_HEADERS]
    native = carrier.seam.module.Response(
        answer.status_code, headers=headers, content=content, request=carrier.request, extensions=answer.extensions
    )
    with contextlib.suppress(RuntimeError):  # not every transport measures it
        native.elapsed = answer.elapsed
    return native
