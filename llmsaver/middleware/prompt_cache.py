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
from llmsaver.prompt.breaks import Breaks
from llmsaver.prompt.outline import is_short, outline_of
from llmsaver.prompt.planner import Planner
from llmsaver.prompt.worth import Tariff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.core.outcome import Outcome
    from llmsaver.core.request import Request
    from llmsaver.core.response import Response
    from llmsaver.core.stack import CallNext
    from llmsaver.pricing import PriceBook
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
    """A request with its marks, and what they were to bring."""

    request: Request
    outline: Outline
    plan: Plan
    rates: Mapping[str, int]


class PromptCache:
    """Sets Anthropic's ``cache_control`` and OpenAI's cache parameters where the expected reads pay for the write.

    Marks of the caller's own are the only ones then. Nothing else of a request changes. ``ttl``: "auto" to choose, "5m"
    or "1h" for Anthropic's. It learns, per feature and model, how soon prefixes come again, and says of a prefix that
    breaks its own cache which kind of text does it, and where. Raises ``ConfigurationError``.
    """

    name = "prompt cache"

    def __init__(self, *, ttl: Literal["auto", "5m", "1h"] = "auto") -> None:
        if ttl not in {"auto", "5m", "1h"}:
            raise ConfigurationError(f"PromptCache(ttl=) must be 'auto', '5m' or '1h', not {ttl!r}")
        self._ttl = ttl
        self._planner = Planner()
        self.breaks = Breaks()
        self._book: PriceBook | None = None
        self._models: OrderedDict[tuple[str, str], _Model | None] = OrderedDict()
        self._lock = threading.Lock()
        self._unknown: set[tuple[str, str]] = set()
        self._failed = 0

    def use_books(self, prices: PriceBook, *_: object) -> None:
        """Take the Saver's prices; without them nothing is marked."""
        self._book = prices

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Pass on with the marks that pay; as it was, where the provider refuses them."""
        try:
            shaped = self._shaped(request)
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
        if not any(word in said for word in ("cache_control", "prompt_cache", "ttl")):
            return None
        with self._lock:
            self._unknown.add((request.url, request.model or ""))
        self._planner.forget(shaped.outline)
        request.entry.act(self.name, "refused", "the provider does not know the parameters; sent as it was")
        return await call_next(request)

    def _shaped(self, request: Request) -> _Shaped | None:
        """Return a request with what a plan marks; None where there is nothing to plan."""
        messages = request.dialect == "messages"
        least = marks.minimum(request.model or "") if messages else keys.MINIMUM
        if request.dialect not in _KEEPS or is_short(request.body, least):
            return None
        model = self._model(request)
        if model is None or (request.url, request.model or "") in self._unknown:
            return None
        if (marks.has_marks if messages else keys.decided_by_caller)(request.body):
            return None
        outline = outline_of(request.dialect, request.body)
        if outline is None:
            return None
        group = f"{request.feature} {request.model}"
        plan = self._planner.plan(outline, group, model.tariff, time.time(), minimum=least)
        broken = self.breaks.look(group, request.dialect, request.body, outline, datetime.now())  # noqa: DTZ005 - local
        if broken is not None:
            request.entry.act(self.name, "broken", broken)
        body = self._marked(request, outline, plan, model.tariff)
        if body is None:
            return _Shaped(request, outline, plan, model.rates)
        request.entry.act(self.name, "marked", plan.why)
        return _Shaped(request.replace(body=body), outline, plan, model.rates)

    def _marked(self, request: Request, outline: Outline, plan: Plan, tariff: Tariff) -> Mapping[str, Any] | None:
        if request.dialect == "messages":
            return marks.marked(request.body, plan) if plan.keeps else None
        return keys.keyed(request.body, request.dialect, outline, plan, writes_cost=tariff.write["30m"] > 1)

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
