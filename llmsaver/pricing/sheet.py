"""One model's entry in a price table, as the table writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

__all__ = ["KINDS", "Factor", "Prices", "Sheet", "Table", "Variant"]

# What is counted, in the order a bill lists it. The parts of the input and of the output are disjoint.
KINDS: Final = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_30m",
    "cache_write_1h",
    "cache_write_12h",
    "audio_in",
    "audio_cached",
    "image_in",
    "image_cached",
    "output",
    "reasoning",
    "audio_out",
    "image_out",
    "web_search",
    "file_search",
    "requests",
)


@dataclass(frozen=True, slots=True)
class Prices:
    """Nano-dollars per million units by kind; ``above`` replaces kinds past so many input tokens."""

    base: Mapping[str, int]
    above: tuple[tuple[int, Mapping[str, int]], ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """Kinds that other terms (``service_tier=flex``, ``processing=batch``, ``speed=fast``) replace, from a date on."""

    prices: Prices
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that a table knows of one model at one moment; ``variants`` by (term, value).

    ``declared``: the rates are the user's; those in ``derived`` were left out and follow the list price's proportions.
    """

    provider: str
    model: str
    prices: Prices
    variants: Mapping[tuple[str, str], Variant] = field(default_factory=dict)
    context_window: int | None = None
    source: str = ""
    declared: bool = False
    derived: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Factor:
    """What all token rates are multiplied by, in percent, and the range it lies in; ``flag`` where it is not known."""

    percent: int = 100
    low: int = 100
    high: int = 100
    flag: str = ""


class Table(Protocol):
    """Where list prices come from."""

    @property
    def as_of(self) -> date:
        """The day whose prices the table is known to hold."""

    @property
    def edition(self) -> object:
        """A value that is another object once the table has been updated."""

    def provider(self, url: str) -> str | None:
        """Return the id of the provider that answers at a URL, or None."""

    def home(self, model: str) -> str | None:
        """Return the id of the provider that a model's name points to, or None."""

    def sheet(self, provider: str, model: str, when: datetime) -> Sheet | None:
        """Return a model's entry, or None where the table has none."""

    def timed(self, provider: str, model: str) -> bool:
        """Whether a model's price depends on the time of day."""
