"""The outermost layer: what was asked, who answered, how it ended."""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext

__all__ = ["Record"]

RECENT = 1_000


class Record:
    """Keeps the entries of the most recent calls in memory and completes each when its answer ends."""

    name = "record"

    def __init__(self, recent: int = RECENT) -> None:
        self._recent = recent
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Open the call's entry, pass on, and settle the entry exactly once."""
        entry = request.entry
        self._keep(entry)
        # The SDK's retry of a call that failed is the same call, live again.
        entry.status = entry.complete = entry.error = entry.latency_s = None
        try:
            response = await call_next(request)
        except BaseException as error:
            entry.complete, entry.error, entry.latency_s = False, f"{type(error).__name__}: {error}", entry.elapsed()
            raise
        entry.status = response.status
        ok = response.ok  # a callback that held the response would keep an unread one from being collected at once

        def settle(outcome: Outcome) -> None:
            entry.usage, entry.complete, entry.error = outcome.usage, outcome.complete, outcome.error
            entry.estimated = outcome.usage is None and ok
            entry.latency_s = entry.elapsed()

        response.on_complete(settle)
        return response

    def entry(self, entry_id: str) -> Entry | None:
        """Return the entry with this id, or None where it is unknown or too long ago."""
        with self._lock:
            return self._entries.get(entry_id)

    def recent(self, count: int) -> list[Entry]:
        """Return the latest entries, newest first."""
        with self._lock:
            return list(islice(reversed(self._entries.values()), max(0, count)))

    def _keep(self, entry: Entry) -> None:
        with self._lock:
            self._entries[entry.id] = entry
            if len(self._entries) > self._recent:
                self._entries.popitem(last=False)
