"""The composition root: settings become an ordered stack that clients share."""

from __future__ import annotations

import importlib
import logging
import threading
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self

from llmsaver import modes
from llmsaver import settings as settings_module
from llmsaver.core.background import Background
from llmsaver.core.rule import rules_from
from llmsaver.core.runtime import AsyncRuntime, SyncRuntime
from llmsaver.core.stack import CallNext, Middleware, compose, layer_name
from llmsaver.errors import ConfigurationError
from llmsaver.middleware.budget import BudgetLayer
from llmsaver.middleware.local_time import LocalTime
from llmsaver.middleware.own_tiers import OwnTiers
from llmsaver.middleware.record import Record
from llmsaver.middleware.retrieved import Retrieved
from llmsaver.pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import EllipsisType, TracebackType

    from llmsaver.batch import BatchResult
    from llmsaver.cache.caches import Caches
    from llmsaver.core.entry import Entry
    from llmsaver.core.request import Request
    from llmsaver.core.rule import Rule
    from llmsaver.ledger import Claim, Ledger
    from llmsaver.local import LocalServers
    from llmsaver.local.endpoint import Load
    from llmsaver.middleware.routing_view import RouterView
    from llmsaver.prompt.originals import Originals

__all__ = ["Saver", "default_saver", "feedback"]

log = logging.getLogger("llmsaver")

# A local model costs nothing that we could count, unless its user declares a price: $0, and flagged as declared.
_FREE = {"input": "0", "output": "0"}


