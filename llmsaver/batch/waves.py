"""A run at a provider of batches: requests go in waves of jobs, and what failed for now goes into the next one."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from llmsaver.batch.lane import CLOSED, Lane
from llmsaver.batch.parts import cut, ranges, unrange
from llmsaver.ledger.batches import BatchPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmsaver.batch.holding import Holding
    from llmsaver.batch.pace import Pace
    from llmsaver.batch.provider import Jobs
    from llmsaver.batch.requests import Row
    from llmsaver.batch.spool import Spool
    from llmsaver.batch.work import Work
    from llmsaver.ledger.batches import Batches, BatchRun
    from llmsaver.pricing import PriceBook

__all__ = ["Waves", "drain"]

_LONGEST_REFUSAL = 900.0


class Waves:
    """Drives one run to its end; everything that it knows is in the ledger and in the spool."""

    def __init__(self, work: Work, jobs: Jobs, holding: Holding) -> None:
        self._work, self._jobs, self._holding = work, jobs, holding
        terms = work.terms
        self._limits = jobs.limits.less(terms.part_requests)
        self._lane = Lane(
            jobs, work.books, work.spool, work.prices, terms.pace, self._bodies, holding=holding, rows=self._rows
        )
        self._parts = work.books.parts(work.run.id)
        # A run that had ended, and is run once more, has all its tries again.
        self._before = Counter() if work.run.state == "open" else self._tries()
        self._refusals = 0

    def drive(self) -> None:
        """Go on until every request is answered, or failed as often as it may, or does not fit the limit."""
        work = self._work
        self._fetch_lost()
        if not self._open():
            work.check_limit(0)
        work.save(state="open")
        while True:
            self._finish_wave()
            pending = self._pending()
            if not pending:
                return
            fitting = self._that_fit(work.that_fit(pending, 0))
            if not fitting or not self._plan(fitting):
                return

    def _that_fit(self, rows: list[Row]) -> list[Row]:
        """Return those that the budgets have room for; raise where a run that is new does not fit as a whole."""
        fitting = self._holding.that_fit(rows)
        if len(fitting) == len(rows):
            return fitting
        why = self._holding.why_not(rows)
        if why is None:
            return rows  # room was made meanwhile, by leases that had run out
        if not self._parts and not self._work.terms.partly:
            raise why
        self._work.why = str(why)
        return fitting

    def _plan(self, rows: list[Row]) -> bool:
        """Write down the next jobs before anything of them is sent; False where a budget has no room after all."""
        work, first = self._work, len(self._parts)
        bound = work.bound if work.terms.limit_nano is not None else None
        parts = []
        for n, (url, numbers) in enumerate(cut(rows, self._limits), first):
            most = None if bound is None else sum(bound(work.requests.rows[number]) for number in numbers)
            token = os.urandom(8).hex()
            part = BatchPart(work.run.id, n, token, ranges(numbers), url, "planned", len(numbers), most)
            why = self._holding.take(part, self._rows(part))
            if why is not None:
                work.why = str(why)
                break
            parts.append(part)
        work.books.plan(parts)
        self._parts += parts
        return bool(parts)

    def _finish_wave(self) -> None:
        """Move every open job on until all have ended, looking less often the longer nothing happens."""
        work, pace, looks = self._work, self._work.terms.pace, 0
        wave = {part.n for part in self._parts if part.state not in CLOSED}
        while self._open():
            moved, beyond = False, 0
            for at, part in enumerate(self._parts):
                if part.state in CLOSED:
                    continue
                known = frozenset(each.job for each in self._parts if each.job and each.n != part.n)
                self._parts[at], answered = self._lane.step(part, known)
                beyond += answered
                if self._parts[at].state != part.state:
                    moved = True
                    work.save()
                    work.tell(_doing(self._parts))
            work.tell(_doing(self._parts), beyond=beyond)
            looks = 0 if moved else looks + 1
            if self._open() and not moved:
                pace.sleep(pace.between(looks - 1))
        self._make_room([part for part in self._parts if part.n in wave])

    def _make_room(self, wave: list[BatchPart]) -> None:
        """Wait where the provider had no room for some jobs, and ask for less at once where it took none at all."""
        refused = [part for part in wave if part.state == "refused"]
        if not refused:
            self._refusals = 0
            return
        terms = self._work.terms
        if len(refused) < len(wave):
            self._limits, self._refusals = self._jobs.limits.less(terms.part_requests), 1
        else:
            self._limits = self._limits.less(max(1, max(part.count for part in refused) // 2))
            self._refusals = min(self._refusals + 1, 16)
        self._work.tell("waiting for room at the provider")
        terms.pace.sleep(min(_LONGEST_REFUSAL, terms.pace.refused_s * 2.0 ** (self._refusals - 1)))

    def _open(self) -> bool:
        return any(part.state not in CLOSED for part in self._parts)

    def _pending(self) -> list[Row]:
        """Return the requests for the next wave: never answered, and not tried as often as they may be."""
        tries = self._tries()
        most = self._work.terms.retries + 1
        return [row for row in self._work.unanswered() if tries[row.number] - self._before[row.number] < most]

    def _tries(self) -> Counter[int]:
        return Counter(number for part in self._parts if part.state == "fetched" for number in unrange(part.rows))

    def _fetch_lost(self) -> None:
        """Fetch the answers again that were fetched before and are not here any more."""
        for at, part in enumerate(self._parts):
            has = self._work.spool.has
            if part.state == "fetched" and not all(has(part.n, number) for number in unrange(part.rows)):
                self._parts[at] = self._work.books.mark(part, state="sent")

    def _rows(self, part: BatchPart) -> list[Row]:
        rows = self._work.requests.rows
        return [rows[number] for number in unrange(part.rows)]

    def _bodies(self, part: BatchPart) -> Iterator[tuple[str, dict[str, Any]]]:
        requests = self._work.requests
        for number in unrange(part.rows):
            yield f"{part.token}-{number}", requests.body(requests.rows[number])


def drain(
    run: BatchRun, jobs: Jobs, books: Batches, spool: Spool, prices: PriceBook, pace: Pace, holding: Holding
) -> None:
    """Cancel what of a run is under way, and fetch what was answered by then: that is paid."""
    lane = Lane(jobs, books, spool, prices, pace, holding=holding)
    parts = books.parts(run.id)
    asked: set[int] = set()
    looks = 0
    while any(part.state not in CLOSED for part in parts):
        for at, part in enumerate(parts):
            if part.state == "sent" and part.n not in asked:
                pace.stubborn(lambda job=part.job or "": jobs.cancel(job))  # type: ignore[misc]  # bound in the loop
                asked.add(part.n)
            if part.state not in CLOSED:
                known = frozenset(each.job for each in parts if each.job and each.n != part.n)
                parts[at], _ = lane.step(part, known)
        if any(part.state not in CLOSED for part in parts):
            pace.sleep(pace.between(looks))
            looks += 1


def _doing(parts: list[BatchPart]) -> str:
    sent = sum(part.state == "sent" for part in parts)
    ended = sum(part.state == "fetched" for part in parts)
    return f"{ended} of {len(parts)} jobs done" if sent or ended else "sending"
