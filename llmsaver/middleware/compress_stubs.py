"""Old tool outputs as stubs, for the layer that shapes prompts: what is decided and kept, in one transaction."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmsaver.prompt.originals import Originals, reference_of
from llmsaver.prompt.outline import outline_of
from llmsaver.prompt.stub_blocks import old, outputs_of, turns_of
from llmsaver.prompt.stub_journal import counts_of, known_of, note
from llmsaver.prompt.stub_lengths import further
from llmsaver.prompt.stub_recall import can_offer
from llmsaver.prompt.stub_text import stub_of
from llmsaver.prompt.stubbing import Past, Prefix, Terms, decided
from llmsaver.prompt.worth import Tariff
from llmsaver.wire.payload import as_dict, as_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from sqlalchemy import Connection

    from llmsaver.core.request import Request
    from llmsaver.pricing import PriceBook
    from llmsaver.prompt.blocks import Place
    from llmsaver.prompt.outline import Outline
    from llmsaver.prompt.shorter import Seen, Shaper
    from llmsaver.prompt.stub_blocks import Output
    from llmsaver.prompt.stubbing import Decision, Stubs

__all__ = ["Stubbed", "Stubber"]

_KEEPS = {"messages": ("5m", "1h"), "chat": ("30m",), "responses": ("30m",)}
_HOSTS = {"messages": ("api.anthropic.com",), "chat": ("api.openai.com",), "responses": ("api.openai.com",)}
# Anthropic looks for a kept prefix in 20 blocks before a mark.
_LOOK_BACK = 18
_DAY, _HOUR, _HALF, _FIVE_MINUTES = 86_400.0, 3_600.0, 1_800.0, 300.0
# OpenAI keeps prefixes of these and later models for a day, unless it takes a fee for writing them.
_GPT = re.compile(r"gpt-(\d+)(?:\.(\d+))?")
_DAY_FROM = (5, 5)
_SEEN = ("model", "tools", "system", "instructions", "messages", "input")
# Points looked for, the latest ones: a request has as many as messages.
_MOST_POINTS = 200
_MOST_STUBS = 2_000
_REST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Stubbed:
    """Texts by place, and what the model may call back, by reference (None: it has no tool for it)."""

    texts: Mapping[Place, str]
    originals: Mapping[str, str] | None
    before: int
    after: int
    why: str


class _Wordings:
    """Stubs that were worded before, by reference, tool's name and whether they tell of the recall tool."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, bool], str] = OrderedDict()

    def get(self, output: Output, reference: str, *, tool: bool) -> str:
        """Return an output's stub."""
        key = (reference, output.name, tool)
        with self._lock:
            found = self._known.get(key)
        if found is None:
            found = stub_of(output.text, output.name, reference, tool=tool)
            with self._lock:
                self._known[key] = found
                while len(self._known) > _MOST_STUBS:
                    self._known.popitem(last=False)
        return found


class _Work:
    """A request's outputs by number, with their references and stubs, each made once."""

    def __init__(self, request: Request, outline: Outline, seen: Seen, shaper: Shaper, wordings: _Wordings) -> None:
        self.request = request
        self.outline = outline
        self.by_number: dict[int, Output] = {}
        self._seen = seen
        self._shaper = shaper
        self._wordings = wordings
        self._references: dict[int, str] = {}

    def outputs(self, left_out: AbstractSet[int]) -> list[Output]:
        """Return what tools gave, as it is sent where the outputs ``left_out`` are stubs."""
        places = frozenset(self.by_number[number].place for number in left_out)
        shaped = self._shaper.shape(self._seen, places).texts
        found = outputs_of(self.request.dialect, self.request.body, self._seen.blocks, shaped)
        self.by_number = {output.number: output for output in found}
        return found

    def reference(self, number: int) -> str:
        """Return what an output is called back by."""
        found = self._references.get(number)
        if found is None:
            made = reference_of(self.by_number[number].text, self.request.tenant)
            found = self._references[number] = made
        return found

    def stub(self, number: int, *, tool: bool) -> str:
        """Return an output's stub."""
        return self._wordings.get(self.by_number[number], self.reference(number), tool=tool)


