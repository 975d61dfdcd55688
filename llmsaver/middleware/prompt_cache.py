"""The provider's own prompt cache used to the full: what is marked, written and read is decided by what it costs."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from llmsaver.errors import ConfigurationError, in_words
from llmsaver.prompt import keys, marks
from llmsaver.prompt.arranging import Arranging
from llmsaver.prompt.breaks import Breaks
from llmsaver.prompt.learned import Learner, told_of
from llmsaver.prompt.moving import is_long
from llmsaver.prompt.outline import is_short, outline_of
from llmsaver.prompt.planner import Planner
from llmsaver.prompt.worth import Tariff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.entry import Entry
    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.ledger import Ledger
    from llmsaver.pricing import Cost, PriceBook
    from llmsaver.prompt.outline import Outline
    from llmsaver.prompt.planner import Plan

__all__ = ["PromptCache"]

log = logging.getLogger("llmsaver")

# Hosts whose rules are known; a gateway may not know the parameters, and bills as it likes.
_ANTHROPIC = ("api.anthropic.com",)
_OPENAI = ("api.openai.com", ".api.openai.com")
_KEEPS = {"messages": ("5m", "1h"), "chat": ("30m",), "responses": ("30m",)}
_REFUSED = 400
_MOST_MODELS = 500


@dataclass(frozen=True, slots=True)
class _Model:
    """What caching costs for a model, as multiples of its input price, and its rates by kind."""

    tariff: Tariff
    rates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A request with its marks, and what they were to bring; ``moved``: whether instructions stand elsewhere in it."""

    request: Request
    outline: Outline
    plan: Plan
    rates: Mapping[str, int]
    moved: bool = False


