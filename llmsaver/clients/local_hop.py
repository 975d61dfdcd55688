"""The way to a local model's server: its address and key, our own HTTP client, and a second try where it is gone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmsaver.clients.local_answer import LocalBody, retold
from llmsaver.clients.time_limit import TimedBody, timed
from llmsaver.clients.upstream import LOCAL_PREFIX, as_response, json_bytes, local_request
from llmsaver.core.entry import Attempt
from llmsaver.errors import LLMSaverError, UpstreamError
from llmsaver.local.abilities import counting, knows_tools, needs_template, prepared

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from llmsaver.clients.upstream import Carrier
    from llmsaver.core.outcome import Body
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.local import Endpoint, LocalServers
    from llmsaver.local.abilities import Prepared
    from llmsaver.local.endpoint import Use
    from llmsaver.saver import Saver

__all__ = ["LocalHop", "counts_tokens", "is_local"]

_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})
_COUNTING = {"/messages/count_tokens": "messages", "/responses/input_tokens": "responses"}


def counts_tokens(path: str) -> str | None:
    """Return the dialect of a request that asks for a prompt's tokens, or None where it asks something else."""
    return next((dialect for end, dialect in _COUNTING.items() if path.endswith(end)), None)


def is_local(body: Mapping[str, Any]) -> bool:
    """Tell whether a request names a local model."""
    return str(body.get("model")).startswith(LOCAL_PREFIX)


@dataclass(slots=True)
class _Call:
    """One try: where it goes, what is sent, and what is known of it there."""

    endpoint: Endpoint
    asked: Prepared
    attempt: Attempt
    use: Use

    def end(self) -> None:
        """Note what it took of the server's time; the second time nothing changes."""
        self.attempt.share = self.use.end()


