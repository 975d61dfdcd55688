"""Over which HTTP client a call is sent once more: never another way to the provider than its owner's."""

from __future__ import annotations

import ssl
from typing import Any

import httpx2
import pytest

from llmsaver.clients.detached import _client_like
from llmsaver.testing import FakeProvider


async def hook(_: Any) -> None:
    """Do something to what is sent."""


def test_the_librarys_own_transport_has_one_like_it_made_once() -> None:
    trust = ssl.create_default_context()
    client = httpx2.AsyncClient(verify=trust, timeout=7, trust_env=False)
    made = _client_like(httpx2, client)
    assert type(made) is httpx2.Client
    assert made.timeout == client.timeout
    transport: Any = made._transport
    assert transport._pool._ssl_context is trust
    assert _client_like(httpx2, client) is made


@pytest.mark.parametrize(
    "client",
    [
        httpx2.AsyncClient(event_hooks={"request": [hook]}),
        httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(uds="/run/proxy.sock")),
        httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(local_address="127.0.0.1")),
        httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(proxy="http://localhost:3128")),
        httpx2.AsyncClient(proxy="http://localhost:3128"),
        httpx2.AsyncClient(transport=FakeProvider().async_transport()),
    ],
    ids=["hooks", "unix socket", "local address", "proxied transport", "proxy", "own transport"],
)
def test_any_other_way_out_is_left_alone(client: httpx2.AsyncClient) -> None:
    both_ways = hasattr(client._transport, "handle_request")
    assert (_client_like(httpx2, client) is None) == (not both_ways)
