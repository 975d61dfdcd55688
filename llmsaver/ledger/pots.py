"""Which row of ``windows`` a claim is charged to: budgets as the ledger knows them, and the window of the moment."""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, select, update

from llmsaver.errors import ConfigurationError
from llmsaver.ledger.budget import UNLIMITED, Budget
from llmsaver.ledger.calls import add_to
from llmsaver.ledger.failures import BudgetMismatch
from llmsaver.ledger.holds import UNITS, Claim, Pot, Refusal
from llmsaver.ledger.schema import budgets, meta, windows
from llmsaver.ledger.statements import Statement, inserted

if TYPE_CHECKING:
    from llmsaver.ledger.holds import Hold
    from llmsaver.ledger.statements import Transaction

__all__ = ["Known", "Pots", "change", "declare", "known", "refusal", "remove", "room", "version"]

# How often the table of budgets has changed: who looks for changes reads one number.
CHANGES = "budgets_changed"

KNOWN = Statement(
    select(
        budgets.c.terms,
        budgets.c.known,
        budgets.c.thresholds,
        budgets.c.alert,
        budgets.c.max_call_nano,
        budgets.c.removed_at,
    ).where(budgets.c.name == bindparam("budget")),
    "budget",
)
ALL = Statement(
    select(budgets.c.name, budgets.c.terms, budgets.c.thresholds, budgets.c.alert, budgets.c.max_call_nano).where(
        budgets.c.removed_at.is_(None)
    )
)
ADD = Statement(
    lambda dialect: inserted(budgets)(dialect).on_conflict_do_nothing(index_elements=["name"]),
    "name",
    "terms",
    "known",
    "thresholds",
    "declared_at",
    "alert",
    "max_call_nano",
)
SET = Statement(
    update(budgets)
    .where(budgets.c.name == bindparam("budget"))
    .values(
        terms=bindparam("t"),
        known=bindparam("k"),
        thresholds=bindparam("th"),
        alert=bindparam("al"),
        max_call_nano=bindparam("most"),
        removed_at=None,
    ),
    "t",
    "k",
    "th",
    "al",
    "most",
    "budget",
)
REMOVE = Statement(
    update(budgets)
    .where(budgets.c.name == bindparam("budget"), budgets.c.removed_at.is_(None))
    .values(removed_at=bindparam("now")),
    "now",
    "budget",
)
VERSION = Statement(select(meta.c.value).where(meta.c.key == CHANGES))
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
            if pot is not None:
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


class Known(NamedTuple):
    """A budget as the ledger knows it, with what a program needs that did not declare it (see ``Claim``)."""

    budget: Budget
    alert: str | None
    max_call_nano: int | None


def known(transaction: Transaction) -> list[Known]:
    """Return every budget that was not removed."""
    return [
        Known(Budget.from_terms(name, terms, tuple(json.loads(thresholds))), alert, most)
        for name, terms, thresholds, alert, most in transaction.rows(ALL)
    ]


def version(transaction: Transaction) -> str | None:
    """Return what is another text whenever a budget was added, changed or removed."""
    row = transaction.row(VERSION)
    return None if row is None else str(row[0])


def declare(transaction: Transaction, claim: Claim, now: float) -> Budget | None:
    """Make a budget known and return the terms in force, which ``change`` may have set to others.

    None for a budget that was removed and that the claim only knows from the ledger. Raises ``BudgetMismatch`` where
    the ledger knows the name, and not with these terms.
    """
    budget = claim.budget
    terms, thresholds = budget.terms(), json.dumps(budget.thresholds)
    row = transaction.row(KNOWN, budget.name)
    if row is None:
        transaction.run(ADD, budget.name, terms, json.dumps([terms]), thresholds, now, claim.alert, claim.max_call_nano)
        add_to(transaction, CHANGES, 1)
        row = transaction.row(KNOWN, budget.name)
    current, declared, *rest, removed_at = row
    if claim.outside:
        return None if removed_at is not None else Budget.from_terms(budget.name, current, budget.thresholds)
    if removed_at is not None:
        current, declared = terms, json.dumps([terms])
    mine = (thresholds if budget.thresholds else None, claim.alert, claim.max_call_nano)
    told = [stored if own is None else own for own, stored in zip(mine, rest, strict=True)]
    if removed_at is not None or (terms == current and rest != told):
        transaction.run(SET, current, declared, *told, budget.name)
        add_to(transaction, CHANGES, 1)
    if terms == current:
        return budget
    if terms in json.loads(declared):
        return Budget.from_terms(budget.name, current, budget.thresholds)
    raise BudgetMismatch(
        f"budget {budget.name!r} is declared with {_differences(terms, current)}; "
        f"give it another name, or change it for everyone: llmsaver budgets set {budget.name}"
    )


def change(transaction: Transaction, claim: Claim, now: float) -> None:
    """Put new terms in force, for the windows that are open too; other windows begin where period or zone change.

    Raises ``ConfigurationError`` for another scope, whose pots would not be these.
    """
    budget = claim.budget
    row = transaction.row(KNOWN, budget.name)
    if row is None or row[-1] is not None:
        declare(transaction, claim, now)
        return
    old, terms = Budget.from_terms(budget.name, row[0]), budget.terms()
    if old.scope != budget.scope:
        raise ConfigurationError(
            f"budget {budget.name!r} has scope {old.scope!r}, which cannot become {budget.scope!r}; use another name"
        )
    declared = json.dumps([*dict.fromkeys([*json.loads(row[1]), terms])])
    thresholds = json.dumps(budget.thresholds)
    transaction.run(SET, terms, declared, thresholds, claim.alert, claim.max_call_nano, budget.name)
    add_to(transaction, CHANGES, 1)
    transaction.run(LIMIT, *_limits(budget), int(budget.hard), budget.name)
    if (old.per, old.tz) != (budget.per, budget.tz):
        transaction.run(CLOSE, budget.name)


def remove(transaction: Transaction, name: str, now: float) -> bool:
    """Take a budget out of force; what was spent is remembered, and counts again if it comes back in its window.

    Return whether there was one.
    """
    if transaction.run(REMOVE, now, name).rowcount != 1:
        return False
    transaction.run(CLOSE, name)
    add_to(transaction, CHANGES, 1)
    return True


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


def _look_up(transaction: Transaction, claim: Claim, now: float) -> Pot | None:
    """Return the pot of a claim by the terms in force, its budget and window made known where they are not."""
    budget = declare(transaction, claim, now)
    if budget is None:
        return None
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
