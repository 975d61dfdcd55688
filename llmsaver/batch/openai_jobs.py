"""OpenAI's batches: a file goes up, a job begins on it, one file of answers and one of errors come down."""

from __future__ import annotations

import json
import tempfile
from typing import TYPE_CHECKING, Any, Final

from llmsaver.batch.parts import OPENAI
from llmsaver.batch.provider import Found, Look, Told, lines_of
from llmsaver.wire.batch_lines import BatchLines
from llmsaver.wire.payload import as_dict, as_list, count, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from llmsaver.ledger.batches import BatchPart

__all__ = ["KEY", "OpenAIJobs"]

KEY: Final = "llmsaver"  # under which a job's metadata says whose it is
_ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
_LATER: Final = frozenset({"token_limit_exceeded", "rate_limit_exceeded"})
_PAGE: Final = 100
_GOOD: Final = range(200, 300)
_PASSING: Final = frozenset({408, 409, 429})
_SERVER: Final = 500


class OpenAIJobs:
    """The batches of one account, through the openai SDK's client over the Saver, which books what is fetched."""

    limits = OPENAI

    def __init__(self, client: Any) -> None:
        self._client = client.with_options(max_retries=0)  # what is sent again, and when, is for the run to say
        self.host = str(client.base_url)

    def upload(self, part: BatchPart, bodies: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Upload the file; a second one does no harm, for a file costs nothing."""
        with tempfile.TemporaryFile() as file:
            for custom_id, body in bodies:
                line = {"custom_id": custom_id, "method": "POST", "url": part.url, "body": body}
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            file.seek(0)
            named = (f"llmsaver-{part.token}.jsonl", file, "application/jsonl")
            return str(self._client.files.create(file=named, purpose="batch").id)

    def create(self, part: BatchPart, bodies: Iterable[tuple[str, dict[str, Any]]]) -> str:
        """Begin the job on the file."""
        del bodies
        asked = {
            "input_file_id": part.file,
            "endpoint": part.url,
            "completion_window": "24h",
            "metadata": {KEY: part.token},
        }
        made = self._client.post("/batches", body=asked, cast_to=object)
        return str(made["id"])

    def find(self, part: BatchPart, since: float, known: frozenset[str]) -> Found:
        """Look for the job by its metadata."""
        found = [
            job["id"]
            for job in self._since(since)
            if as_dict(job.get("metadata")).get(KEY) == part.token and job["id"] not in known
        ]
        found.reverse()  # the oldest first: it has come the farthest
        return Found(found[0], extra=tuple(found[1:])) if found else Found()

    def look(self, job: str) -> Look:
        """Say how a job stands."""
        shown = self._get(f"/batches/{job}")
        status = str(shown.get("status"))
        counts = as_dict(shown.get("request_counts"))
        answered = (count(counts.get("completed")) or 0) + (count(counts.get("failed")) or 0)
        files = tuple(str(shown[name]) for name in ("output_file_id", "error_file_id") if shown.get(name))
        if status == "failed" and not files:
            errors = [as_dict(each) for each in as_list(as_dict(shown.get("errors")).get("data"))]
            why = "; ".join(str(each.get("message")) for each in errors[:3]) or "the job failed"
            return Look(ended=True, refused=why, later=any(each.get("code") in _LATER for each in errors))
        return Look(status in _ENDED, answered, files)

    def told(self, job: str, look: Look) -> Iterator[Told]:
        """Yield the lines of both files."""
        del job
        for file in look.files:
            with self._client.files.with_streaming_response.content(file) as answer:
                for raw in lines_of(answer.iter_bytes()):
                    yield told_of(raw)

    def cancel(self, job: str) -> None:
        """Ask for a job to be cancelled."""
        self._client.post(f"/batches/{job}/cancel", cast_to=object)

    def _since(self, since: float) -> Iterator[dict[str, Any]]:
        """Yield the jobs that were begun then or later, newest first."""
        after: dict[str, Any] = {}
        while True:
            page = self._get("/batches", limit=_PAGE, **after)
            jobs = [as_dict(job) for job in as_list(page.get("data"))]
            for job in jobs:
                if (count(job.get("created_at")) or 0) < since:
                    return
                yield job
            if not page.get("has_more") or not jobs:
                return
            after = {"after": jobs[-1]["id"]}

    def _get(self, path: str, **params: Any) -> dict[str, Any]:
        return as_dict(self._client.get(path, cast_to=object, options={"params": params}))


def told_of(raw: bytes) -> Told:
    """Read one line of a file of answers or of errors."""
    line = parse(raw) or {}
    answered = next(iter(BatchLines().feed(raw + b"\n")), None)
    custom_id = str(line.get("custom_id"))
    if answered is not None:
        return Told(custom_id, raw, ok=True, answered=answered)
    response, error = as_dict(line.get("response")), as_dict(line.get("error"))
    status = count(response.get("status_code"))
    if status is not None and status in _GOOD:  # a moderation's answer, say, which is free
        return Told(custom_id, raw, ok=True)
    said = error or as_dict(as_dict(response.get("body")).get("error"))
    why = str(said.get("message") or said.get("code") or "no answer")
    again = status is None or status in _PASSING or status >= _SERVER
    return Told(custom_id, raw, ok=False, again=again, why=f"{status}: {why}" if status else why)
