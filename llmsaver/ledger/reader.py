"""Reading the books: rows, live tails, budgets, and sums by whatever a report is cut by. Never blocks a writer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from llmsaver.ledger.budget import UNLIMITED
from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.lines import Line, Lines
from llmsaver.ledger.rollup import COLUMNS, DAY, HOUR
from llmsaver.ledger.rows import BOOLEAN_COLUMNS, JOINED_COLUMNS, JSON_COLUMNS
from llmsaver.ledger.schema import SUMS, attempts, budgets, calls, holds, meta, rollups, tasks, windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from llmsaver.ledger.salt import Salt
    from llmsaver.ledger.store import Store

__all__ = ["Reader"]

_MAPPINGS = frozenset({"tags", "tokens"})
AGES = 10**11


class Reader:
    """Queries on a ledger, each of one moment. Times are seconds since the epoch, money nano-dollars.

    Every failure is a ``LedgerUnavailable``; reading a ledger that does not exist yet is one.
    """

    def __init__(self, store: Store, salt: Salt | None = None) -> None:
        self._engine = store.read()
        self._salt = salt

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def calls(
        self, *, since: float | None = None, until: float | None = None, limit: int = 100, **where: str | int | None
    ) -> list[dict[str, Any]]:
        """Return the latest rows first; ``where`` are columns of ``calls`` and the values they must have."""
        if self._salt is not None:
            where |= {
                name: self._salt.hide(str(where[name])) for name in ("user", "tenant") if where.get(name) is not None
            }
        wanted = [calls.c[name] == value for name, value in where.items()]
        query = (
            select(calls).where(_between(since, until), *wanted).order_by(calls.c.started_at.desc(), calls.c.seq.desc())
        )
        with self._look() as connection:
            return _with_attempts(connection, connection.execute(query.limit(limit)).mappings().all())

    def call(self, call_id: str) -> dict[str, Any] | None:
        """Return the row of one call, its attempts under ``attempts``; None where there is none."""
        found = self.calls(limit=1, id=call_id)
        return found[0] if found else None

    def tail(self, after: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Return rows in the order they were written, those with a ``seq`` above ``after``; None: the latest ones."""
        query = select(calls)
        if after is None:
            query = query.order_by(calls.c.seq.desc())
        else:
            query = query.where(calls.c.seq > after).order_by(calls.c.seq)
        with self._look() as connection:
            rows = connection.execute(query.limit(limit)).mappings().all()
            return _with_attempts(connection, rows if after is not None else rows[::-1])

    def totals(self, *, since: float | None = None, until: float | None = None) -> Line:
        """Return the sums over all calls begun in [since, until)."""
        found = self.lines("total", since=since, until=until)
        return found[0] if found else Line("total")

    def lines(
        self, by: str = "feature", *, since: float | None = None, until: float | None = None, tz: str = "UTC"
    ) -> list[Line]:
        """Return sums per value of ``by``, dearest first, days in order.

        ``by`` is feature, model, tier, user, tenant, task, tag:x, day (in ``tz``, by the hour) or total. Raises
        ``ValueError`` for anything else.
        """
        lines = Lines(by, tz)
        with self._look() as connection:
            for query in _sums(lines, since, until):
                for row in connection.execute(query):
                    lines.merge(row)
            for query in _unsummed(lines, connection, since, until):
                for row in connection.execute(query):
                    lines.add(row)
            began = [tasks.c.started_at >= since] if since is not None else []
            began += [tasks.c.started_at < until] if until is not None else []
            for row in connection.execute(
                select(tasks.c.feature, tasks.c.user, tasks.c.tenant, tasks.c.started_at, tasks.c.id).where(
                    tasks.c.outcome == "resolved", *began
                )
            ):
                lines.resolve(row)
        return lines.ordered()

    def budgets(self, now: float) -> list[dict[str, Any]]:
        """Return every budget's windows that are open at ``now``, and budgets without one; limits None if unbound."""
        joined = budgets.outerjoin(
            windows,
            and_(
                windows.c.budget == budgets.c.name,
                windows.c.closed == 0,
                or_(windows.c.ends_at.is_(None), and_(windows.c.starts_at <= now, windows.c.ends_at > now)),
            ),
        )
        query = select(budgets.c.name, budgets.c.terms, *windows.c).select_from(joined)
        with self._look() as connection:
            rows = connection.execute(query.order_by(budgets.c.name, windows.c.key)).mappings().all()
        return [_budget(row) for row in rows]

    def holds(self) -> list[dict[str, Any]]:
        """Return the holds that are open or lapsed."""
        with self._look() as connection:
            return [dict(row) for row in connection.execute(select(holds)).mappings()]

    def meta(self) -> dict[str, str]:
        """Return the ledger's notes on itself: ``lost`` rows, and up to which row sums are ``rolled``."""
        with self._look() as connection:
            return {row.key: row.value for row in connection.execute(select(meta))}

    def _look(self) -> Any:
        return _Look(self._engine)


