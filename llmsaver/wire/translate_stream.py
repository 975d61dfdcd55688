"""What both directions of a translated stream share: events in, bytes out, and one end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import parse
from llmsaver.wire.sse import Framer, encode
from llmsaver.wire.translate_errors import status_of, told_error
from llmsaver.wire.translate_terms import Untranslatable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmsaver.core.usage import Usage
    from llmsaver.wire.sse import Event

__all__ = ["Retelling"]


class Retelling:
    """One stream told in another dialect; a subclass says what each event becomes.

    What has no equal, or cannot be read, ends the stream with an error as the caller's vendor sends one. A body that
    was cut short stays without its end.
    """

    dialect = ""

    def __init__(self) -> None:
        self._framer = Framer()
        self._over = False

    def usage(self) -> Usage | None:
        """Return what the provider reported so far, in the caller's dialect."""
        raise NotImplementedError

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes and return what they become."""
        return b"".join([self._event(event) for event in self._framer.feed(chunk)])

    def flush(self) -> bytes:
        """Return what a last event without its blank line becomes, and the end where it is known."""
        pending = self._framer.pending()
        told = self._event(pending) if pending is not None else b""
        if not self._over:
            told += b"".join(self._end())
        self._over = True
        return told

    def _event(self, event: Event) -> bytes:
        if self._over or not event.data:
            return b""
        if event.data.startswith(b"[DONE]"):
            self._over = True
            return b"".join(self._end())
        said = parse(event.data)
        if said is None:
            return self._failed({"message": "the provider sent an event that is no JSON object"})
        if event.name == b"error" or said.get("type") == "error" or said.get("error"):
            error = said.get("error")
            return self._failed(error if isinstance(error, dict) else {"message": str(error or said)})
        told: list[bytes] = []
        try:
            told += self._tell(said)
        except Untranslatable as error:
            told.append(self._failed({"message": error.why}))
        return b"".join(told)

    def _failed(self, error: Mapping[str, Any]) -> bytes:
        self._over = True
        name = "error" if self.dialect == "messages" else ""
        return encode(told_error(self.dialect, error, status_of(error)), name)

    def _tell(self, said: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield what one event becomes; raises ``Untranslatable``."""
        raise NotImplementedError

    def _end(self) -> Iterator[bytes]:
        """Yield the last events, where the answer came to its end."""
        raise NotImplementedError
