"""What an answer consumed, in one vocabulary for every dialect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Usage"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer, normalised so that totals include their parts.

    ``input_tokens`` includes cached reads and cache writes (the messages dialect reports them beside the rest, chat and
    responses inside it); ``output_tokens`` includes ``reasoning_tokens``. ``raw`` is the provider's own object, from
    which money is computed.
    """

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
