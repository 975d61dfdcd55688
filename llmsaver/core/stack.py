"""The one protocol of a layer, and the fold that makes a stack of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.errors import LLMSaverError, MiddlewareError, in_words

__all__ = ["CallNext", "Middleware", "compose", "layer_name"]

log = logging.getLogger("llmsaver")

CallNext = Callable[[Request], Awaitable[Response]]


class Middleware(Protocol):
    """One saving: change the request, answer it, or pass it on.

    An ``async def`` function or method that awaits nothing but ``call_next``, a body and ``request.runtime``. It is
    shown under its ``name`` attribute, or else its own name.
    """

    async def __call__(self, request: Request, call_next: CallNext, /) -> Response:
        """Return the answer to ``request``."""


def layer_name(layer: Any) -> str:
    """Return what a layer is called in headers, entries and errors."""
    return str(getattr(layer, "name", None) or getattr(layer, "__name__", None) or type(layer).__name__)


def compose(layers: list[Middleware], upstream: CallNext) -> CallNext:
    """Fold ``layers`` (outermost first) over ``upstream``, each behind a guard."""
    call_next = upstream
    for layer in reversed(layers):
        call_next = _Guard(layer, call_next)
    return call_next


class _Guard:
    """Runs one layer so that its bugs cost neither a paid answer nor a clear word about what broke.

    What a layer raises on purpose (an ``LLMSaverError``), and what the transport raised, passes. Anything else is a
    bug: if an answer had come back by then it is returned untouched; before that, a built-in layer is skipped and an
    application's own layer is reported as a ``MiddlewareError``, since it may have meant to stop the call.
    """

    __slots__ = ("built_in", "call_next", "layer", "name")

    def __init__(self, layer: Middleware, call_next: CallNext) -> None:
        self.layer = layer
        self.call_next = call_next
        self.name = layer_name(layer)
        self.built_in = type(layer).__module__.startswith("llmsaver.middleware.")

    async def __call__(self, request: Request) -> Response:
        watch = _Watch(self.call_next)
        acts = len(request.entry.layers)
        try:
            response: Any = await self.layer(request, watch)
            if watch.sent is request and watch.answers == [response] and watch.answers[0].intact:
                return watch.answers[0]  # passed on as it was, and the answer too
        except (LLMSaverError, asyncio.CancelledError):
            await watch.release()
            raise
        except Exception as error:  # noqa: BLE001 - whatever a layer raises is its bug, not the caller's
            return await self._broken(request, watch, error)
        if not isinstance(response, Response):
            return await self._broken(request, watch, TypeError(f"returned {type(response).__name__}, not a Response"))
        if not response.intact:
            spent = RuntimeError("returned an answer whose body it had iterated or closed; read() keeps a body")
            return await self._broken(request, watch, spent)
        if all(act.name != self.name for act in request.entry.layers[acts:]):
            self._explain(request, watch, response)
        if watch.answers != [response] and (response.content is not None or response in watch.answers):
            await watch.release(response)
        return response

    def _explain(self, request: Request, watch: _Watch, response: Response) -> None:
        """Say what a layer did that did not say so itself: nothing is changed in silence."""
        if watch.sent is None:
            request.entry.act(self.name, "answered", "without an upstream call")
        elif response not in watch.answers:
            request.entry.act(self.name, "replaced", "the answer")
        elif watch.sent is not request and watch.sent.body != request.body:
            keys = [
                key for key in {**request.body, **watch.sent.body} if request.body.get(key) != watch.sent.body.get(key)
            ]
            request.entry.act(self.name, "changed", ", ".join(keys))

    async def _broken(self, request: Request, watch: _Watch, error: Exception) -> Response:
        what = in_words(error)
        log.warning("llmsaver: layer %r failed: %s", self.name, what, exc_info=error)
        request.entry.act(self.name, "failed", what)
        for answer in reversed(watch.answers):
            if answer.intact:
                await watch.release(answer)
                return answer
        await watch.release()
        if self.built_in and watch.sent is None:
            return await self.call_next(request)
        # Not "raise ... from": under an SDK that follows __cause__, an API error there would be retried.
        raised = MiddlewareError(f"layer {self.name!r} failed: {what}", self.name)
        raised.add_note("Raise llmsaver.LLMSaverError (or a subclass) in a layer to stop a call on purpose.")
        raise raised from None


class _Watch:
    """The ``call_next`` a layer is given: remembers what was sent last and the answers that came back."""

    __slots__ = ("answers", "call_next", "sent")

    def __init__(self, call_next: CallNext) -> None:
        self.call_next = call_next
        self.sent: Request | None = None
        self.answers: list[Response] = []

    async def __call__(self, request: Request) -> Response:
        if not isinstance(request, Request):
            raise TypeError(f"call_next takes a Request, not {type(request).__name__}")
        self.sent = request
        answer = await self.call_next(request)
        self.answers.append(answer)
        return answer

    async def release(self, kept: Response | None = None) -> None:
        """Close the answers that nobody will read, or their connections would never be given back."""
        for answer in self.answers:
            if answer is kept or answer.content is not None:
                continue
            try:
                await answer.aclose()
            except Exception:
                log.debug("llmsaver: an answer that was not wanted could not be closed", exc_info=True)
