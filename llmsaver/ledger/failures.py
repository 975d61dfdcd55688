"""What can go wrong with a ledger; calls go on all the same, unless a hard budget must know."""

from __future__ import annotations

from llmsaver.errors import ConfigurationError, LLMSaverError

__all__ = ["BudgetMismatch", "LedgerTooNew", "LedgerTooOld", "LedgerUnavailable"]


class LedgerUnavailable(LLMSaverError):  # noqa: N818 - reads as what it says
    """The ledger could not be read or written: locked, read-only, full, broken or unreachable; the message says which.

    ``broken`` tells that the file is no intact database.
    """

    def __init__(self, message: str, *, broken: bool = False) -> None:
        super().__init__(message)
        self.broken = broken


class LedgerTooOld(LedgerUnavailable):
    """The ledger was written by an older version of this library, and whoever reads may not bring it up to date."""


class LedgerTooNew(ConfigurationError):  # noqa: N818 - reads as what it says
    """The ledger was written by a newer version of this library, which alone knows how to read it."""


class BudgetMismatch(ConfigurationError):  # noqa: N818 - reads as what it says
    """A budget was declared again with other terms than those the ledger knows for its name."""
