"""The jobs of one run at a provider: begun once each, whatever happens in between, looked at, and fetched.

Before a job is begun its part is marked "sending". Whoever finds it so, after a crash or an answer that never came,
looks for the job at the provider first, and begins another only where enough time has passed for it to show.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from llmsaver.batch.holding import NOTHING, Spent
from llmsaver.batch.outcome import BatchInterrupted
from llmsaver.batch.pace import passing, status_of, unproven
from llmsaver.batch.parts import unrange
from llmsaver.pricing import Billed
from llmsaver.wire.usages import usage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from llmsaver.batch.holding import Holding
    from llmsaver.batch.pace import Pace
    from llmsaver.batch.provider import Jobs, Told
    from llmsaver.batch.requests import Row
    from llmsaver.batch.spool import Spool
    from llmsaver.ledger.batches import Batches, BatchPart
    from llmsaver.pricing import PriceBook

__all__ = ["CLOSED", "Lane"]

log = logging.getLogger("llmsaver")

CLOSED = frozenset({"refused", "fetched"})
_NOT_THERE = 404


class Lane:
    """Moves parts on, one step at a time; ``bodies`` gives a part's requests (id, body), None where none is sent."""

    def __init__(
        self,
        jobs: Jobs,
        books: Batches,
        spool: Spool,
        prices: PriceBook,
        pace: Pace,
        bodies: Callable[[BatchPart], Iterator[tuple[str, dict[str, Any]]]] | None = None,
        *,
        holding: Holding,
        rows: Callable[[BatchPart], list[Row]] = lambda _: [],
    ) -> None:
        self._jobs, self._books, self._spool, self._prices, self._pace = jobs, books, spool, prices, pace
        self._bodies, self._holding, self._rows = bodies, holding, rows
        self._tries: dict[int, int] = {}
        self._sent: dict[int, float] = {}  # when each part was last sent by this program

    def step(self, part: BatchPart, known: frozenset[str]) -> tuple[BatchPart, int]:
        """Take the next step of a part, if there is one now; return it as it is then, and how many it has answered.

        ``known`` are the jobs of other parts.
        """
        if part.state == "planned":
            return self._send(part), 0
        if part.state == "sending":
            return self._recover(part, known), 0
        if part.state == "sent":
            return self._follow(part)
        return part, 0

    def _send(self, part: BatchPart) -> BatchPart:
        """Begin a job; its state tells afterwards whether that is known to have worked."""
        if self._bodies is None:
            return self._closed(part, "refused", error="cancelled before it was sent")
        bodies = self._bodies
        if part.file is None:
            part = self._books.mark(part, file=self._stubborn(lambda: self._jobs.upload(part, bodies(part))))
        self._holding.sending(part, self._rows(part))
        part = self._books.mark(part, state="sending", sent_at=part.sent_at or time.time())
        self._sent[part.n] = time.time()
        try:
            job = self._jobs.create(part, bodies(part))
        except Exception as error:
            if not passing(error):
                self._holding.end(self._books.mark(part, state="planned", file=None))
                raise BatchInterrupted(
                    f"the provider did not take a job: {error}. Nothing of it was begun; run the same command again "
                    "once that is put right",
                    part.batch,
                ) from error
            self._count(part, error, begun=unproven(error))
            if unproven(error):
                log.warning("llmsaver: it is not known whether a batch was begun (%s); looking for it", error)
                return part
            self._pace.sleep(self._pace.between(self._tries[part.n]))
            return self._books.mark(part, state="planned")
        self._tries.pop(part.n, None)
        return self._books.mark(part, state="sent", job=job)

    def _recover(self, part: BatchPart, known: frozenset[str]) -> BatchPart:
        """Adopt the job that was begun for a part and never written down; plan it anew where there is none."""
        sent_at, asked = part.sent_at or time.time(), time.time()
        found = self._stubborn(lambda: self._jobs.find(part, sent_at - self._pace.slack_s, known))
        if found.job is not None:
            log.warning("llmsaver: adopted batch job %s, which an interrupted run had begun", found.job)
            part = self._books.mark(part, state="sent", job=found.job)
            for extra in found.extra:
                log.error("llmsaver: job %s is a second one of the same requests; cancelling it", extra)
                self._stubborn(lambda job=extra: self._jobs.cancel(job))  # type: ignore[misc]  # bound in the loop
            return part
        # An earlier program may have sent it again just before it ended: what counts is since when we know of none.
        since = self._sent.setdefault(part.n, time.time())
        if found.wait or asked < since + self._pace.settle_s:
            return part
        return self._send(part)

    def _follow(self, part: BatchPart) -> tuple[BatchPart, int]:
        """Look at a job, and fetch its answers where it ended."""
        job = part.job or ""
        self._holding.follow(part)
        look = self._stubborn(lambda: self._look(job, part))
        if not look.ended:
            return part, look.answered
        if look.refused:
            if not look.later:
                for number in unrange(part.rows):
                    self._spool.add(part.n, number, _made(part, number, look.refused), ok=False, why=look.refused)
                self._spool.sync()
                return self._closed(part, "fetched", error=look.refused), 0
            return self._closed(part, "refused", error=look.refused), 0
        with self._holding.fetching(part):
            spent = self._stubborn(lambda: self._fetch(part, job, look))
        return self._closed(part, "fetched", spent=spent), 0

    def _closed(self, part: BatchPart, state: str, error: str | None = None, spent: Spent = NOTHING) -> BatchPart:
        """Settle what was held for a part, and write down that it has ended: in this order, or nobody would."""
        self._holding.end(part, spent)
        return self._books.mark(part, state=state, error=error)

    def _look(self, job: str, part: BatchPart) -> Any:
        try:
            return self._jobs.look(job)
        except Exception as error:
            if status_of(error) != _NOT_THERE:
                raise
            raise BatchInterrupted(
                f"the provider does not know job {job} ({error}). It may have been paid, so it is not sent again by "
                "itself: check the key and the address, or start over with --again",
                part.batch,
            ) from error

    def _fetch(self, part: BatchPart, job: str, look: Any) -> Spent:
        """Keep a job's answers and return what they cost; may be repeated after it was cut short."""
        nano = tokens = calls = 0
        for told in self._jobs.told(job, look):
            spent = self._keep(part, told)
            nano, tokens, calls = nano + spent.nano, tokens + spent.tokens, calls + spent.calls
        missing = "the provider gave no answer"
        for number in unrange(part.rows):
            if not self._spool.has(part.n, number):
                self._spool.add(part.n, number, _made(part, number, missing), ok=False, again=True, why=missing)
        self._spool.sync()
        return Spent(nano, tokens, calls)

    def _keep(self, part: BatchPart, told: Told) -> Spent:
        token, _, number = told.custom_id.rpartition("-")
        if token != part.token or not number.isdecimal():
            log.warning("llmsaver: batch job %s answers a request that is not in it; left out", part.job)
            return NOTHING
        nano, spent = 0, NOTHING
        if told.answered is not None:
            answered = told.answered
            billed = Billed.of(answered.dialect, self._jobs.host, answered.message, route="batch")
            cost = self._prices.cost(billed)
            nano = cost.nano_usd
            used = usage_of(answered.dialect, billed.usage)
            tokens = 0 if used is None else used.input_tokens + used.output_tokens
            spent = Spent(cost.high_nano if cost.estimated else nano, tokens, 1)
        self._spool.add(part.n, int(number), told.line, ok=told.ok, again=told.again, nano=nano, why=told.why)
        return spent

    def _count(self, part: BatchPart, error: Exception, *, begun: bool) -> None:
        """Count the failures of a submission, and give up in the end; ``begun``: whether a job may have."""
        tries = self._tries[part.n] = self._tries.get(part.n, 0) + 1
        if tries >= self._pace.attempts:
            if not begun:
                self._holding.end(self._books.mark(part, state="planned"))
            raise BatchInterrupted(
                f"the provider kept failing: {error}. Run the same command again to go on", part.batch
            ) from error

    def _stubborn(self, call: Callable[[], Any]) -> Any:
        return self._pace.stubborn(call)


def _made(part: BatchPart, number: int, why: str) -> bytes:
    """Write the line of a request that the provider wrote none for."""
    custom_id = f"{part.token}-{number}"
    if part.url == "/v1/messages":
        result = {"type": "errored", "error": {"type": "error", "error": {"type": "api_error", "message": why}}}
        return json.dumps({"custom_id": custom_id, "result": result}).encode()
    error = {"code": "not_answered", "message": why}
    return json.dumps({"id": None, "custom_id": custom_id, "response": None, "error": error}).encode()
