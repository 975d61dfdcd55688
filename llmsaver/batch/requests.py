"""The requests of a batch: read from a file or a list, checked once, and read again one by one as they are sent."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llmsaver.errors import ConfigurationError
from llmsaver.wire.payload import as_dict, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO

__all__ = ["DIALECTS", "VIAS", "Requests", "Row"]

VIAS: Final = ("openai", "anthropic", "local", "flex")
DIALECTS: Final = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
}
_TAKEN: Final = {
    "openai": frozenset({"chat", "responses", "embeddings"}),
    "flex": frozenset({"chat", "responses"}),
    "anthropic": frozenset({"messages"}),
    "local": frozenset({"chat", "responses", "messages"}),
}
_LINE_KEYS: Final = frozenset({"custom_id", "url", "params"})


@dataclass(frozen=True, slots=True)
class Row:
    """One request: its ``number`` from 0, where it goes, and how much room it takes (``size`` in bytes).

    ``inputs``: how many texts of an embeddings request; 1 for all others. ``at`` is where its line begins in the file.
    """

    number: int
    custom_id: str
    url: str
    model: str
    size: int
    inputs: int = 1
    at: int = -1


class Requests:
    """All requests of one batch, in order; ``source`` is a file of JSON lines or the objects themselves.

    A line is OpenAI's (``{"custom_id", "method", "url", "body"}``), Anthropic's (``{"custom_id", "params"}``) or a
    plain body, whose id is then made from what it says. Bodies are not kept: a file is read again where they are
    needed. Raises ``ConfigurationError``, with the number of the request, for what can never be sent.
    """

    def __init__(self, source: str | Path | Iterable[Mapping[str, Any]], via: str | None = None) -> None:
        if via is not None and via not in VIAS:
            raise ConfigurationError(f"via={via!r} is none of {', '.join(VIAS)}")
        self.path = Path(source) if isinstance(source, str | Path) else None
        self._file: BinaryIO | None = None
        self._reading = threading.Lock()
        self._given: list[Mapping[str, Any]] = []
        self.rows: list[Row] = []
        self._digest = blake2b(digest_size=8, person=b"llmsaver.batch")
        self._ids: Counter[str] = Counter()
        self._own: set[str] = set()
        if self.path is None:
            self._given = list(source)  # type: ignore[arg-type]  # no path, so the objects
        lines = self._lines()
        via_of: dict[str, int] = {}
        for number, at, raw in lines:
            row = self._row(number, at, raw, via)
            via_of.setdefault(_via(row), number)
            self.rows.append(row)
        if not self.rows:
            raise ConfigurationError(f"{self.path or 'the list'} holds no request")
        if via is None and len(via_of) > 1:
            told = ", ".join(f"{name} (line {number + 1})" for name, number in via_of.items())
            raise ConfigurationError(f"the requests go different ways, {told}: split the file, one way each")
        self.via = via or next(iter(via_of))
        for row in self.rows:
            self._check(row)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digest(self) -> str:
        """A hash of all ids, endpoints and bodies."""
        return self._digest.hexdigest()

    def dialect(self, row: Row) -> str:
        """Return the dialect of a request's body."""
        return DIALECTS[row.url]

    def body(self, row: Row) -> dict[str, Any]:
        """Return a request's body."""
        if self.path is None:
            return dict(_body_of(self._given[row.number]))
        with self._reading:
            if self._file is None:
                self._file = self.path.open("rb")
            self._file.seek(row.at)
            raw = self._file.readline()
        return _body_of(as_dict(parse(raw.removeprefix(b"\xef\xbb\xbf"))))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self) -> Iterator[tuple[int, int, Mapping[str, Any]]]:
        """Yield (number from 0, where it begins, object)."""
        if self.path is None:
            for number, line in enumerate(self._given):
                yield number, -1, line
            return
        number = at = 0
        try:
            with self.path.open("rb") as file:
                for raw in file:
                    text = raw.removeprefix(b"\xef\xbb\xbf") if at == 0 else raw
                    if text.strip():
                        parsed = parse(text)
                        if parsed is None:
                            raise ConfigurationError(f"{self.path}, request {number + 1}: the line is no JSON object")
                        yield number, at, parsed
                        number += 1
                    at += len(raw)
        except OSError as error:
            raise ConfigurationError(f"{self.path} cannot be read: {error.strerror or error}") from None

    def _row(self, number: int, at: int, line: Mapping[str, Any], via: str | None) -> Row:
        where = f"{self.path or 'requests'}, request {number + 1}"
        body = _body_of(line)
        if not body:
            raise ConfigurationError(f"{where}: there is no body (an OpenAI batch line, an Anthropic one, or a body)")
        url = _url(line, body, via)
        if url not in DIALECTS:
            raise ConfigurationError(f"{where}: the url {url!r} is none of {', '.join(DIALECTS)}")
        if body.get("stream"):
            raise ConfigurationError(f"{where}: an answer in a batch cannot be streamed; leave stream out")
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise ConfigurationError(f"{where}: the body names no model")
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        content = text.encode("utf-8", "surrogatepass")
        custom_id = self._id(line, content, where)
        self._digest.update(f"{custom_id}\0{url}\0{len(content)}\0".encode("utf-8", "surrogatepass") + content)
        texts = body.get("input")
        inputs = len(texts) if DIALECTS[url] == "embeddings" and isinstance(texts, list) else 1
        return Row(number, custom_id, url, model, len(content), max(1, inputs), at)

    def _id(self, line: Mapping[str, Any], content: bytes, where: str) -> str:
        """Return the caller's id, or one made from the content, told apart by a number where that is there twice."""
        given = line.get("custom_id") if _is_line(line) else None
        if given is not None:
            if not isinstance(given, str) or not given:
                raise ConfigurationError(f"{where}: the custom_id {given!r} is no text")
            if given in self._own:
                raise ConfigurationError(f"{where}: the custom_id {given!r} is there twice")
            self._own.add(given)
            return given
        made = "c" + blake2b(content, digest_size=8).hexdigest()
        self._ids[made] += 1
        return made if self._ids[made] == 1 else f"{made}-{self._ids[made]}"

    def _check(self, row: Row) -> None:
        where = f"{self.path or 'requests'}, request {row.number + 1}"
        if DIALECTS[row.url] not in _TAKEN[self.via]:
            raise ConfigurationError(
                f"{where} is for {row.url}, which via={self.via} does not take; it takes "
                + ", ".join(url for url, dialect in DIALECTS.items() if dialect in _TAKEN[self.via])
            )
        if (self.via == "local") != row.model.startswith("local/"):
            fix = "use via=local" if self.via != "local" else "local models are called local/NAME"
            raise ConfigurationError(f"{where} asks for {row.model!r} via {self.via}: {fix}")


def _is_line(line: Mapping[str, Any]) -> bool:
    return not _LINE_KEYS.isdisjoint(line) or isinstance(line.get("body"), dict)


def _body_of(line: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_line(line):
        return dict(line)
    return as_dict(line.get("params")) or as_dict(line.get("body"))


def _url(line: Mapping[str, Any], body: Mapping[str, Any], via: str | None) -> str:
    """Return where a request goes: as it says, or as its body and the way it is to go tell."""
    given = line.get("url") if _is_line(line) else None
    if given is not None:
        return str(given)
    if "params" in line and _is_line(line):
        return "/v1/messages"
    if "input" in body:
        embeds = "embed" in str(body.get("model")) and "max_output_tokens" not in body
        return "/v1/embeddings" if embeds else "/v1/responses"
    claude = via == "anthropic" or (via is None and str(body.get("model")).startswith("claude"))
    return "/v1/messages" if claude else "/v1/chat/completions"


def _via(row: Row) -> str:
    if row.model.startswith("local/"):
        return "local"
    return "anthropic" if row.url == "/v1/messages" else "openai"
