"""What layers did to calls, summed per hour and day by feature and layer, beside the sums of ``rollup``."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, delete, func, select

from llmsaver.ledger.schema import SHAPES, calls, layer_sums
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Dialect

    from llmsaver.ledger.statements import Transaction

__all__ = ["LayerLine", "Sums", "layer_lines"]

KEYS = ("span", "bucket", "feature", "layer")


def _add(dialect: Dialect) -> Any:
    statement = inserted(layer_sums)(dialect)
    more = {name: layer_sums.c[name] + statement.excluded[name] for name in SHAPES}
    return statement.on_conflict_do_update(index_elements=KEYS, set_=more)


ADD = Statement(_add, *KEYS, *SHAPES)
EMPTY = Statement(delete(layer_sums).where(layer_sums.c.calls == 0))


class LayerLine(NamedTuple):
    """Sums over the calls of a ``feature`` that a ``layer`` shaped.

    ``saved_nano`` is net, over the ``measured`` of them; tokens are estimates of what was changed, and 0 where a layer
    takes no text out.
    """

    feature: str
    layer: str
    calls: int
    measured: int
    tokens_before: int
    tokens_after: int
    saved_nano: int


class Sums:
    """Gathers what rows say, to be added up at once."""

    def __init__(self) -> None:
        self._found: defaultdict[tuple[int, int, str, str], list[int]] = defaultdict(lambda: [0] * len(SHAPES))

    def add(self, feature: str, shaped: str, *buckets: tuple[int, int]) -> None:
        """Add a row's column ``shaped`` in each of its buckets, (span, start)."""
        for layer, amounts in _amounts(shaped):
            for span, bucket in buckets:
                sums = self._found[span, bucket, feature, layer]
                for at, amount in enumerate(amounts):
                    sums[at] += amount

    def apply(self, transaction: Transaction, sign: int = 1) -> None:
        """Add what was gathered to the table; -1 takes it out."""
        for key, sums in self._found.items():
            transaction.run(ADD, *key, *(sign * amount for amount in sums))
        if sign < 0 and self._found:
            transaction.run(EMPTY)

    def lines(self) -> list[LayerLine]:
        """Return what was gathered, whatever the bucket: what saved most first."""
        found = [LayerLine(feature, layer, *sums) for (_, _, feature, layer), sums in self._found.items()]
        return sorted(found, key=lambda line: (-line.saved_nano, -line.calls, line.layer, line.feature))

    def merge(self, feature: str, layer: str, sums: Iterable[int]) -> None:
        """Add sums made before."""
        known = self._found[0, 0, feature, layer]
        for at, amount in enumerate(sums):
            known[at] += int(amount)


def layer_lines(
    connection: Connection, pieces: Iterable[tuple[int, int, int]], loose: Iterable[ColumnElement[bool]]
) -> list[LayerLine]:
    """Return the sums of whole ``pieces`` (span, first, last) of time, and of the rows that are in none of them."""
    found = Sums()
    columns = [layer_sums.c.feature, layer_sums.c.layer, *(func.sum(layer_sums.c[name]) for name in SHAPES)]
    for span, first, last in pieces:
        within = and_(layer_sums.c.span == span, layer_sums.c.bucket >= first, layer_sums.c.bucket < last)
        query = select(*columns).where(within).group_by(layer_sums.c.feature, layer_sums.c.layer)
        for feature, layer, *sums in connection.execute(query):
            found.merge(feature, layer, sums)
    for condition in loose:
        for feature, shaped in connection.execute(
            select(calls.c.feature, calls.c.shaped).where(condition, calls.c.shaped.is_not(None), calls.c.refused == 0)
        ):
            found.add(feature, shaped, (0, 0))
    return found.lines()


def _amounts(shaped: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return what a row says of each layer, in the order of ``SHAPES``."""
    told = json.loads(shaped)
    found: list[tuple[str, tuple[int, ...]]] = []
    for layer, values in told.items() if isinstance(told, dict) else ():
        before, after, saved = (*values, None, None, None)[:3]
        found.append((layer, (1, int(saved is not None), before or 0, after or 0, saved or 0)))
    return found
