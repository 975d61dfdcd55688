"""The price table of genai-prices, read once per model; nothing else here imports it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from llmsaver.pricing.money import rate
from llmsaver.pricing.sheet import Prices, Sheet, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["GenaiPrices"]

_KIND_OF: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_in",
    "cache_audio_read_mtok": "audio_cached",
    "input_image_mtok": "image_in",
    "cache_image_read_mtok": "image_cached",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "audio_out",
    "output_image_mtok": "image_out",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "file_search",
    "requests_kcount": "requests",
}
_PER_THOUSAND: Final = frozenset({"web_search", "file_search", "requests"})
# The default lifetime: five minutes at Anthropic, thirty at OpenAI.
_DEFAULT_WRITE: Final = ("cache_write_5m", "cache_write_30m")
_DATE: Final = re.compile(r"\b20\d\d-[01]\d-[0-3]\d\b")


class GenaiPrices:
    """Reads the package's current snapshot: the bundled one, or what its opt-in updater fetched."""

    __slots__ = ("_as_of", "_snapshot")

    def __init__(self) -> None:
        self._as_of: tuple[object, date] | None = None
        self._snapshot: Callable[[], Any] | None = None

    @property
    def edition(self) -> Any:
        """The snapshot in force."""
        snapshot = self._snapshot
        if snapshot is None:
            # A fifth of a second, once, and not before somebody asks for a price.
            from genai_prices.data_snapshot import get_snapshot

            snapshot = self._snapshot = get_snapshot
        return snapshot()

    @property
    def as_of(self) -> date:
        """The day of an updated table; for the bundled one the newest past day that its own notes name."""
        edition = self.edition
        if self._as_of is None or self._as_of[0] is not edition:
            self._as_of = (edition, edition.timestamp.date() if edition.from_auto_update else _newest(edition))
        return self._as_of[1]

    def provider(self, url: str) -> str | None:
        """Return the id of the provider whose address pattern a URL matches."""
        try:
            return str(self.edition.find_provider(None, None, url).id)
        except LookupError:
            return None

    def home(self, model: str) -> str | None:
        """Return the id of the provider that claims names like this."""
        try:
            return str(self.edition.find_provider(model.lower(), None, None).id)
        except LookupError:
            return None

    def sheet(self, provider: str, model: str, when: datetime) -> Sheet | None:
        """Return what a model costs at a moment."""
        from genai_prices import __version__

        try:
            _, info = self.edition.find_provider_model(model, None, provider, None)
        except LookupError:
            return None
        owner = next((each for each in self.edition.providers if any(info is one for one in each.models)), None)
        # A vendor's other terms (flex, batch) are not those of a cloud that resells its model.
        own = owner is not None and owner.id == provider
        variants: dict[tuple[str, str], Variant] = {}
        for variant in (info.price_variants or ()) if own else ():
            if len(variant.when) == 1:
                since = getattr(variant.constraint, "start_date", None)
                variants.setdefault(next(iter(variant.when.items())), Variant(_prices(variant.prices), since))
        standard = info.get_prices(when)
        return Sheet(
            provider=provider,
            model=str(info.id),
            prices=_prices(standard),
            variants=variants,
            context_window=info.context_window,
            source=f"genai-prices {__version__}",
        )

    def timed(self, provider: str, model: str) -> bool:
        """Whether a constraint other than a start date applies."""
        try:
            _, info = self.edition.find_provider_model(model, None, provider, None)
        except LookupError:
            return False
        entries = info.prices if isinstance(info.prices, list) else []
        return any(hasattr(entry.constraint, "start_time") for entry in entries)


def _prices(written: Any) -> Prices:
    base: dict[str, int] = {}
    above: dict[int, dict[str, int]] = {}
    for key, value in vars(written).items():
        kind = _KIND_OF.get(key)
        if kind is None or value is None:
            continue
        scale = 1000 if kind in _PER_THOUSAND else 1
        for name in _DEFAULT_WRITE if kind == "cache_write" else (kind,):
            base[name] = rate(getattr(value, "base", value), key) * scale
            for tier in getattr(value, "tiers", ()):
                above.setdefault(tier.start, {})[name] = rate(tier.price, key) * scale
    return Prices(base, tuple(sorted(above.items(), key=lambda step: step[0])))


def _newest(edition: Any) -> date:
    """Return the newest day, not after today, that the table's comments and start dates name."""
    today = datetime.now(tz=UTC).date().isoformat()
    found = {"2020-01-01"}  # an edition whose notes name no day
    for provider in edition.providers:
        for noted in (provider, *provider.models):
            found.update(_DATE.findall(noted.price_comments or ""))
        for model in provider.models:
            found.update(_starts(model.prices))
    return max(filter(None, (_day(text) for text in found if text <= today)))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _starts(prices: Mapping[str, Any] | list[Any]) -> set[str]:
    if not isinstance(prices, list):
        return set()
    return {str(entry.constraint.start_date) for entry in prices if hasattr(entry.constraint, "start_date")}
