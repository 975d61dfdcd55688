"""OpenAI's files and batches: accepted at once, ended after a number of polls, with results in files."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from llmsaver.testing.batch_troubles import ASKED_TOO_MUCH, BatchTroubles
from llmsaver.testing.text import JSON, dumps, identifier
from llmsaver.testing.vendor_errors import Refused

Line: TypeAlias = Callable[[str, JSON], tuple[int, JSON] | None]
"""Answers one line of a batch: (dialect, request body) -> (status, body), or None when the line expires."""

_DAY = 24 * 3600
_ERRORS = 400  # the first HTTP status that is one
_STAMPS = (
    "in_progress_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)
_ENDPOINTS = {"/v1/chat/completions": "chat", "/v1/responses": "responses", "/v1/embeddings": "embeddings"}
_DISPOSITION = re.compile(rb'name="([^"]*)"(?:; filename="([^"]*)")?')


@dataclass(slots=True)
class Job:
    """A batch that waits for its polls; `lines` are custom ids with their requests."""

    shown: JSON
    lines: list[tuple[str, JSON]]
    polls: int
    results: bytes = b""


@dataclass(slots=True)
class OpenAIBatches:
    """`/files` and `/batches`; `polls` is how often a batch is still in progress when asked for."""

    polls: int = 1
    troubles: BatchTroubles | None = None
    _files: dict[str, tuple[JSON, bytes]] = field(default_factory=dict)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def upload(self, number: int, content_type: str, body: bytes) -> JSON | Refused:
        """Take a multipart upload with `purpose` and `file`."""
        boundary = re.search(r'boundary="?([^";]+)', content_type)
        if boundary is None:
            return Refused(400, "Expected multipart/form-data.")
        parts: dict[str, tuple[str, bytes]] = {}
        for part in body.split(b"--" + boundary[1].encode())[1:-1]:
            head, _, content = part.partition(b"\r\n\r\n")
            named = _DISPOSITION.search(head)
            if named:
                parts[named[1].decode()] = ((named[2] or b"upload").decode(), content.removesuffix(b"\r\n"))
        for name in ("file", "purpose"):
            if name not in parts:
                return Refused(400, f"'{name}' is a required property", param=name)
        return self._store(number, "input", parts["file"], parts["purpose"][1].decode())

    def file(self, file_id: str) -> JSON | Refused:
        """Describe a file."""
        with self._lock:
            found = self._files.get(file_id)
        return found[0] if found else Refused(404, f"No such File object: {file_id}", param="id")

    def content(self, file_id: str) -> bytes | Refused:
        """Give a file's bytes."""
        with self._lock:
            found = self._files.get(file_id)
        return found[1] if found else Refused(404, f"No such File object: {file_id}", param="id")

    def create(self, number: int, request: JSON) -> JSON | Refused:
        """Start a batch; a line that cannot be read fails the whole batch, as it does there."""
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not request.get(name):
                return Refused(400, f"Missing required parameter: '{name}'.", "missing_required_parameter", name)
        content = self.content(request["input_file_id"])
        if isinstance(content, Refused):
            return content
        lines, errors = _read_lines(content, request["endpoint"])
        if self.troubles is not None and not errors and self.troubles.strikes("limited"):
            said = f"Enqueued token limit reached for {lines[0][1].get('model')}. Please try again later."
            errors = [{"code": ASKED_TOO_MUCH, "message": said, "line": None, "param": None}]
        now = int(time.time())
        shown: JSON = {
            "id": identifier("batch_", number, length=32).lower(),
            "object": "batch",
            "endpoint": request["endpoint"],
            "errors": {"object": "list", "data": errors} if errors else None,
            "input_file_id": request["input_file_id"],
            "completion_window": request["completion_window"],
            "status": "failed" if errors else "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": now,
            "expires_at": now + _DAY,
            **dict.fromkeys(_STAMPS),
            "request_counts": {"total": 0 if errors else len(lines), "completed": 0, "failed": 0},
            "metadata": request.get("metadata"),
        }
        if errors:
            shown["failed_at"] = now
        with self._lock:
            self._jobs[shown["id"]] = Job(shown, lines, self.polls)
        return dict(shown)

    def listed(self, limit: int, after: str, answer: Line) -> JSON:
        """List batches, newest first, from the one behind `after`; that is a look at each of the page."""
        with self._lock:
            cut = page([job.shown for job in reversed(self._jobs.values())], limit, after)
            looks = [self.retrieve(each["id"], answer) for each in cut["data"]]
        return {"object": "list", **cut, "data": looks}

    def retrieve(self, batch_id: str, answer: Line) -> JSON | Refused:
        """Poll a batch; the poll that ends it answers its lines."""
        with self._lock:
            job = self._jobs.get(batch_id)
            if job is None:
                return Refused(404, f"No batch found with id '{batch_id}'.", param="batch_id")
            shown, now = job.shown, int(time.time())
            if shown["status"] == "cancelling":
                shown |= {"status": "cancelled", "cancelled_at": now}
            elif shown["status"] in ("validating", "in_progress"):
                shown |= {"status": "in_progress", "in_progress_at": now}
                if job.polls <= 0:
                    self._complete(job, answer, now)
                job.polls -= 1
            return dict(shown)

    def cancel(self, batch_id: str) -> JSON | Refused:
        """Ask for a batch to be cancelled."""
        with self._lock:
            job = self._jobs.get(batch_id)
            if job is None:
                return Refused(404, f"No batch found with id '{batch_id}'.", param="batch_id")
            if job.shown["status"] in ("validating", "in_progress"):
                job.shown |= {"status": "cancelling", "cancelling_at": int(time.time())}
            return dict(job.shown)

    def _complete(self, job: Job, answer: Line, now: int) -> None:
        good: list[JSON] = []
        bad: list[JSON] = []
        left = left_out(self.troubles, len(job.lines))
        for index, (custom_id, request) in enumerate(job.lines):
            answered = None if index in left else answer(_ENDPOINTS[job.shown["endpoint"]], request)
            line: JSON = {"id": identifier("batch_req_", job.shown["id"], index).lower(), "custom_id": custom_id}
            if answered is None:
                expired = {"code": "batch_expired", "message": "This request could not be executed before it expired."}
                bad.append({**line, "response": None, "error": expired})
                continue
            response = {"status_code": answered[0], "request_id": identifier("req_", line["id"]), "body": answered[1]}
            (good if answered[0] < _ERRORS else bad).append({**line, "response": response, "error": None})
        for name, lines in (("output", good), ("error", bad)):
            if lines:
                content = b"".join(dumps(line) + b"\n" for line in lines)
                stored = self._store(
                    job.shown["id"], name, (f"{job.shown['id']}_{name}.jsonl", content), "batch_output"
                )
                job.shown[f"{name}_file_id"] = stored["id"]
        counts = {"total": len(job.lines), "completed": len(good), "failed": len(bad)}
        job.shown |= {"finalizing_at": now, "request_counts": counts}
        job.shown |= {"status": "expired", "expired_at": now} if left else {"status": "completed", "completed_at": now}

    def _store(self, seed: object, kind: str, file: tuple[str, bytes], purpose: str) -> JSON:
        now = int(time.time())
        shown: JSON = {
            "id": identifier("file-", seed, kind, length=22),
            "object": "file",
            "bytes": len(file[1]),
            "created_at": now,
            "expires_at": None,
            "filename": file[0],
            "purpose": purpose,
            "status": "processed",
        }
        with self._lock:
            self._files[shown["id"]] = (shown, file[1])
        return shown


