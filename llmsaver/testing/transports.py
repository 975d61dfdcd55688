"""The fake as a transport of httpx2 or httpx, whose interfaces are the same; imported when asked for."""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, TypeAlias

from llmsaver.testing.reply import Reply

Receive: TypeAlias = Callable[[str, str, Mapping[str, str], bytes], Reply]


def sync_transport(module: str, receive: Receive) -> Any:
    """Build a `BaseTransport` of the named module."""
    http = importlib.import_module(module)
    # The base class is known only now, hence no class statement.
    return type("FakeTransport", (_SyncTransport, http.BaseTransport), {})(http, receive)


def async_transport(module: str, receive: Receive) -> Any:
    """Build an `AsyncBaseTransport` of the named module, which answers the Saver's own thread (audits) too."""
    http = importlib.import_module(module)
    return type("FakeAsyncTransport", (_AsyncTransport, http.AsyncBaseTransport), {})(http, receive)


class _SyncTransport:
    def __init__(self, http: Any, receive: Receive) -> None:
        self._http, self._receive = http, receive
        self._body = type("FakeStream", (_SyncBody, http.SyncByteStream), {})

    def handle_request(self, request: Any) -> Any:
        reply = self._receive(request.method, str(request.url), dict(request.headers), request.read())
        exchange = _Exchange(self._http, request, reply)
        time.sleep(exchange.patience(reply.delivery.delay))
        exchange.check(reply.delivery.delay)
        return exchange.response(self._body(exchange))


class _AsyncTransport:
    def __init__(self, http: Any, receive: Receive) -> None:
        self._http, self._receive = http, receive
        self._body = type("FakeAsyncStream", (_AsyncBody, http.AsyncByteStream), {})
        self.handle_request = _SyncTransport(http, receive).handle_request

    def close(self) -> None:
        """Nothing is open."""

    async def handle_async_request(self, request: Any) -> Any:
        reply = self._receive(request.method, str(request.url), dict(request.headers), await request.aread())
        exchange = _Exchange(self._http, request, reply)
        await asyncio.sleep(exchange.patience(reply.delivery.delay))
        exchange.check(reply.delivery.delay)
        return exchange.response(self._body(exchange))


class _Exchange:
    """One request with its reply, and the exceptions of the module that made the request."""

    def __init__(self, http: Any, request: Any, reply: Reply) -> None:
        self._http, self._request, self.reply = http, request, reply
        timeout = (request.extensions.get("timeout") or {}).get("read")
        self._timeout = float("inf") if timeout is None else float(timeout)

    def patience(self, wait: float) -> float:
        """Tell how long the client really waits, in seconds."""
        return min(wait, self._timeout)

    def check(self, waited: float) -> None:
        """Fail if the wait was longer than the client's read timeout, or if the connection breaks too early."""
        if waited > self._timeout:
            self._fail("ReadTimeout", "The read operation timed out")
        if self.reply.early:
            self.end()

    def end(self) -> None:
        """Settle the bill once the last chunk is out, and break the connection if this reply does."""
        broken = self.reply.broken()
        if broken is not None:
            self._fail(*broken)
        self.reply.settle()

    def response(self, body: Any) -> Any:
        return self._http.Response(
            self.reply.status, headers=self.reply.headers, stream=body, extensions={"http_version": b"HTTP/1.1"}
        )

    def _fail(self, name: str, said: str) -> None:
        self.reply.settle()
        raise getattr(self._http, name)(said, request=self._request)


class _SyncBody:
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        pause = self._exchange.reply.delivery.pause
        try:
            for chunk in self._exchange.reply.chunks():
                time.sleep(self._exchange.patience(pause))
                self._exchange.check(pause)
                yield chunk
            self._exchange.end()
        finally:
            # Also when an abandoned stream is collected without being closed.
            self._exchange.reply.settle()

    def close(self) -> None:
        self._exchange.reply.settle()


class _AsyncBody:
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pause = self._exchange.reply.delivery.pause
        try:
            for chunk in self._exchange.reply.chunks():
                await asyncio.sleep(self._exchange.patience(pause))
                self._exchange.check(pause)
                yield chunk
            self._exchange.end()
        finally:
            self._exchange.reply.settle()

    async def aclose(self) -> None:
        self._exchange.reply.settle()
