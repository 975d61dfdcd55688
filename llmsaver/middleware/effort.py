"""Less thinking and fewer words where a feature can do with less; where its answer fails, once more as asked for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError, in_words
from llmsaver.middleware.for_features import ForFeatures
from llmsaver.prompt.efforts import EFFORTS, VERBOSITIES, with_effort, with_verbosity
from llmsaver.router.answers import answer_of
from llmsaver.router.asked import asked_of
from llmsaver.router.schemas import schema
from llmsaver.router.validators import objection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.router.validators import Validator

__all__ = ["Effort"]

log = logging.getLogger("llmsaver")

_REFUSED = 400
_AT_FAULT = ("effort", "verbosity", "reasoning", "output_config")


class Effort:
    """Sets how much a model thinks (``effort``) and says (``verbosity``) where it knows that and the caller gave none.

    ``features``: those it is for, with what is inside them, or an effort by feature; None for all. ``retry``: what
    judges the answer, "json_schema" or a function (asked, answer) -> why it is rejected, or None; a rejected answer is
    asked for once more at the caller's own level, and both are paid for. Judged answers are not streamed. Raises
    ``ConfigurationError``.
    """

    name = "effort"

    def __init__(
        self,
        effort: str = "low",
        *,
        verbosity: str | None = None,
        features: Iterable[str] | Mapping[str, str] | None = None,
        retry: Validator | Literal["json_schema"] | None = None,
    ) -> None:
        self._efforts = ForFeatures(effort, features, EFFORTS, "Effort(effort=)")
        if verbosity is not None and verbosity not in VERBOSITIES:
            raise ConfigurationError(f"Effort(verbosity=) must be 'low', 'medium' or 'high', not {verbosity!r}")
        if isinstance(retry, str) and retry != "json_schema":
            raise ConfigurationError(f"Effort(retry=) must be 'json_schema' or a function, not {retry!r}")
        if retry is not None and not isinstance(retry, str) and not callable(retry):
            raise ConfigurationError(f"Effort(retry=) must be 'json_schema' or a function, not {retry!r}")
        self._verbosity = verbosity
        self._schema_only = retry == "json_schema"
        self._validator: Validator | None = schema if isinstance(retry, str) else retry
        self._failed = False

    @property
    def policy(self) -> str:
        """What may decide an answer: part of the key of every cache above."""
        return f"{self._efforts} {self._verbosity} {self._validator is not None}"

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with the level that is set, and judge the answer where that was asked for."""
        try:
            sent = self._shaped(request)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here costs nobody the call
            level, self._failed = logging.DEBUG if self._failed else logging.WARNING, True
            log.log(level, "llmsaver: the effort is left alone: %s", in_words(error))
            sent = request
        if sent is request:
            return await call_next(request)
        before = len(request.entry.attempts)
        response = await call_next(sent)
        if response.status == _REFUSED:
            said = (await response.read()).decode("utf-8", "replace")
            if any(word in said for word in _AT_FAULT):
                request.entry.act(self.name, "refused", "the provider does not take it; sent as it was")
                return await call_next(request)
        why = await self._objection(request, response)
        if why is None:
            return response
        costs = [each.cost for each in request.entry.attempts[before:] if each.cost is not None]
        spent = sum(cost.nano_usd for cost in costs)
        request.entry.act(self.name, "retried", f"at the caller's level: {why}", saved_nano=-spent)
        return await call_next(request)

    def _shaped(self, request: Request) -> Request:
        """Return the request with what can be set on it; the very same where nothing can."""
        effort = self._efforts.of(request)
        if effort is None:
            return request
        set_to = []
        body = with_effort(request.dialect, request.body, effort)
        if body is not None:
            set_to.append(f"effort {effort}")
        if self._verbosity is not None:
            quieter = with_verbosity(request.dialect, body or request.body, self._verbosity)
            if quieter is not None:
                body = quieter
                set_to.append(f"verbosity {self._verbosity}")
        if body is None:
            return request
        request.entry.act(self.name, "set", ", ".join(set_to))
        return request.replace(body=body)

    async def _objection(self, request: Request, response: Response) -> str | None:
        """Return what is wrong with an answer; None where nothing is, or nobody is to judge."""
        if self._validator is None or not response.ok:
            return None
        asked = asked_of(request.dialect, request.body)
        if self._schema_only and not asked.json:
            return None
        await response.read()
        outcome = response.outcome
        if outcome is None or not outcome.complete:
            return None
        answer = answer_of(request.dialect, outcome.message or {})
        name = "json_schema" if self._schema_only else getattr(self._validator, "__name__", "validator")
        found = objection(asked, answer, {name: self._validator})
        return None if found is None else found.why
