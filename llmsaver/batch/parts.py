"""Cutting requests into jobs that a provider takes, and writing down which are in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from llmsaver.batch.requests import Row

__all__ = ["ANTHROPIC", "OPENAI", "Limits", "cut", "ranges", "unrange"]

_MIB: Final = 1 << 20
# What is written around each request in the file, the id included.
_AROUND: Final = 160


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may hold at most; ``one_model``: whether all its requests must name the same."""

    requests: int
    size: int
    one_model: bool = False
    inputs: int = 50_000

    def less(self, requests: int | None) -> Limits:
        """Return these with fewer requests to a job."""
        return self if requests is None else Limits(min(self.requests, requests), self.size, self.one_model)


# Source: the providers' batch guides, 2026-11. A little less than the size allowed, which they count in their own way.
OPENAI: Final = Limits(50_000, 190 * _MIB, one_model=True)
ANTHROPIC: Final = Limits(100_000, 240 * _MIB)


def cut(rows: Iterable[Row], limits: Limits) -> Iterator[tuple[str, list[int]]]:
    """Yield jobs as (url, numbers of the requests): one endpoint each, and one model where that is asked.

    A request that is larger than a job may be makes a job of its own: the provider says what is wrong with it.
    """
    open_: dict[tuple[str, str], tuple[list[int], int, int]] = {}
    for row in rows:
        group = (row.url, row.model if limits.one_model else "")
        numbers, size, inputs = open_.get(group, ([], 0, 0))
        more = row.size + _AROUND
        if numbers and (
            len(numbers) >= limits.requests or size + more > limits.size or inputs + row.inputs > limits.inputs
        ):
            yield row.url, numbers
            numbers, size, inputs = [], 0, 0
        numbers.append(row.number)
        open_[group] = (numbers, size + more, inputs + row.inputs)
    for (url, _), (numbers, _, _) in open_.items():
        yield url, numbers


def ranges(numbers: Sequence[int]) -> str:
    """Return rising numbers in few characters: ``0-499,612``."""
    out: list[str] = []
    start = last = None
    for number in numbers:
        if last is not None and number == last + 1:
            last = number
            continue
        if start is not None:
            out.append(f"{start}" if start == last else f"{start}-{last}")
        start = last = number
    if start is not None:
        out.append(f"{start}" if start == last else f"{start}-{last}")
    return ",".join(out)


def unrange(text: str) -> list[int]:
    """Return the numbers that ``ranges`` wrote."""
    numbers: list[int] = []
    for piece in filter(None, text.split(",")):
        first, _, last = piece.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
