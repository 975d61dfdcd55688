"""Which requests fetch the answers of calls made before: batches' files, and responses that ran in the background."""

from __future__ import annotations

from typing import Literal

__all__ = ["Retrieval", "retrieval"]

Retrieval = Literal["lines", "run"]


def retrieval(method: str, path: str) -> Retrieval | None:
    """Return what a request fetches: the "lines" of a batch, a background "run", or None for all else.

    Only the end of the path counts, so Azure's and servers under a prefix are found. What a file is is not in its path:
    ``BatchLines`` finds out.
    """
    path = path.removesuffix("/")
    if method == "GET":
        head, _, last = path.rpartition("/")
        if last == "content":
            return "lines" if head.rpartition("/")[0].endswith("/files") else None
        if last == "results":
            return "lines" if head.rpartition("/")[0].endswith("/messages/batches") else None
        return "run" if head.endswith("/responses") else None
    if method == "POST" and path.endswith("/cancel"):
        return "run" if path.removesuffix("/cancel").rpartition("/")[0].endswith("/responses") else None
    return None
