"""A response that runs in the background: booked at its bound when it begins, and put right when it is fetched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from llmsaver.core.entry import Attempt
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.ledger import Due, Hold, Ledger
    from llmsaver.middleware.settling import Settling

__all__ = ["is_background", "settle_run"]

# The longest that an answer waits for the note; the ledger gives up on its own before.
PATIENCE_SECONDS = 5.0


class _Running(Exception):  # noqa: N818 - the reason why a call has no figure yet, never raised
    """The answer is still being made."""


def is_background(request: Request) -> bool:
    """Whether the provider was asked to go on without the caller."""
    return request.dialect == "responses" and request.body.get("background") is True


def settle_run(
    settling: Settling,
    ledger: Ledger | None,
    request: Request,
    attempt: Attempt | None,
    hold: Hold | None,
    outcome: Outcome,
) -> Awaitable[None] | None:
    """Settle the call that began a background run; the row gets the id under which whoever fetches it will look.

    While its usage is not known, a hard budget is charged the whole bound, and a note is kept of what was charged. The
    least that the run can have cost is nothing: it may never start.
    """
    message = outcome.message or {} if 200 <= outcome.status < 300 else {}  # noqa: PLR2004 - HTTP's success range
    name = message.get("id")
    if attempt is None or attempt.tier != "api" or not isinstance(name, str):
        settling.answered(request, attempt, hold, outcome)
        return None
    from llmsaver.ledger.late import late_id, remember

    entry, before = request.entry, request.entry.id
    entry.id = late_id(urlsplit(request.url).netloc, name)
    due = None
    if outcome.usage is not None:
        settling.answered(request, attempt, hold, outcome)
    else:
        due = _pend(settling, request, attempt, hold)
    retried = len(entry.attempts) > 1  # and booked as failed before
    if ledger is None or (due is None and not retried):
        return None

    async def note() -> None:
        await request.runtime.wait(
            remember(ledger, entry.id, due, before=before if retried else None), PATIENCE_SECONDS
        )

    return note()


def _pend(settling: Settling, request: Request, attempt: Attempt, hold: Hold | None) -> Due | None:
    """Book a run as an estimate; return what it is charged, None where nothing was held."""
    from llmsaver.ledger.late import PENDING

    entry, error = request.entry, attempt.error
    settling.failed(request, attempt, hold, _Running())
    attempt.error = error
    cost = attempt.cost
    flags = tuple(dict.fromkeys((PENDING, *(flag for flag in cost.flags if flag not in ("usage:missing", "aborted")))))
    attempt.cost = replace(cost, low_nano=0, estimated=True, flags=flags)
    entry.flags = tuple(dict.fromkeys((*flags, *(flag for flag in entry.flags if flag not in cost.flags))))
    entry.estimated = True
    entry.cost_low = entry.baseline_low = (entry.cost_low or 0) - cost.low_nano
    mine = [i for i, due in enumerate(entry.dues) if due.hold is hold]
    if hold is None or not hold.pots or not mine:
        return None
    due: Due = replace(entry.dues[mine[-1]], low_nano=0)
    entry.dues[mine[-1]] = due
    return due
