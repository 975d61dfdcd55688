"""Attached servers as a person sees them: whether they are there, and what a probe found that they can do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from llmsaver.errors import LLMSaverError
from llmsaver.local import attach
from llmsaver.local.models import Attach
from llmsaver.local.probe import ABILITIES
from llmsaver.reporting.local_list import declared
from llmsaver.reporting.words import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.local.probe import Abilities
    from llmsaver.settings import Settings

__all__ = ["Attached", "as_json", "as_text", "attached"]

_AT_ONCE = 8
# Said once for all of them.
_GROUPS = {True: "can", False: "cannot", None: "not known"}


@dataclass(frozen=True, slots=True)
class Attached:
    """An attached server: its ``abilities``, None where nothing is known of them, and what is wrong with it now."""

    name: str
    base_url: str
    abilities: Abilities | None
    problem: str | None = None


def attached(given: Settings | None = None, *, asked: bool) -> list[Attached]:
    """Return the servers that the settings attach to; where not ``asked``, what was remembered of them."""
    tiers = [tier for tier in declared(given).values() if isinstance(tier, Attach)]
    if not asked or not tiers:
        return [Attached(tier.name, tier.base_url, attach.remembered(tier)) for tier in tiers]
    with ThreadPoolExecutor(_AT_ONCE, "llmsaver-attached") as threads:
        return list(threads.map(_asked, tiers))


def _asked(tier: Attach) -> Attached:
    try:
        return Attached(tier.name, tier.base_url, attach.abilities(tier))
    except LLMSaverError as error:
        return Attached(tier.name, tier.base_url, attach.remembered(tier), str(error))


def as_json(rows: Sequence[Attached]) -> list[dict[str, Any]]:
    """Return them as values for JSON."""
    return [
        {
            "name": row.name,
            "base_url": row.base_url,
            "reachable": row.problem is None,
            "problem": row.problem,
            "abilities": None if row.abilities is None else row.abilities.as_dict(),
        }
        for row in rows
    ]


def as_text(rows: Sequence[Attached], console: Console | None = None) -> None:
    """Write a paragraph per server."""
    out = console or Console(highlight=False)
    for row in rows:
        out.print(Text(f"{shown(row.name)} at {shown(row.base_url)}{_title(row.abilities)}", style="bold"))
        for line in _lines(row):
            out.print(Text(f"  {line}"), soft_wrap=True)


def _title(found: Abilities | None) -> str:
    if found is None:
        return ""
    limit = "" if found.context is None else f", {found.context:,} tokens"
    server = f", {shown(found.server)}" if found.server else ""
    return f": {shown(found.model)}{server}{limit}"


def _lines(row: Attached) -> list[str]:
    lines = [] if row.problem is None else [row.problem]
    found = row.abilities
    if found is None:
        return lines or ["its abilities are found out by its first call, or by: llmsaver local status"]
    for value, word in _GROUPS.items():
        names = [said for name, said in ABILITIES.items() if getattr(found, name) is value]
        if names:
            lines.append(f"{word}: {', '.join(names)}")
    return lines
