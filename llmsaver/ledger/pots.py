"""Which row of ``windows`` a claim is charged to: budgets as the ledger knows them, and the window of the moment."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, update

from llmsaver.errors import ConfigurationError
from llmsaver.ledger.budget import UNLIMITED, Budget
from llmsaver.ledger.failures import BudgetMismatch
from llmsaver.ledger.holds import UNITS, Claim, Pot, Refusal
from llmsaver.ledger.schema import budgets, windows
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from llmsaver.ledger.holds import Hold
    from llmsaver.ledger.statements import Transaction

__all__ = ["Pots", "change", "declare", "refusal", "room"]

KNOWN = Statement(
    select(budgets.c.terms, budgets.c.known, budgets.c.thresholds).where(budgets.c.name == bindparam("budget")),
    "budget",
)
ADD = Statement(
    lambda dialect: inserted(budgets)(dialect).on_conflict_do_nothing(index_elements=["name"]),
    "name",
    "terms",
    "known",
    "thresholds",
    "declared_at",
)
SET = Statement(
    update(budgets)
    .where(budgets.c.name == bindparam("budget"))
    .values(terms=bindparam("t"), known=bindparam("k"), thresholds=bindparam("th")),
    "t",
    "k",
    "th",
    "budget",
)
LIMIT = Statement(
    update(windows)
    .where(windows.c.budget == bindparam("name"), windows.c.closed == 0)
    .values({f"limit_{unit}": bindparam(unit) for unit in UNITS} | {"hard": bindparam("strict")}),
    *UNITS,
    "strict",
    "name",
)
CLOSE = Statement(update(windows).where(windows.c.budget == bindparam("name")).values(closed=1), "name")
OPEN = Statement(
    lambda dialect: inserted(windows)(dialect).on_conflict_do_nothing(index_elements=["budget", "key", "window"]),
    "budget",
    "key",
    "window",
    "starts_at",
    "ends_at",
    "hard",
    "limit_nano",
    "limit_tokens",
    "limit_calls",
)
REOPEN = Statement(update(windows).where(windows.c.seq == bindparam("w")).values(closed=0), "w")
FIND = Statement(
    select(windows.c.seq, windows.c.closed).where(
        windows.c.budget == bindparam("b"), windows.c.key == bindparam("k"), windows.c.window == bindparam("i")
    ),
    "b",
    "k",
    "i",
)
STATE = Statement(
    select(
        *(windows.c[f"{part}_{unit}"] for part in ("limit", "spent", "held") for unit in UNITS),
        windows.c.closed,
        windows.c.hard,
        windows.c.budget,
        windows.c.key,
    )
    .where(windows.c.seq == bindparam("w"))
    .with_for_update(),
    "w",
)


class Pots:
    """Remembers the window each claim was last charged to; what it remembers was committed and is checked by use."""

    def __init__(self) -> None:
        self._generation = -1
        self._pots: dict[tuple[str, str], Pot] = {}

    def find(self, transaction: Transaction, claims: list[Claim], now: float, generation: int) -> tuple[Pot, ...]:
        """Return the pots of ``claims`` in the order of their rows, so that no two calls wait for each other."""
        if generation != self._generation:
            self._generation, self._pots = generation, {}
        out = []
        for claim in claims:
            pot = self._pots.get((claim.budget.name, claim.key))
            if pot is None or not pot.starts_at <= now < pot.ends_at or pot.claim.budget != claim.budget:
                pot = _look_up(transaction, claim, now)
            out.append(pot)
        if len(out) > 1:
            out.sort(key=lambda pot: pot.window)
        return tuple(out)

    def keep(self, pots: tuple[Pot, ...]) -> None:
        """Remember pots whose rows are committed."""
        for pot in pots:
            self._pots[pot.claim.budget.name, pot.claim.key] = pot

    def forget(self) -> None:
        """Look everything up again: some remembered window was closed."""
        self._pots = {}


def declare(transaction: Transaction, budget: Budget, now: float) -> Budget:
    """Make a budget known and return the terms in force, which ``change`` may have set to others.

    Raises ``BudgetMismatch`` where the ledger knows the name, and not with these terms.
    """
    terms = budget.terms()
    row = transaction.row(KNOWN, budget.name)
    if row is None:
        transaction.run(ADD, budget.name, terms, json.dumps([terms]), json.dumps(budget.thresholds), now)
        row = transaction.row(KNOWN, budget.name)
    current, known, _ = row
    if terms == current:
        return budget
    if terms in json.loads(known):
        return Budget.from_terms(budget.name, current, budget.thresholds)
    raise BudgetMismatch(
        f"budget {budget.name!r} is declared with {_differences(terms, current)}; "
        f"give it another name, or change it for everyone: llmsaver budgets set {budget.name}"
    )


def change(transaction: Transaction, budget: Budget, now: float) -> None:
    """Put new terms in force, for the windows that are open too; other windows begin where period or zone change.

    Raises ``ConfigurationError`` for another scope, whose pots would not be these.
    """
    row = transaction.row(KNOWN, budget.name)
    if row is None:
        declare(transaction, budget, now)
        return
    old, terms = Budget.from_terms(budget.name, row[0]), budget.terms()
    if old.scope != budget.scope:
        raise ConfigurationError(
            f"budget {budget.name!r} has scope {old.scope!r}, which cannot become {budget.scope!r}; use another name"
        )
    known = [*dict.fromkeys([*json.loads(row[1]), terms])]
    transaction.run(SET, terms, json.dumps(known), json.dumps(budget.thresholds), budget.name)
    transaction.run(LIMIT, *_limits(budget), int(budget.hard), budget.name)
    if (old.per, old.tz) != (budget.per, budget.tz):
        transaction.run(CLOSE, budget.name)


def refusal(transaction: Transaction, pot: Pot, hold: Hold) -> Refusal | None:
    """Say why a pot had no room for a hold; None where its window is not one to charge at all any more."""
    row = transaction.row(STATE, pot.window)
    if row is None or row[9]:
        return None
    limits, spent, held = row[0:3], row[3:6], row[6:9]
    resets_at = None if pot.ends_at == inf else pot.ends_at
    asked = (hold.nano, hold.tokens, hold.calls)
    for i, unit in enumerate(UNITS):
        if asked[i] and spent[i] + held[i] + asked[i] > limits[i]:
            return Refusal(
                pot.claim.budget.name, pot.claim.key, pot.name, unit, limits[i], spent[i], held[i], asked[i], resets_at
            )
    return None


def room(transaction: Transaction, pots: tuple[Pot, ...]) -> tuple[int, int, int]:
    """Return what is left under all of ``pots``, in each unit; their rows stay so until the transaction ends."""
    left = [UNLIMITED, UNLIMITED, UNLIMITED]
    for pot in pots:
        row = transaction.row(STATE, pot.window)
        if row is not None and row[10]:
            parts = zip(row[0:3], row[3:6], row[6:9], strict=True)
            free = (UNLIMITED if limit >= UNLIMITED else limit - spent - held for limit, spent, held in parts)
            left = [min(pair) for pair in zip(left, free, strict=True)]
    return left[0], left[1], left[2]


def _look_up(transaction: Transaction, claim: Claim, now: float) -> Pot:
    """Return the pot of a claim by the terms in force, its budget and window made known where they are not."""
    budget = declare(transaction, claim.budget, now)
    window = budget.window(now)
    place = (budget.name, claim.key, window.id)
    row = transaction.row(FIND, *place)
    if row is None:
        transaction.run(OPEN, *place, window.start, window.end, int(budget.hard), *_limits(budget))
        row = transaction.row(FIND, *place)
    elif row[1]:  # closed by a change of terms that has been changed back
        transaction.run(REOPEN, row[0])
        transaction.run(LIMIT, *_limits(budget), int(budget.hard), budget.name)
    start, end = (-inf, inf) if window.start is None or window.end is None else (window.start, window.end)
    return Pot(row[0], claim, window.id, start, end)


def _limits(budget: Budget) -> list[int]:
    return [
        UNLIMITED if limit is None else limit for limit in (budget.limit_nano, budget.limit_tokens, budget.limit_calls)
    ]


def _differences(terms: str, current: str) -> str:
    """Return what differs between two terms, as ``name=here (the ledger has there)``."""
    here: dict[str, Any] = json.loads(terms)
    there: dict[str, Any] = json.loads(current)
    return ", ".join(
        f"{name}={here[name]!r} (the ledger has {there[name]!r})" for name in here if here[name] != there[name]
    )
