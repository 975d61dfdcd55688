"""Answers of earlier calls on their way to the SDK: what passes is looked at, and reaches the caller as it came."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llmsaver.core.entry import entry_within
from llmsaver.core.options import current_options
from llmsaver.core.request import Request
from llmsaver.middleware.retrieved import AHEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from llmsaver.clients.seam import Seam
    from llmsaver.core.runtime import Runtime
    from llmsaver.middleware.retrieved import Watch
    from llmsaver.wire.retrieval import Retrieval

__all__ = ["watched"]

log = logging.getLogger("llmsaver")

# Up to here reading costs an event loop less than a thread would.
SMALL = 64 * 1024
# The longest that the end of an answer waits for rows to be durable; the ledger gives up on its own before.
PATIENCE_SECONDS = 5.0


async def watched(seam: Seam, native: Any, answer: Any, kind: Retrieval, own_headers: dict[str, str]) -> Any:
    """Return ``answer``, whose bytes are seen by whoever books them; never raises."""
    try:
        await _watch(seam, native, answer, kind, own_headers)
    except Exception:
        log.warning("llmsaver: an answer that was fetched is not booked", exc_info=True)
    return answer


async def _watch(seam: Seam, native: Any, answer: Any, kind: Retrieval, own_headers: dict[str, str]) -> None:
    saver, options = seam.saver, current_options.get()
    if own_headers:
        options = options.with_headers(own_headers)
    if saver.bypassed or options.bypass or answer.status_code != 200:  # noqa: PLR2004 - a part (206) is no answer
        return
    settings, url = saver.settings, native.url
    dialect = "responses" if kind == "run" else "batch"
    entry = entry_within(options, dialect, None, feature=settings.feature, tenant=settings.tenant)
    runtime = saver.async_runtime if seam.asynchronous else saver.sync_runtime
    where = f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"
    request = Request(entry.dialect, {}, where, entry, runtime, options=options)
    streamed = answer.headers.get("content-type", "").lower().startswith("text/event-stream")
    watch = await saver.retrieved.watch(request, kind, streamed=streamed)
    if watch is None:
        return
    if not answer.is_stream_consumed:
        answer.stream = _tee_type(seam.module, asynchronous=seam.asynchronous)(
            answer.stream, watch, _decoder(seam.module, answer), runtime
        )
        return
    content = answer.content
    if len(content) <= SMALL:
        _all(watch, content)
    else:
        await runtime.offload(_all, watch, content)
    while (flight := watch.ahead(most=0)) is not None:
        if not await runtime.wait(flight, PATIENCE_SECONDS):
            return


def _all(watch: Watch, content: bytes) -> None:
    watch.see(content)
    watch.end(whole=True)


def _decoder(module: ModuleType, answer: Any) -> Any:
    """Return what undoes the wire's compression for us; None where there is none. The answer's own is its caller's."""
    if answer.headers.get("content-encoding", "identity").strip().lower() in ("", "identity"):
        return None
    twin = module.Response(answer.status_code, headers={"content-encoding": answer.headers["content-encoding"]})
    return twin._get_content_decoder()  # noqa: SLF001 - no public part of the module decodes what is pushed


@lru_cache(maxsize=4)
def _tee_type(module: ModuleType, *, asynchronous: bool) -> type:
    """Make the stream class for one HTTP module, which checks for base classes of its own."""
    if asynchronous:
        return type("AsyncStream", (_AsyncTee, module.AsyncByteStream), {})
    return type("SyncStream", (_SyncTee, module.SyncByteStream), {})


class _Tee:
    """Hands a native stream on byte for byte, and shows what it decodes to."""

    def __init__(self, source: Any, watch: Watch, decoder: Any, runtime: Runtime) -> None:
        self._source = source
        self._watch = watch
        self._decoder = decoder
        self._runtime = runtime

    @property
    def elapsed(self) -> Any:
        """What the transport's own stream measured: ``Response.elapsed`` looks for it here."""
        return getattr(self._source, "elapsed", None)

    def _most(self) -> int:
        """How many groups of rows may be on their way when bytes are handed on: none once the answer has ended."""
        return 0 if self._watch.over else AHEAD

    def _see(self, chunk: bytes) -> None:
        if self._watch.over:
            return
        if self._decoder is None:
            self._watch.see(chunk)
        else:
            self._decoded(self._decoder.decode, chunk)

    def _decoded(self, step: Callable[..., Any], *given: bytes) -> None:
        try:
            found = step(*given)
            for seen in (found,) if isinstance(found, bytes) else found:  # httpx2 hands out a bomb in pieces
                self._watch.see(seen)
        except Exception as error:  # noqa: BLE001 - the caller's own decoder will say the same
            self._watch.fail(error)

    def _end(self, *, whole: bool) -> None:
        if whole and self._decoder is not None and not self._watch.over:
            self._decoded(self._decoder.flush)
        self._watch.end(whole=whole)


class _SyncTee(_Tee):
    def __iter__(self) -> Iterator[bytes]:
        whole = False
        try:
            for chunk in self._source:
                self._see(chunk)
                self._wait()
                yield chunk
            whole = True
        finally:
            self._end(whole=whole)
        self._wait()

    def _wait(self) -> None:
        while (flight := self._watch.ahead(most=self._most())) is not None and flight.block(PATIENCE_SECONDS):
            pass

    def close(self) -> None:
        """Close the native stream."""
        try:
            self._source.close()
        finally:
            self._end(whole=False)


class _AsyncTee(_Tee):
    _chunks: Any = None

    def __aiter__(self) -> _AsyncTee:
        self._chunks = self._source.__aiter__()
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk: bytes = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._end(whole=True)
            await self._wait()
            raise
        except BaseException:
            self._end(whole=False)
            raise
        self._see(chunk)
        await self._wait()
        return chunk

    async def _wait(self) -> None:
        while (flight := self._watch.ahead(most=self._most())) is not None:
            if not await self._runtime.wait(flight, PATIENCE_SECONDS):
                return

    async def aclose(self) -> None:
        """Close the native stream."""
        try:
            await self._source.aclose()
        finally:
            self._end(whole=False)
