"""Statements written once in SQLAlchemy Core and handed to the driver as compiled text.

A statement is compiled once for each database, after which running it costs what the driver costs: SQLAlchemy's own
execution is several times dearer than the statements here.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Dialect, Table
    from sqlalchemy.sql import ClauseElement

__all__ = ["Cursor", "Statement", "Transaction", "inserted"]


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

    __slots__ = ("_build", "args")

    def __init__(self, build: ClauseElement | Callable[[Dialect], ClauseElement], *args: str) -> None:
        self._build = build
        self.args = args

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

    def row(self, statement: Statement, *values: Any) -> Any:
        """Run ``statement`` and return its only row, None where there is none."""
        rows = self.run(statement, *values).fetchall()  # all: SQLite cannot commit past a statement half read
        return rows[0] if rows else None


def inserted(table: Table) -> Callable[[Dialect], Any]:
    """Return what builds the INSERT that knows ON CONFLICT on the database at hand."""

    def build(dialect: Dialect) -> Any:
        return (sqlite_insert if dialect.name == "sqlite" else postgresql_insert)(table)

    return build