def page(shown: list[JSON], limit: int, after: str) -> JSON:
    """Cut a list into the page of `limit` behind the id `after`."""
    at = next((index + 1 for index, one in enumerate(shown) if one["id"] == after), 0)
    cut = shown[at : at + limit]
    ends = {"first_id": cut[0]["id"] if cut else None, "last_id": cut[-1]["id"] if cut else None}
    return {"data": cut, "has_more": at + limit < len(shown), **ends}


def left_out(troubles: BatchTroubles | None, count: int) -> set[int]:
    """Choose the lines that a batch had no time for; none where it had time enough."""
    if troubles is None or not troubles.strikes("expired"):
        return set()
    return troubles.unlucky(count)


def _read_lines(content: bytes, endpoint: str) -> tuple[list[tuple[str, JSON]], list[JSON]]:
    lines: list[tuple[str, JSON]] = []
    errors: list[JSON] = []
    seen: set[str] = set()
    for number, raw in enumerate(content.splitlines(), 1):
        code = None
        try:
            line = json.loads(raw)
            custom_id, url, request = line["custom_id"], line["url"], line["body"]
        except (ValueError, KeyError, TypeError):
            code, said = "invalid_json_line", "This line is not parseable as valid JSON."
        else:
            if custom_id in seen:
                code, said = "duplicate_custom_id", f"The custom_id for this request is a duplicate: {custom_id}."
            elif url != endpoint or endpoint not in _ENDPOINTS:
                code, said = (
                    "mismatched_url",
                    f"The URL provided for this request does not match the batch endpoint: {url}.",
                )
            seen.add(custom_id)
            lines.append((custom_id, request))
        if code:
            errors.append({"code": code, "message": said, "line": number, "param": None})
    return lines, errors or (
        [] if lines else [{"code": "empty_file", "message": "The input file is empty.", "line": None, "param": None}]
    )
