"""A call sent once more by the Saver itself, later and in its own thread: for audits, which nobody waits for."""

from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmsaver.clients.upstream import Carrier, send_upstream
from llmsaver.core.caching import PAST_EVERY_CACHE
from llmsaver.core.entry import Entry
from llmsaver.core.runtime import drive

if TYPE_CHECKING:
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response

__all__ = ["Again"]


class Again:
    """Sends a request anew through the whole stack, booked as a call of its own; to be called in a thread.

    The answer is asked for whole, never as a stream. The budgets around the original call hold for it too. A request
    that was on its way to another origin goes there again, and its answer comes in the dialect that is spoken there;
    one that names a model which a cascade chooses for ("auto") is chosen for anew.
    """

    def __init__(self, request: Request, feature: str) -> None:
        options = replace(
            request.options,
            feature=feature,
            path=(*request.entry.path, feature),
            annotate=False,
            cache=PAST_EVERY_CACHE,
            work=None,
            task=None,
        )
        carrier: Carrier = request.carrier
        body = {key: value for key, value in request.body.items() if key not in {"stream", "stream_options"}}
        self._saver = carrier.seam.saver
        self._source = carrier
        self._request = replace(
            request,
            body=body,
            entry=_entry_like(request, feature),
            runtime=self._saver.sync_runtime,
            options=options,
            attempt=0,
            deadline=None,
            carrier=None,
        )

    def __call__(self) -> Response | None:
        """Return the answer, read to its end; None where the caller's own HTTP client cannot be used from here."""
        carrier = _carrier(self._source)
        return None if carrier is None else drive(self._send(replace(self._request, carrier=carrier)))

    async def _send(self, request: Request) -> Response:
        response = await self._saver.over(send_upstream)(request)
        await response.read()
        await response.settled()
        return response


def _entry_like(request: Request, feature: str) -> Entry:
    """Return an entry for another call on behalf of the same user: what it asks is what ``request`` asks by now."""
    entry = request.entry
    return Entry(
        dialect=request.dialect,
        model_asked=request.model or entry.model_asked,
        feature=feature,
        user=entry.user,
        tenant=entry.tenant,
        tags=entry.tags,
        conversation=entry.conversation,
        path=(*entry.path, feature),
    )


def _carrier(source: Carrier) -> Carrier | None:
    """Return a carrier whose sending blocks: over the caller's own client, or one like it."""
    seam, send = source.seam, source.send
    if seam.asynchronous:
        client = _client_like(seam.module, send.__self__)
        if client is None:
            return None
        seam = replace(seam, asynchronous=False)
        send = _Sending(client)
    return Carrier(
        seam,
        send,
        source.request,
        body=source.body,  # another object than the request's: what is sent is written anew
        content=None,
        stream=False,
        arguments=source.arguments,
        dialect=source.dialect,
    )


class _Sending:
    """The ``send`` of a synchronous client, awaited as the stack awaits it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def __call__(self, request: Any, *, stream: bool, **arguments: Any) -> Any:
        return self._client.send(request, stream=stream, **arguments)


_clients: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def _client_like(module: Any, client: Any) -> Any:
    """Return a synchronous client with an asynchronous one's settings; None where its transport is its owner's own."""
    transport = client._transport  # noqa: SLF001 - nothing else tells whether it is the library's own
    with _lock:
        found = _clients.get(transport)
        if found is not None:
            return found
        if any(client.event_hooks.values()):  # coroutines, which may sign or refuse what is sent
            return None
        if hasattr(transport, "handle_request"):  # speaks both ways, as the transports of tests do
            made = module.Client(transport=transport, timeout=client.timeout)
        elif (
            type(transport) is module.AsyncHTTPTransport
            and not client._mounts  # noqa: SLF001 - the same
            and _plain(transport._pool)  # noqa: SLF001 - the same
        ):
            verify = transport._pool._ssl_context  # noqa: SLF001 - whom the caller trusts
            made = module.Client(trust_env=client.trust_env, timeout=client.timeout, verify=verify)
        else:
            return None
        _clients[transport] = made
        return made


def _plain(pool: Any) -> bool:
    """Return whether connections go straight to the host that a URL names."""
    names = ("_proxy", "_uds", "_local_address")
    straight = type(pool).__name__ == "AsyncConnectionPool"  # those of proxies are its subclasses
    return straight and all(getattr(pool, name, None) is None for name in names)
