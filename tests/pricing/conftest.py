"""A price list that no release changes, and a book that reads it."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from llmsaver.pricing import PriceBook
from llmsaver.pricing.money import rate
from llmsaver.pricing.sheet import Prices, Sheet, Table, Variant

HERE = Path(__file__).parent
_HOMES = {"api.openai.com": "openai", "api.anthropic.com": "anthropic", "acme.openai.azure.com": "azure"}


def _rates(written: Mapping[str, Any]) -> dict[str, int]:
    rates = {}
    for kind, dollars in written.items():
        if kind == "above":
            continue
        scale = 1000 if kind in ("web_search", "file_search") else 1
        for name in ("cache_write_5m", "cache_write_30m") if kind == "cache_write" else (kind,):
            rates[name] = rate(dollars, kind) * scale
    return rates


def _prices(base: Mapping[str, Any], above: Mapping[str, Any]) -> Prices:
    return Prices(_rates(base), tuple((int(start), _rates(rates)) for start, rates in above.items()))


class ListPrices:
    """The table of list_prices.json, transcribed by hand."""

    def __init__(self) -> None:
        self.written: dict[str, dict[str, Any]] = json.loads((HERE / "list_prices.json").read_text())

    as_of = date(2026, 11, 9)
    edition: object = "frozen"

    def provider(self, url: str) -> str | None:
        return _HOMES.get(urlsplit(url).hostname or "")

    def home(self, model: str) -> str | None:
        return "anthropic" if "claude" in model else "openai" if model.startswith(("gpt", "o3", "o4", "text")) else None

    def timed(self, provider: str, model: str) -> bool:  # noqa: ARG002 - the protocol's shape
        return False

    def sheet(self, provider: str, model: str, when: datetime) -> Sheet | None:  # noqa: ARG002 - the protocol's shape
        listed = self.written.get(provider, {})
        entry = listed.get(model) or next((one for one in listed.values() if model in one.get("names", ())), None)
        if entry is None:
            # A dated snapshot of a listed model.
            found = [name for name in listed if model.startswith(f"{name}-20")]
            entry = listed[found[0]] if found else None
        if entry is None:
            return None
        terms = {**{("service_tier", tier): rates for tier, rates in entry.get("tiers", {}).items() if tier != "batch"}}
        if "batch" in entry.get("tiers", {}):
            terms["processing", "batch"] = entry["tiers"]["batch"]
        if "fast" in entry.get("speed", {}):
            terms["speed", "fast"] = entry["speed"]["fast"]
        return Sheet(
            provider=provider,
            model=next(name for name, one in listed.items() if one is entry),
            prices=_prices(entry["standard"], entry.get("above", {})),
            variants={term: Variant(_prices(rates, rates.get("above", {}))) for term, rates in terms.items()},
            context_window=entry.get("context_window"),
            source="list_prices.json",
        )


@pytest.fixture(scope="session")
def listed() -> Table:
    return ListPrices()


@pytest.fixture(scope="session")
def book(listed: Table) -> PriceBook:
    return PriceBook(table=listed)
