"""Answers that were cut off for length, gone on with by themselves: the caller sees one answer."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from llmsaver.core.response import Response
from llmsaver.errors import ConfigurationError, in_words
from llmsaver.prompt.continuing import Joint, asked_on, can_continue, cut_text, joined, prefills
from llmsaver.prompt.continuing_streams import SEAMS
from llmsaver.router.answers import answer_of
from llmsaver.wire import DIALECTS
from llmsaver.wire.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.request import Request
    from llmsaver.core.stack import CallNext
    from llmsaver.prompt.continuing_streams import Seam

__all__ = ["Continuation"]

log = logging.getLogger("llmsaver")

_FRAMING = frozenset({"content-length", "content-encoding", "transfer-encoding"})
NAME = "continuation"


class Continuation:
    """Goes on with an answer that ended for length, up to ``max_rounds`` more requests, whole and streamed.

    Never where tools are offered or JSON is asked for, nor where a budget set the limit. The answer is the first one's
    with the text of all, its end the last one's, usage and cost the sum. Where going on fails the answer is returned as
    far as it goes, still marked as cut off. Raises ``ConfigurationError``.
    """

    name = NAME

    def __init__(self, *, max_rounds: int = 3) -> None:
        if max_rounds < 1:
            raise ConfigurationError(f"Continuation(max_rounds=) must be 1 or more, not {max_rounds!r}")
        self._rounds = max_rounds

    @property
    def policy(self) -> str:
        """What may decide an answer: part of the key of every cache above."""
        return f"{self._rounds}"

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on, and ask for the rest where the answer was cut off."""
        response = await call_next(request)
        if not response.ok or can_continue(request.dialect, request.body) is not None:
            return response
        if response.streamed and response.content is None:
            request.entry.act(self.name, "watching", "goes on where the answer is cut off for length")
            return _streamed(request, response, call_next, self._rounds)
        return await self._whole(request, response, call_next)

    async def _whole(self, request: Request, response: Response, call_next: CallNext) -> Response:
        """Return an answer of all rounds; the first one's, untouched, where there is nothing to go on with."""
        dialect = request.dialect
        answers, text, added = [await _message(response)], "", ""
        prefilling = _prefilling(request)
        for _ in range(self._rounds):
            cut = cut_text(dialect, answers[-1] or {})
            if cut is None or _stopped(request):
                break
            # The first answer's text is all of it; a later one's only shows that it is to be gone on with.
            text = text or cut
            more, message = "", None
            try:
                sent = request.replace(body=asked_on(dialect, request.body, text + added, prefilling=prefilling))
                message = await _message(await call_next(sent))
                more = _rest(dialect, message or {}, text + added, prefilled=prefilling)
            except Exception as error:  # noqa: BLE001 - the answer is there, cut off as it is
                _failed(request, error)
            if message is None or not more:
                break
            answers.append(message)
            added += more
        if not added:
            return response
        request.entry.act(self.name, "continued", _told(len(answers), added))
        whole = joined(dialect, [answer for answer in answers if answer is not None], added)
        headers = {name: value for name, value in response.headers.items() if name.lower() not in _FRAMING}
        headers["content-type"] = "application/json"
        content = json.dumps(whole).encode()
        return Response(response.status, headers, content=content, meter=DIALECTS[dialect].meter(streamed=False))


async def _message(response: Response) -> dict[str, Any] | None:
    """Return an answer as one JSON object; None where it failed."""
    await response.read()
    outcome = response.outcome
    return outcome.message if outcome is not None and outcome.complete else None


def _rest(dialect: str, message: Mapping[str, Any], text: str, *, prefilled: bool) -> str:
    """Return what an answer adds to ``text``."""
    joint = Joint(text, prefilled=prefilled)
    return joint.feed(answer_of(dialect, message).text) + joint.flush()


def _prefilling(request: Request) -> bool:
    """Whether the model goes on with its own turn; nobody knows which model that is where another one may answer."""
    entry = request.entry
    return entry.routing is None and not entry.spilled and prefills(request.dialect, request.body)


