"""Another place for a request to go than the one its client was made for."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Origin"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request goes instead: nothing of the caller's credentials travels there.

    ``url`` is the whole address of the endpoint, such as "https://api.anthropic.com/v1/messages"; ``dialect`` is what
    is spoken there, and the request's own by the time it leaves. ``api_key`` goes into the header that this dialect
    uses ("x-api-key" for messages, else a bearer token); an empty one sends none.
    """

    url: str
    dialect: str
    api_key: str = field(default="", repr=False)
