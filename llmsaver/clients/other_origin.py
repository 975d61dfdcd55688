"""A request for another host than its client was made for, sent by that client and with none of its credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.clients.http import derive
from llmsaver.clients.time_limit import timed
from llmsaver.clients.upstream import asking_usage, harmless, json_bytes

if TYPE_CHECKING:
    from llmsaver.clients.upstream import Carrier
    from llmsaver.core.origin import Origin
    from llmsaver.core.request import Request
    from llmsaver.saver import Saver

__all__ = ["origin_call"]

# What a caller of the other vendor is translated into: the version after it, of 2026-10-21, refuses a temperature.
_ANTHROPIC_VERSION = ("anthropic-version", "2023-06-01")


def origin_call(request: Request, origin: Origin, carrier: Carrier) -> tuple[Any, Any, dict[str, Any]]:
    """Return the native request to ``origin``, what sends it, and the arguments to send it with.

    The caller's HTTP client sends it, with its proxies, certificates and timeouts, but without its authentication, its
    hooks (which may sign or add keys) and its redirects: the tier's key goes to the host that the tier names only.
    """
    module = carrier.seam.module
    body = asking_usage(request, carrier, module.URL(origin.url).host)
    native = module.Request(
        "POST",
        origin.url,
        headers=_headers(carrier.request, origin),
        content=json_bytes(body),
        extensions=timed(carrier.request.extensions, request.deadline),
    )
    return (
        native,
        _unhooked(carrier.send, carrier.seam.saver),
        {**carrier.arguments, "auth": None, "follow_redirects": False},
    )


def _headers(native: Any, origin: Origin) -> list[tuple[str, str]]:
    """Return what travels: headers that hold no key of the caller's, and the tier's own key."""
    headers = [("content-type", "application/json")]
    vendor = origin.dialect == "messages"
    for name, value in harmless(native):
        lower = name.lower()
        if lower != "content-type" and (vendor or not lower.startswith("anthropic-")):
            headers.append((name, value))
    if vendor and all(name.lower() != _ANTHROPIC_VERSION[0] for name, _ in headers):
        headers.append(_ANTHROPIC_VERSION)
    if origin.api_key:
        headers.append(("x-api-key", origin.api_key) if vendor else ("authorization", f"Bearer {origin.api_key}"))
    return headers


def _unhooked(send: Any, saver: Saver) -> Any:
    """Return a client's ``send`` without the client's hooks; ``send`` itself where there are none."""
    client = getattr(send, "__self__", None)
    if client is None or not any(client.event_hooks.values()):
        return send
    twin = derive(client, saver)
    twin.__dict__ = {**client.__dict__, "_event_hooks": {"request": [], "response": []}}
    return send.__func__.__get__(twin)