def _stopped(request: Request) -> bool:
    """Whether nothing more may be asked for: a budget set the limit, or the caller's time is up."""
    late = request.deadline is not None and time.monotonic() >= request.deadline
    return late or request.entry.clamped_to is not None


def _failed(request: Request, error: Exception) -> None:
    log.debug("llmsaver: an answer could not be gone on with: %s", in_words(error))
    request.entry.act(NAME, "failed", f"the answer stays cut off: {in_words(error)}")


def _told(rounds: int, added: str) -> str:
    return f"{len(added):,} characters more, from {rounds - 1} further request{'s' if rounds > 2 else ''}"  # noqa: PLR2004 - one further is singular


def _streamed(request: Request, response: Response, call_next: CallNext, rounds: int) -> Response:
    headers = {name: value for name, value in response.headers.items() if name.lower() not in _FRAMING}
    body = _Continued(request, response, call_next, rounds)
    return Response(response.status, headers, body=body, meter=DIALECTS[request.dialect].meter(streamed=True))


class _Continued:
    """The body of a streamed answer, and of those that go on with it."""

    __slots__ = (
        "_call_next",
        "_ended",
        "_framer",
        "_length",
        "_plain",
        "_request",
        "_response",
        "_round",
        "_rounds",
        "_seam",
    )

    def __init__(self, request: Request, response: Response, call_next: CallNext, rounds: int) -> None:
        self._request = request
        self._response = response
        self._call_next = call_next
        self._rounds = rounds
        self._round = 0
        self._seam: Seam = SEAMS[request.dialect]()
        self._framer = Framer()
        self._ended = False
        self._plain = False
        self._length = 0

    def __aiter__(self) -> _Continued:
        return self

    async def __anext__(self) -> bytes:
        while not self._ended:
            try:
                chunk = await self._response.__anext__()
            except StopAsyncIteration:
                out = await self._next()
            except Exception as error:
                if not self._round:
                    raise
                out = self._finished(error)
            else:
                out = self._take(chunk)
                # Some servers keep a connection open after the terminal event.
                if self._response.outcome is not None and (self._seam.cut or self._round):
                    out += await self._next()
            if out:
                return out
        raise StopAsyncIteration

    def _take(self, chunk: bytes) -> bytes:
        out = b""
        for event in self._framer.feed(chunk):
            try:
                out += event.raw if self._plain else (self._seam.more if self._round else self._seam.take)(event)
            except Exception as error:  # noqa: BLE001 - nonsense from a provider costs nobody the answer
                if self._round:
                    return out + self._finished(error)
                self._plain = True
                out += self._seam.released() + event.raw
        return out

    async def _next(self) -> bytes:
        """Ask for more where the stream that ended was cut off; return what goes out meanwhile, or the end."""
        if self._ended:
            return b""
        seam, request, text = self._seam, self._request, self._seam.text
        rest = self._framer.rest() if not self._round else b""
        stuck = len(text) <= self._length
        if not seam.cut or self._plain or self._round >= self._rounds or stuck or _stopped(request):
            return self._finished() + rest
        try:
            await self._response.aclose()
            prefilling = _prefilling(request)
            sent = request.replace(body=asked_on(request.dialect, request.body, text, prefilling=prefilling))
            response = await self._call_next(sent)
            if not response.ok or not response.streamed:
                await response.aclose()
                return self._finished(RuntimeError(f"the provider answered {response.status}"))
        except Exception as error:  # noqa: BLE001 - the answer is there, cut off as it is
            return self._finished(error)
        self._response, self._framer = response, Framer()
        self._round += 1
        self._length = len(text)
        return seam.next(Joint(text, prefilled=prefilling))

    def _finished(self, error: Exception | None = None) -> bytes:
        """Return the end of the answer."""
        self._ended = True
        if error is not None:
            _failed(self._request, error)
        if not self._round:
            return self._seam.released()
        end = self._seam.end()
        self._request.entry.act(NAME, "continued", f"with {self._round} further requests")
        return end

    async def aclose(self) -> None:
        """Close the stream that is being read."""
        self._ended = True
        await self._response.aclose()
