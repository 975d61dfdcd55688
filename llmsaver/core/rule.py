"""What a budget allows and what is done about it: declared in code or in settings, and to which calls it applies."""

from __future__ import annotations

import difflib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from llmsaver.core.budget import Budget, nano_of
from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from llmsaver.core.entry import Entry

    Dollars = Decimal | float | str
    # A function that is given a mapping of facts, or the URL of a webhook that gets them as JSON.
    Alert = Callable[[Mapping[str, Any]], object] | str

__all__ = ["Rule", "Terms", "applicable", "joined", "may_downgrade", "rule", "rules_from", "settled_apart"]

_ON_EXCEED = ("raise", "downgrade", "warn", "call")
_HARD = frozenset({"raise", "downgrade"})

# Whether whoever sends the attempt at hand has a cheaper model to go to: a budget that allows that then says no at
# once, where it would else shorten the answer to what is left.
may_downgrade: ContextVar[bool] = ContextVar("llmsaver_may_downgrade", default=False)
# Budgets (name, key) that whoever fetches answers here settles by a hold of its own: they are not charged once more.
settled_apart: ContextVar[frozenset[tuple[str, str]]] = ContextVar("llmsaver_settled_apart", default=frozenset())


@dataclass(frozen=True, slots=True)
class Rule:
    """A budget and what is done about it.

    ``on_exceed``: "raise" ``BudgetExceeded``; "downgrade": the same, but a cascade around the call goes to its cheaper
    tiers first; "warn" in the log; or "call" ``alert``. A budget that is not hard warns.
    ``max_call_nano``: what a call that cannot be bounded from here is held at, in nano-dollars (None: a hard budget
    refuses it). ``alert``: a function that is given a mapping of facts, or the URL of a webhook that gets them as JSON,
    when a threshold is crossed. ``outside``: known from the ledger only, and gone with it.
    """

    budget: Budget
    on_exceed: str = "raise"
    max_call_nano: int | None = None
    alert: Alert | None = field(default=None, compare=False)
    outside: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """The budget's name."""
        return self.budget.name

    @property
    def hard(self) -> bool:
        """Whether a call without room under this budget is refused."""
        return self.budget.hard


class Terms(TypedDict, total=False):
    """The arguments of ``rule`` beside the name."""

    usd: Dollars | None
    tokens: int | None
    calls: int | None
    per: str
    tz: str
    scope: str
    on_exceed: str
    hard: bool
    max_call_usd: Dollars | None
    on_threshold: Sequence[float]
    alert: Alert | None


def rule(  # noqa: PLR0913 - the words of one sentence, by keyword
    name: str,
    *,
    usd: Dollars | None = None,
    tokens: int | None = None,
    calls: int | None = None,
    per: str = "total",
    tz: str = "UTC",
    scope: str = "feature",
    on_exceed: str = "raise",
    hard: bool = True,
    max_call_usd: Dollars | None = None,
    on_threshold: Sequence[float] = (),
    alert: Alert | None = None,
) -> Rule:
    """Check a declaration and return it; raises ``ConfigurationError`` naming the argument and what is right.

    At most ``usd`` dollars (a float counts as its shortest decimal writing), ``tokens`` and ``calls`` (None: no limit
    of that kind) ``per`` minute, hour, day, month or in total; days and months begin in the time zone ``tz``.
    ``scope``: one allowance for the "feature" or the "organisation", or one for each "user", "tenant" or value of
    "tag:NAME". ``on_exceed``: see ``Rule``. ``on_threshold``: shares of the limit at which ``alert`` is told, once a
    window; left out, or where nothing is refused, at the whole limit too.
    """
    _check_texts(name, per=per, tz=tz, scope=scope)
    if on_exceed not in _ON_EXCEED:
        words = "raise, downgrade, warn or call"
        raise ConfigurationError(f"budget {name!r}: on_exceed= must be {words}; it is {on_exceed!r}")
    _check_alert(name, alert)
    if on_exceed == "call" and alert is None:
        raise ConfigurationError(f"budget {name!r}: on_exceed='call' needs alert=, a function or a webhook's URL")
    if not isinstance(hard, bool):
        raise ConfigurationError(f"budget {name!r}: hard= must be true or false; it is {hard!r}")
    thresholds = _shares(name, on_threshold)
    if on_exceed in _HARD and not hard:
        on_exceed = "warn"
    if on_exceed not in _HARD or (alert is not None and not thresholds):
        thresholds |= {1.0}  # nothing stops the calls, so somebody must hear of it
    return Rule(
        Budget(
            name,
            limit_nano=_nano(name, "usd", usd),
            limit_tokens=_whole(name, "tokens", tokens),
            limit_calls=_whole(name, "calls", calls),
            per=per,
            tz=tz,
            scope=scope,
            hard=on_exceed in _HARD,
            thresholds=tuple(sorted(thresholds)),
        ),
        on_exceed,
        _nano(name, "max_call_usd", max_call_usd),
        alert,
    )


