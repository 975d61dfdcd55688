"""Ways in for clients that somebody else made: an SDK client, or a library that takes an HTTP client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from llmsaver.clients.drop_in import Binding
from llmsaver.clients.http import default_module

if TYPE_CHECKING:
    from llmsaver.saver import Saver

__all__ = ["async_http_client", "http_client", "wrap"]

Client = TypeVar("Client")

# The SDKs' own defaults: ten minutes for an answer, five seconds for a connection, many connections.
_TIMEOUT, _CONNECT, _CONNECTIONS, _KEPT = 600.0, 5.0, 1000, 100


def wrap(client: Client, *, saver: Saver | None = None, annotate: bool | None = None) -> Client:
    """Return a client like ``client`` (any class of the openai or anthropic SDK) whose calls go through a Saver.

    The client given is not changed; both share connections. Raises ``TypeError`` for anything but an SDK client.
    """
    own: Any = client
    if not (hasattr(own, "with_options") and hasattr(own, "_client")):
        raise TypeError(f"wrap() takes a client of the openai or anthropic SDK, not {type(client).__name__}")
    if isinstance(getattr(own, "_llmsaver", None), Binding):  # one of ours: it knows how to be bound otherwise
        bound: Client = own.copy(saver=saver, annotate=annotate)
        return bound
    seamed = Binding(saver, annotate=annotate).over(own._client)  # noqa: SLF001 - where both SDKs keep their HTTP client
    wrapped: Client = own.with_options(http_client=seamed)
    return wrapped


def http_client(*, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Any:
    """Return an ``httpx2.Client`` (``httpx.Client`` under openai 2) whose LLM calls go through a Saver.

    For libraries that take an HTTP client: LangChain's ``ChatOpenAI(http_client=)``, instructor, pydantic-ai and
    openai-agents through ``OpenAI(http_client=)``. ``arguments`` are the client's own; defaults are the SDKs'.
    """
    module = default_module()
    return Binding(saver, annotate=annotate).over(module.Client(**_defaults(module, arguments)))


def async_http_client(*, saver: Saver | None = None, annotate: bool | None = None, **arguments: Any) -> Any:
    """Return an ``httpx2.AsyncClient`` (``httpx.AsyncClient`` under openai 2) whose LLM calls go through a Saver."""
    module = default_module()
    return Binding(saver, annotate=annotate).over(module.AsyncClient(**_defaults(module, arguments)))


def _defaults(module: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "timeout": module.Timeout(_TIMEOUT, connect=_CONNECT),
        "limits": module.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT),
        "follow_redirects": True,
        **arguments,
    }
