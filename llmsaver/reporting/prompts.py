"""The costliest prompts of a ledger, by what they begin with, and what would make each cheaper."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from llmsaver.pricing import PriceBook, plain
from llmsaver.prompt.learned import Told
from llmsaver.reporting.books import begun, place, reading
from llmsaver.reporting.prompts_advice import Advice, advised

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from llmsaver.ledger import Ledger
    from llmsaver.ledger.prefixes import PromptRow

__all__ = ["MOST", "Prompt", "Prompts", "as_json", "prompts", "prompts_of"]

# So many calls are looked at, the latest ones, which takes a few seconds.
MOST = 200_000
# What at least so many calls begin with is a prefix of its own; the others of a feature and model are one line.
_SHARED = 2


@dataclass(frozen=True, slots=True)
class Prompt:
    """The calls of a feature on a model that begin alike: with ``prefix``, a salted hash, or "" with nothing alike.

    Tokens are the providers' own counts; ``cost_nano`` is the whole calls', None where no price is known; ``gap_s`` is
    the median of the seconds between two of them.
    """

    feature: str
    model: str
    prefix: str
    calls: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_nano: int | None
    gap_s: float | None
    advice: tuple[Advice, ...] = ()

    @property
    def read_share(self) -> float | None:
        """What share of the input tokens was read from the provider's cache."""
        return self.cache_read_tokens / self.input_tokens if self.input_tokens else None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a machine: exact decimal dollars, None where they are not known."""
        return {
            "feature": self.feature,
            "model": self.model,
            "prefix": self.prefix or None,
            "calls": self.calls,
            "input_tokens": self.input_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "cache_read_share": None if self.read_share is None else round(self.read_share, 6),
            "spend_usd": None if self.cost_nano is None else plain(self.cost_nano),
            "median_gap_s": None if self.gap_s is None else round(self.gap_s, 3),
            "advice": [{"kind": each.kind, "told": each.told} for each in self.advice],
        }


@dataclass(frozen=True, slots=True)
class Prompts:
    """The costliest ``lines`` of ``number``, of the latest ``calls`` since a time; ``cut``: whether there are more."""

    lines: tuple[Prompt, ...]
    number: int
    calls: int
    since: float | None
    cut: bool = False
    ledger: str = ""


def prompts(
    ledger: Ledger, *, since: float | None = None, limit: int = 10, book: PriceBook | None = None, most: int = MOST
) -> Prompts:
    """Read a ledger's costliest prompts; one that is empty or not there has none. Raises ``LedgerUnavailable``."""
    rows: Sequence[PromptRow] = ()
    if begun(ledger):
        with reading(ledger) as reader:
            rows = reader.prompts(since=since, most=most)
    lines = prompts_of(rows, book or PriceBook())
    return Prompts(tuple(lines[:limit]), len(lines), len(rows), since, cut=len(rows) >= most, ledger=place(ledger))


def prompts_of(rows: Iterable[PromptRow], book: PriceBook) -> list[Prompt]:
    """Return the prompts in some rows, which come in the order of time, the costliest first."""
    groups: defaultdict[tuple[str, str, str], list[tuple[PromptRow, Told | None]]] = defaultdict(list)
    for row in rows:
        told = None if row.prefix is None else Told.read(row.prefix)
        model = row.model if told is None else told.model
        prefix = row.first if told is None else told.prefix if told.prefix_tokens else ""
        groups[row.feature, model, prefix].append((row, told))
    for (feature, model, prefix), group in list(groups.items()):
        if prefix and len(group) < _SHARED:
            groups[feature, model, ""] += groups.pop((feature, model, prefix))
    found = []
    for (feature, model, prefix), group in groups.items():
        group.sort(key=lambda each: each[0].started_at)
        found.append(_prompt(feature, model, prefix, group, book))
    return sorted(found, key=lambda line: (-(line.cost_nano or 0), -line.input_tokens, line.feature, line.model))


def _prompt(
    feature: str, model: str, prefix: str, group: Sequence[tuple[PromptRow, Told | None]], book: PriceBook
) -> Prompt:
    rows = [row for row, _ in group]
    gaps = [after.started_at - before.started_at for before, after in pairwise(rows)]
    costs = [row.cost_nano for row in rows if row.cost_nano is not None and not row.unpriced]
    return Prompt(
        feature,
        model,
        prefix,
        len(rows),
        sum(row.input_tokens for row in rows),
        sum(row.cache_read_tokens for row in rows),
        sum(row.cache_write_tokens for row in rows),
        sum(costs) if costs else None,
        median(gaps) if gaps else None,
        tuple(advised(group, gaps if prefix else [], model, book)),
    )


def as_json(found: Prompts) -> str:
    """Return the prompts as a JSON document."""
    since = None if found.since is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found.since))
    facts = {"since": since, "ledger": found.ledger, "calls": found.calls, "older_left_out": found.cut}
    return json.dumps({**facts, "number": found.number, "prompts": [line.as_dict() for line in found.lines]}, indent=2)
