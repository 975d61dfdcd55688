"""What the streamed dialects share: reading events as they flow, and changing few of them."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from llmsaver.wire.payload import note_json, splice
from llmsaver.wire.sse import Framer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from llmsaver.core.usage import Usage
    from llmsaver.wire.sse import Event

__all__ = ["PlainShaper", "Reading", "StreamMeter", "StreamShaper", "noted"]


class Reading:
    """What a dialect knows of a stream so far; a subclass says what its events mean.

    ``kept`` is the data of every event. ``ended``: nothing more will follow. ``failed``: what arrived is no answer.
    """

    __slots__ = ("ended", "failed", "kept")

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.ended = False
        self.failed = False

    def take(self, event: Event) -> None:
        """Note what ``event`` says about usage and the end; values are replaced, never changed in place."""
        raise NotImplementedError

    def whole(self) -> bool:
        """Whether a whole answer arrived."""
        return self.ended and not self.failed

    def usage(self) -> Usage | None:
        """Return what the provider reported so far."""
        raise NotImplementedError

    def message(self) -> dict[str, Any] | None:
        """Return the answer that the events add up to."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any] | None:
        """Return what the answer says of its own terms (model, service tier, tools), however little of it is parsed."""
        return self.message()


class StreamMeter:
    """Reads an answer that is a stream of events.

    An event costs a few searches in its bytes; JSON is parsed where one of them says so, and everything only in
    ``message()``, which is shared by everybody who asks: read it, don't write to it.
    """

    __slots__ = ("_assembled", "_framer", "_message", "_reading")

    def __init__(self, reading: Reading) -> None:
        self._framer = Framer()
        self._reading = reading
        self._message: dict[str, Any] | None = None
        self._assembled = -1

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; True once nothing more will follow: the terminal event in full, or an error."""
        reading = self._reading
        for event in self._framer.feed(chunk):
            if event.data and not reading.ended:
                reading.kept.append(event.data)
                reading.take(event)
        return reading.ended

    @property
    def finished(self) -> bool:
        """Whether a whole answer arrived: its terminal event, and no error."""
        return self._ahead().whole()

    def usage(self) -> Usage | None:
        """Return what the provider reported so far."""
        return self._ahead().usage()

    def message(self) -> dict[str, Any] | None:
        """Return the answer assembled from the events so far, or None where they hold none."""
        reading = self._ahead()
        # An event still on its way may say something else by the next call.
        if reading is not self._reading or self._assembled != len(reading.kept):
            self._assembled = len(reading.kept) if reading is self._reading else -1
            try:
                self._message = reading.message()
            except RecursionError:
                self._message = None
        return self._message

    def facts(self) -> dict[str, Any] | None:
        """Return what the answer says of its own terms, for whoever prices it."""
        return self._ahead().facts()

    def _ahead(self) -> Reading:
        """Return the reading, or a copy that has also taken a last event whose blank line has not come."""
        tail = None if self._reading.ended else self._framer.pending()
        if tail is None or not tail.data:
            return self._reading
        ahead = copy(self._reading)
        ahead.kept = [*ahead.kept, tail.data]
        ahead.take(tail)
        return ahead


class PlainShaper:
    """Changes nothing and holds nothing."""

    __slots__ = ()

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes."""
        return chunk

    def flush(self) -> bytes:
        """Return nothing: nothing is held."""
        return b""


class StreamShaper:
    """Hands events on one by one; a subclass says which of them change or wait."""

    __slots__ = ("_framer",)

    def __init__(self) -> None:
        self._framer = Framer()

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes of the events that may go out; an incomplete one waits for its rest."""
        return b"".join([self._shape(event) for event in self._framer.feed(chunk)])

    def flush(self) -> bytes:
        """Return what was held."""
        return self._framer.rest()

    def _shape(self, event: Event) -> bytes:
        raise NotImplementedError


def noted(event: Event, note: Callable[[], Mapping[str, Any]], member: str | None = None) -> bytes:
    """Return the bytes of ``event`` with the note in its JSON object (or in that object's ``member``).

    An event that cannot carry it, data over several lines included, returns as it came.
    """
    raw, _, data = event
    added = note_json(note) if raw.count(data) == 1 else None
    if added is None:
        return raw
    try:
        spliced = splice(data.decode("utf-8"), added, member)
    except UnicodeDecodeError:
        return raw
    return raw if spliced is None else raw.replace(data, spliced.encode())
