"""What happens to one HTTP request that an SDK sends: into the stack as a value, out of it as a native response."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.clients.native import add_headers, header_dict, stream_of
from llmsaver.clients.sdk_errors import family_of, in_family
from llmsaver.clients.upstream import Carrier, json_bytes, rebuilt, send_upstream
from llmsaver.core.entry import Entry, current_entry
from llmsaver.core.options import HEADER_PREFIX, current_options
from llmsaver.core.request import Request
from llmsaver.errors import ConfigurationError, LLMSaverError, MiddlewareError, UpstreamError
from llmsaver.wire import detect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from llmsaver.clients.local_hop import LocalHop
    from llmsaver.core.options import Options
    from llmsaver.core.response import Response
    from llmsaver.saver import Saver
    from llmsaver.wire.dialect import Dialect

__all__ = ["Seam"]

_decode = json.JSONDecoder().decode
_RAW_PREFIX = HEADER_PREFIX.encode()
_ONE_LINE = dict.fromkeys((*range(32), 127), " ")
# They describe bytes on a wire; a rewritten body has others.
_BODY_HEADERS = frozenset({"content-length", "content-encoding", "transfer-encoding"})


@dataclass(slots=True, frozen=True)
class Seam:
    """One Saver under one HTTP client.

    ``annotate``: whether answers get their ``llmsaver`` key, already decided for this client; ``missing_key``: what to
    say where a call would leave for a vendor whose key nobody gave (a facade used for local models only);
    ``other_vendor``: a check of the facade's that returns what to say where a host is asked for a model of the other
    vendor.
    """

    saver: Saver
    module: ModuleType
    hop: LocalHop
    asynchronous: bool
    annotate: bool = False
    missing_key: str | None = None
    other_vendor: Callable[[str, str], str | None] | None = None

    async def exchange(self, send: Any, native: Any, *, stream: bool, arguments: dict[str, Any]) -> Any:
        """Return the native response to ``native``; raises what the SDK above expects to see."""
        dialect = detect(native.method, native.url.path)
        failure: BaseException
        try:
            return await self._exchange(send, native, dialect, stream=stream, arguments=arguments)
        except UpstreamError as error:
            failure = error.original
        except LLMSaverError as error:
            failure = _surfaced(native, dialect, error)
        # Raised outside the handler: an SDK that follows __cause__ and __context__ must find the original alone.
        raise failure

    async def _exchange(
        self, send: Any, native: Any, dialect: Dialect | None, *, stream: bool, arguments: dict[str, Any]
    ) -> Any:
        headers = header_dict(self.module, native.headers)
        own_headers = _take_headers(native, headers)
        body = _json_body(native) if dialect is not None else None
        if dialect is None or body is None:
            if self.missing_key:
                raise ConfigurationError(self.missing_key)
            return await send(_without_own_key(native, self.module), stream=stream, **arguments)
        options = current_options.get()
        if own_headers:
            options = options.with_headers(own_headers)
        content: bytes | None = native.content
        if "llmsaver" in body:
            given = body.pop("llmsaver")
            if not isinstance(given, dict):
                raise ConfigurationError(f"extra_body['llmsaver'] must be an object of options, not {given!r}")
            options, content = options.merged(given, "extra_body['llmsaver']"), None
        carrier = Carrier(
            send=send,
            request=native,
            body=body,
            content=content,
            stream=stream,
            arguments=arguments,
            module=self.module,
            dialect=dialect,
            hop=self.hop,
            asynchronous=self.asynchronous,
            missing_key=self.missing_key,
        )
        request = self._request(carrier, options, headers)
        if (
            self.other_vendor is not None
            and request.model
            and (wrong := self.other_vendor(native.url.host, request.model))
        ):
            raise ConfigurationError(wrong)
        if self.saver.bypassed or options.bypass:
            carrier.may_ask_usage = False
            return await self._delivered(await send_upstream(request), carrier, request.entry, annotate=False)
        self._remember(request.entry)
        try:
            response = await self.saver.over(send_upstream)(request)
            await response.settled()
            annotate = self.annotate if options.annotate is None else options.annotate
            delivered = None if annotate else _unchanged(response, carrier)
            if delivered is None:
                delivered = await self._delivered(response, carrier, request.entry, annotate=annotate and response.ok)
        finally:
            self._remember(request.entry)  # a layer may have made a call of its own meanwhile
        response.carrier = None  # a layer that keeps the answer for another call must not hand out this native one
        add_headers(self.module, delivered, _headers(request.entry))
        return delivered

    def _remember(self, entry: Entry) -> None:
        current_entry.set(entry)
        self.saver.latest.set(entry)

    def _request(self, carrier: Carrier, options: Options, headers: Mapping[bytes, bytes]) -> Request:
        """Make the core's request, tied to the entry of its first attempt where the SDK is retrying."""
        attempt = _attempt_of(headers)
        model = carrier.body.get("model")
        entry = current_entry.get() if attempt else None
        if entry is None or entry.dialect != carrier.dialect.name or entry.model_asked != model:
            settings = self.saver.settings
            entry = Entry(
                dialect=carrier.dialect.name,
                model_asked=model if isinstance(model, str) else None,
                feature=options.feature or settings.feature,
                user=options.user,
                tenant=options.tenant or settings.tenant,
                tags=options.tags,
                task=options.task,
                conversation=options.conversation,
                stream=carrier.body.get("stream") is True,
            )
        return Request(
            dialect=carrier.dialect.name,
            body=carrier.body,
            url=_without_secrets(carrier.request.url),
            entry=entry,
            runtime=self.saver.async_runtime if self.asynchronous else self.saver.sync_runtime,
            account=_account(headers),
            options=options,
            attempt=attempt,
            carrier=carrier,
        )

    async def _delivered(self, response: Response, carrier: Carrier, entry: Entry, *, annotate: bool) -> Any:
        """Return the native response the SDK above reads: the upstream's own object wherever nothing changed."""
        native = response.carrier
        note = entry.as_dict if annotate else None
        # One JSON object, lazily streamed: the key goes at its very end. A stream that does not say it is one is left.
        whole = annotate and not response.streamed and carrier.body.get("stream") is not True
        if response.content is None and (whole or _other_form(response, carrier)):
            await response.read()
        if response.content is not None:
            content, headers = await self._content(response, carrier, note)
            if native is not None and native.is_stream_consumed and content == native.content:
                return native
            return _native(self.module, response, carrier.request, headers, content=content)
        shaper = None
        if response.streamed and (note is not None or carrier.asked_usage):
            shaper = carrier.dialect.shaper(hide_usage=carrier.asked_usage, note=note)
        surfaced = partial(_surfaced, carrier.request, carrier.dialect)
        stream = stream_of(self.module, response, shaper, surfaced, asynchronous=self.asynchronous)
        if native is None:
            return _native(self.module, response, carrier.request, _headers_of(response), stream=stream)
        stream.source, native.stream = native.stream, stream
        if entry.tier == "local":
            native.request = carrier.request  # the one that left holds the local server's key
        return native

    async def _content(
        self, response: Response, carrier: Carrier, note: Callable[[], dict[str, Any]] | None
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


def _unchanged(response: Response, carrier: Carrier) -> Any:
    """Return the native response in the common case: one JSON object, read by the client itself, nothing to change."""
    native = response.carrier
    if native is None or carrier.stream or not native.is_stream_consumed or response.content is not native.content:
        return None
    return native if response.streamed is (carrier.body.get("stream") is True) else None


def _without_secrets(url: Any) -> str:
    """Return a URL less the two places where a key may be: the user's name and password, and the query."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"


def _without_own_key(native: Any, module: ModuleType) -> Any:
    """Return a request that no dialect reads less our own key, which never leaves the process."""
    try:
        content = native.content
    except RuntimeError:  # an upload, still to be read (httpx's RequestNotRead)
        fields = getattr(native.stream, "fields", ())
        if any(str(getattr(field, "name", "")).startswith("llmsaver[") for field in fields):
            raise ConfigurationError(
                "extra_body['llmsaver'] cannot travel with an upload; use llmsaver.options() or X-LLMSaver-* headers"
            ) from None
        return native
    if b'"llmsaver"' not in content or "llmsaver" not in (body := _json_body(native) or {}):
        return native
    del body["llmsaver"]
    return rebuilt(native, module, json_bytes(body))


def _surfaced(native: Any, dialect: Dialect | None, error: LLMSaverError) -> LLMSaverError:
    """Return an error of ours as the SDK that sent ``native`` lets it through: in its own family."""
    return in_family(error, family_of(native.headers.get("user-agent", ""), dialect.name if dialect else None))


def _other_form(response: Response, carrier: Carrier) -> bool:
    """Whether an answer is a stream where the caller wanted none, or the reverse, and a layer made it so."""
    wanted = carrier.body.get("stream") is True
    by_layer = response.carrier is None or carrier.sent_stream is not wanted
    return response.ok and response.streamed is not wanted and by_layer


async def _recast(response: Response, carrier: Carrier) -> bytes:
    """Return a layer's answer in the form the caller asked for: as events, or as one JSON object."""
    try:
        message = await response.json()
        if not isinstance(message, dict) or not (response.outcome and response.outcome.complete):
            raise TypeError("it is no whole JSON object")
        return json_bytes(message) if response.streamed else b"".join(carrier.dialect.replay(message, carrier.body))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        to, what = ("whole" if response.streamed else "streamed"), f"{type(error).__name__}: {error}"
        failure = MiddlewareError(f"a layer's answer cannot be {to} for its {carrier.dialect.name} caller: {what}", "")
    raise failure


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


def _take_headers(native: Any, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Take our own headers out of a request before it leaves the process."""
    own = [name.decode("ascii", "replace") for name in headers if name.startswith(_RAW_PREFIX)]
    return {name: native.headers.pop(name) for name in own}


def _json_body(native: Any) -> dict[str, Any] | None:
    """Return the request's JSON object; None for anything else, which passes untouched."""
    try:
        body = _decode(native.content.decode())
    except (ValueError, RecursionError, RuntimeError):
        # RuntimeError: the content is an iterator that has not been read (httpx's RequestNotRead).
        return None
    return body if isinstance(body, dict) else None


def _attempt_of(headers: Mapping[bytes, bytes]) -> int:
    count = headers.get(b"x-stainless-retry-count", b"0")
    return int(count) if count.isdigit() else 0


def _account(headers: Mapping[bytes, bytes]) -> str:
    """Return a hash of the credentials, so that layers can keep accounts apart without seeing a key."""
    credential = headers.get(b"authorization") or headers.get(b"x-api-key") or headers.get(b"api-key") or b""
    return blake2b(credential, digest_size=16, person=b"llmsaver").hexdigest()


def _headers(entry: Entry) -> list[tuple[bytes, bytes]]:
    """Return what every answer says about itself."""
    layers = entry.layers
    return [
        (b"x-llmsaver-entry", entry.id.encode()),
        (b"x-llmsaver-model", _one_line(entry.model or entry.model_asked or "")),
        (b"x-llmsaver-tier", entry.tier.encode()),
        (b"x-llmsaver-layers", _one_line(", ".join([f"{act.name}={act.action}" for act in layers])) if layers else b""),
    ]


def _one_line(text: str) -> bytes:
    """Return text as a header can hold it: a model's name, or a layer's, may be anything."""
    return text.translate(_ONE_LINE).encode("ascii", "backslashreplace")
