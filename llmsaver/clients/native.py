"""httpx2 and httpx: one API under two names, so everything here is made per module."""

from __future__ import annotations

import logging
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmsaver.core.runtime import drive
from llmsaver.errors import LLMSaverError, MiddlewareError, UpstreamError, in_words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

    from llmsaver.core.entry import Entry
    from llmsaver.core.response import Response
    from llmsaver.wire.dialect import Shaper

    Surfaced = Callable[[LLMSaverError], BaseException]

__all__ = ["AsyncBody", "SyncBody", "add_headers", "header_dict", "module_of", "stream_of"]


log = logging.getLogger("llmsaver")


@lru_cache(maxsize=256)
def module_of(kind: Any) -> ModuleType:
    """Return the HTTP module ("httpx2" or "httpx") that ``kind``, a class of it or derived from it, belongs to."""
    for base in kind.__mro__:
        name = base.__module__.partition(".")[0]
        if name in {"httpx2", "httpx"}:
            return sys.modules[name]
    raise TypeError(f"expected an httpx or httpx2 client or response, got {kind.__module__}.{kind.__qualname__}")


@lru_cache(maxsize=2)
def _keeps_list(module: ModuleType) -> bool:
    """Tell whether this module's Headers keep the list of triples that reading and adding can use directly."""
    return getattr(module.Headers([("A", "b")]), "_list", None) == [(b"A", b"a", b"b")]


def header_dict(module: ModuleType, headers: Any) -> dict[bytes, bytes]:
    """Return headers by lower-case name: several questions to a dict cost less than one to ``Headers``."""
    if _keeps_list(module):
        return {lower: value for _, lower, value in headers._list}  # noqa: SLF001 - probed above
    return {name.lower(): value for name, value in headers.raw}


def add_headers(module: ModuleType, response: Any, added: list[tuple[bytes, bytes]]) -> None:
    """Set headers of ours (lower-case names, always the same ones) on a native response.

    A test transport may hand out one response object again and again: what was added before is replaced.
    """
    if _keeps_list(module):
        kept = response.headers._list  # noqa: SLF001 - probed above
        if kept and kept[-1][1] == added[-1][0]:
            del kept[-len(added) :]
        kept += [(name, name, value) for name, value in added]
    else:
        names = {name for name, _ in added}
        raw = [(name, value) for name, value in response.headers.raw if name.lower() not in names]
        response.headers = module.Headers([*raw, *added])


class SyncBody:
    """A native synchronous stream as the core's body: one ``send`` drives each chunk."""

    __slots__ = ("_chunks", "_entry", "_source")

    def __init__(self, source: Any, chunks: Iterator[bytes], entry: Entry) -> None:
        self._source = source
        self._chunks = chunks
        self._entry = entry

    def __aiter__(self) -> SyncBody:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = next(self._chunks, None)
        except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
            raise UpstreamError(error) from None
        if chunk is None:
            raise StopAsyncIteration
        if self._entry.first_byte_s is None:
            self._entry.first_byte_s = self._entry.elapsed()
        return chunk

    async def aclose(self) -> None:
        """Give the connection back."""
        try:
            self._source.close()
        except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
            raise UpstreamError(error) from None


class AsyncBody:
    """A native asynchronous stream as the core's body."""

    __slots__ = ("_chunks", "_entry", "_source")

    def __init__(self, source: Any, chunks: AsyncIterator[bytes], entry: Entry) -> None:
        self._source = source
        self._chunks = chunks
        self._entry = entry

    def __aiter__(self) -> AsyncBody:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
            raise UpstreamError(error) from None
        if self._entry.first_byte_s is None:
            self._entry.first_byte_s = self._entry.elapsed()
        return chunk

    async def aclose(self) -> None:
        """Give the connection back."""
        try:
            await self._source.aclose()
        except Exception as error:  # noqa: BLE001 - the transport's own, restored on the way out
            raise UpstreamError(error) from None


def stream_of(module: ModuleType, response: Response, shaper: Shaper | None, surfaced: Surfaced, **kind: bool) -> Any:
    """Return a native byte stream that hands on ``response``, through ``shaper`` where there is one.

    ``kind`` is ``asynchronous=``; ``surfaced`` makes an error of ours, raised on the way, one that the SDK above knows.
    """
    return _stream_type(module, **kind)(response, shaper, surfaced)


@lru_cache(maxsize=4)
def _stream_type(module: ModuleType, *, asynchronous: bool) -> type:
    """Make the stream class for one HTTP module, which checks for base classes of its own."""
    if asynchronous:
        return type("AsyncStream", (_AsyncFlow, module.AsyncByteStream), {})
    return type("SyncStream", (_SyncFlow, module.SyncByteStream), {})


class _Flow:
    """Core answer in, native bytes out: shaped, and with the transport's own exceptions restored."""

    def __init__(self, response: Response, shaper: Shaper | None, surfaced: Surfaced) -> None:
        self._response = response
        self._shaper = shaper
        self._surfaced = surfaced
        self._end: BaseException | None = None
        self.source: Any = None

    @property
    def elapsed(self) -> Any:
        """What the transport's own stream measured, where it did: ``Response.elapsed`` looks for it here."""
        return getattr(self.source, "elapsed", None)

    async def _next(self) -> bytes:
        """Return the next bytes to hand on; raise StopAsyncIteration or the transport's exception at the end."""
        if self._end is not None:
            raise self._end
        try:
            while True:
                chunk = await self._response.__anext__()
                if self._shaper is not None:
                    chunk = self._shaper.feed(chunk)
                if chunk:
                    return chunk
        except StopAsyncIteration as error:
            end: BaseException = error
        except UpstreamError as error:
            end = error.original
        except LLMSaverError as error:
            end = self._surfaced(error)
        except Exception as error:  # noqa: BLE001 - whatever a layer's own body raises is its bug, not the caller's
            what = f"a layer's body failed: {in_words(error)}"
            end = self._surfaced(MiddlewareError(what, ""))
        self._end = end
        # However it ended: what was held did arrive.
        if self._shaper is not None and (tail := self._shaper.flush()):
            return tail
        raise end

    async def _close(self) -> None:
        """Close the answer; raise the transport's exception where that fails, and nobody else's."""
        try:
            await self._response.aclose()
        except UpstreamError as error:
            failure = error.original
        except Exception:
            log.warning("llmsaver: a layer's body could not be closed", exc_info=True)
            return
        else:
            return
        raise failure


class _SyncFlow(_Flow):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                chunk = drive(self._next())
            except StopAsyncIteration:
                return
            yield chunk

    def close(self) -> None:
        """Close the answer, and with it the upstream."""
        drive(self._close())


class _AsyncFlow(_Flow):
    def __aiter__(self) -> _AsyncFlow:
        return self

    async def __anext__(self) -> bytes:
        return await self._next()

    async def aclose(self) -> None:
        """Close the answer, and with it the upstream."""
        await self._close()
