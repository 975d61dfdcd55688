"""The way up: from the stack's answer to the native response that the SDK above reads."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from llmsaver.clients.native import stream_of
from llmsaver.clients.sdk_errors import surfaced
from llmsaver.clients.upstream import json_bytes
from llmsaver.core.options import HEADER_PREFIX
from llmsaver.errors import LLMSaverError, MiddlewareError, in_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from llmsaver.clients.upstream import Carrier
    from llmsaver.core.entry import Entry
    from llmsaver.core.response import Response

__all__ = ["delivered", "unchanged"]

# They describe bytes on a wire; a rewritten body has others.
_BODY_HEADERS = frozenset({"content-length", "content-encoding", "transfer-encoding"})


async def delivered(response: Response, carrier: Carrier, entry: Entry, *, annotate: bool) -> Any:
    """Return the native response to hand on; ``MiddlewareError`` where a layer made an answer that is none."""
    try:
        native = await _told(response, carrier, entry, annotate=annotate)
        native.status_code = response.status
    except LLMSaverError:
        raise
    except Exception as error:  # noqa: BLE001 - an SDK would take it for the network's, and retry
        what = in_words(error)
    else:
        return native
    raise MiddlewareError(f"a layer's answer cannot be handed on: {what}", "")


async def _told(response: Response, carrier: Carrier, entry: Entry, *, annotate: bool) -> Any:
    """Return the native response the SDK above reads: the upstream's own object wherever nothing changed."""
    native = response.carrier
    note = entry.as_dict if annotate else None
    # One JSON object, lazily streamed: the key goes at its very end. A stream that does not say it is one is left.
    whole = annotate and not response.streamed and carrier.body.get("stream") is not True
    if response.content is None and (whole or _other_form(response, carrier)):
        await response.read()
    if response.content is not None:
        content, headers = await _content(response, carrier, note)
        if native is not None and native.is_stream_consumed and content == native.content:
            return native
        return _native(carrier.seam.module, response, carrier.request, headers, content=content)
    shaper = None
    if response.streamed and (note is not None or carrier.asked_usage):
        shaper = carrier.dialect.shaper(hide_usage=carrier.asked_usage, note=note)
    raised = partial(surfaced, carrier.request, carrier.dialect.name)
    stream = stream_of(carrier.seam.module, response, shaper, raised, asynchronous=carrier.seam.asynchronous)
    if native is None:
        return _native(carrier.seam.module, response, carrier.request, _headers_of(response), stream=stream)
    stream.source, native.stream = native.stream, stream
    if entry.tier == "local":
        native.request = carrier.request  # the one that left holds the local server's key
    return native


async def _content(
    response: Response, carrier: Carrier, note: Callable[[], dict[str, Any]] | None
) -> tuple[bytes, dict[str, str]]:
    """Return a read answer's bytes in the form the caller asked for, and its headers."""
    dialect, content = carrier.dialect, await response.read()
    headers, streamed = _headers_of(response), response.streamed
    if _other_form(response, carrier):
        content, streamed = await _recast(response, carrier), not streamed
        headers["content-type"] = "text/event-stream; charset=utf-8" if streamed else "application/json"
    if streamed and response.ok and (note is not None or carrier.asked_usage):
        shaper = dialect.shaper(hide_usage=carrier.asked_usage, note=note)
        content = shaper.feed(content) + shaper.flush()
    elif note is not None:
        content = dialect.annotate(content, note())
    return content, headers


def _headers_of(response: Response) -> dict[str, str]:
    """Return an answer's headers less those of its bytes on a wire, and less what another call said about itself."""
    named = ((name.lower(), value) for name, value in response.headers.items())
    return {name: value for name, value in named if name not in _BODY_HEADERS and not name.startswith(HEADER_PREFIX)}


def unchanged(response: Response, carrier: Carrier) -> Any:
    """Return the native response in the common case: one JSON object, read by the client itself, nothing to change."""
    native = response.carrier
    if native is None or carrier.stream or not native.is_stream_consumed or response.content is not native.content:
        return None
    if native.status_code != response.status:
        return None
    return native if response.streamed is (carrier.body.get("stream") is True) else None


def _other_form(response: Response, carrier: Carrier) -> bool:
    """Whether an answer is a stream where the caller wanted none, or the reverse, and a layer made it so."""
    wanted = carrier.body.get("stream") is True
    by_layer = response.carrier is None or carrier.sent_stream is not wanted
    return response.ok and response.streamed is not wanted and by_layer


async def _recast(response: Response, carrier: Carrier) -> bytes:
    """Return a layer's answer in the form the caller asked for: as events, or as one JSON object."""
    try:
        message = await response.json()
        if isinstance(message, dict) and response.outcome is not None and response.outcome.complete:
            return json_bytes(message) if response.streamed else b"".join(carrier.dialect.replay(message, carrier.body))
        what = "it is no whole JSON object"
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        what = in_words(error)
    form = "one JSON object" if response.streamed else "a stream"
    raise MiddlewareError(f"a layer's answer cannot be told as {form} to its {carrier.dialect.name} caller: {what}", "")


def _native(module: ModuleType, response: Response, request: Any, headers: dict[str, str], **body: Any) -> Any:
    """Make a native response; what the transport said about the original (timing, history) is kept."""
    native, original = module.Response(response.status, headers=headers, request=request, **body), response.carrier
    native.elapsed = timedelta()  # httpx raises where nobody measured it
    if original is not None:
        native.history = original.history
        native.extensions.update(original.extensions)
        with contextlib.suppress(RuntimeError):  # not known before the original is closed, nor for one made by hand
            native.elapsed = original.elapsed
    return native
