"""What the tokens of calls on a machine of one's own would cost at a paid model's list price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from llmsaver.pricing.money import MILLION
from llmsaver.pricing.values import Billed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.pricing.book import PriceBook

__all__ = ["PAID", "Paid", "paid_equivalent", "per_million"]


@dataclass(frozen=True, slots=True)
class Paid:
    """A paid model to compare with: its name, its dialect and the host whose list price counts."""

    model: str
    dialect: str
    host: str


# Small, cheap and well known: what somebody would call instead of a small model of their own.
PAID: Final = (
    Paid("gpt-5-mini", "chat", "https://api.openai.com/v1"),
    Paid("claude-haiku-4-5", "messages", "https://api.anthropic.com"),
)
_NAMES: Final = {"chat": ("prompt_tokens", "completion_tokens")}
_OTHERS: Final = ("input_tokens", "output_tokens")


def paid_equivalent(book: PriceBook, paid: Paid, calls: Iterable[tuple[int, int]]) -> int | None:
    """Return what calls of these (input, output) tokens cost on a paid model, in nano-dollars.

    Call by call, since a long prompt may have another rate; None where nobody has priced the model. Another model
    counts and writes other tokens, and caches what it has seen: show it as the price of the same tokens, not as what
    would have been paid.
    """
    names = _NAMES.get(paid.dialect, _OTHERS)
    total = 0
    for tokens in calls:
        cost = book.cost(Billed(paid.dialect, paid.model, dict(zip(names, tokens, strict=True)), host=paid.host))
        if not cost.priced:
            return None
        total += cost.nano_usd
    return total


def per_million(nano: int, tokens: int) -> Decimal | None:
    """Return dollars per million tokens, input and output alike; None without any tokens."""
    return Decimal(nano * MILLION).scaleb(-9) / tokens if tokens else None
