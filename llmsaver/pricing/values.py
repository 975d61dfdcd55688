"""What goes into a price and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from llmsaver.pricing.money import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["Billed", "Bound", "Cost", "Line", "Rates"]

UNPRICED = "unpriced:"


class Line(NamedTuple):
    """One product of a bill: ``units`` of ``kind`` at ``nano_per_million`` nano-dollars per million units.

    The lines of a Cost add up to it exactly: what rounding leaves over is in the line it falls in. ``model`` is named
    where it is not the answer's.
    """

    kind: str
    units: int
    nano_per_million: int
    nano_usd: int
    model: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one answer cost, in nano-dollars.

    ``low_nano <= nano_usd <= high_nano``, all equal where the figure is exact. ``estimated`` is True for every figure
    that is not; ``flags`` then say why, as words with a detail after a colon (``unpriced:model``, ``tier:priority``,
    ``usage:prompt_tokens``). The one flag of an exact figure is ``declared``: the rates are the user's own.
    """

    nano_usd: int
    low_nano: int
    high_nano: int
    estimated: bool = False
    flags: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()

    @property
    def usd(self) -> Decimal:
        """The cost in dollars, exactly."""
        return Decimal(self.nano_usd).scaleb(-9)

    @property
    def priced(self) -> bool:
        """Whether a price was known for all of it; where it was not, the figure is a placeholder and never $0."""
        return not any(flag.startswith(UNPRICED) for flag in self.flags)

    def explain(self) -> str:
        """Return the arithmetic, one line per product: ``1000 input x $0.25/M = $0.00025``."""
        told = [
            f"{line.units} {line.kind} x ${plain(line.nano_per_million)}/M = ${plain(line.nano_usd)}"
            + (f" ({line.model})" if line.model else "")
            for line in self.lines
        ]
        return "\n".join([*told, *(f"flag {flag}" for flag in self.flags), f"total ${plain(self.nano_usd)}"])

    def __str__(self) -> str:
        return plain(self.nano_usd)


@dataclass(frozen=True, slots=True)
class Billed:
    """What happened, as far as a price depends on it.

    ``host`` is the origin or URL the request went to, or a provider's id ("openai"). ``model`` is the one the answer
    names and ``asked`` the one the request named. ``usage`` is the provider's own object. ``service_tier``,
    ``tool_usage``, ``tools`` and ``output`` are the answer's. ``route`` is "batch" for a request sent as part of a
    batch, whose result does not say so. ``body`` and ``message`` (the request and as much of the answer as arrived)
    are read only where usage is missing or makes no sense.
    """

    dialect: str
    model: str | None
    usage: Mapping[str, Any] | None
    host: str = ""
    asked: str | None = None
    service_tier: str | None = None
    tool_usage: Mapping[str, Any] | None = None
    tools: Any = None
    output: Any = None
    route: str = ""
    when: datetime | None = None
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    message: Mapping[str, Any] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        dialect: str,
        url: str,
        message: Mapping[str, Any] | None,
        *,
        body: Mapping[str, Any] | None = None,
        usage: Mapping[str, Any] | None = None,
        route: str = "",
        when: datetime | None = None,
    ) -> Billed:
        """Read the facts from an answer's JSON object; ``usage`` (the raw object) wins over the answer's own."""
        answer = message or {}
        own = answer.get("usage")
        asked = (body or {}).get("model")
        model = answer.get("model")
        return cls(
            dialect=dialect,
            model=model if isinstance(model, str) else None,
            usage=usage if usage is not None else own if isinstance(own, dict) else None,
            host=url,
            asked=asked if isinstance(asked, str) else None,
            service_tier=answer.get("service_tier"),
            tool_usage=answer.get("tool_usage"),
            tools=answer.get("tools"),
            output=answer.get("output"),
            route=route,
            when=when,
            body=body,
            message=message,
        )


@dataclass(frozen=True, slots=True)
class Bound:
    """The most a call can cost, before it is sent.

    ``nano_usd`` and ``tokens`` (input and output together) cover everything that can be bounded; ``unbounded`` names
    what cannot ("server-tool:web_search", "url-image", "unpriced:model"): only an empty one makes them a proof.
    ``input_nano`` is the part that no max-tokens value changes. ``seconds``: the call is paid by its time and ended
    after so many, which makes ``nano_usd`` a proof whatever its tokens are; None where tokens are what is paid for.
    """

    nano_usd: int
    tokens: int
    unbounded: tuple[str, ...] = ()
    input_nano: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float | None = None

    @property
    def proven(self) -> bool:
        """Whether nothing of the call is left out."""
        return not self.unbounded

    @property
    def money_proven(self) -> bool:
        """Whether ``nano_usd`` leaves nothing out."""
        return self.seconds is not None or not self.unbounded


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model costs on standard terms: nano-dollars per million units, by kind.

    ``above`` holds the rates that replace them for a whole request with more input tokens than the number before them.
    ``source`` is "genai-prices 0.2.3" or "declared"; ``flags`` as in Cost.
    """

    provider: str
    model: str
    kinds: Mapping[str, int]
    above: tuple[tuple[int, Mapping[str, int]], ...] = ()
    context_window: int | None = None
    source: str = ""
    flags: tuple[str, ...] = ()
