"""Shorter answers by asking for them: one sentence of instruction at the end of the system text."""

from __future__ import annotations

import logging
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from llmsaver.errors import in_words
from llmsaver.middleware.for_features import ForFeatures
from llmsaver.prompt.forms import structured
from llmsaver.prompt.instructing import instructed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext

    Level: TypeAlias = Literal["brief", "terse"]

__all__ = ["LEVELS", "Concise"]

log = logging.getLogger("llmsaver")

# Said in detail, since "be concise" alone leaves 9 to 21 % more tokens; what it does to one's own prompts is for a
# paired replay to say (benchmarks/prompt_outputs.py): a small model may lose more than it saves.
LEVELS: Final[Mapping[str, str]] = MappingProxyType({
    "brief": (
        "Answer briefly. Start with the answer itself: no introduction, no repetition of the question, no summary at "
        "the end. Keep every fact, number, name, step and line of code that the answer needs."
    ),
    "terse": (
        "Answer in as few words as possible, in one sentence or a bare list where that is enough. Give only what was "
        "asked for: no introduction, no explanation that was not asked for, no summary. Keep numbers, names and code "
        "exact."
    ),
})  # fmt: skip


class Concise:
    """Asks for shorter answers, at the end of the system text, where a provider's cache of what precedes it stays.

    ``level``: "brief" leaves out what surrounds an answer, "terse" all that was not asked for. ``features``: those it
    is for, with what is inside them, or a level by feature; None for all. Never where JSON is asked for. Raises
    ``ConfigurationError``.
    """

    name = "concise"

    def __init__(self, level: Level = "brief", *, features: Iterable[str] | Mapping[str, Level] | None = None) -> None:
        self._levels = ForFeatures(level, features, LEVELS, "Concise(level=)")
        self._failed = False

    @property
    def policy(self) -> str:
        """What may decide an answer: part of the key of every cache above."""
        return str(self._levels)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with the instruction."""
        try:
            request = self._asked(request)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here costs nobody the call
            level, self._failed = logging.DEBUG if self._failed else logging.WARNING, True
            log.log(level, "llmsaver: answers are not asked to be concise: %s", in_words(error))
        return await call_next(request)

    def _asked(self, request: Request) -> Request:
        level = self._levels.of(request)
        if level is None or structured(request.body):
            return request
        body = instructed(request.dialect, request.body, LEVELS[level])
        if body is None:
            return request
        request.entry.act(self.name, "asked", f"for {level} answers", added=len(LEVELS[level]))
        return request.replace(body=body)
