"""Budgets are values of the core; here under the name the ledger's modules use."""

from __future__ import annotations

from llmsaver.core.budget import PERIODS, SCOPES, UNLIMITED, Budget, Window, nano_of

__all__ = ["PERIODS", "SCOPES", "UNLIMITED", "Budget", "Window", "nano_of"]
