"""Columns and bars on a terminal, measured in cells so that wide letters line up too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Column", "bar", "clip", "columns", "fitting", "pointed"]

_GAP = 2
_BLOCKS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of cells under a heading; ``rank`` 0 is always there, the others go first the higher they are.

    A ``least`` lets the column shrink to that many cells.
    """

    head: str
    cells: Sequence[str]
    rank: int = 0
    left: bool = False
    least: int = 0

    @property
    def width(self) -> int:
        """How many cells it wants."""
        return max(map(cell_len, (self.head, *self.cells)))


def fitting(found: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that have room in ``width`` cells, counting those that shrink at their least."""
    kept = list(found)
    while len(kept) > 1 and sum(min(c.width, c.least or c.width) + _GAP for c in kept) - _GAP > width:
        last = max(kept, key=lambda column: column.rank)
        if last.rank == 0:
            break
        kept.remove(last)
    return kept


def columns(found: Sequence[Column], width: int, *, ascii_only: bool = False) -> list[str]:
    """Return a heading and the rows, in the columns that have room; those that can shrink make up for the rest."""
    kept = fitting(found, width)
    over = sum(column.width + _GAP for column in kept) - _GAP - width
    widths = []
    for column in kept:
        give = min(max(0, over), max(0, column.width - column.least)) if column.least else 0
        over -= give
        widths.append(column.width - give)
    rows = [[column.head for column in kept], *zip(*(column.cells for column in kept), strict=True)]
    return [
        (" " * _GAP)
        .join(
            _padded(clip(cell, room, ascii_only=ascii_only), room, left=column.left)
            for cell, room, column in zip(row, widths, kept, strict=True)
        )
        .rstrip()
        for row in rows
    ]


def clip(text: str, width: int, *, ascii_only: bool = False) -> str:
    """Return ``text``, its end left out where it is wider than ``width`` cells, and a mark where it was."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + ("." if ascii_only else "…")


def bar(share: float, width: int, *, ascii_only: bool = False) -> str:
    """Return a bar that fills ``share`` of ``width`` cells, in eighths where the terminal has them.

    What is more than nothing shows.
    """
    share = min(1.0, max(0.0, share))
    if ascii_only:
        return "#" * (max(1, round(share * width)) if share else 0)
    eighths = max(1, round(share * width * 8)) if share else 0
    return ("█" * (eighths // 8) + _BLOCKS[eighths % 8]).strip()


def pointed(cells: Sequence[str]) -> list[str]:
    """Return amounts of money with blanks behind them, so that flush right their decimal points stand in line."""
    behind = [len(cell.partition(".")[2]) for cell in cells]
    longest = max(behind, default=0)
    return [
        cell + " " * (longest - places if places else longest + (longest > 0)) if cell.startswith(("$", "-$")) else cell
        for cell, places in zip(cells, behind, strict=True)
    ]


def _padded(text: str, width: int, *, left: bool) -> str:
    pad = " " * (width - cell_len(text))
    return text + pad if left else pad + text