class Stubber:
    """Decides, by a store of originals, what of a request is sent as a stub; blocking, so offload it."""

    def __init__(self, options: Stubs) -> None:
        self.options = options
        self.originals: Originals | None = None
        self._book: PriceBook | None = None
        self._wordings = _Wordings()
        self._resting_until = 0.0

    def use_books(self, prices: PriceBook) -> None:
        """Take the Saver's prices; without them nothing that a provider has is rewritten."""
        self._book = prices

    def use_originals(self, place: str | Path | None, ledger: str | Path | None) -> Originals:
        """Open the store that settings name."""
        self.originals = Originals(place, ledger, ttl=self.options.ttl, max_bytes=self.options.max_bytes)
        return self.originals

    def concerns(self, request: Request, seen: Seen) -> bool:
        """Return whether there is anything to decide or to write down."""
        if self.originals is None or time.monotonic() < self._resting_until:
            return False
        if not turns_of(request.dialect, request.body):
            return False
        long = any(block.source == "tool" and len(block.text) >= self.options.least_tokens for block in seen.blocks)
        return long or (self.options.tool and can_offer(request.dialect, request.body))

    def rest(self) -> None:
        """Leave a server that failed alone for a moment: each try may take what a caller would wait."""
        if self.originals is not None and self.originals.place.path is None:
            self._resting_until = time.monotonic() + _REST_SECONDS

    def shape(self, request: Request, seen: Seen, shaper: Shaper) -> Stubbed | None:
        """Return a request's stubs; None where it has no outline. Raises what the store raises."""
        outline = self._outline(request)
        if outline is None or self.originals is None:
            return None
        work = _Work(request, outline, seen, shaper, self._wordings)
        for output in self._old(work.outputs(frozenset())):
            work.stub(output.number, tool=self.options.tool)  # shaped and worded before the store is locked
        decision, tool = self.originals.place.transact(lambda connection: self._decided(connection, work))
        numbers = sorted(decision.stubs)
        texts = {work.by_number[number].place: work.stub(number, tool=tool) for number in numbers}
        before = sum(work.by_number[number].size for number in numbers)
        after = sum(len(text.encode()) for text in texts.values())
        originals = {work.reference(number): work.by_number[number].text for number in numbers} if tool else None
        why = f"{len(numbers)} old tool output{'' if len(numbers) == 1 else 's'}" + (
            f" ({decision.rewrites})" if decision.rewrites else ""
        )
        return Stubbed(texts, originals, before, after, why)

    def _decided(self, connection: Connection, work: _Work) -> tuple[Decision, bool]:
        """Look up, decide and write down; what is left out is stored before anything says that it was."""
        request, outline = work.request, work.outline
        now = time.time()
        first = max(0, len(outline.points) - _MOST_POINTS)
        points = {point: first + at for at, point in enumerate(outline.points[first:])}
        known = known_of(connection, points)
        known = {at: replace(past, stubs=past.stubs & work.by_number.keys()) for at, past in known.items()}
        latest = known[max(known)] if known else None
        tool = self._offers(request, outline) if latest is None else latest.tool
        outputs = work.outputs(frozenset() if latest is None else latest.stubs)
        candidates = self._old(outputs)
        wanted = {output.number for output in candidates}.union(*(past.stubs for past in known.values()))
        sizes = {number: len(work.stub(number, tool=tool).encode()) for number in wanted}
        prefix = Prefix(known, outline.tokens, outline.blocks, outputs)
        expected = further(outline.turns, counts_of(connection, request.feature))
        decision = decided(prefix, candidates, sizes, self._terms(request), now, expected)
        assert self.originals is not None  # noqa: S101 - told to the type checker
        left_out = [work.by_number[number] for number in decision.stubs]
        texts = {work.reference(output.number): (output.text, output.name) for output in left_out}
        self.originals.keep(connection, texts, request.tenant, now)
        sent = Past(now, now, outline.turns, decision.stubs, tool)
        note(connection, prefix, points, sent, hot=decision.hot, owner=(request.tenant, request.feature))
        return decision, tool

    def _old(self, outputs: Sequence[Output]) -> list[Output]:
        assert self.originals is not None  # noqa: S101 - told to the type checker
        return old(outputs, self.options.recent, self.options.least_tokens, self.originals.largest)

    def _offers(self, request: Request, outline: Outline) -> bool:
        """Return whether a conversation that begins here has the tool: later on it would break the cached prefix."""
        return self.options.tool and outline.turns == 0 and can_offer(request.dialect, request.body)

    def _outline(self, request: Request) -> Outline | None:
        """Return the points of a request: by what is kept of it alone, for its account, host and tenant alone."""
        body = {name: request.body[name] for name in _SEEN if name in request.body}
        salt = "\0".join((request.account, urlsplit(request.url).netloc, repr(request.tenant)))
        return outline_of(request.dialect, body, _digest(salt))

    def _terms(self, request: Request) -> Terms:
        """Return what the provider's cache costs, and for how long at most it may have a prefix."""
        host, model = urlsplit(request.url).hostname or "", request.model or ""
        if self._book is None or not host.endswith(_HOSTS[request.dialect]):
            return Terms(None, _DAY)
        rates = self._book.rates(request.url, model)
        tariff = None if rates is None else Tariff.of(rates.kinds, _KEEPS[request.dialect])
        if request.dialect == "messages":
            return Terms(tariff, _keeps(request.body), look_back=_LOOK_BACK)
        if tariff is None:
            return Terms(None, _DAY)
        if tariff.write["30m"] > 1:
            return Terms(tariff, _HALF)
        named = _GPT.match(model)
        later = named is not None and (int(named[1]), int(named[2] or 0)) >= _DAY_FROM
        long = later or request.body.get("prompt_cache_retention") == "24h"
        return Terms(tariff, _DAY if long else _HOUR, steps=True)


def _keeps(body: Mapping[str, Any]) -> float:
    """Return for how long the caller's own marks keep a prefix; without any it is for the layer beneath to choose."""
    places = [body, *as_list(body.get("tools")), *as_list(body.get("system"))]
    places += [part for turn in body["messages"] for part in as_list(as_dict(turn).get("content"))]
    marks = [mark for place in map(as_dict, places) if (mark := as_dict(place.get("cache_control")))]
    return _FIVE_MINUTES if marks and all(mark.get("ttl") != "1h" for mark in marks) else _HOUR


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=32, person=b"points").digest()