class LocalHop:
    """Sends ``local/...`` models to the server that runs them, starting it where needed.

    The caller's own HTTP client is not used: its proxies, certificates and base URL are meant for the vendor.
    """

    def __init__(self, saver: Saver, module: ModuleType) -> None:
        self._saver = saver
        self._module = module
        self._lock = threading.Lock()
        # By whether the server is on this machine.
        self._clients: dict[bool, Any] = {}
        self._by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, Any]] = (
            weakref.WeakKeyDictionary()
        )

    async def __call__(self, request: Request, carrier: Carrier) -> Response:
        """Send one call and return what came back; a server that is gone is looked for again, once.

        Raises ``UpstreamError`` where the transport fails, ``LocalModelError`` for what the model or its server cannot
        do, and for a tool call that does not keep to its tool.
        """
        request.entry.tier = "local"
        try:
            return await self._once(request, carrier)
        except UpstreamError as error:
            if not self._is_gone(error.original):
                raise
        return await self._once(request, carrier)

    async def count(self, native: Any, body: dict[str, Any], dialect: str, *, asynchronous: bool) -> Any:
        """Return the native answer to a request that asks how many tokens a prompt has; nothing is booked."""
        runtime = self._saver.async_runtime if asynchronous else self._saver.sync_runtime
        endpoint = await runtime.offload(self._saver.local.endpoint, body["model"].removeprefix(LOCAL_PREFIX))
        knows = not needs_template(endpoint, body) or await runtime.offload(knows_tools, endpoint)
        asked = counting(dialect, body, endpoint, template_knows_tools=knows)
        url = endpoint.base_url + asked.path
        try:
            answer = await self._post(native, url, json_bytes(asked.body), endpoint, asynchronous=asynchronous)
        except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
            self._saver.local.failed(endpoint)
            raise UpstreamError(error) from None
        answer.request = native
        return answer

    async def _once(self, request: Request, carrier: Carrier) -> Response:
        servers: LocalServers = self._saver.local
        name = (request.model or "").removeprefix(LOCAL_PREFIX)
        endpoint = await request.runtime.offload(servers.endpoint, name)
        call = await self._begun(request, carrier, endpoint)
        attempt, entry = call.attempt, request.entry
        began = entry.elapsed()
        try:
            answer = await self._sent(call, carrier, request.deadline)
            attempt.status = answer.status_code
            attempt.latency_s = entry.elapsed() - began
            answer = retold(answer, carrier, call.asked, attempt)
        except LLMSaverError:
            call.end()
            raise
        except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
            call.end()
            servers.failed(endpoint)
            attempt.error = type(error).__name__
            raise UpstreamError(error) from None
        except BaseException:  # a cancelled task's
            call.end()
            raise
        telling = call.asked.telling

        def told(body: Body) -> Body:
            if request.deadline is not None:
                body = TimedBody(body, request.deadline, request.model or "")
            return LocalBody(body, telling, lambda: servers.failed(endpoint))

        response = as_response(answer, carrier, request, told)
        # First of all callbacks: the settlement, registered later, prices the share of the server's time.
        response.on_complete(lambda _: call.end())
        return response

    async def _begun(self, request: Request, carrier: Carrier, endpoint: Endpoint) -> _Call:
        """Prepare a call for its server and note that it begins."""
        knows = not needs_template(endpoint, request.body) or await request.runtime.offload(knows_tools, endpoint)
        asked = prepared(request.dialect, request.body, endpoint, template_knows_tools=knows)
        if carrier.may_ask_usage and (body := carrier.dialect.with_usage(asked.body)) is not None:
            asked, carrier.asked_usage = asked.with_body(body), True
        host = self._module.URL(endpoint.base_url).host
        attempt = Attempt(upstream=host, model=request.model, tier="local", local=endpoint.tier)
        request.entry.begin(attempt)
        request.entry.upstream, request.entry.model = host, request.model
        attempt.use = use = self._saver.local.use(endpoint)
        return _Call(endpoint, asked, attempt, use)

    async def _sent(self, call: _Call, carrier: Carrier, deadline: float | None) -> Any:
        """Send a call and return the native answer, read where it is no stream of events."""
        url, content = call.endpoint.base_url + call.asked.path, json_bytes(call.asked.body)
        asynchronous = carrier.seam.asynchronous
        answer = await self._post(
            carrier.request,
            url,
            content,
            call.endpoint,
            asynchronous=asynchronous,
            stream=carrier.stream,
            deadline=deadline,
        )
        if not answer.headers.get("content-type", "").lower().startswith("text/event-stream"):
            if asynchronous:
                await answer.aread()
            else:
                answer.read()
        return answer

    async def _post(
        self,
        native: Any,
        url: str,
        content: bytes,
        endpoint: Endpoint,
        *,
        asynchronous: bool,
        stream: bool = False,
        deadline: float | None = None,
    ) -> Any:
        sent = local_request(native, self._module, url, content, endpoint.api_key)
        sent.extensions = timed(sent.extensions, deadline)
        here = sent.url.host in _THIS_MACHINE
        if asynchronous:
            return await self._async_client(here=here).send(sent, stream=stream)
        return self._sync_client(here=here).send(sent, stream=stream)

    def _is_gone(self, error: BaseException) -> bool:
        """Whether the transport failed as it does where a server has ended; one that is slow may be at work."""
        return isinstance(error, self._module.TransportError) and not isinstance(error, self._module.TimeoutException)

    def _sync_client(self, *, here: bool) -> Any:
        with self._lock:
            if here not in self._clients:
                self._clients[here] = self._module.Client(**self._settings(here=here))
            return self._clients[here]

    def _async_client(self, *, here: bool) -> Any:
        """Return this loop's client: connections belong to the loop that opened them."""
        clients = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        if here not in clients:
            clients[here] = self._module.AsyncClient(**self._settings(here=here))
        return clients[here]

    def _settings(self, *, here: bool) -> dict[str, Any]:
        """Return what a client is made with; the SDK's own timeout travels in the request.

        On this machine nothing stays open between calls: llama-server closed 11 of 40 connections after a stream
        without a word, and a new one costs 0.2 ms (0.6 ms on asyncio), so there is nothing to win; and nothing has to
        be closed when a loop or a Saver goes away. To another machine, connections are kept, and certificates checked.
        """
        if not here:
            return {"trust_env": False, "timeout": None}
        limits = self._module.Limits(max_keepalive_connections=0)
        return {"trust_env": False, "verify": False, "timeout": None, "limits": limits}
