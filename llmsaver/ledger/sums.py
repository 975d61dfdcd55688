"""Which sums and which rows make up a stretch of time, and the dearest names in it without a look at all the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import and_, case, func, literal_column, select, union_all

from llmsaver.ledger.rollup import COLUMNS, DAY, HOUR
from llmsaver.ledger.schema import SUMS, calls, meta, rollups, tasks
from llmsaver.ledger.shaped import layer_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from llmsaver.ledger.lines import Lines
    from llmsaver.ledger.shaped import LayerLine

__all__ = ["Stretch", "between"]

AGES = 10**11
COLUMNS_OF_SUMS = [rollups.c[name] for name in ("name", "bucket", *SUMS, "latency", "first_byte")]


class _Piece(NamedTuple):
    """Whole days, or whole hours, of a stretch: ``span`` seconds each, from ``first`` to before ``last``."""

    span: int
    first: int
    last: int


def between(since: float | None, until: float | None) -> ColumnElement[bool]:
    """Return the condition on calls to have begun in [since, until)."""
    return and_(
        calls.c.started_at >= (-AGES if since is None else since),
        calls.c.started_at < (AGES if until is None else until),
    )


class Stretch:
    """[since, until) in a ledger, as ``lines`` are cut: days and hours that are summed, and the rows that are not."""

    def __init__(self, connection: Connection, lines: Lines, since: float | None, until: float | None) -> None:
        self._connection = connection
        self._lines = lines
        self._pieces = _pieces(lines, since, until)
        self._loose = self._conditions(since, until)

    def layers(self) -> list[LayerLine]:
        """Return what layers did to the calls, by feature and layer, what saved most first."""
        return layer_lines(self._connection, self._pieces, self._loose)

    def collect(self, names: Sequence[str] | None = None) -> None:
        """Put sums and rows into the lines: all, or those of some names."""
        lines = self._lines
        some = [] if names is None else [rollups.c.name.in_(names)]
        for piece in self._pieces:
            for row in self._connection.execute(select(*COLUMNS_OF_SUMS).where(*_of(lines.axis, piece), *some)):
                lines.merge(row)
        columns = [calls.c[name] for name in COLUMNS]
        if names is not None:
            some = [func.coalesce(calls.c[lines.by], "").in_(names)]
        for condition in self._loose:
            for row in self._connection.execute(select(*columns).where(condition, *some)):
                lines.add(row)

    def dearest(self, count: int) -> tuple[list[str], int] | None:
        """Return the names that cost most and how many names there are; None where there are no more than ``count``."""
        column = calls.c[self._lines.by]
        parts = [
            select(rollups.c.name, rollups.c.cost_nano, rollups.c.calls).where(*_of(self._lines.axis, piece))
            for piece in self._pieces
        ]
        parts += [
            select(
                func.coalesce(column, "").label("name"),
                func.coalesce(calls.c.cost_nano, 0).label("cost_nano"),
                case((calls.c.refused == 0, 1), else_=0).label("calls"),
            ).where(condition)
            for condition in self._loose
        ]
        every = union_all(*parts).subquery()
        spent = func.sum(every.c.cost_nano)
        query = select(every.c.name, func.count(literal_column("*")).over()).group_by(every.c.name)
        query = query.order_by(spent.desc(), func.sum(every.c.calls).desc(), every.c.name).limit(count + 1)
        found = self._connection.execute(query).all()
        if len(found) <= count:
            return None
        return [row[0] for row in found[:count]], int(found[0][1])

    def resolved(self, since: float | None, until: float | None, names: Sequence[str] | None = None) -> None:
        """Put into the lines how many tasks begun in this time were resolved."""
        began = [tasks.c.outcome == "resolved"]
        began += [tasks.c.started_at >= since] if since is not None else []
        began += [tasks.c.started_at < until] if until is not None else []
        by = self._lines.by
        if by == "day":
            for (moment,) in self._connection.execute(select(tasks.c.started_at).where(*began)):
                self._lines.resolve(self._lines.day(moment), 1)
        elif by == "total":
            self._lines.resolve(by, int(self._connection.execute(select(func.count()).where(*began)).scalar() or 0))
        elif by in {"feature", "user", "tenant", "task"}:
            column = func.coalesce(tasks.c["id" if by == "task" else by], "")
            some = [] if names is None else [column.in_(names)]
            for name, count in self._connection.execute(
                select(column, func.count()).where(*began, *some).group_by(column)
            ):
                self._lines.resolve(name, count)

    def _conditions(self, since: float | None, until: float | None) -> list[ColumnElement[bool]]:
        """Return what finds the rows that the sums leave out: at the ends of the time, and those not folded yet."""
        if not self._pieces:
            return [between(since, until)]
        rolled = int(self._connection.execute(select(meta.c.value).where(meta.c.key == "rolled")).scalar() or 0)
        first, last = min(piece.first for piece in self._pieces), max(piece.last for piece in self._pieces)
        found = []
        if since is not None and since < first:
            found.append(between(since, first))
        if until is not None and last < until:
            found.append(between(last, until))
        # Written so that the index on time is no choice: it would lead through everything, these are the last few.
        late = and_(calls.c.started_at + 0 >= first, calls.c.started_at + 0 < last)
        return [*found, and_(calls.c.seq > rolled, late)]


def _of(axis: str, piece: _Piece) -> tuple[ColumnElement[bool], ...]:
    bucket = and_(rollups.c.bucket >= piece.first, rollups.c.bucket < piece.last)
    return (rollups.c.axis == axis, rollups.c.span == piece.span, bucket)


def _pieces(lines: Lines, since: float | None, until: float | None) -> list[_Piece]:
    """Cut [since, until) into days, and hours where the sums have them, that are whole."""
    first, last = (-AGES if since is None else since), (AGES if until is None else until)
    spans = [HOUR] if lines.hourly else [HOUR, DAY] if lines.grouped else [DAY]
    starts = {span: -int(-first // span) * span for span in spans}
    ends = {span: int(last // span) * span for span in spans}
    fine, coarse = spans[0], spans[-1]
    if starts[fine] >= ends[fine]:
        return []
    if coarse == fine or starts[coarse] >= ends[coarse]:
        return [_Piece(fine, starts[fine], ends[fine])]
    return [
        _Piece(fine, starts[fine], starts[coarse]),
        _Piece(coarse, starts[coarse], ends[coarse]),
        _Piece(fine, ends[coarse], ends[fine]),
    ]
