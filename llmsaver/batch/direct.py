"""A run of ordinary calls side by side: on local models and attached servers, or as OpenAI's flex tier.

Every call goes through the Saver's stack like any other, and its answer is on the disk before the next one is taken.
What a program had under way when it was killed is asked anew: of flex calls up to ``concurrency`` may be paid twice.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

from llmsaver.batch.outcome import BatchInterrupted
from llmsaver.batch.pace import passing, status_of
from llmsaver.errors import BudgetExceeded, LLMSaverError

if TYPE_CHECKING:
    from llmsaver.batch.requests import Row
    from llmsaver.batch.work import Work

__all__ = ["Direct"]

# Flex answers may take as long; source: OpenAI's guide to flex processing.
_TIMEOUT_SECONDS: Final = 900.0
_SYNC_SECONDS: Final = 1.0


class Direct:
    """Drives one run through ``client``, a facade over both SDKs."""

    def __init__(self, work: Work, client: Any) -> None:
        self._work, self._client = work, client
        self._saver = client.saver
        self._lock = threading.Lock()
        self._held: dict[int, int] = {}  # the bounds of calls under way
        self._synced = time.monotonic()

    def drive(self) -> None:
        """Answer every request that is not yet, as many at once as allowed."""
        work = self._work
        work.check_limit(0)
        work.save(state="open")
        # What is paid for is waited for, also where the program is interrupted meanwhile.
        with ThreadPoolExecutor(work.terms.concurrency, thread_name_prefix="llmsaver-batch") as pool:
            try:
                self._feed(pool)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            finally:
                work.spool.sync()
                work.save()

    def _feed(self, pool: ThreadPoolExecutor) -> None:
        """Hand requests out until none is left or none fits."""
        work = self._work
        left = deque(work.unanswered())
        under_way: set[Future[None]] = set()
        while left or under_way:
            while left and len(under_way) < work.terms.concurrency and self._fits(left[0]):
                under_way.add(pool.submit(copy_context().run, self._one, left.popleft()))
            if not under_way:  # nothing more fits, and nothing gives room back
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for each in done:
                if (error := each.exception()) is not None:
                    self._stop(error)
                    left.clear()
            self._checkpoint()

    def _fits(self, row: Row) -> bool:
        if self._work.terms.limit_nano is None:
            return True
        with self._lock:
            fits = bool(self._work.that_fit([row], sum(self._held.values())))
            if fits:
                self._held[row.number] = self._work.bound(row)
        return fits

    def _stop(self, error: BaseException) -> None:
        """Say why no more is sent; what is not about money is raised."""
        if not isinstance(error, BudgetExceeded):
            raise error
        self._work.why = str(error)

    def _checkpoint(self) -> None:
        self._work.tell("answering")
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self._synced = time.monotonic()
            self._work.spool.sync()
            self._work.save()

    def _one(self, row: Row) -> None:
        """Make one call, as often as it may fail for now, and keep what came of it."""
        work = self._work
        try:
            answer, nano = work.terms.pace.stubborn(lambda: self._call(row))
        except BatchInterrupted as error:
            self._fail(row, error.__cause__ or error, again=True)
        except LLMSaverError:
            raise
        except Exception as error:  # noqa: BLE001 - one request's failure is told with the others
            self._fail(row, error, again=passing(error))
        else:
            line = {"id": answer.get("id"), "custom_id": row.custom_id, "response": _response(200, answer)}
            with self._lock:
                self._held.pop(row.number, None)
                work.spool.add(self._part(row), row.number, _dumps({**line, "error": None}), ok=True, nano=nano)

    def _call(self, row: Row) -> tuple[dict[str, Any], int]:
        """Make one call; return the answer and what it cost."""
        work, dialect = self._work, self._work.requests.dialect(row)
        body = work.requests.body(row)
        client = self._client.anthropic if dialect == "messages" else self._client.openai
        path = row.url if dialect == "messages" else row.url.removeprefix("/v1")
        options: dict[str, Any] = {"max_retries": 0}
        if work.run.via == "flex":
            body, options["timeout"] = {"service_tier": "flex", **body}, _TIMEOUT_SECONDS
        answer = client.post(path, body=body, cast_to=object, options=options)
        answer = dict(answer) if isinstance(answer, dict) else {}
        answer.pop("llmsaver", None)
        entry = self._saver.last
        return answer, (entry.cost_nano or 0) if entry is not None else 0

    def _fail(self, row: Row, error: BaseException, *, again: bool) -> None:
        status, body = status_of(error), getattr(error, "body", None)
        line: dict[str, Any] = {"id": None, "custom_id": row.custom_id, "response": None}
        if status is not None:
            line |= {"response": _response(status, body), "error": None}
        else:
            line |= {"error": {"code": type(error).__name__, "message": str(error)}}
        with self._lock:
            self._held.pop(row.number, None)
            self._work.spool.add(self._part(row), row.number, _dumps(line), ok=False, again=again, why=str(error))

    def _part(self, row: Row) -> int:
        """Return a number under which nothing is kept of this request yet."""
        kept = self._work.spool.rows.get(row.number)
        return 0 if kept is None else kept.part + 1


def _response(status: int, body: object) -> dict[str, Any]:
    return {"status_code": status, "request_id": None, "body": body}


def _dumps(line: dict[str, Any]) -> bytes:
    return json.dumps(line, default=str).encode()
