"""Every error this library raises, as one tree.

::

    LLMSaverError
    |- BudgetExceeded        a budget has no room for a call, or the call's cost cannot be bounded under a hard one
    |- CacheMiss             a call asked for a stored answer only, and there is none
    |- ConfigurationError    a setting, argument or option that cannot work; raised at start-up where possible
    |  `- MissingExtra       a feature whose optional packages are not installed; names the install command
    |- MiddlewareError       a layer raised, suspended under a synchronous client, or returned no Response
    |- UpstreamError         the transport failed; carries the transport's own exception (never shown to an SDK's user)
    `- LocalModelError       a local model could not be found, started or reached

The ledger's own are in ``llmsaver.ledger``: ``LedgerUnavailable`` (it cannot be read or written) with ``LedgerTooOld``
below it, and below ConfigurationError ``LedgerTooNew`` and ``BudgetMismatch``.

An error that surfaces through an SDK is also a subclass of that SDK's own base error (``openai.OpenAIError`` or
``anthropic.AnthropicError``), so an application's existing ``except`` clauses catch it and the SDK does not retry it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

__all__ = [
    "BudgetExceeded",
    "CacheMiss",
    "ConfigurationError",
    "LLMSaverError",
    "LocalModelError",
    "MiddlewareError",
    "MissingExtra",
    "UpstreamError",
    "in_words",
]


def in_words(error: BaseException) -> str:
    """Return what kind of error it is and what it says; a stranger's may fail even at that."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - its own __str__ is broken, which must not break what reports it
        return type(error).__name__


class LLMSaverError(Exception):
    """Base of every error of this library; a middleware raises it (or a subclass) to stop a call on purpose."""

    def __reduce__(self) -> Any:
        # Exception's own calls the class with args, which is the message and not what a subclass asks for.
        return _rebuilt, (type(self), self.args, dict(self.__dict__))


