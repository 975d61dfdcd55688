"""One run while it is under way: what is known of its requests, its money, and how it is told."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmsaver.batch.outcome import BatchTooDear, Progress
from llmsaver.batch.pace import Pace
from llmsaver.core.entry import dollars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from llmsaver.batch.requests import Requests, Row
    from llmsaver.batch.spool import Spool
    from llmsaver.ledger.batches import Batches, BatchRun
    from llmsaver.pricing import Bound, PriceBook

__all__ = ["Terms", "Work", "figures"]

log = logging.getLogger("llmsaver")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a caller may say of a run.

    ``limit_nano``: the most it may cost; ``partly``: whether to do as much as fits that for sure rather than nothing;
    ``retries``: how often a request that failed is sent again; ``concurrency``: how many at once where they go side by
    side; ``part_requests``: how many in one job at most; ``progress`` is told of every step.
    """

    limit_nano: int | None = None
    partly: bool = False
    retries: int = 2
    concurrency: int = 8
    part_requests: int | None = None
    progress: Callable[[Progress], object] | None = None
    pace: Pace = field(default_factory=Pace)


class Work:
    """A run's requests, checkpoints and answers so far, for whoever drives it."""

    def __init__(
        self, requests: Requests, run: BatchRun, spool: Spool, books: Batches, prices: PriceBook, terms: Terms
    ) -> None:
        self.requests, self.run, self.spool, self.books, self.prices, self.terms = (
            requests,
            run,
            spool,
            books,
            prices,
            terms,
        )
        self.why = ""  # why it was stopped
        self._bounds: dict[int, Bound] = {}
        self._bound_nano: int | None = None
        self._reach = 0  # the most that was told to be answered: a bar never goes back

    @property
    def route(self) -> str:
        """How the requests are priced."""
        return "batch" if self.run.via in {"openai", "anthropic"} else ""

    def unanswered(self) -> list[Row]:
        """Return the requests that may still be sent: those never answered, and those that failed for now."""
        known = self.spool.rows
        return [row for row in self.requests.rows if (kept := known.get(row.number)) is None or kept.again]

    def bound(self, row: Row) -> int:
        """Return the most that a request can cost, in nano-dollars; raises where nothing bounds it."""
        found = self.bounded(row)
        if not found.money_proven:
            raise BatchTooDear(
                f"request {row.number + 1} ({row.custom_id}) has no upper bound of cost "
                f"({', '.join(found.unbounded)}), so a limit cannot be kept. Give it max_tokens, declare the "
                "model's price (the setting prices=), or leave the limit out"
            )
        return found.nano_usd

    def bounded(self, row: Row) -> Bound:
        """Return what bounds a request, proven or not."""
        found = self._bounds.get(row.number)
        if found is None:
            body = self.requests.body(row)
            if self.run.via == "flex":
                body = {"service_tier": "flex", **body}
            found = self._bounds[row.number] = self.prices.upper_bound(
                body, dialect=self.requests.dialect(row), host=self.run.host, route=self.route
            )
        return found

    def check_limit(self, open_nano: int) -> None:
        """Raise ``BatchTooDear`` where all that is left may cost more than the limit leaves beside ``open_nano``."""
        limit = self.terms.limit_nano
        if limit is None:
            return
        left = sum(map(self.bound, self.unanswered()))
        self._bound_nano = self.spool.spent_nano + open_nano + left
        if self._bound_nano > limit and not self.terms.partly:
            raise BatchTooDear(
                f"the batch may cost up to ${dollars(self._bound_nano)}, and at most ${dollars(limit)} may be spent: "
                "nothing was sent. Ask for fewer output tokens, raise the limit, or do as much as fits (--partly)"
            )

    def that_fit(self, rows: Iterable[Row], open_nano: int) -> list[Row]:
        """Return those of ``rows``, from the first on, that the limit has room for beside what is on its way."""
        limit, self.why = self.terms.limit_nano, ""
        if limit is None:
            return list(rows)
        room = limit - self.spool.spent_nano - open_nano
        fitting: list[Row] = []
        for row in rows:
            room -= self.bound(row)
            if room < 0:
                self.why = f"the limit of ${dollars(limit)} leaves no room for the rest"
                break
            fitting.append(row)
        return fitting

    def save(self, **changes: Any) -> None:
        """Checkpoint the run's figures."""
        self.run = self.books.note(self.run, **{**figures(self.spool), **changes})

    def tell(self, doing: str, *, beyond: int = 0) -> None:
        """Tell how far it is; ``beyond``: answers that the provider has, and we have not yet."""
        if self.terms.progress is None:
            return
        done, failed = self.spool.answered, self.spool.failed
        total, spent = len(self.requests), self.spool.spent_nano
        self._reach = min(total, max(self._reach, done + failed + beyond))
        expected = None if not done else spent + spent * (total - done - failed) // done
        told = Progress(self.run.id, doing, total, self._reach, failed, spent, expected, self._bound_nano)
        try:
            self.terms.progress(told)
        except Exception:
            log.warning("llmsaver: the progress of a batch could not be shown", exc_info=True)


def figures(spool: Spool) -> dict[str, int]:
    """Return what the ledger is told of a run's answers."""
    return {"answered": spool.answered, "failed": spool.failed, "spent_nano": spool.spent_nano}
