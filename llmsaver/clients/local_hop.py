"""The way to a local model's server: its address and key, and an HTTP client of our own."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any

from llmsaver.clients.upstream import LOCAL_PREFIX, Carrier, json_bytes, local_request
from llmsaver.local.abilities import prepared

if TYPE_CHECKING:
    from types import ModuleType

    from llmsaver.core.request import Request
    from llmsaver.saver import Saver

__all__ = ["LocalHop"]


class LocalHop:
    """Sends ``local/...`` models to the server that runs them, starting it where needed.

    The caller's own HTTP client is not used: its proxies, certificates and base URL are meant for the vendor.
    """

    def __init__(self, saver: Saver, module: ModuleType) -> None:
        self._saver = saver
        self._module = module
        self._lock = threading.Lock()
        self._client: Any = None
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()

    async def __call__(self, request: Request, carrier: Carrier) -> tuple[Any, Any]:
        """Return the native request for the local server and the function that sends it."""
        name = (request.model or "").removeprefix(LOCAL_PREFIX)
        body = prepared(request.dialect, request.body)
        asking = carrier.dialect.with_usage(body) if carrier.may_ask_usage else None
        if asking is not None:
            body, carrier.asked_usage = asking, True
        endpoint = await request.runtime.offload(self._saver.local.endpoint, name)
        body["model"] = endpoint.model
        url = endpoint.base_url + carrier.dialect.local_path
        native = local_request(carrier.request, self._module, url, json_bytes(body), endpoint.api_key)
        return native, self._async_client().send if carrier.seam.asynchronous else self._send

    async def _send(self, native: Any, *, stream: bool) -> Any:
        return self._sync_client().send(native, stream=stream)

    def _sync_client(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._module.Client(**self._settings())
            return self._client

    def _async_client(self) -> Any:
        """Return this loop's client: connections belong to the loop that opened them."""
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            client = self._by_loop[loop] = self._module.AsyncClient(**self._settings())
        return client

    def _settings(self) -> dict[str, Any]:
        # Nothing stays open between calls, so nothing has to be closed when a loop or a Saver goes away: connecting
        # over loopback costs a fraction of a millisecond. The SDK's own timeout travels in the request.
        return {
            "trust_env": False,
            "verify": False,
            "timeout": None,
            "limits": self._module.Limits(max_keepalive_connections=0),
        }
