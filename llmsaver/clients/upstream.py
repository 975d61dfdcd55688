"""The bottom of the stack: one request leaves for the network or for the local server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.clients.native import AsyncBody, SyncBody
from llmsaver.clients.terms import terms_of
from llmsaver.clients.time_limit import timed
from llmsaver.core.entry import Attempt
from llmsaver.core.response import Response
from llmsaver.errors import ConfigurationError, MiddlewareError, UpstreamError, in_words
from llmsaver.wire import DIALECTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from llmsaver.clients.seam import Seam
    from llmsaver.core.outcome import Body
    from llmsaver.core.request import Request
    from llmsaver.wire.dialect import Dialect

__all__ = [
    "LOCAL_PREFIX",
    "Carrier",
    "as_response",
    "asking_usage",
    "harmless",
    "json_bytes",
    "local_request",
    "rebuilt",
    "send_upstream",
]

LOCAL_PREFIX = "local/"

# Hosts known to accept stream_options.include_usage; elsewhere an unknown parameter could be refused.
_REPORTS_USAGE = ("api.openai.com", ".api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com")
# What may travel to a host that the caller did not name; a key can hide under any other name.
_FOR_ANY_HOST = frozenset({
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "user-agent",
})  # fmt: skip
# What belongs to the message that is replaced.
_FRAMING = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection"})


@dataclass(slots=True)
class Carrier:
    """What the HTTP client put aside while the core's values go down the stack.

    ``send`` awaits the native send of the caller's own client; ``request`` is the native request as the SDK built it,
    less our own headers; ``body`` is the JSON object the core saw first and ``content`` its bytes, None where our own
    key was taken out of it. ``asked_usage`` is set where a stream was asked for usage that the caller did not want.
    """

    seam: Seam
    send: Any
    request: Any
    body: Mapping[str, Any]
    content: bytes | None
    stream: bool
    arguments: dict[str, Any]
    dialect: Dialect
    may_ask_usage: bool = True
    asked_usage: bool = False
    sent_stream: bool = False

    @property
    def terms(self) -> str:
        """See ``Request.terms``."""
        return terms_of(self.request.url.query, self.request.headers.raw)

    @property
    def missing_key(self) -> str | None:
        """What to say where the caller's own client has no key for its host; None where it has one."""
        return self.seam.missing_key

    def again(self, request: Request, feature: str) -> Callable[[], Response | None]:
        """Return what sends ``request`` once more, in a thread; see ``Request.again``."""
        from llmsaver.clients.detached import Again

        return Again(request, feature)


