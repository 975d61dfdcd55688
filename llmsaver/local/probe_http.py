"""One HTTP request to a server of the user's, by the standard library: bounded in time and size, no redirects."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answer", "ask", "root_of"]

_MOST_BYTES = 8 << 20
_OK, _REDIRECT, _REFUSED = 200, 300, 400


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer: its status, headers (names in lower case) and text."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def ok(self) -> bool:
        """Return whether it is an answer and not a refusal."""
        return _OK <= self.status < _REDIRECT

    def json(self) -> dict[str, Any]:
        """Return its JSON object, an empty one where it is none."""
        try:
            found = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def words(self) -> str:
        """Return what it says in a line of 200 characters at most: its error's message, else its first text."""
        found = self.json()
        error = found.get("error") or found.get("message") or found.get("detail")
        message = error.get("message") if isinstance(error, dict) else error
        where = self.headers.get("location")
        if where and _REDIRECT <= self.status < _REFUSED:
            message = f"it redirects to {where}"
        return " ".join(str(message or self.text).split())[:200]


def root_of(base_url: str) -> str:
    """Return a base URL without its ``/v1`` and final slashes. Raises ConfigurationError for one that cannot work."""
    try:
        parts = urlsplit(base_url)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError as error:
        raise ConfigurationError(f"base_url={base_url!r} is not an address ({error})") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"base_url={base_url!r} needs a scheme and a host: http://host:port/v1")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("base_url must hold no user or password: name the key's variable with api_key_env=")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"base_url={base_url!r} must end with its path: http://host:port/v1")
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def ask(
    root: str,
    path: str,
    *,
    key: str | None = None,
    body: Mapping[str, Any] | None = None,
    timeout: float,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request (a POST where there is a body) and read the whole answer, 8 MiB at most.

    ``timeout`` in seconds is for connecting and for each piece of the answer. The key goes as both dialects send it.
    Raises OSError where the server cannot be reached or breaks off, in words for people. Proxies of the environment are
    not asked: these servers stand in the user's own network.
    """
    parts = urlsplit(root)
    send = dict(headers or {}) | {"accept": "application/json", "user-agent": "llmsaver-probe"}
    if key:
        send |= {"authorization": f"Bearer {key}", "x-api-key": key}
    content = None
    if body is not None:
        content = json.dumps(body).encode()
        send["content-type"] = "application/json"
    connection = _connection(parts.scheme, parts.hostname or "", parts.port, timeout)
    try:
        connection.request("GET" if body is None else "POST", parts.path + path, content, send)
        response = connection.getresponse()
        raw = response.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise OSError(f"{root}{path} answers with more than {_MOST_BYTES} bytes")
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, raw.decode("utf-8", "replace"))
    except http.client.HTTPException as error:
        raise OSError(f"{root}{path} does not answer in HTTP ({type(error).__name__}: {error})") from error
    except ValueError as error:  # a key with a line break in it, say; the value itself is not shown
        raise OSError(
            f"{root}{path} cannot be asked: its address or key holds a character that HTTP forbids"
        ) from error
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=timeout)
