"""Opening a ledger to look at it: never made, changed, repaired or moved by looking."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from llmsaver import settings
from llmsaver.ledger import Ledger, LedgerUnavailable
from llmsaver.ledger.failures import LedgerTooOld

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmsaver.ledger import Reader

__all__ = ["begun", "cautions", "ledger_at", "place", "reading"]


def ledger_at(where: str | None = None) -> Ledger:
    """Return the ledger at a path or URL, by default the one that the settings name."""
    loaded = settings.load({"ledger": where})
    return Ledger(loaded.ledger, hash_ids=loaded.hash_ids, record_text=loaded.record_text)


def place(ledger: Ledger) -> str:
    """Return where a ledger lies: its file's path, or its URL without the password."""
    from llmsaver.ledger.sqlite import SQLiteStore

    store = ledger.store
    return str(store.path) if isinstance(store, SQLiteStore) else store.read().url.render_as_string(hide_password=True)


def cautions(ledger: Ledger, *, budgets: bool) -> list[tuple[str, str]]:
    """Return what is to be known of where a ledger lies, each with what to do; ``budgets``: whether any is in force."""
    found = []
    broken = ledger.store.broken()
    if broken:
        found.append((f"found broken and moved to {broken[0]}; hard budgets refuse calls", "llmsaver ledger repair"))
    alone = ledger.own_disk() if budgets else None
    if alone is not None:
        what = f"on the disk of {alone}, so each instance counts its budgets by itself"
        found.append((what, "point LLMSAVER_LEDGER to a shared PostgreSQL"))
    return found


def begun(ledger: Ledger) -> bool:
    """Return whether there is a ledger to read; on a server, which is asked for one, it is made if need be."""
    from llmsaver.ledger.sqlite import SQLiteStore

    if isinstance(ledger.store, SQLiteStore):
        return ledger.store.path.exists()
    with _named(ledger):
        ledger.open()
    return True


@contextmanager
def reading(ledger: Ledger) -> Iterator[Reader]:
    """Open a reader; a failure is told in one line that says which ledger it is.

    A ledger of an older schema is brought up to date first, which only adds to it, where that is possible.
    """
    with _named(ledger):
        with ledger.reader() as reader:
            try:
                reader.meta()
            except LedgerTooOld:
                with suppress(LedgerUnavailable):
                    ledger.open()
                    ledger.store.close()
        with ledger.reader() as reader:
            yield reader


@contextmanager
def _named(ledger: Ledger) -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as failure:
        first = str(failure).splitlines()[0]
        raise LedgerUnavailable(f"{place(ledger)}: {first}", broken=failure.broken) from failure