class PromptCache:
    """Sets Anthropic's ``cache_control`` and OpenAI's cache parameters where the expected reads pay for the write.

    Marks of the caller's own are the only ones then. Nothing else of a request changes, but with ``move_volatile``:
    sentences of the system prompt that were seen to change within a day (times, ids, counters) then stand at the
    request's end, and tools in the order in which they first came. What moves is learned per process: for a while two
    workers may send two prefixes of one conversation. ``ttl``: "auto" to choose, "5m" or "1h" for Anthropic's. It
    learns, per feature and model, how soon prefixes come again, also from what other processes leave in the ledger, and
    says of a prefix that breaks its own cache which kind of text does it, and where. Raises ``ConfigurationError``.
    """

    name = "prompt cache"

    def __init__(self, *, ttl: Literal["auto", "5m", "1h"] = "auto", move_volatile: bool = False) -> None:
        if ttl not in {"auto", "5m", "1h"}:
            raise ConfigurationError(f"PromptCache(ttl=) must be 'auto', '5m' or '1h', not {ttl!r}")
        self._ttl = ttl
        self._planner = Planner()
        self._learner: Learner | None = None
        self.breaks = Breaks()
        # What moves is read otherwise by a model, so that the caches above keep its answers apart.
        self.policy = "moves" if move_volatile else None
        self._arranging = Arranging(moves=move_volatile)
        self._as_they_are = Arranging(moves=False)
        self._book: PriceBook | None = None
        self._models: OrderedDict[tuple[str, str], _Model | None] = OrderedDict()
        self._lock = threading.Lock()
        self._unknown: set[tuple[str, str]] = set()
        self._unmovable: set[tuple[str, str]] = set()
        self._failed = 0

    def use_books(self, prices: PriceBook, ledger: Ledger | None = None, *_: object) -> None:
        """Take the Saver's prices, without which nothing is marked, and its ledger, to learn from."""
        self._book = prices
        if ledger is not None:
            self._planner = Planner(learns=True)
            self._learner = Learner(ledger, self._planner)

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with the marks that pay; as it was, where the provider refuses them."""
        try:
            if self._learner is not None and not self._learner.ready:
                await self._learner.begin(request.runtime)
            model, shaped = self._to_plan(request), None
            if model is not None and self._is_slow(request):
                shaped = await request.runtime.offload(self._shaped, request, model)
            elif model is not None:
                shaped = self._shaped(request, model)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong in here costs nobody the call
            self._failed += 1
            level = logging.WARNING if self._failed == 1 else logging.DEBUG
            log.log(level, "llmsaver: the prompt cache is left alone: %s", in_words(error))
            shaped = None
        if shaped is None:
            return await call_next(request)
        response = await call_next(shaped.request)
        if response.status == _REFUSED and shaped.request is not request:
            again = await self._unmarked(request, shaped, response, call_next)
            if again is not None:
                return again
        response.on_complete(partial(self._ended, shaped))
        return response

    async def _unmarked(
        self, request: Request, shaped: _Shaped, response: Response, call_next: CallNext
    ) -> Response | None:
        """Return the answer to the request as it was, if its marks were refused; None if they are not at fault."""
        said = (await response.read()).decode("utf-8", "replace")
        ours = any(word in said for word in ("cache_control", "prompt_cache", "ttl"))
        if not ours and not shaped.moved:
            return None
        self._planner.forget(shaped.outline)
        what = "does not know the parameters" if ours else "may not take instructions at the end"
        request.entry.act(self.name, "refused", f"the provider {what}; sent as it was")
        again = await call_next(request)
        if ours or again.status != _REFUSED:  # else it is the caller's own request that is refused
            with self._lock:
                (self._unknown if ours else self._unmovable).add((request.url, request.model or ""))
        return again

    def _to_plan(self, request: Request) -> _Model | None:
        """Return the model of a request that is to be planned; None where there is nothing to plan."""
        if request.dialect not in _KEEPS or is_short(request.body, _least(request)):
            return None
        model = self._model(request)
        if model is None or (request.url, request.model or "") in self._unknown:
            return None
        decided = marks.has_marks if request.dialect == "messages" else keys.decided_by_caller
        return None if decided(request.body) else model

    def _is_slow(self, request: Request) -> bool:
        """Return whether a request's instructions are looked at line by line, and are long."""
        looks = self.policy is not None or not self.breaks.knows(_group(request))
        return looks and is_long(request.dialect, request.body)

    def _shaped(self, request: Request, model: _Model) -> _Shaped | None:
        """Return a request with what a plan marks; None where it has no list of messages."""
        messages, least = request.dialect == "messages", _least(request)
        group, now = _group(request), datetime.now()  # noqa: DTZ005 - a prompt's time is local
        fixed = (request.url, request.model or "") in self._unmovable
        arranged = (self._as_they_are if fixed else self._arranging).arranged(group, request.dialect, request.body, now)
        learner = self._learner
        scope = b"" if learner is None else learner.scope(request.account)
        outline = outline_of(request.dialect, arranged.body, scope=scope)
        if outline is None:
            return None
        plan = self._planner.plan(outline, group, model.tariff, time.time(), minimum=least)
        if learner is not None:
            request.entry.prefix = told_of(request.model or "", least, outline, plan).listed()
            learner.note(request)
        broken = self.breaks.look(group, request.dialect, arranged.body, outline, now)
        for action, why in [*arranged.told, *([("broken", broken)] if broken is not None else [])]:
            request.entry.act(self.name, action, why)
        costs = not messages and model.tariff.write["30m"] > 1
        marked = _marked(request.dialect, arranged.body, outline, plan, writes_cost=costs)
        tail = costs and plan.tail is not None and outline.total_tokens >= least
        body = arranged.whole(request.dialect, marked, keeps_tail=tail)
        if body is None:
            return _Shaped(request, outline, plan, model.rates)
        if marked is not None:
            request.entry.act(self.name, "marked", plan.why)
        return _Shaped(request.replace(body=body), outline, plan, model.rates, arranged.changed)

    def _model(self, request: Request) -> _Model | None:
        """Return what the model's cache costs; None for hosts and models whose rules or prices are not known."""
        host, name = urlsplit(request.url).hostname or "", request.model or ""
        hosts = _ANTHROPIC if request.dialect == "messages" else _OPENAI
        if self._book is None or not host.endswith(hosts) or "/" in name:
            return None
        with self._lock:
            if (host, name) in self._models:
                return self._models[host, name]
        rates = self._book.rates(request.url, name)
        keeps = (self._ttl,) if request.dialect == "messages" and self._ttl != "auto" else _KEEPS[request.dialect]
        tariff = None if rates is None else Tariff.of(rates.kinds, keeps)
        model = None if rates is None or tariff is None else _Model(tariff, rates.kinds)
        with self._lock:
            self._models[host, name] = model
            while len(self._models) > _MOST_MODELS:
                self._models.popitem(last=False)
        return model

    def _ended(self, shaped: _Shaped, outcome: Outcome) -> None:
        """Say what was read and written, and what that saved by the model's prices."""
        usage, request = outcome.usage, shaped.request
        if usage is None or not (usage.cache_read_tokens or usage.cache_write_tokens or shaped.plan.expected):
            return
        saved = _billed_less(request.entry)
        if saved is None:
            base, rates = shaped.rates["input"], shaped.rates
            keep = shaped.plan.tail or shaped.plan.static or _KEEPS[request.dialect][0]
            read, write = rates.get("cache_read", base), rates.get(f"cache_write_{keep}", base)
            saved = (base - read) * usage.cache_read_tokens - (write - base) * usage.cache_write_tokens
        missed = bool(shaped.plan.expected and not usage.cache_read_tokens)
        why = f"{usage.cache_read_tokens:,} of {usage.input_tokens:,} tokens read, {usage.cache_write_tokens:,} written"
        request.entry.act(
            self.name,
            "missed" if missed else "read" if usage.cache_read_tokens else "wrote",
            why,
            read_tokens=usage.cache_read_tokens,
            written_tokens=usage.cache_write_tokens,
            saved_nano=saved // 1_000_000,
        )


def _least(request: Request) -> int:
    """Return the fewest tokens that are kept."""
    return marks.minimum(request.model or "") if request.dialect == "messages" else keys.MINIMUM


def _group(request: Request) -> str:
    return f"{request.feature} {request.model}"


def _billed_less(entry: Entry) -> int | None:
    """Return what reads saved, less what writes cost more, in millionths of a nano-dollar by the answer's own bill.

    None where the bill does not say what its input costs uncached.
    """
    cost: Cost | None = entry.attempts[-1].cost if entry.attempts else None
    if cost is None:
        return None
    lines = [line for line in cost.lines if line.units]
    base = {line.model: line.nano_per_million for line in lines if line.kind == "input"}
    cached = [line for line in lines if line.kind.startswith("cache_")]
    if not cached or any(line.model not in base for line in cached):
        return None
    return sum((base[line.model] - line.nano_per_million) * line.units for line in cached)


def _marked(
    dialect: str, body: Mapping[str, Any], outline: Outline, plan: Plan, *, writes_cost: bool
) -> Mapping[str, Any] | None:
    if dialect == "messages":
        return marks.marked(body, plan) if plan.keeps else None
    return keys.keyed(body, dialect, outline, plan, writes_cost=writes_cost)