def _rebuilt(kind: type[LLMSaverError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> LLMSaverError:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


class BudgetExceeded(LLMSaverError):  # noqa: N818 - reads as what it says
    """A budget has no room for a call, which was not sent; never retried and never failed over.

    ``budget`` is its name and ``key`` whose allowance it was ("" for the only one, else "user:u42", "tag:env:prod").
    ``limit``, ``spent``, ``held`` (by calls under way) and ``asked`` (the most this call could use) are in ``unit``:
    "nano" (nano-dollars; ``limit_usd`` and so on are ``Decimal`` dollars), "tokens" or "calls". ``per`` is the window,
    ``resets_at`` its end in UTC, None where it has none. ``reasons`` says why a call could not be bounded beforehand;
    empty where it simply had no room. ``downgrade``: whether the budget lets a cascade ask its cheaper tiers first
    (``on_exceed="downgrade"``).
    """

    def __init__(  # noqa: PLR0913 - the facts, by keyword
        self,
        budget: str,
        *,
        unit: str = "nano",
        limit: int,
        spent: int = 0,
        held: int = 0,
        asked: int = 0,
        key: str = "",
        per: str | None = None,
        resets_at: datetime | None = None,
        reasons: Sequence[str] = (),
        downgrade: bool = False,
    ) -> None:
        self.budget, self.key, self.per, self.downgrade = budget, key, per, downgrade
        self.unit, self.limit, self.spent, self.held, self.asked = unit, limit, spent, held, asked
        self.resets_at = None if resets_at is None else _in_utc(resets_at)
        self.reasons = tuple(reasons)
        super().__init__(self._unbounded() if reasons else self._no_room())

    @property
    def limit_usd(self) -> Decimal | None:
        """The limit in dollars; None for a budget of tokens or calls."""
        return self._usd(self.limit)

    @property
    def spent_usd(self) -> Decimal | None:
        """What is spent, in dollars."""
        return self._usd(self.spent)

    @property
    def held_usd(self) -> Decimal | None:
        """What calls under way may still cost, in dollars."""
        return self._usd(self.held)

    @property
    def asked_usd(self) -> Decimal | None:
        """The most this call could cost, in dollars."""
        return self._usd(self.asked)

    def _usd(self, amount: int) -> Decimal | None:
        if self.unit != "nano":
            return None
        from decimal import Decimal

        return Decimal(amount).scaleb(-9)

    def _unbounded(self) -> str:
        unpriced = any(reason.startswith("unpriced") for reason in self.reasons)
        price = " Declare the model's price (the setting prices=)," if unpriced else ""
        return (
            f"{self._allowance()}, and what this call can use cannot be bounded beforehand: {', '.join(self.reasons)}."
            f"{price or ' Leave that out,'} or give the budget max_call_usd=, the most that such a call is held at."
        )

    def _no_room(self) -> str:
        spent, held, asked = (_amount(part, self.unit) for part in (self.spent, self.held, self.asked))
        if self.unit == "nano":
            state, call = f"{spent} is spent and {held} held by calls under way", f"could cost up to {asked}"
        elif self.unit == "tokens":
            state, call = f"{spent} are spent and {held} held by calls under way", f"could use up to {asked}"
        else:
            state, call = f"{spent} were made and {held} are under way", "is one more"
        ends = "It never resets. To go on,"
        if self.resets_at is not None:
            ends = f"It resets on {self.resets_at:%Y-%m-%d %H:%M} UTC. To go on before,"
        smaller = self.unit != "calls" and self.spent + self.held < self.limit
        return (
            f"{self._allowance()}: {state}; this call {call}. {ends} "
            f"{'ask for fewer output tokens or ' if smaller else ''}raise the limit: llmsaver budgets set {self.budget}"
        )

    def _allowance(self) -> str:
        scope, _, value = self.key.partition(":")
        if scope == "tag":
            value = value.replace(":", "=", 1)
        whose = f" {scope} {value!r}" if value else f" calls without a {scope}" if scope else ""
        per = "" if self.per is None else " in total" if self.per == "total" else f" per {self.per}"
        unit = "" if self.unit == "nano" else f" {self.unit[:-1] if self.limit == 1 else self.unit}"
        return f"Budget {self.budget!r} allows{whose} {_amount(self.limit, self.unit)}{unit}{per}"


def _amount(amount: int, unit: str) -> str:
    """Return an amount as people write it: dollars to the cent, or as far as they are not 0."""
    if unit != "nano":
        return f"{amount:,}"
    whole, part = divmod(abs(amount), 10**9)
    digits = f"{part:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount < 0 else ''}${whole:,}.{digits}"


def _in_utc(moment: datetime) -> datetime:
    from datetime import UTC

    return moment.astimezone(UTC)


class CacheMiss(LLMSaverError):  # noqa: N818 - reads as what it says
    """A call asked for a stored answer only ("only-if-cached"), and there is none; nothing was sent.

    ``key`` is the one it would be stored under (``llmsaver cache inspect KEY``), None for a call that cannot be stored.
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class ConfigurationError(LLMSaverError):
    """A setting, argument or option cannot work; the message names the key and the fix."""


class MissingExtra(ConfigurationError):  # noqa: N818 - reads as what it says
    """A feature needs optional packages.

    ``extra`` is the name in ``pip install 'llmsaver[extra]'``.
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part: pip install 'llmsaver[{extra}]'")
        self.extra = extra


class MiddlewareError(LLMSaverError):
    """A layer broke before there was an answer to return; ``layer`` names it and the message says why."""

    def __init__(self, message: str, layer: str) -> None:
        super().__init__(message)
        self.layer = layer


class UpstreamError(LLMSaverError):
    """The transport failed before an answer came; ``original`` is its own exception."""

    def __init__(self, original: BaseException) -> None:
        super().__init__(in_words(original))
        self.original = original


class LocalModelError(LLMSaverError):
    """A local model could not be found, started or reached; the message names the fix."""
