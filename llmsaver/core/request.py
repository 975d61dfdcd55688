"""A call on its way down the stack."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llmsaver.core.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.core.entry import Entry
    from llmsaver.core.origin import Origin
    from llmsaver.core.response import Response
    from llmsaver.core.runtime import Runtime

__all__ = ["Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One LLM call as the layers see it: immutable; a layer passes on ``request.replace(...)``.

    ``dialect`` is "chat", "responses", "messages" or "embeddings"; ``body`` is the JSON object the caller sent, to be
    read and never written to; ``account`` is a hash of the credentials, which themselves are not here; ``attempt``
    counts the SDK's retries from 0; ``deadline`` is on the monotonic clock, in seconds. ``carrier`` belongs to the
    client that built the request; ``origin`` is where it goes if not where that client would send it (``url`` and
    ``dialect`` say so then too).
    """

    dialect: str
    body: Mapping[str, Any]
    url: str
    entry: Entry
    runtime: Runtime
    account: str = ""
    options: Options = field(default_factory=Options)
    attempt: int = 0
    deadline: float | None = None
    origin: Origin | None = None
    carrier: Any = field(default=None, repr=False, compare=False)

    @property
    def model(self) -> str | None:
        """The model the body names; None where it names none (an Azure deployment's is in the URL)."""
        model = self.body.get("model")
        return model if isinstance(model, str) else None

    @property
    def terms(self) -> str:
        """A hash of what may decide the answer beside URL, body and account: the query, and headers of the caller's."""
        return getattr(self.carrier, "terms", "")

    @property
    def stream(self) -> bool:
        """Whether the caller asked for server-sent events."""
        return self.body.get("stream") is True

    @property
    def feature(self) -> str:
        """The innermost feature this call is booked under."""
        return self.entry.feature

    @property
    def tenant(self) -> str | None:
        """The tenant on whose behalf the call is made."""
        return self.entry.tenant

    @property
    def conversation(self) -> str | None:
        """The conversation the call belongs to."""
        return self.entry.conversation

    def replace(self, *, model: str | None = None, **changes: Any) -> Request:
        """Return a copy with ``changes`` to its fields; ``model`` is short for a body that names another model."""
        if model is not None:
            changes["body"] = {**changes.get("body", self.body), "model": model}
        return replace(self, **changes)

    def again(self, feature: str) -> Callable[[], Response | None] | None:
        """Return a function that sends this call once more and returns the answer, for ``runtime.detach`` to run.

        It goes through the whole stack but no cache, as one JSON object, booked under ``feature`` inside the features
        and budgets of the original. None where nothing can be sent; the function returns None where the application's
        own HTTP client cannot be used from another thread, and raises what a call raises.
        """
        if self.carrier is None:
            return None
        again: Callable[[], Response | None] = self.carrier.again(self, feature)
        return again

    def with_body(self, **changes: Any) -> Request:
        """Return a copy whose body has these top-level keys set."""
        return replace(self, body={**self.body, **changes})
