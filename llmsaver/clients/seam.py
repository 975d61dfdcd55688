"""What happens to one HTTP request that an SDK sends: into the stack as a value, out of it as a native response."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from llmsaver.clients.delivery import delivered, unchanged
from llmsaver.clients.local_hop import counts_tokens, is_local
from llmsaver.clients.native import add_headers, header_dict
from llmsaver.clients.retrieved import watched
from llmsaver.clients.sdk_errors import surfaced
from llmsaver.clients.upstream import Carrier, json_bytes, rebuilt, send_upstream
from llmsaver.core.entry import current_entry, entry_within
from llmsaver.core.options import HEADER_PREFIX, current_options
from llmsaver.core.request import Request
from llmsaver.errors import ConfigurationError, LLMSaverError, UpstreamError
from llmsaver.wire import detect
from llmsaver.wire.retrieval import retrieval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from llmsaver.clients.local_hop import LocalHop
    from llmsaver.core.entry import Entry
    from llmsaver.core.options import Options
    from llmsaver.saver import Saver
    from llmsaver.wire.dialect import Dialect

__all__ = ["Seam"]

_decode = json.JSONDecoder().decode
_RAW_PREFIX = HEADER_PREFIX.encode()
_ONE_LINE = dict.fromkeys((*range(32), 127), " ")


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
            failure = surfaced(native, dialect.name if dialect else None, error)
        # Raised outside the handler: an SDK that follows __cause__ and __context__ must find the original alone.
        raise failure

    async def _exchange(
        self, send: Any, native: Any, dialect: Dialect | None, *, stream: bool, arguments: dict[str, Any]
    ) -> Any:
        headers = header_dict(self.module, native.headers)
        own_headers = _take_headers(native, headers)
        body = _json_body(native) if dialect is not None else None
        if dialect is None or body is None:
            kind = retrieval(native.method, native.url.path) if dialect is None else None
            answer = await self._beside(send, native, stream=stream, arguments=arguments)
            return answer if kind is None else await watched(self, native, answer, kind, own_headers)
        options = current_options.get()
        if own_headers:
            options = options.with_headers(own_headers)
        content: bytes | None = native.content
        if "llmsaver" in body:
            given = body.pop("llmsaver")
            if not isinstance(given, dict):
                raise ConfigurationError(f"extra_body['llmsaver'] must be an object of options, not {given!r}")
            options, content = options.merged(given, "extra_body['llmsaver']"), None
        carrier = Carrier(self, send, native, body, content, stream, arguments, dialect)
        request = self._request(carrier, options, headers)
        if (
            self.other_vendor is not None
            and request.model
            and (wrong := self.other_vendor(native.url.host, request.model))
            and not self.saver.routed(request)
        ):
            raise ConfigurationError(wrong)
        if self.saver.bypassed or options.bypass:
            carrier.may_ask_usage = False
            return await delivered(await send_upstream(request), carrier, request.entry, annotate=False)
        self._remember(request.entry)
        try:
            response = await self.saver.over(send_upstream)(request)
            if response.owes:
                await response.settled()
            annotate = self.annotate if options.annotate is None else options.annotate
            native = None if annotate else unchanged(response, carrier)
            if native is None:
                native = await delivered(response, carrier, request.entry, annotate=annotate and response.ok)
        finally:
            self._remember(request.entry)  # a layer may have made a call of its own meanwhile
        response.carrier = None  # a layer that keeps the answer for another call must not hand out this native one
        add_headers(self.module, native, _headers(request.entry))
        return native

    async def _beside(self, send: Any, native: Any, *, stream: bool, arguments: dict[str, Any]) -> Any:
        """Send what no layer reads: to the vendor, or to a local model that is asked how long a prompt is."""
        counted = counts_tokens(native.url.path)
        if counted is not None and is_local(asked := _json_body(native) or {}):
            return await self.hop.count(native, asked, counted, asynchronous=self.asynchronous)
        if self.missing_key:
            raise ConfigurationError(self.missing_key)
        return await send(_without_own_key(native, self.module), stream=stream, **arguments)

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
            entry = entry_within(
                options,
                carrier.dialect.name,
                model if isinstance(model, str) else None,
                feature=settings.feature,
                tenant=settings.tenant,
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


def _take_headers(native: Any, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Take our own headers out of a request before it leaves the process."""
    if _RAW_PREFIX not in b"\n".join(headers):
        return {}
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
