"""A reply: what goes back over the wire, whichever wire it is, and how its bill is settled."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from llmsaver.testing.answer import Delivery, Drop
from llmsaver.testing.books import Bill
from llmsaver.testing.frames import Frame, compress, split

EXCEPTIONS: dict[Drop, tuple[str, str]] = {
    "connect": ("ConnectError", "[Errno 111] Connection refused"),
    "connect timeout": ("ConnectTimeout", "timed out"),
    "read timeout": ("ReadTimeout", "The read operation timed out"),
    "disconnect": ("RemoteProtocolError", "Server disconnected without sending a response."),
    "reset": ("ReadError", "[Errno 104] Connection reset by peer"),
}
"""Each drop as the exception class of httpx2 and httpx, and what it says."""
# Compressed data can be read whole before its end: four bytes of blank line, five of deflate's flush marker.
_GZIP_TAIL = 9
_CUT_SHORT = "peer closed connection without sending complete message body (incomplete chunked read)"


@dataclass(slots=True)
class Reply:
    """Status, headers and body frames; `drop` breaks the connection after them, or before the headers when `early`.

    `failed` marks a stream that ends in an error event.
    """

    status: int
    headers: dict[str, str]
    frames: list[Frame]
    delivery: Delivery
    streamed: bool = False
    drop: Drop | None = None
    early: bool = False
    bill: Bill | None = None
    failed: bool = False
    _sent: int = field(default=0, init=False)
    _enough: int = field(default=0, init=False)

    def prepared(self, *, accepts_gzip: bool) -> "Reply":
        """Apply compression, and the length of a body that is not streamed."""
        # For a client that leaves at the last blank line the answer is whole.
        self._enough = len(b"".join(frame.data for frame in self.frames).rstrip(b"\r\n"))
        if self.delivery.gzip and accepts_gzip and self.frames:
            packed = compress(self.frames, finish=self.drop is None)
            self._enough = sum(len(frame.data) for frame in packed[: len(self.frames)]) - _GZIP_TAIL
            self.frames = packed
            self.headers["content-encoding"] = "gzip"
        if self.streamed or self.drop is not None:
            self.headers["transfer-encoding"] = "chunked"
        else:
            self.headers["content-length"] = str(sum(len(frame.data) for frame in self.frames))
        return self

    def chunks(self) -> Iterator[bytes]:
        """Cut the body as asked, and keep count of what left."""
        for chunk in split(self.frames, self.delivery):
            self._sent += len(chunk)
            yield chunk

    def broken(self) -> tuple[str, str] | None:
        """Name the exception that ends this reply, if one does."""
        if self.drop is None:
            return None
        name, said = EXCEPTIONS[self.drop]
        return name, _CUT_SHORT if self.drop == "disconnect" and not self.early else said

    def settle(self) -> None:
        """Close the bill: complete if everything left, else aborted; the first call decides."""
        bill = self.bill
        if bill is None or bill.state != "open":
            return
        start = 0
        for frame in self.frames:
            if start >= self._sent:
                break
            bill.delivered += frame.tokens
            start += len(frame.data)
        whole = self._sent >= self._enough and self.drop is None and not self.failed
        bill.state = "complete" if whole else "aborted"
