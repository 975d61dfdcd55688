"""Anthropic's message batches: requests go up with the job itself, results come down as lines in any order.

A job there carries nothing of ours but the ids of its requests, and these are seen in its results only: whether a job
whose beginning nobody wrote down is ours is known for sure once it has ended. Until then one that might be is waited
for, for two would be paid.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from llmsaver.batch.parts import ANTHROPIC
from llmsaver.batch.provider import Found, Look, Told, lines_of
from llmsaver.wire.batch_lines import BatchLines
from llmsaver.wire.payload import as_dict, as_list, count, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmsaver.ledger.batches import BatchPart

__all__ = ["AnthropicJobs"]

_PATH: Final = "/v1/messages/batches"
_PAGE: Final = 100
_AGAIN: Final = frozenset({"api_error", "overloaded_error", "rate_limit_error", "timeout_error"})


class AnthropicJobs:
    """The batches of one workspace, through the anthropic SDK's client over the Saver, which books what is fetched."""

    limits = ANTHROPIC

    def __init__(self, client: Any) -> None:
        self._client = client.with_options(max_retries=0)  # what is sent again, and when, is for the run to say
        self.host = str(client.base_url)
        self._tokens: dict[str, str] = {}  # whose each job is that was looked into

    def upload(self, part: BatchPart, bodies: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Do nothing: there is no such step."""
        del part, bodies
        return ""

    def create(self, part: BatchPart, bodies: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Begin the job."""
        del part
        asked = {"requests": [{"custom_id": custom_id, "params": body} for custom_id, body in bodies]}
        made = self._client.post(_PATH, body=asked, cast_to=object)
        return str(made["id"])

    def find(self, part: BatchPart, since: float, known: frozenset[str]) -> Found:
        """Look for the job among those of that time with as many requests, by the ids in its results."""
        ours: list[str] = []
        wait = False
        for job in self._since(since):
            name = str(job["id"])
            counts = as_dict(job.get("request_counts")).values()
            if name in known or sum(count(each) or 0 for each in counts) != part.count:
                continue
            if job.get("processing_status") != "ended":
                wait = True
            elif job.get("results_url") and self._token(name) == part.token:
                ours.append(name)
        ours.reverse()
        return Found(ours[0], extra=tuple(ours[1:])) if ours else Found(wait=wait)

    def look(self, job: str) -> Look:
        """Say how a job stands."""
        shown = self._get(f"{_PATH}/{job}")
        counts = as_dict(shown.get("request_counts"))
        answered = sum(count(number) or 0 for name, number in counts.items() if name != "processing")
        return Look(shown.get("processing_status") == "ended", answered)

    def told(self, job: str, look: Look) -> Iterator[Told]:
        """Yield the results."""
        del look
        for raw in self._results(job):
            yield _told(raw)

    def cancel(self, job: str) -> None:
        """Ask for a job to be cancelled."""
        self._client.post(f"{_PATH}/{job}/cancel", cast_to=object)

    def _token(self, job: str) -> str:
        """Return what the ids of an ended job's requests begin with."""
        if job not in self._tokens:
            # Past the Saver: what others were answered is not ours to book.
            first = next(iter(self._results(job, {"x-llmsaver-bypass": "true"})), b"")
            self._tokens[job] = str((parse(first) or {}).get("custom_id")).rpartition("-")[0]
        return self._tokens[job]

    def _results(self, job: str, headers: dict[str, str] | None = None) -> Iterator[bytes]:
        with self._client.messages.batches.with_streaming_response.results(job, extra_headers=headers) as answer:
            yield from lines_of(answer.iter_bytes())

    def _since(self, since: float) -> Iterator[dict[str, Any]]:
        """Yield the jobs that were begun then or later, newest first."""
        after: dict[str, Any] = {}
        while True:
            page = self._get(_PATH, limit=_PAGE, **after)
            jobs = [as_dict(job) for job in as_list(page.get("data"))]
            for job in jobs:
                if _seconds(job.get("created_at")) < since:
                    return
                yield job
            if not page.get("has_more") or not jobs:
                return
            after = {"after_id": jobs[-1]["id"]}

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        return as_dict(self._client.get(path, cast_to=object, options={"params": params}))


def _seconds(stamp: object) -> float:
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _told(raw: bytes) -> Told:
    line = parse(raw) or {}
    result = as_dict(line.get("result"))
    custom_id, kind = str(line.get("custom_id")), str(result.get("type"))
    if kind == "succeeded":
        return Told(custom_id, raw, ok=True, answered=next(iter(BatchLines().feed(raw + b"\n")), None))
    error = as_dict(result.get("error"))
    error = as_dict(error.get("error")) or error
    if kind == "errored":
        said = f"{error.get('type')}: {error.get('message')}"
        return Told(custom_id, raw, ok=False, again=error.get("type") in _AGAIN, why=said)
    return Told(custom_id, raw, ok=False, again=True, why=kind)