def json_bytes(body: Mapping[str, Any]) -> bytes:
    """Write JSON as the SDKs do, compact and in UTF-8; what no UTF-8 can hold (a lone surrogate) is escaped.

    Raises ``MiddlewareError`` for what is no JSON: only a layer can have put it there.
    """
    try:
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        try:
            return text.encode()
        except UnicodeEncodeError:
            return json.dumps(body, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        what = in_words(error)
    raise MiddlewareError(f"a layer passed on a body that cannot be written as JSON: {what}", "")


async def send_upstream(request: Request) -> Response:
    """Send one attempt and return what came back; a transport failure is an ``UpstreamError``.

    A local model's way is ``LocalHop``, which may try twice.
    """
    carrier: Carrier = request.carrier
    carrier.sent_stream = request.stream
    if (request.model or "").startswith(LOCAL_PREFIX):
        return await carrier.seam.hop(request, carrier)
    if request.origin is not None:
        from llmsaver.clients.other_origin import origin_call

        native, send, arguments = origin_call(request, request.origin, carrier)
    else:
        if carrier.seam.missing_key:
            raise ConfigurationError(carrier.seam.missing_key)
        native, send, arguments = _native_request(request, carrier), carrier.send, carrier.arguments
    entry = request.entry
    entry.tier = "api"
    attempt = Attempt(upstream=native.url.host, model=request.model, tier=entry.tier)
    entry.begin(attempt)
    began = entry.elapsed()
    entry.upstream, entry.model = attempt.upstream, request.model
    try:
        answer = await send(native, stream=carrier.stream, **arguments)
    except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
        attempt.error = type(error).__name__
        raise UpstreamError(error) from None
    attempt.status = answer.status_code
    attempt.latency_s = entry.elapsed() - began
    if request.origin is not None:
        answer.request = carrier.request  # the one that left holds the key of another host
    return as_response(answer, carrier, request)


def _native_request(request: Request, carrier: Carrier) -> Any:
    """Return the caller's own request where nothing changed, else a copy with the new body."""
    native = carrier.request
    body: Mapping[str, Any] = request.body
    signed = native.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")
    if not signed:
        body = asking_usage(request, carrier, native.url.host)
    if body is carrier.body and carrier.content is not None and request.deadline is None:
        return native
    if signed:
        raise ConfigurationError(
            "this request was signed (AWS SigV4) before llmsaver saw it, so a layer or an 'llmsaver' option in its "
            "body cannot change it; use headers or llmsaver.options() for options, and no rewriting layer"
        )
    sent = rebuilt(native, carrier.seam.module, json_bytes(body))
    sent.extensions = timed(sent.extensions, request.deadline)
    return sent


def asking_usage(request: Request, carrier: Carrier, host: str) -> Mapping[str, Any]:
    """Return the body to send: a stream from a host that is known to take the question is asked for its usage.

    The chunk that brings it is hidden from a caller who did not ask, where the caller's dialect is the one spoken; a
    translation does so by itself.
    """
    if not (carrier.may_ask_usage and host.endswith(_REPORTS_USAGE)):
        return request.body
    asking = DIALECTS[request.dialect].with_usage(request.body)
    if asking is None:
        return request.body
    if request.dialect == carrier.dialect.name:
        carrier.asked_usage = True
    return asking


def rebuilt(native: Any, module: ModuleType, content: bytes) -> Any:
    """Return a copy of ``native`` with new content."""
    headers = [(name, value) for name, value in native.headers.multi_items() if name.lower() not in _FRAMING]
    return module.Request(native.method, native.url, headers=headers, content=content, extensions=native.extensions)


def local_request(native: Any, module: ModuleType, url: str, content: bytes, api_key: str) -> Any:
    """Return the request for another host: no credential of the caller's travels with it."""
    headers = [*harmless(native), ("authorization", f"Bearer {api_key}")]
    return module.Request(native.method, url, headers=headers, content=content, extensions=native.extensions)


def harmless(native: Any) -> list[tuple[str, str]]:
    """Return those of a request's headers that may travel to any host: none of them holds a key, or is made up."""
    return [
        (name, value)
        for name, value in native.headers.multi_items()
        if name.lower() in _FOR_ANY_HOST or name.lower().startswith("x-stainless-")
    ]


def as_response(
    answer: Any, carrier: Carrier, request: Request, through: Callable[[Body], Body] | None = None
) -> Response:
    """Wrap a native answer: a read one with its content, any other with a body that arrives, ``through`` another."""
    ok = 200 <= answer.status_code < 300  # noqa: PLR2004 - HTTP's success range
    streamed = answer.headers.get("content-type", "").lower().startswith("text/event-stream")
    meter = DIALECTS[request.dialect].meter(streamed) if ok else None
    if answer.is_stream_consumed:
        return Response(answer.status_code, answer.headers, content=answer.content, meter=meter, carrier=answer)
    source = answer.stream
    decoded = source
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        # A twin decodes what the wire encoded; the answer handed on says so by losing the header.
        request_sent = carrier.request  # an error that the twin raises names it, as the answer's own would
        twin = carrier.seam.module.Response(
            answer.status_code, headers=answer.headers, stream=source, request=request_sent
        )
        decoded = twin.aiter_bytes() if carrier.seam.asynchronous else twin.iter_bytes()
        for name in ("content-encoding", "content-length"):
            answer.headers.pop(name, None)
    body: Body = (
        AsyncBody(source, decoded.__aiter__(), request.entry)
        if carrier.seam.asynchronous
        else SyncBody(source, iter(decoded), request.entry)
    )
    if through is not None:
        body = through(body)
    return Response(answer.status_code, answer.headers, body=body, meter=meter, carrier=answer)
