"""What a run of a batch tells: how far it is, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.errors import LLMSaverError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from pathlib import Path

__all__ = ["BatchFailure", "BatchInterrupted", "BatchResult", "BatchTooDear", "Progress"]


class BatchInterrupted(LLMSaverError):  # noqa: N818 - reads as what it says
    """A run could not go on (the provider cannot be reached, say); the same call goes on where it ended.

    ``batch`` is the run's id.
    """

    def __init__(self, message: str, batch: str = "") -> None:
        super().__init__(message)
        self.batch = batch


class BatchTooDear(LLMSaverError):  # noqa: N818 - reads as what it says
    """A run may cost more than its limit, or nothing bounds what it costs; what would have was not sent."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: requests, and nano-dollars. ``answered`` counts those that the provider says it has, too.

    ``expected_nano`` is what all of it will cost by what was answered so far, None before; ``bound_nano`` the most
    that it can cost, where that was worked out. ``doing`` says what it is at, in a few words.
    """

    batch: str
    doing: str
    total: int
    answered: int
    failed: int
    spent_nano: int
    expected_nano: int | None
    bound_nano: int | None


@dataclass(frozen=True, slots=True)
class BatchFailure:
    """A request that was not answered in the end: its id, its number in the input from 1, and why."""

    custom_id: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of a run.

    ``state``: "finished", "incomplete" (``failures`` were not answered), "stopped" (the limit was reached; ``why``) or
    "cancelled". ``out`` is the file of answers, one line for each request in the order of the input; ``answers()``
    reads them, from memory where no file was asked for.
    """

    batch: str
    via: str
    state: str
    total: int
    answered: int
    failures: tuple[BatchFailure, ...]
    spent_nano: int
    out: Path | None = None
    why: str = ""
    lines: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def ok(self) -> bool:
        """Whether every request was answered."""
        return self.state == "finished"

    @property
    def spent_usd(self) -> Decimal:
        """What the answers cost, in dollars, as it is booked in the ledger."""
        from decimal import Decimal

        return Decimal(self.spent_nano).scaleb(-9)

    def answers(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of the answers as objects, in the order of the input."""
        if self.out is None:
            yield from map(json.loads, self.lines)
            return
        with self.out.open("rb") as file:
            yield from map(json.loads, file)
