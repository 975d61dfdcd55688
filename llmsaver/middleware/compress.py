"""Prompts with less in them: texts that tools and documents bring, made shorter once, on arrival, and never again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError, in_words
from llmsaver.prompt.blocks import with_texts
from llmsaver.prompt.passages import selected
from llmsaver.prompt.shorter import ALL, LOSSLESS, Recipe, Shaper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.middleware.compress_stubs import Stubbed, Stubber
    from llmsaver.pricing import PriceBook
    from llmsaver.prompt.originals import Originals
    from llmsaver.prompt.shorter import Seen, Shortened
    from llmsaver.prompt.stubbing import Stubs

__all__ = ["Compress"]

log = logging.getLogger("llmsaver")

# Texts never seen before take up to 300 ns a byte to shape (tables, logs, HTML; measured), so from so many bytes on, or
# 5 ms, an event loop should not wait; a thread costs a fifth of a millisecond.
OFFLOADED_BYTES = 16 << 10


class Compress:
    """Makes texts of tools and documents shorter; instructions, answers, tool schemas and the user's words stay.

    ``steps``: "lossless" (JSON minified or as a table, no space at the ends of lines, a text once instead of twice),
    "all", or some of "space", "json", "duplicates", "bulk" (base64), "html", "logs" and "passages" (the sentences that
    the question needs). ``keep``: the probability with which the answer to a question must still be in its passages,
    by which it is decided how much shorter they may become; ``ratio`` sets that itself. What is between ``<keep>`` tags
    stays. What a text becomes depends only on the request in which it first appeared, so a provider's cache of the
    conversation stays whole. ``stubs``: True or ``Stubs(...)`` to send old tool outputs as stubs once no cached prefix
    is lost by it, or enough requests are expected to follow; see ``Saver.recall``. ``passages``: what else shortens
    passages, ``prompt.lingua.LLMLingua()`` or a function of text, question and ratio; it must say the same each time.
    Raises ``ConfigurationError``.
    """

    name = "compress"

    def __init__(
        self,
        steps: str | Iterable[str] = "lossless",
        *,
        keep: float = 0.97,
        ratio: float | None = None,
        stubs: bool | Stubs = False,
        passages: Callable[[str, str, float], str] | None = None,
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
        if passages is not None and (ratio is None or "passages" not in named):
            raise ConfigurationError(
                "Compress(passages=) needs ratio=, as nobody measured what it keeps, and 'passages' among steps="
            )
        self._shaper = Shaper(Recipe(named, keep, ratio, passages or selected))
        self._offloaded = OFFLOADED_BYTES if passages is None else 0
        self._stubber = _stubber(stubs)
        self._failed = 0

    @property
    def policy(self) -> str | None:
        """What may decide an answer, for the caches above; None where nothing is left out."""
        stubs = None if self._stubber is None else repr(self._stubber.options)
        return " ".join(told for told in (self._shaper.recipe.policy, stubs) if told) or None

    def use_books(self, prices: PriceBook, *_: object) -> None:
        """Take the Saver's prices, by which it is told whether rewriting a cached prefix pays."""
        if self._stubber is not None:
            self._stubber.use_books(prices)

    def use_originals(self, place: str | Path | None, ledger: str | Path | None) -> Originals | None:
        """Keep originals at the place that the settings name; return the store, None where nothing is left out."""
        return None if self._stubber is None else self._stubber.use_originals(place, ledger)

    def close(self) -> None:
        """Close the store of originals."""
        if self._stubber is not None and self._stubber.originals is not None:
            self._stubber.originals.close()

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with shorter texts; as it was, where anything goes wrong."""
        shaped, originals = request, None
        try:
            shaped, originals = await self._shaped(request)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here costs nobody the call
            self._tell(error, "a prompt is sent as it was")
        if originals is None:
            return await call_next(shaped)
        from llmsaver.middleware.compress_recall import recalling

        return await recalling(self.name, shaped, originals, call_next)

    async def _shaped(self, request: Request) -> tuple[Request, Mapping[str, str] | None]:
        """Return a request with shorter texts, and what its model may call back."""
        seen = self._shaper.look(request.dialect, request.body)
        stubbed = await self._stubbed(request, seen)
        without = frozenset(stubbed.texts) if stubbed is not None else frozenset()
        if self._shaper.fresh(seen) > self._offloaded:
            made = await request.runtime.offload(self._shaper.shape, seen, without)
        else:
            made = self._shaper.shape(seen, without)
        texts = {**made.texts, **(stubbed.texts if stubbed is not None else {})}
        body: Any = with_texts(request.body, texts) if texts else request.body
        if made.texts:
            request.entry.act(self.name, "shortened", _why(made), before=made.before, after=made.after)
        if stubbed is not None and stubbed.texts:
            request.entry.act(self.name, "stubbed", stubbed.why, before=stubbed.before, after=stubbed.after)
        if stubbed is not None and stubbed.originals is not None:
            from llmsaver.prompt.stub_recall import offered

            body = offered(request.dialect, body)
        shaped = request if body is request.body else request.replace(body=body)
        return shaped, None if stubbed is None else stubbed.originals

    async def _stubbed(self, request: Request, seen: Seen) -> Stubbed | None:
        """Return the stubs of a request; none where the store fails, which then costs more, but no call."""
        stubber = self._stubber
        if stubber is None or not stubber.concerns(request, seen):
            return None
        try:
            return await request.runtime.offload(stubber.shape, request, seen, self._shaper)
        except Exception as error:  # noqa: BLE001 - the originals are in the request
            stubber.rest()
            self._tell(error, "tool outputs are sent whole")
            return None

    def _tell(self, error: Exception, what: str) -> None:
        self._failed += 1
        level = logging.WARNING if self._failed == 1 else logging.DEBUG
        log.log(level, "llmsaver: %s: %s", what, in_words(error))


def _stubber(given: Any) -> Stubber | None:
    """Return what makes stubs; nothing of it is imported for who wants none."""
    if given is False:
        return None
    from llmsaver.middleware.compress_stubs import Stubber
    from llmsaver.prompt.stubbing import Stubs

    if given is True:
        return Stubber(Stubs())
    if not isinstance(given, Stubs):
        raise ConfigurationError(f"Compress(stubs=) must be True, False or Stubs(...), not {given!r}")
    return Stubber(given)


def _why(made: Shortened) -> str:
    parts = [f"{step} {saved:,}" for step, saved in sorted(made.saved.items(), key=lambda each: -each[1])]
    return f"{made.before:,} bytes of tools and documents to {made.after:,}: {', '.join(parts)}"
