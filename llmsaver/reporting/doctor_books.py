"""What the doctor says of the ledger: where it is, whether it can be read, and what budgets on it are worth."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmsaver.errors import LLMSaverError
from llmsaver.reporting.books import cautions, ledger_at, place, reading
from llmsaver.reporting.doctor_parts import Finding
from llmsaver.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["books"]


def books() -> Iterator[Finding]:
    """Look at the ledger that the settings name; it is neither made nor changed."""
    try:
        ledger = ledger_at()
        where = place(ledger)
        budgets = bool(load().budgets)
        file = ledger.store.file
        if file is None or file.exists():
            with reading(ledger) as reader:
                budgets = budgets or bool(reader.budgets(time.time()))
                lost = int(reader.meta().get("lost", 0))
            what = where + (f"; {lost:,} rows were lost since it began" if lost else "")
            yield Finding("ledger", "ledger", "ok", what)
        else:
            yield Finding("ledger", "ledger", "ok", f"{where}, made by the first call")
    except LLMSaverError as error:
        yield Finding("ledger", "ledger", "absent", str(error).splitlines()[0], "calls go on; hard budgets refuse them")
        return
    for what, fix in cautions(ledger, budgets=budgets):
        yield Finding("ledger", "budgets", "absent", f"the ledger is {what}", fix)
