"""What a ledger knows of budgets, whoever declared them, and whether it can still vouch for what they have spent."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from llmsaver.ledger.failures import LedgerUnavailable
from llmsaver.ledger.holds import Claim
from llmsaver.ledger.mending import mend
from llmsaver.ledger.pots import change, declare, known, remove, version

if TYPE_CHECKING:
    from llmsaver.ledger.budget import Budget
    from llmsaver.ledger.mending import Mended
    from llmsaver.ledger.pots import Known
    from llmsaver.ledger.store import Store

__all__ = ["Declared"]


class Declared:
    """The part of a ledger that is about budgets rather than about calls under them."""

    store: Store
    _patience: float

    def declare(self, budget: Budget) -> Budget:
        """Make a budget known and return the terms in force; raises ``BudgetMismatch`` where it has others."""
        claim = Claim(budget)
        found = self.store.transact(lambda transaction: declare(transaction, claim, time.time()), self._patience)
        return found or budget

    def set_budget(self, budget: Budget, *, alert: str | None = None, max_call_nano: int | None = None) -> None:
        """Put new terms in force for every program, the windows open now included."""
        claim = Claim(budget, "", alert, max_call_nano)
        self.store.transact(lambda transaction: change(transaction, claim, time.time()), self._patience)

    def remove_budget(self, name: str) -> bool:
        """Take a budget out of force for every program; return whether there was one.

        A program that declares it in its own code brings it back, with what its window had spent.
        """
        return self.store.transact(lambda transaction: remove(transaction, name, time.time()), self._patience)

    def known_budgets(self) -> list[Known]:
        """Return the budgets of all programs, without a look at what any of their pots has spent."""
        return self.store.transact(known, self._patience)

    def budgets_version(self) -> str | None:
        """Return a text that is another one whenever a budget was added, changed or removed."""
        return self.store.transact(version, self._patience)

    def _see_that_nothing_is_forgotten(self) -> None:
        """Raise ``LedgerUnavailable`` where what hard budgets have spent lies in a broken file."""
        broken = self.store.unresolved
        if broken is not None:
            raise LedgerUnavailable(
                f"the ledger was found broken and moved to {broken}, so what hard budgets have spent is not known; "
                "carry it over with: llmsaver ledger repair; where that cannot read it, start them at zero with: "
                "llmsaver ledger repair --accept"
            )

    def own_disk(self) -> str | None:
        """Return what kind of instance the ledger is lost with and is by itself in; None where that is no danger."""
        from llmsaver.ledger.lodging import own_disk

        path = self.store.file
        return None if path is None else own_disk(path)

    def repair(self, *, accept: bool = False) -> Mended:
        """Carry budgets over from a broken file that was moved aside; ``accept`` takes what cannot be read as lost."""
        return mend(self.store, self._patience, accept=accept)
