"""A ledger that was found broken and moved aside: budgets that must hold wait until somebody says what is to be done.

What was spent is in the broken file, so a fresh one would let it all be spent again. The file itself is the mark: as
long as it lies beside the ledger under the name it was moved to, every program refuses calls under a hard budget.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from llmsaver.ledger.holds import UNITS
from llmsaver.ledger.schema import budgets, windows
from llmsaver.ledger.statements import Statement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmsaver.ledger.statements import Transaction
    from llmsaver.ledger.store import Store

__all__ = ["Mended", "aside", "mend"]

BUDGET = tuple(column.name for column in budgets.c)
WINDOW = tuple(column.name for column in windows.c if column.name != "seq")
AMOUNTS = tuple(f"spent_{unit}" for unit in UNITS)
ADD_BUDGET = Statement(insert(budgets), *BUDGET)
HAS_BUDGET = Statement(select(budgets.c.name).where(budgets.c.name == bindparam("b")), "b")
ADD_WINDOW = Statement(insert(windows), *WINDOW)
FIND_WINDOW = Statement(
    select(windows.c.seq).where(
        windows.c.budget == bindparam("b"), windows.c.key == bindparam("k"), windows.c.window == bindparam("i")
    ),
    "b",
    "k",
    "i",
)
RAISE_WINDOW = Statement(
    update(windows)
    .where(windows.c.seq == bindparam("w"))
    .values(
        {name: windows.c[name] + bindparam(f"{name}_") for name in AMOUNTS}
        | {"low_nano": windows.c.low_nano + bindparam("low")}
    ),
    *(f"{name}_" for name in AMOUNTS),
    "low",
    "w",
)


@dataclass(frozen=True, slots=True)
class Mended:
    """What was carried over from broken files: budgets, windows, and whether every one of them could be read."""

    files: tuple[Path, ...]
    budgets: int = 0
    windows: int = 0
    whole: bool = True


def aside(path: Path) -> list[Path]:
    """Return the broken files that were moved aside from ``path`` and that nobody has dealt with, oldest first."""
    try:
        return sorted(
            found for found in path.parent.glob(f"{path.name}.broken-*") if not found.name.endswith(("-wal", "-shm"))
        )
    except OSError:
        return []


def mend(store: Store, patience: float, *, accept: bool = False) -> Mended:
    """Carry the budgets and what they had spent over from every broken file, which is then called repaired.

    What was set aside by calls under way counts as spent: nobody can say whether they were billed. Where something
    cannot be read the file is left as it is, unless ``accept`` says to go on with what there is.
    """
    done = Mended(())
    for broken in store.broken():
        rows, whole = _read(broken)
        if not whole and not accept:
            done = Mended((*done.files, broken), done.budgets, done.windows, whole=False)
            continue
        carried = store.transact(lambda transaction, rows=rows: _carry(transaction, rows), patience)  # type: ignore[misc]  # bound in the loop
        _rename(broken)
        done = Mended((*done.files, broken), done.budgets + carried[0], done.windows + carried[1], done.whole)
    return done


def _read(broken: Path) -> tuple[dict[str, list[dict[str, Any]]], bool]:
    """Return what can be read of budgets and windows, and whether that is all of them."""
    rows: dict[str, list[dict[str, Any]]] = {"budgets": [], "windows": []}
    whole = True
    for table, found in rows.items():
        try:
            with contextlib.closing(sqlite3.connect(f"{broken.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                found.extend(dict(row) for row in _rows(connection, table))
        except sqlite3.Error:
            whole = False
    return rows, whole


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[Any]:
    yield from connection.execute(f"SELECT * FROM {table} NOT INDEXED")  # noqa: S608 - one of two names


def _carry(transaction: Transaction, rows: dict[str, list[dict[str, Any]]]) -> tuple[int, int]:
    for row in rows["budgets"]:
        if transaction.row(HAS_BUDGET, row["name"]) is None:
            transaction.run(ADD_BUDGET, *(row.get(name) for name in BUDGET))
    for row in rows["windows"]:
        for unit in UNITS:
            row[f"spent_{unit}"] += row[f"held_{unit}"]
            row[f"held_{unit}"] = 0
        known = transaction.row(FIND_WINDOW, row["budget"], row["key"], row["window"])
        if known is None:
            transaction.run(ADD_WINDOW, *(row[name] for name in WINDOW))
        else:
            transaction.run(RAISE_WINDOW, *(row[name] for name in AMOUNTS), row["low_nano"], known[0])
    return len(rows["budgets"]), len(rows["windows"])


def _rename(broken: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            found = broken.with_name(broken.name + suffix)
            found.replace(found.with_name(found.name.replace(".broken-", ".repaired-")))
