"""Where a local tier answers, how busy it is, and what share of its time a call had."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from llmsaver.local.models import Tier

__all__ = ["Endpoint", "Load", "Share", "Use"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a running local model answers.

    ``base_url`` is ``http://HOST:PORT`` without ``/v1``; ``api_key`` is accepted as ``Authorization: Bearer`` and as
    ``x-api-key``; ``model`` is the name that the server gives itself; ``tier`` is what the user declared; ``runner`` is
    "llama.cpp", "vllm" or "attach". ``lora`` is llama.cpp's number of the adapter that was asked for by name, and
    ``loras`` how many are loaded. ``abilities`` is what a probe found (an attached server's), None where it is known.
    """

    base_url: str
    api_key: str = field(repr=False)
    model: str
    tier: Tier | None = None
    runner: str = "llama.cpp"
    lora: int | None = None
    loras: int = 0
    abilities: Any = None


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a tier is: requests ``running`` and ``waiting``, its ``slots``, the mean seconds of a request."""

    running: int
    waiting: int
    slots: int
    mean_s: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A call's share of a tier's busy seconds: each second is divided among the calls that ran in it.

    ``exact`` is False where calls of other programs could not be seen.
    """

    seconds: float
    exact: bool = True


class Use(Protocol):
    """One call under way on a tier, from before it is sent until its answer has ended."""

    def end(self) -> Share:
        """End it and return its share; the second time the same."""
