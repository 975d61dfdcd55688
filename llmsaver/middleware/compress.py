"""Prompts with less in them: texts that tools and documents bring, made shorter once, on arrival, and never again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError, in_words
from llmsaver.prompt.blocks import with_texts
from llmsaver.prompt.shorter import ALL, LOSSLESS, Recipe, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.prompt.shorter import Shortened

__all__ = ["Compress"]

log = logging.getLogger("llmsaver")


class Compress:
    """Makes texts of tools and documents shorter; instructions, answers, tool schemas and the user's words stay.

    ``steps``: "lossless" (JSON minified or as a table, no space at the ends of lines, a text once instead of twice),
    "all", or some of "space", "json", "duplicates", "bulk" (base64), "html", "logs" and "passages" (the sentences that
    the question needs). ``keep``: the probability with which the answer to a question must still be in its passages,
    by which it is decided how much shorter they may become; ``ratio`` sets that itself. What is between ``<keep>`` tags
    stays. What a text becomes depends only on the request in which it first appeared, so a provider's cache of the
    conversation stays whole. Raises ``ConfigurationError``.
    """

    name = "compress"

    def __init__(
        self, steps: str | Iterable[str] = "lossless", *, keep: float = 0.97, ratio: float | None = None
    ) -> None:
        named = {"lossless": LOSSLESS, "all": ALL}.get(steps) if isinstance(steps, str) else tuple(steps)
        unknown = [steps] if named is None else [step for step in named if step not in ALL]
        if named is None or unknown:
            raise ConfigurationError(
                f"Compress(steps=) must be 'lossless', 'all' or some of {', '.join(ALL)}; not {unknown[0]!r}"
            )
        if not 0 < keep <= 1:
            raise ConfigurationError(f"Compress(keep=) must be a probability above 0 and up to 1, not {keep!r}")
        if ratio is not None and not ratio >= 1:
            raise ConfigurationError(f"Compress(ratio=) must be 1 or more times shorter, not {ratio!r}")
        self._recipe = Recipe(named, keep, ratio)
        self._failed = 0

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with shorter texts; as it was, where anything goes wrong."""
        try:
            made = shortened(request.dialect, request.body, self._recipe)
            if made.texts:
                shaped = request.replace(body=with_texts(request.body, made.texts))
                request.entry.act(self.name, "shortened", _why(made), before=made.before, after=made.after)
                request = shaped
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here costs nobody the call
            self._failed += 1
            level = logging.WARNING if self._failed == 1 else logging.DEBUG
            log.log(level, "llmsaver: a prompt is sent as it was: %s", in_words(error))
        return await call_next(request)


def _why(made: Shortened) -> str:
    parts = [f"{step} {saved:,}" for step, saved in sorted(made.saved.items(), key=lambda each: -each[1])]
    return f"{made.before:,} bytes of tools and documents to {made.after:,}: {', '.join(parts)}"
