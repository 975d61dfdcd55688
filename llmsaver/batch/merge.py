"""The answers of all jobs as one file, in the order of the requests and under the caller's own ids."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from llmsaver.batch.outcome import BatchFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from llmsaver.batch.requests import Requests, Row
    from llmsaver.batch.spool import Spool

__all__ = ["failures", "lines", "write"]

_NOT_SENT = "it was not sent"


def lines(requests: Requests, spool: Spool) -> Iterator[bytes]:
    """Yield one line for each request: the answer, or the failure, as the provider wrote it."""
    for row in requests.rows:
        raw = spool.line(row.number)
        yield _unsent(row) if raw is None else _named(raw, row.custom_id)


def failures(requests: Requests, spool: Spool) -> tuple[BatchFailure, ...]:
    """Return the requests that have no answer, and why."""
    found = []
    for row in requests.rows:
        kept = spool.rows.get(row.number)
        if kept is None or not kept.ok:
            found.append(BatchFailure(row.custom_id, row.number + 1, _NOT_SENT if kept is None else kept.why))
    return tuple(found)


def write(path: Path, requests: Requests, spool: Spool) -> None:
    """Write the file whole or not at all, for its owner's eyes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for line in lines(requests, spool):
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _named(raw: bytes, custom_id: str) -> bytes:
    line = json.loads(raw)
    line["custom_id"] = custom_id
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _unsent(row: Row) -> bytes:
    error = {"code": "not_sent", "message": _NOT_SENT}
    return json.dumps({"id": None, "custom_id": row.custom_id, "response": None, "error": error}).encode()
