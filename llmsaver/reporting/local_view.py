"""How the list of local models looks: 80 columns, more where the terminal has more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from llmsaver.reporting.layout import Column, columns
from llmsaver.reporting.words import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.reporting.local_list import Listed

__all__ = ["as_text", "gigabytes"]

_NAME = 24
_ANSWER = {True: "yes", False: "no", None: "-"}
_GIGA, _MEGA, _MIB = 10**9, 10**6, 1024 * 1024


def gigabytes(size: int | None) -> str:
    """Return bytes as ``1.12 GB`` or ``98 MB``."""
    if size is None:
        return "-"
    return f"{size / _GIGA:.2f} GB" if size >= _GIGA else f"{size / _MEGA:.0f} MB"


def as_text(rows: Sequence[Listed], console: Console | None = None) -> None:
    """Write a line per model, then what the columns mean here."""
    out = console or Console(highlight=False)
    names = [shown(row.name) for row in rows]
    table = [
        Column("model", names, left=True, least=min(_NAME, max(map(len, names)))),
        Column("size", [gigabytes(row.size) for row in rows], rank=2),
        Column("quant", [row.quantization or "-" for row in rows], rank=4, left=True),
        Column("memory", [_memory(row.memory_mib) for row in rows], rank=1),
        Column("fits", [_ANSWER[row.fits] for row in rows]),
        Column("here", [_here(row) for row in rows], left=True),
        Column("pinned", [row.pinned or ("no" if row.kind == "llama.cpp" else "-") for row in rows], rank=3, left=True),
        Column("licence", [row.licence or "-" for row in rows], rank=5, left=True, least=8),
    ]
    head, *lines = columns(table, out.width, ascii_only=out.options.ascii_only)
    out.print(Text(head, style="bold"), soft_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        out.print(Text(line, style="" if row.installed or row.kind != "llama.cpp" else "dim"), soft_wrap=True)
    for line in _notes(rows):
        out.print(Text(line, style="dim"), soft_wrap=True)


def _notes(rows: Sequence[Listed]) -> list[str]:
    free = next((row.free_mib for row in rows if row.free_mib is not None), None)
    told = "memory: weights, and a cache for every token of every slot"
    if free is not None:
        told += f"; {_memory(free)} are free"
    notes = [told, 'use one: Client().chat.completions.create(model="local/<model>", ...)']
    absent = next(
        (row.name for row in rows if row.source == "catalogue" and not row.installed and row.fits is not False), None
    )
    if absent is not None:
        notes.append(f"fetch one: llmsaver local pull {absent}")
    if any(row.pinned is None and row.kind == "llama.cpp" and row.where for row in rows):
        notes.append("not pinned: any file of that name is taken as it is; sha256= pins it")
    return notes


def _here(row: Listed) -> str:
    return {"attach": "attached", "vllm": "vllm"}.get(row.kind) or _ANSWER[row.installed]


def _memory(mib: int | None) -> str:
    return gigabytes(None if mib is None else mib * _MIB)
