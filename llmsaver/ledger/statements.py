"""Statements written once in SQLAlchemy Core and handed to the driver as compiled text.

A statement is compiled once for each database, after which running it costs what the driver costs: SQLAlchemy's own
execution is several times dearer than the statements here.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Dialect, Table
    from sqlalchemy.sql import ClauseElement

__all__ = ["Cursor", "Statement", "Transaction", "inserted"]

# Rows in one INSERT: SQLite takes 32,766 parameters.
_AT_ONCE = 64


class Cursor(Protocol):
    """What of a DBAPI cursor is used."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    @property
    def lastrowid(self) -> int | None:
        """The number of the row added last; on SQLite only."""

    def execute(self, sql: str, parameters: Any = ..., /) -> object:
        """Run one statement."""

    def fetchone(self) -> Any:
        """Return the next row or None."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def close(self) -> None:
        """Let go of the statement."""


class Statement:
    """A statement whose parameters are the bind names ``args``, passed in that order."""

    __slots__ = ("_build", "_several", "args")

    def __init__(self, build: ClauseElement | Callable[[Dialect], ClauseElement], *args: str) -> None:
        self._build = build
        self._several: dict[int, Statement] = {}
        self.args = args

    def times(self, count: int) -> Statement:
        """Return the INSERT of ``count`` rows by one statement, whose parameters are theirs one after the other."""
        found = self._several.get(count)
        if found is None:
            found = self._several[count] = _Several(self, count)
        return found

    def compiled(self, dialect: Dialect) -> tuple[str, Callable[[Sequence[Any]], Any]]:
        """Return the text for ``dialect`` and what turns the parameters into the driver's."""
        element = self._build(dialect) if callable(self._build) else self._build
        more: dict[str, Any] = {"column_keys": list(self.args)} if element.is_insert else {}  # type: ignore[attr-defined]  # of statements
        compiled = element.compile(dialect=dialect, **more)
        constants = {name: value for name, value in compiled.params.items() if name not in self.args}
        args = self.args
        if not compiled.positional:  # type: ignore[attr-defined]  # of every compiler of SQL
            return str(compiled), lambda values: {**constants, **dict(zip(args, values, strict=True))}
        order: list[str] = compiled.positiontup or []  # type: ignore[attr-defined]  # the same
        if tuple(order) == args:
            return str(compiled), lambda values: values
        fixed = tuple(constants.values())
        places = [*args, *constants]
        if len(order) == 1:
            only = places.index(order[0])
            return str(compiled), lambda values: ((*values, *fixed)[only],)
        pick = itemgetter(*(places.index(name) for name in order)) if order else lambda _: ()
        return str(compiled), lambda values: pick((*values, *fixed))


class _Several(Statement):
    """An INSERT of several rows, on databases whose parameters are question marks."""

    __slots__ = ("_count", "_one")

    def __init__(self, one: Statement, count: int) -> None:
        super().__init__(one._build)  # noqa: SLF001 - the same class
        self._one = one
        self._count = count

    def compiled(self, dialect: Dialect) -> tuple[str, Callable[[Sequence[Any]], Any]]:
        """Return the text with a group of parameters for each row."""
        sql, bind = self._one.compiled(dialect)
        before, values, after = sql.partition("VALUES ")
        group, end, after = after.partition(")")
        size = len(self._one.args)

        def bind_all(values: Sequence[Any]) -> list[Any]:
            return [value for at in range(0, len(values), size) for value in bind(values[at : at + size])]

        return f"{before}{values}{', '.join([group + end] * self._count)}{after}", bind_all


class Transaction:
    """An open transaction: runs statements, and is committed or rolled back by whoever opened it."""

    __slots__ = ("_compiled", "cursor", "dialect")

    def __init__(self, cursor: Cursor, dialect: Dialect, compiled: dict[Statement, Any]) -> None:
        self.cursor = cursor
        self.dialect = dialect
        self._compiled = compiled

    def run(self, statement: Statement, *values: Any) -> Cursor:
        """Run ``statement``; the cursor returned is good until the next."""
        known = self._compiled.get(statement)
        if known is None:
            known = self._compiled[statement] = statement.compiled(self.dialect)
        sql, bind = known
        self.cursor.execute(sql, bind(values))
        return self.cursor

    def rows(self, statement: Statement, *values: Any) -> list[Any]:
        """Run ``statement`` and return all its rows."""
        return self.run(statement, *values).fetchall()

    def insert_all(self, statement: Statement, rows: Sequence[Sequence[Any]]) -> list[int]:
        """Insert rows by as few statements as may be and return the numbers they were given; on SQLite only.

        Fewer come back than rows went in where ON CONFLICT left some out. A driver lets other threads run during each
        statement, and must then wait until they let it go on: a statement per row would hold the write lock for long.
        """
        numbers: list[int] = []
        at = 0
        while at < len(rows):
            count = min(_AT_ONCE, 1 << (len(rows) - at).bit_length() - 1)  # few different texts, all kept prepared
            cursor = self.run(statement.times(count), *chain.from_iterable(rows[at : at + count]))
            last = (cursor.lastrowid or 0) + 1
            numbers += range(last - cursor.rowcount, last)
            at += count
        return numbers

    def row(self, statement: Statement, *values: Any) -> Any:
        """Run ``statement`` and return its only row, None where there is none."""
        rows = self.run(statement, *values).fetchall()  # all: SQLite cannot commit past a statement half read
        return rows[0] if rows else None


def inserted(table: Table) -> Callable[[Dialect], Any]:
    """Return what builds the INSERT that knows ON CONFLICT on the database at hand."""

    def build(dialect: Dialect) -> Any:
        return (sqlite_insert if dialect.name == "sqlite" else postgresql_insert)(table)

    return build