class _Look:
    """A read-only connection in a transaction, its failures given our name."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __enter__(self) -> Connection:
        try:
            connection: Connection = self._engine.connect().execution_options(reading=True)
        except (SQLAlchemyError, OSError) as error:
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error
        self._connection = connection
        return connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error


def _between(since: float | None, until: float | None) -> ColumnElement[bool]:
    return and_(
        calls.c.started_at >= (-AGES if since is None else since),
        calls.c.started_at < (AGES if until is None else until),
    )


def _spans(lines: Lines, since: float | None, until: float | None) -> tuple[list[tuple[int, int, int]], int, int]:
    """Cut [since, until) into days, and hours where the sums have them, that are whole; return them and their ends."""
    first, last = (-AGES if since is None else since), (AGES if until is None else until)
    spans = [HOUR] if lines.hourly else [HOUR, DAY] if lines.grouped else [DAY]
    starts = {span: -int(-first // span) * span for span in spans}
    ends = {span: int(last // span) * span for span in spans}
    fine = spans[0]
    if starts[fine] >= ends[fine]:
        return [], 0, 0
    coarse = spans[-1]
    if coarse == fine or starts[coarse] >= ends[coarse]:
        return [(fine, starts[fine], ends[fine])], starts[fine], ends[fine]
    pieces = [
        (fine, starts[fine], starts[coarse]),
        (coarse, starts[coarse], ends[coarse]),
        (fine, ends[coarse], ends[fine]),
    ]
    return pieces, starts[fine], ends[fine]


def _sums(lines: Lines, since: float | None, until: float | None) -> Iterator[Any]:
    for span, first, last in _spans(lines, since, until)[0]:
        columns = [rollups.c[name] for name in ("name", "bucket", *SUMS, "latency", "first_byte")]
        bucket = and_(rollups.c.bucket >= first, rollups.c.bucket < last)
        yield select(*columns).where(rollups.c.axis == lines.axis, rollups.c.span == span, bucket)


def _unsummed(lines: Lines, connection: Connection, since: float | None, until: float | None) -> Iterator[Any]:
    """Yield queries for the rows that the sums leave out: at the ends of the time asked for, and not folded yet."""
    rolled = int(connection.execute(select(meta.c.value).where(meta.c.key == "rolled")).scalar() or 0)
    columns = [calls.c[name] for name in COLUMNS]
    pieces, first, last = _spans(lines, since, until)
    if not pieces:
        yield select(*columns).where(_between(since, until))
        return
    if since is not None and since < first:
        yield select(*columns).where(_between(since, first))
    if until is not None and last < until:
        yield select(*columns).where(_between(last, until))
    # Written so that the index on time is no choice: it would lead through everything, these are the last few.
    late = and_(calls.c.started_at + 0 >= first, calls.c.started_at + 0 < last)
    yield select(*columns).where(calls.c.seq > rolled, late)


def _with_attempts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as dictionaries, JSON read and attempts added."""
    out = {row["seq"]: _plain(row) for row in rows}
    if out:
        found = connection.execute(
            select(attempts).where(attempts.c.call.in_(list(out))).order_by(attempts.c.call, attempts.c.n)
        ).mappings()
        for attempt in found:
            values = dict(attempt)
            values["estimated"] = bool(values["estimated"])
            out[values.pop("call")]["attempts"].append(values)
    return list(out.values())


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(row)
    for name in JSON_COLUMNS:
        empty: Any = {} if name in _MAPPINGS else []
        values[name] = json.loads(values[name]) if values[name] else empty
    for name in JOINED_COLUMNS:
        values[name] = values[name].split(",") if values[name] else []
    for name in BOOLEAN_COLUMNS:
        if values[name] is not None:
            values[name] = bool(values[name])
    values["attempts"] = []
    return values


def _budget(row: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"name": row["name"], **json.loads(row["terms"])}
    if row["seq"] is None:
        return {**values, "key": "", "window": None}
    values |= {name: row[name] for name in ("key", "window", "starts_at", "ends_at", "low_nano", "alerted")}
    for unit in ("nano", "tokens", "calls"):
        limit = row[f"limit_{unit}"]
        values |= {
            f"limit_{unit}": None if limit >= UNLIMITED else limit,
            f"spent_{unit}": row[f"spent_{unit}"],
            f"held_{unit}": row[f"held_{unit}"],
        }
    return values
