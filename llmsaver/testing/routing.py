"""Which endpoint of which vendor a URL means; paths are matched by their end, so any base URL and Azure's work."""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

_ROUTES = [
    (re.compile(f"(?:^|/){pattern}/?$"), endpoint, tuple(methods.split()))
    for pattern, endpoint, methods in (
        (r"chat/completions", "chat", "POST"),
        (r"messages/count_tokens", "count_tokens", "POST"),
        (r"messages/batches", "message_batches", "POST GET"),
        (r"messages/batches/(?P<id>[^/]+)", "message_batches", "GET"),
        (r"messages/batches/(?P<id>[^/]+)/(?P<action>results)", "message_batches", "GET"),
        (r"messages/batches/(?P<id>[^/]+)/(?P<action>cancel)", "message_batches", "POST"),
        (r"messages", "messages", "POST"),
        (r"responses", "responses", "POST"),
        (r"responses/(?P<id>[^/]+)", "stored_responses", "GET"),
        (r"responses/(?P<id>[^/]+)/(?P<action>cancel)", "stored_responses", "POST"),
        (r"embeddings", "embeddings", "POST"),
        (r"files", "files", "POST"),
        (r"files/(?P<id>[^/]+)", "files", "GET"),
        (r"files/(?P<id>[^/]+)/(?P<action>content)", "files", "GET"),
        (r"batches", "batches", "POST GET"),
        (r"batches/(?P<id>[^/]+)", "batches", "GET"),
        (r"batches/(?P<id>[^/]+)/(?P<action>cancel)", "batches", "POST"),
        (r"models", "models", "GET"),
        (r"models/(?P<id>[^/]+)", "models", "GET"),
    )
]
_MESSAGES = ("messages", "count_tokens", "message_batches")


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes: `id` and `action` come from the path, empty when it has none."""

    endpoint: str
    vendor: Literal["openai", "anthropic"]
    path: str
    id: str = ""
    action: str = ""
    beta: bool = False
    deployment: bool = False


def route(method: str, url: str, headers: dict[str, str]) -> Route:
    """Find the endpoint; what neither vendor serves is `unknown`."""
    parts = urlsplit(url)
    beta = "beta=true" in parts.query or "anthropic-beta" in headers
    spoken = "anthropic" if "anthropic-version" in headers else "openai"
    for pattern, endpoint, methods in _ROUTES:
        found = pattern.search(parts.path)
        if found and method in methods:
            vendor: Literal["openai", "anthropic"] = (
                "anthropic" if endpoint in _MESSAGES or (endpoint == "models" and spoken == "anthropic") else "openai"
            )
            named = {name: value or "" for name, value in found.groupdict().items()}
            return Route(endpoint, vendor, parts.path, **named, beta=beta, deployment="/deployments/" in parts.path)
    return Route("unknown", "anthropic" if spoken == "anthropic" else "openai", parts.path)