def rules_from(budgets: Iterable[Mapping[str, Any]], source: str = "budgets") -> tuple[Rule, ...]:
    """Return the rules that a configuration declares: tables with a ``name`` and the arguments of ``rule``.

    Raises ``ConfigurationError`` naming the entry (``budgets[1]``, counted from 0) and the key.
    """
    rules: tuple[Rule, ...] = ()
    for i, table in enumerate(budgets):
        where = f"{source}[{i}]"
        for key in table:
            if key not in _KEYS:
                close = difflib.get_close_matches(str(key), _KEYS, n=1)
                fix = f"did you mean {close[0]}?" if close else "remove it."
                raise ConfigurationError(f"{where}: unknown key {key!r}: {fix} The keys are {', '.join(_KEYS)}.")
        if "name" not in table:
            raise ConfigurationError(f"{where}: name= is missing; give the budget a name")
        try:
            rules = joined(rules, rule(**table))
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None
    return rules


def applicable(declared: Iterable[Rule], entry: Entry, enclosing: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Return the rules a call is charged to, each once: those declared for all that are about it, then ``enclosing``.

    A declared budget of scope "feature" is about the calls whose path holds the feature of its own name; one of scope
    "organisation" about every call; the others about the calls that have such a user, tenant or tag. Raises
    ``ConfigurationError`` where one budget is declared in two ways.
    """
    return joined(tuple(rule for rule in declared if _is_about(rule.budget, entry)), *enclosing)


def joined(rules: tuple[Rule, ...], *more: Rule) -> tuple[Rule, ...]:
    """Return ``rules`` and after them ``more``, each once; two that differ under one name: ``ConfigurationError``."""
    for new in more:
        same = next((known for known in rules if known.name == new.name), None)
        if same is None:
            rules = (*rules, new)
        elif same != new:
            raise ConfigurationError(
                f"budget {new.name!r} is declared twice, and not with the same terms; give one of them another name"
            )
    return rules


_KEYS = ("name", *(rule.__kwdefaults__ or ()))


def _is_about(budget: Budget, entry: Entry) -> bool:
    if budget.scope == "user":
        return bool(entry.user)
    if budget.scope == "tenant":
        return bool(entry.tenant)
    if budget.scope.startswith("tag:"):
        return budget.scope.removeprefix("tag:") in entry.tags
    return budget.scope == "organisation" or budget.name in (entry.path or (entry.feature,))


def _check_texts(name: Any, **texts: Any) -> None:
    if not isinstance(name, str):
        raise ConfigurationError(f"a budget's name must be a string, not {name!r}")
    for key, value in texts.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"budget {name!r}: {key}= must be a string, not {value!r}")


def _check_alert(name: str, alert: Any) -> None:
    url = isinstance(alert, str) and alert.startswith(("http://", "https://"))
    if alert is not None and not callable(alert) and not url:
        raise ConfigurationError(
            f"budget {name!r}: alert= must be a function or a webhook's http(s) URL, not {alert!r}"
        )


def _nano(name: str, key: str, usd: Any) -> int | None:
    """Return dollars as nano-dollars."""
    if usd is None:
        return None
    try:
        nano = nano_of(usd)
    except ConfigurationError as error:
        raise ConfigurationError(f"budget {name!r}: {key}= must be dollars, such as 5 or 0.25; {error}") from None
    if nano < 0:
        raise ConfigurationError(f"budget {name!r}: {key}= must not be negative; it is {usd!r}")
    return nano


def _whole(name: str, key: str, count: Any) -> int | None:
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        raise ConfigurationError(f"budget {name!r}: {key}= must be a whole number from 0; it is {count!r}")
    return count


def _shares(name: str, given: Any) -> set[float]:
    """Return the thresholds as they are kept: shares of the limit above 0 and up to 1."""
    shares = [] if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__") else list(given)
    good = [share for share in shares if isinstance(share, (int, float)) and 0 < share <= 1]
    if len(good) != len(shares) or (not shares and given not in ((), [])):
        raise ConfigurationError(
            f"budget {name!r}: on_threshold= must list shares of the limit such as [0.5, 0.8]; it is {given!r}"
        )
    return {float(share) for share in good}
