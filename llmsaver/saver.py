"""The composition root: settings become an ordered stack that clients share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextvars import ContextVar
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Self

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
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from llmsaver.cache.caches import Caches
    from llmsaver.core.entry import Entry
    from llmsaver.ledger import Ledger
    from llmsaver.local import LocalServers
    from llmsaver.local.endpoint import Load

__all__ = ["Saver", "default_saver"]

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
        self._lock = threading.Lock()
        self.layers: tuple[Middleware, ...] = tuple(self._ordered(stack))
        self._attach_caches()
        self._composed: tuple[CallNext, CallNext] | None = None
        self.latest: ContextVar[Entry | None] = ContextVar("llmsaver_latest", default=None)

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
        """Return the layers to compose: the record first, then ``stack`` with ``...`` filled in."""
        own: list[Middleware] = self._own_caches(stack)  # the savings of the modes join here, in the design's order
        if any(tier.spill_to for _, tier in self._own):
            from llmsaver.middleware.spill import Spill

            own.append(Spill(self._own, self._load_of, self.prices, slots=self.settings.local_parallel))
        if not isinstance(stack, Sequence | None):
            raise ConfigurationError(f"Saver(stack=) must be a list of layers; it is {stack!r}")
        given = [...] if stack is None else list(stack)
        if sum(layer is ... for layer in given) > 1:
            raise ConfigurationError("Saver(stack=) holds ... more than once; keep one")
        named: set[str] = set()
        for layer in given:
            if layer is ...:
                continue
            if isinstance(layer, type) or not callable(layer):
                raise ConfigurationError(
                    f"Saver(stack=) holds {layer!r}, which is no layer: pass an async function or an object with "
                    "async def __call__(self, request, call_next)"
                )
            named.add(layer_name(layer))
        layers: list[Middleware] = [self._record]
        for layer in given:
            if isinstance(layer, EllipsisType):
                layers += [layer for layer in own if layer_name(layer) not in named]
            else:
                layers.append(layer)
        return [*layers, self._budget]

    def _own_caches(self, stack: Sequence[Middleware | EllipsisType] | None) -> list[Middleware]:
        """Return the caches of the mode; the semantic one where its optional parts are here and nobody names one."""
        if self.settings.mode not in {"balanced", "max"}:
            return []
        from llmsaver.middleware.exact_cache import ExactCache

        if self.settings.mode == "balanced" or self.bypassed:
            return [ExactCache()]
        from llmsaver.middleware.semantic_cache import SemanticCache

        if any(layer_name(layer) == SemanticCache.name for layer in stack or ()):
            return [ExactCache()]
        try:
            return [ExactCache(), SemanticCache()]
        except ConfigurationError as error:
            log.info("llmsaver: mode max goes on without the semantic cache: %s", error)
            return [ExactCache()]

    def _attach_caches(self) -> None:
        """Give the layers that keep answers their store, and the layers beneath, which decide what an answer is."""
        for at, layer in enumerate(self.layers):
            use_caches = getattr(layer, "use_caches", None)
            if use_caches is not None:
                use_caches(self.cache, self.layers[at + 1 :])

    def _load_of(self, name: str) -> Load | None:
        """Return how busy a local model is, as far as this program knows: nothing is started to find out."""
        return None if self._local is None else self._local.load(name)

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


_default: Saver | None = None
_default_lock = threading.Lock()


def default_saver() -> Saver:
    """Return the Saver that clients built without one share, made from settings at first use."""
    global _default  # noqa: PLW0603 - one per process, made lazily
    with _default_lock:
        if _default is None:
            _default = Saver()
        return _default
