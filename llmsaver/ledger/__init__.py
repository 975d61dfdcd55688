"""The books: what every call cost, and budgets that hold across threads, tasks and programs.

    ledger = Ledger()                                   # the default file; or a path, or a SQLAlchemy URL
    hold = ledger.reserve([ledger.claim(Budget.usd("support", 5))], nano=bound, tokens=most)
    if isinstance(hold, Refusal): ...                   # says which budget, its limit, what is spent and held
    ledger.mark_sent(hold)
    ledger.write(CallRow(id=..., cost_nano=...), settle=[Due(hold, nano, tokens)])
    with ledger.reader() as reader:
        reader.lines("feature", since=...)

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmsaver.ledger.budget import UNLIMITED, Budget, Window
    from llmsaver.ledger.failures import BudgetMismatch, LedgerTooNew, LedgerTooOld, LedgerUnavailable
    from llmsaver.ledger.holds import Claim, Crossing, Due, Hold, Refusal, Settlement
    from llmsaver.ledger.ledger import Ledger
    from llmsaver.ledger.lines import Line
    from llmsaver.ledger.reader import Reader
    from llmsaver.ledger.rows import AttemptRow, CallRow, EvaluationRow, TaskRow
    from llmsaver.ledger.salt import Salt
    from llmsaver.ledger.servers import ServerRow
    from llmsaver.ledger.store import default_path
    from llmsaver.ledger.writer import Ticket

__all__ = [
    "UNLIMITED",
    "AttemptRow",
    "Budget",
    "BudgetMismatch",
    "CallRow",
    "Claim",
    "Crossing",
    "Due",
    "EvaluationRow",
    "Hold",
    "Ledger",
    "LedgerTooNew",
    "LedgerTooOld",
    "LedgerUnavailable",
    "Line",
    "Reader",
    "Refusal",
    "Salt",
    "ServerRow",
    "Settlement",
    "TaskRow",
    "Ticket",
    "Window",
    "default_path",
]

_HOMES = {
    "budget": ("UNLIMITED", "Budget", "Window"),
    "failures": ("BudgetMismatch", "LedgerTooNew", "LedgerTooOld", "LedgerUnavailable"),
    "holds": ("Claim", "Crossing", "Due", "Hold", "Refusal", "Settlement"),
    "ledger": ("Ledger",),
    "lines": ("Line",),
    "reader": ("Reader",),
    "rows": ("AttemptRow", "CallRow", "EvaluationRow", "TaskRow"),
    "salt": ("Salt",),
    "servers": ("ServerRow",),
    "store": ("default_path",),
    "writer": ("Ticket",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
