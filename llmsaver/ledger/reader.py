"""Reading the books: rows, live tails, budgets, and sums by whatever a report is cut by. Never blocks a writer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import SQLAlchemyError

from llmsaver.ledger.budget import UNLIMITED
from llmsaver.ledger.evaluations import MOST, found
from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.lines import NAMED, Line, Lines
from llmsaver.ledger.migrate import check
from llmsaver.ledger.prefixes import latest_prefixes, prompt_rows
from llmsaver.ledger.routed import judged, latest, routed_tasks
from llmsaver.ledger.rows import BOOLEAN_COLUMNS, JOINED_COLUMNS, JSON_COLUMNS
from llmsaver.ledger.schema import attempts, budgets, calls, holds, meta, servers, windows
from llmsaver.ledger.sums import AGES, Stretch, between

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from llmsaver.ledger.prefixes import PrefixRow, PromptRow
    from llmsaver.ledger.routed import Judged, RoutedTask
    from llmsaver.ledger.salt import Salt
    from llmsaver.ledger.shaped import LayerLine
    from llmsaver.ledger.store import Store

__all__ = ["Reader"]

_EMPTY: dict[str, Any] = {"tags": dict, "tokens": dict, "shaped": dict, "feature_path": list, "layers": list}


class Reader:
    """Queries on a ledger, each of one moment. Times are seconds since the epoch, money nano-dollars.

    Every failure is a ``LedgerUnavailable``; reading a ledger that does not exist yet is one, and so is one of an older
    schema (``LedgerTooOld``). One of a newer schema is a ``LedgerTooNew``.
    """

    def __init__(self, store: Store, salt: Salt | None = None) -> None:
        self._engine = store.read()
        self._salt = salt
        self._checked = False

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
            select(calls).where(between(since, until), *wanted).order_by(calls.c.started_at.desc(), calls.c.seq.desc())
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
        """Return sums per value of ``by``, dearest first, days in order; calls without a value last, under "".

        ``by`` is feature, model, tier, router ("feature > tier" of the calls that one routed), user, tenant, task,
        tag:x, day (in ``tz``, by the hour) or total. Raises ``ValueError`` for anything else.
        """
        return self.dearest(by, since=since, until=until, tz=tz)[0]

    def dearest(
        self,
        by: str,
        count: int | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        tz: str = "UTC",
    ) -> tuple[list[Line], int]:
        """Return the ``count`` lines that cost most, and how many there are in all.

        Where many users, tenants or tasks are asked for a few, the others are only ranked: a hundred thousand names
        take as long as a few hundred do in full.
        """
        lines = Lines(by, tz)
        with self._look() as connection:
            stretch = Stretch(connection, lines, since, until)
            first = None if count is None or by not in NAMED else stretch.dearest(count)
            names, number = (None, 0) if first is None else first
            stretch.collect(names)
            stretch.resolved(since, until, names)
        found = lines.ordered()
        return found, number or len(found)

    def layers(self, *, since: float | None = None, until: float | None = None) -> list[LayerLine]:
        """Return what layers did to the calls begun in [since, until), by feature and layer, what saved most first."""
        with self._look() as connection:
            return Stretch(connection, Lines("total"), since, until).layers()

    def prefixes(self, after: int = 0, *, since: float, limit: int) -> tuple[list[PrefixRow], int]:
        """Return the latest rows above ``after`` that tell of their prefixes, by time, and the last row's number."""
        with self._look() as connection:
            return latest_prefixes(connection, after, since, limit)

    def prompts(self, *, since: float | None, until: float | None = None, most: int) -> list[PromptRow]:
        """Return what is known of the prompts of the latest live calls begun in [since, until), by time."""
        with self._look() as connection:
            return prompt_rows(connection, between(since, until), most)

    def evaluations(
        self,
        name: str | None = None,
        *,
        call: str | None = None,
        after: int = 0,
        since: float | None = None,
        until: float | None = None,
        limit: int = MOST,
    ) -> list[dict[str, Any]]:
        """Return judgements in the order they were written: of a name, on a call, with a ``seq`` above ``after``.

        ``since`` and ``until`` are about when they were made. Each has seq, call, at, name, value, judge, arm and
        details, a dictionary.
        """
        with self._look() as connection:
            return found(connection, name, call=call, after=after, since=since, until=until, limit=limit)

    def routed(self, feature: str | None = None, *, limit: int = 1) -> list[dict[str, Any]]:
        """Return how the latest routed calls were routed: id, feature, started_at and routing, the latest first."""
        with self._look() as connection:
            return latest(connection, feature, limit)

    def routed_tasks(self, *, since: float | None = None, until: float | None = None) -> list[RoutedTask]:
        """Return the tasks begun in [since, until) that have routed calls in them."""
        with self._look() as connection:
            return routed_tasks(connection, since, until)

    def judged(self, name: str, *, since: float | None = None, until: float | None = None) -> list[Judged]:
        """Return the judgements called ``name`` on routed calls begun in [since, until), as they were written."""
        with self._look() as connection:
            return judged(connection, name, since, until)

    def budgets(self, now: float, name: str | None = None) -> list[dict[str, Any]]:
        """Return every budget's windows that are open at ``now``, and budgets without one; limits None if unbound.

        ``name`` asks for those of one budget.
        """
        joined = budgets.outerjoin(
            windows,
            and_(
                windows.c.budget == budgets.c.name,
                windows.c.closed == 0,
                or_(windows.c.ends_at.is_(None), and_(windows.c.starts_at <= now, windows.c.ends_at > now)),
            ),
        )
        more = (budgets.c.thresholds, budgets.c.alert, budgets.c.max_call_nano)
        query = select(budgets.c.name, budgets.c.terms, *more, *windows.c).select_from(joined)
        query = query.where(budgets.c.removed_at.is_(None))
        if name is not None:
            query = query.where(budgets.c.name == name)
        with self._look() as connection:
            rows = connection.execute(query.order_by(budgets.c.name, windows.c.key)).mappings().all()
        return [_budget(row) for row in rows]

    def servers(self, *, since: float | None = None, until: float | None = None) -> list[dict[str, Any]]:
        """Return the local servers that were up at some time in [since, until), the first started first."""
        query = select(servers).where(
            servers.c.updated_at >= (-AGES if since is None else since),
            servers.c.started_at < (AGES if until is None else until),
        )
        with self._look() as connection:
            return [dict(row) for row in connection.execute(query.order_by(servers.c.started_at)).mappings()]

    def holds(self) -> list[dict[str, Any]]:
        """Return the holds that are open or lapsed."""
        with self._look() as connection:
            return [dict(row) for row in connection.execute(select(holds)).mappings()]

    def meta(self) -> dict[str, str]:
        """Return the ledger's notes on itself: ``lost`` rows, and up to which row sums are ``rolled``."""
        with self._look() as connection:
            return {row.key: row.value for row in connection.execute(select(meta))}

    def _look(self) -> Any:
        return _Look(self._engine, self._check)

    def _check(self, connection: Connection) -> None:
        if not self._checked:
            check(connection)
            self._checked = True


class _Look:
    """A read-only connection in a transaction, its failures given our name."""

    def __init__(self, engine: Any, check: Callable[[Connection], None]) -> None:
        self._engine = engine
        self._check = check

    def __enter__(self) -> Connection:
        try:
            connection: Connection = self._engine.connect().execution_options(reading=True)
        except (SQLAlchemyError, OSError) as error:
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error
        self._connection = connection
        try:
            self._check(connection)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        if isinstance(error, SQLAlchemyError):
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error


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
        values[name] = json.loads(values[name]) if values[name] else _EMPTY.get(name, _none)()
    for name in JOINED_COLUMNS:
        values[name] = values[name].split(",") if values[name] else []
    for name in BOOLEAN_COLUMNS:
        if values[name] is not None:
            values[name] = bool(values[name])
    values["attempts"] = []
    return values


def _none() -> None:
    """Return nothing, as of a call that was not routed."""


def _budget(row: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {"name": row["name"], **json.loads(row["terms"])}
    values |= {"thresholds": tuple(json.loads(row["thresholds"]))}
    values |= {name: row[name] for name in ("alert", "max_call_nano")}
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
