"""Anthropic's batch endpoints: accepted at once, ended after a number of polls, with results as JSON lines."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from llmsaver.testing.batch_troubles import BatchTroubles
from llmsaver.testing.batches import Job, Line, left_out, page
from llmsaver.testing.text import JSON, dumps, identifier
from llmsaver.testing.vendor_errors import Refused

_DAY = 24 * 3600


@dataclass(slots=True)
class MessageBatches:
    """`/v1/messages/batches`; `polls` as in `OpenAIBatches`."""

    polls: int = 1
    troubles: BatchTroubles | None = None
    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, number: int, request: JSON, origin: str) -> JSON | Refused:
        """Start a batch of `requests`; `origin` is where its results_url will point."""
        requests = request.get("requests")
        if not isinstance(requests, list) or not requests:
            return Refused(400, "requests: Field required")
        custom_ids = [line.get("custom_id") for line in requests]
        if len(set(custom_ids)) != len(custom_ids):
            return Refused(400, "requests: custom_id must be unique within the batch")
        batch_id, now = identifier("msgbatch_01", number, length=22), time.time()
        shown: JSON = {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": _counts(processing=len(requests)),
            "ended_at": None,
            "created_at": _stamp(now),
            "expires_at": _stamp(now + _DAY),
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": None,
        }
        lines = [(line["custom_id"], line.get("params") or {}) for line in requests]
        with self._lock:
            self._jobs[batch_id] = Job({**shown, "origin": origin}, lines, self.polls)
        return shown

    def listed(self, limit: int, after: str, answer: Line) -> JSON:
        """List batches, newest first, from the one behind `after`; that is a look at each of the page."""
        with self._lock:
            cut = page([job.shown for job in reversed(self._jobs.values())], limit, after)
            looks = [self.retrieve(each["id"], answer) for each in cut["data"]]
        return {**cut, "data": looks}

    def retrieve(self, batch_id: str, answer: Line) -> JSON | Refused:
        """Poll a batch; the poll that ends it answers its requests."""
        with self._lock:
            job = self._jobs.get(batch_id)
            if job is None:
                return Refused(404, f"Message batch {batch_id} not found.")
            if job.shown["processing_status"] != "ended":
                canceled = job.shown["processing_status"] == "canceling"
                if canceled or job.polls <= 0:
                    self._end(job, (lambda _dialect, _body: (0, {})) if canceled else answer)
                job.polls -= 1
            return _without_origin(job.shown)

    def cancel(self, batch_id: str) -> JSON | Refused:
        """Ask for a batch to be canceled."""
        with self._lock:
            job = self._jobs.get(batch_id)
            if job is None:
                return Refused(404, f"Message batch {batch_id} not found.")
            if job.shown["processing_status"] == "in_progress":
                job.shown |= {"processing_status": "canceling", "cancel_initiated_at": _stamp(time.time())}
            return _without_origin(job.shown)

    def results(self, batch_id: str) -> bytes | Refused:
        """Give the JSONL results of an ended batch."""
        with self._lock:
            job = self._jobs.get(batch_id)
            if job is None or job.shown["processing_status"] != "ended":
                return Refused(404, f"Message batch {batch_id} has no available results.")
            return job.results

    def _end(self, job: Job, answer: Line) -> None:
        lines: list[JSON] = []
        left = left_out(self.troubles, len(job.lines))
        for index, (custom_id, request) in enumerate(job.lines):
            answered = None if index in left else answer("messages", request)
            result: JSON
            if answered is None:
                result = {"type": "expired"}
            elif answered[0] == 0:
                result = {"type": "canceled"}
            elif answered[0] < 400:  # noqa: PLR2004 - HTTP
                result = {"type": "succeeded", "message": answered[1]}
            else:
                result = {"type": "errored", "error": answered[1]}
            lines.append({"custom_id": custom_id, "result": result})
        # Results may come in any order; the fake's come last first, so that nobody relies on it.
        job.results = b"".join(dumps(line) + b"\n" for line in reversed(lines))
        kinds = [line["result"]["type"] for line in lines]
        counts = _counts(**{kind: kinds.count(kind) for kind in set(kinds)})
        url = f"{job.shown['origin']}/v1/messages/batches/{job.shown['id']}/results"
        job.shown |= {
            "processing_status": "ended",
            "ended_at": _stamp(time.time()),
            "results_url": url,
            "request_counts": counts,
        }


def _without_origin(shown: JSON) -> JSON:
    return {name: value for name, value in shown.items() if name != "origin"}


def _counts(**known: int) -> dict[str, Any]:
    return {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0, **known}


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