class Saver:
    """Configure once, share between clients: ``Client(saver=saver)``.

    ``mode``: "off" (bypass), "observe", "safe" (default: nothing that changes or repeats an answer), "balanced", "max".
    ``stack``: layers, outermost first; a literal ``...`` stands for the mode's own, a layer with the name of one of
    them replaces it; the record is always there, outermost, and the budget, innermost. ``annotate``: whether answers
    carry an ``llmsaver`` key. ``ledger``: the path or SQLAlchemy URL of the books. ``prices``: dollars per million
    tokens by model, over the list prices. Other keywords are settings by name (see ``llmsaver.settings.Settings``).
    Raises ``ConfigurationError``.
    """

    def __init__(
        self,
        *,
        mode: str | None = None,
        stack: Sequence[Middleware | EllipsisType] | None = None,
        annotate: bool | None = None,
        ledger: str | None = None,
        prices: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        given = {"mode": mode, "annotate": annotate, "ledger": ledger, "prices": prices, **settings}
        self.settings = settings_module.load(given)
        self.background = Background()
        self.sync_runtime = SyncRuntime(self.background)
        self.async_runtime = AsyncRuntime(self.background)
        self.ledger = self._open_ledger()
        self.prices = PriceBook({"local/*": _FREE, **self.settings.prices}, hosts=self.settings.price_hosts)
        self._own = self._own_tiers()
        self._local: LocalServers | None = None
        self._time = LocalTime(self.ledger, self.background, lambda: self._local.usage() if self._local else [])
        self._budget = BudgetLayer(
            self.prices,
            self.ledger,
            self.background,
            rules=rules_from(self.settings.budgets),
            enforce=self.settings.mode != "observe",
            own=self._own,
            local=self._time,
        )
        self.retrieved = Retrieved(self.prices, self.ledger, self._budget)
        self._record = Record(self.ledger, text=self.settings.record_text, told=self._budget.tell)
        self._caches: Caches | None = None
        self._originals: Originals | None = None
        self._lock = threading.Lock()
        self.layers: tuple[Middleware, ...] = tuple(self._ordered(stack))
        self._attach()
        self._composed: tuple[CallNext, CallNext] | None = None
        self.latest: ContextVar[Entry | None] = ContextVar("llmsaver_latest", default=None)
        _all.add(self)

    @property
    def bypassed(self) -> bool:
        """Whether calls go past every layer."""
        return self.settings.disabled or self.settings.mode == "off"

    @property
    def last(self) -> Entry | None:
        """The entry of this Saver's latest call in this thread or task; None before the first.

        A framework that makes its calls in tasks of its own leaves nothing here for its caller: see ``recent``.
        """
        return self.latest.get()

    def recent(self, count: int = 10) -> list[Entry]:
        """Return the entries of the latest calls of all threads and tasks, newest first."""
        return self._record.recent(count)

    def entry(self, entry_id: str) -> Entry | None:
        """Return the entry with this id (``x-llmsaver-entry``), or None where it is unknown or too long ago."""
        return self._record.entry(entry_id)

    @property
    def local(self) -> LocalServers:
        """The local models' servers, started on first use."""
        with self._lock:
            if self._local is None:
                from llmsaver.local import LocalServers
                from llmsaver.local.tiers import rated

                self._local = LocalServers(
                    models=rated(self.settings.local_models, self.settings.local_hourly_usd),
                    context=self.settings.local_context,
                    parallel=self.settings.local_parallel,
                    sleep_idle_seconds=self.settings.local_idle_s,
                    exit_idle_seconds=self.settings.local_exit_idle_s,
                    memory_mib=self.settings.local_memory_mib,
                )
            return self._local

    @property
    def cache(self) -> Caches:
        """The stored answers: ``invalidate``, ``stats``, ``inspect``, ``purge``, ``export``."""
        with self._lock:
            if self._caches is None:
                from llmsaver.cache.caches import Caches

                self._caches = Caches(
                    self.settings.cache, self.settings.ledger, max_bytes=self.settings.cache_mib << 20
                )
            return self._caches

    @property
    def originals(self) -> Originals:
        """The tool outputs that were left out of prompts: ``recall``, ``stats``, ``purge``, ``purge_tenant``."""
        with self._lock:
            if self._originals is None:
                from llmsaver.prompt.originals import Originals

                self._originals = Originals(self.settings.originals, self.settings.ledger)
            return self._originals

    def recall(self, reference: str, *, tenant: str | None = None) -> str | None:
        """Return a tool output that was left out of a prompt, by the reference in its stub; blocking.

        ``tenant``: whose call left it out, by default the setting's. None where there is none, or no longer.
        """
        return self.originals.recall(reference, self.settings.tenant if tenant is None else tenant)

    @property
    def router(self) -> RouterView:
        """The cascade in the stack: ``explain``, ``status``, ``calibrate``, ``feedback``; an error where none is."""
        from llmsaver.middleware.cascade import Cascade
        from llmsaver.middleware.routing_view import RouterView

        for layer in self.layers:
            if isinstance(layer, Cascade):
                return RouterView(layer, self.ledger, self.sync_runtime, self.entry, self.background.drain)
        raise ConfigurationError("this Saver has no cascade: Saver(stack=[..., Cascade(['local/smollm2-135m', ...])])")

    def batch(self, requests: Any, **terms: Any) -> BatchResult:
        """Have many requests answered, at half price in a provider's batches; see ``llmsaver.batch.batch``."""
        result: BatchResult = importlib.import_module("llmsaver.batch").batch(self, requests, **terms)
        return result

    def hard_claims(self, entry: Entry, rules: tuple[Rule, ...]) -> list[tuple[Rule, Claim]]:
        """Return the hard budgets, with their pots, that work like ``entry`` draws on, ``rules`` being around it."""
        return [] if self.bypassed else self._budget.hard_claims(entry, rules)

    def over(self, upstream: CallNext) -> CallNext:
        """Return the stack composed over ``upstream``."""
        composed = self._composed
        if composed is None or composed[0] is not upstream:
            composed = self._composed = (upstream, compose(list(self.layers), upstream))
        return composed[1]

    def close(self) -> None:
        """Stop local models and let background work end; may be called again."""
        self.background.drain()
        self._time.write()
        for layer in self.layers:
            close = getattr(layer, "close", None)
            if callable(close):
                _closed(layer, close)
        if self._caches is not None:
            self._caches.close()
        if self._originals is not None:
            self._originals.close()
        if self.ledger is not None:
            self.ledger.close()
        with self._lock:
            local, self._local = self._local, None
        if local is not None:
            local.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ordered(self, stack: Sequence[Middleware | EllipsisType] | None) -> list[Middleware]:
        """Return the layers to compose: the record outermost, the budget innermost."""
        spill: list[Middleware] = []
        if any(tier.spill_to for _, tier in self._own):
            from llmsaver.middleware.spill import Spill

            spill = [Spill(self._own, self._load_of, self.prices, slots=self.settings.local_parallel)]
        layers = modes.brought("off" if self.bypassed else self.settings.mode, stack)
        return [self._record, *modes.ordered(stack, layers, spill), self._budget]

    def routed(self, request: Request) -> bool:
        """Return whether a layer chooses the model that answers a call, so that its name need not be the host's own."""
        return any(layer.routes(request) for layer in self.layers if hasattr(layer, "routes"))

    def _attach(self) -> None:
        """Give layers what they ask for: the books; or the store, and the layers beneath, which decide an answer."""
        for at, layer in enumerate(self.layers):
            use_books = getattr(layer, "use_books", None)
            if use_books is not None:
                use_books(self.prices, self.ledger, self._context_of)
            use_caches = getattr(layer, "use_caches", None)
            if use_caches is not None:
                use_caches(self.cache, self.layers[at + 1 :])
            use_originals = getattr(layer, "use_originals", None)
            if use_originals is not None:
                self._originals = use_originals(self.settings.originals, self.settings.ledger) or self._originals

    def _load_of(self, name: str) -> Load | None:
        """Return how busy a local model is, as far as this program knows: nothing is started to find out."""
        return None if self._local is None else self._local.load(name)

    def _context_of(self, model: str) -> int | None:
        """Return how many tokens a call has on a ``local/...`` model, as far as that is declared."""
        tier = self._own.of(model)
        own: int | None = getattr(tier, "context", None)
        declared_elsewhere = tier is not None and not hasattr(tier, "parallel")  # a server of one's own says itself
        return own if own is not None or declared_elsewhere else self.settings.local_context

    def _own_tiers(self) -> OwnTiers:
        """Return what is known beforehand of local models; nothing of them is imported for who declares none."""
        given, hourly = self.settings.local_models, self.settings.local_hourly_usd
        if not given and hourly is None:
            return OwnTiers()
        from llmsaver.local.tiers import rated

        return OwnTiers(rated(given, hourly))

    def _open_ledger(self) -> Ledger | None:
        """Return the books, which open at the first call; None where every call goes past them."""
        if self.bypassed:
            return None
        from llmsaver.ledger import Ledger

        settings = self.settings
        return Ledger(settings.ledger, hash_ids=settings.hash_ids, record_text=settings.record_text)


def _closed(layer: Middleware, close: Callable[[], object]) -> None:
    """Close a layer; what one of them raises keeps nobody else open."""
    try:
        close()
    except Exception:
        log.warning("llmsaver: layer %r could not be closed", layer_name(layer), exc_info=True)


_all: weakref.WeakSet[Saver] = weakref.WeakSet()


def feedback(response: Any, ok: bool, *, saver: Saver | None = None) -> bool:
    """Say whether an answer was good; return whether that is in the ledger. See ``RouterView.feedback``.

    ``saver`` is the one that the call went through, found by itself where it is still remembered there.
    """
    from llmsaver.middleware.routing_view import entry_of

    if saver is None:
        entry_id = entry_of(response)
        saver = next((each for each in list(_all) if each.entry(entry_id) is not None), None) or default_saver()
    return saver.router.feedback(response, ok)


_default: Saver | None = None
_default_lock = threading.Lock()


def default_saver() -> Saver:
    """Return the Saver that clients built without one share, made from settings at first use."""
    global _default  # noqa: PLW0603 - one per process, made lazily
    with _default_lock:
        if _default is None:
            _default = Saver()
        return _default
