"""One pass over the tiers as it goes: what is asked, who has failed and why, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.core.request import Request
from llmsaver.errors import UpstreamError
from llmsaver.middleware.failures import TRANSIENT
from llmsaver.router.tier import Tier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.errors import BudgetExceeded
    from llmsaver.middleware.failures import Refused

__all__ = ["Failure", "Pass", "Prepare", "Sent", "Tried"]

# Changes a request as it is about to be sent to a tier, in that tier's dialect.
Prepare = Callable[[Request, Tier], Request]


@dataclass(frozen=True, slots=True)
class Tried:
    """A tier that did not answer: the model, why, and the HTTP status where there was one."""

    tier: str
    why: str
    status: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"tier": self.tier, "why": self.why, "status": self.status}


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a request: ``response`` is in the caller's dialect and ``spoken`` as the tier gave it.

    ``tier`` answered, and ``request`` is what was sent to it. Where ``response`` is an error all tiers failed, and it
    is the provider's own. ``tried``: who did not answer before, in order.
    """

    response: Response
    tier: Tier
    request: Request
    spoken: Response
    tried: list[Tried]


@dataclass(slots=True)
class Failure:
    """A tier's failure: an answer that is one, or an exception; and who was booked as the upstream then."""

    refused: Refused
    tier: Tier
    request: Request
    spoken: Response | None = None
    error: Exception | None = None
    booked: tuple[str, str | None, str | None] = ("none", None, None)

    @property
    def rank(self) -> int:
        """How much it says to the caller's SDK: what may pass is retried by it, our own errors never are."""
        if isinstance(self.error, UpstreamError) or (self.spoken is not None and self.refused.kind == TRANSIENT):
            return 2
        return 1 if self.spoken is not None else 0


@dataclass(slots=True)
class Pass:
    """One pass over the tiers: what is asked, and what has become of it so far."""

    request: Request
    call_next: CallNext
    prepare: Prepare | None
    whole: bool
    tried: list[Tried]
    queue: list[Tier]
    cheaper: Sequence[Tier]
    seen: set[Tier] = field(default_factory=set)
    held: list[tuple[Tier, Request]] = field(default_factory=list)
    worst: Failure | None = None
    refusal: BudgetExceeded | None = None
    too_small: Tier | None = None

    def skip(self, tier: Tier, why: str, status: int | None = None) -> None:
        """Note a tier that did not answer."""
        self.tried.append(Tried(tier.model, why, status))
