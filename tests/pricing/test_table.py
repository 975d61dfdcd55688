"""The live table, as far as it can be relied on from release to release."""

import subprocess
import sys
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from llmsaver.pricing import Billed, PriceBook
from llmsaver.pricing.table import GenaiPrices, _newest

NIGHT = datetime(2026, 11, 20, 20, tzinfo=UTC)
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}


def test_importing_loads_no_prices() -> None:
    code = "import sys, llmsaver.pricing; assert not {'genai_prices', 'pydantic', 'sqlalchemy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own words


def test_the_table_can_be_read_ahead() -> None:
    book = PriceBook()
    assert book.load() == book.as_of


def test_the_date_is_the_newest_the_table_names() -> None:
    assert date(2026, 1, 1) < PriceBook().as_of <= datetime.now(tz=UTC).date()


def test_the_date_of_an_updated_table_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    table = GenaiPrices()
    assert table.as_of == table.as_of
    updated = SimpleNamespace(from_auto_update=True, timestamp=datetime(2027, 1, 2, tzinfo=UTC))
    monkeypatch.setattr(table, "_snapshot", lambda: updated)
    assert table.as_of == date(2027, 1, 2)


def test_days_that_never_were_and_days_to_come_are_not_the_date() -> None:
    def noted(text: str | None, prices: Any = None) -> SimpleNamespace:
        return SimpleNamespace(price_comments=text, models=[], prices=prices)

    provider = noted("verified 2026-02-31, ends 2999-01-01")
    started = SimpleNamespace(constraint=SimpleNamespace(start_date=date(2026, 3, 1)))
    provider.models = [noted("seen on 2025-05-05", [started, SimpleNamespace(constraint=None)])]
    assert _newest(SimpleNamespace(providers=[provider])) == date(2026, 3, 1)
    assert _newest(SimpleNamespace(providers=[noted(None)])) == date(2020, 1, 1)


def test_an_updated_table_replaces_what_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    table = GenaiPrices()
    book = PriceBook(table=table)
    billed = Billed("chat", "gpt-4o", USAGE, host="openai")
    before = book.cost(billed)
    assert before.priced
    empty = type(table.edition)(providers=[], from_auto_update=False)
    monkeypatch.setattr(table, "_snapshot", lambda: empty)
    assert not book.cost(billed).priced
    monkeypatch.undo()
    assert book.cost(billed) == before


def test_what_the_table_does_not_know() -> None:
    table = GenaiPrices()
    assert table.provider("https://llm.example.com") is None
    assert table.home("house-blend") is None
    assert table.sheet("openai", "house-blend", NIGHT) is None
    assert table.sheet("nobody", "gpt-4o", NIGHT) is None
    assert not table.timed("openai", "house-blend")
    assert not table.timed("openai", "gpt-4o")
    assert PriceBook().rates("openai", "house-blend") is None


def test_prices_change_with_the_day_and_the_hour() -> None:
    book = PriceBook()

    def cost(model: str, host: str, when: datetime) -> int:
        return book.cost(Billed("chat", model, USAGE, host=host, when=when)).nano_usd

    assert cost("o3", "openai", datetime(2025, 1, 1, tzinfo=UTC)) == 1000 * 10_000 + 100 * 40_000
    assert cost("o3", "openai", datetime(2026, 1, 1, tzinfo=UTC)) == 1000 * 2_000 + 100 * 8_000
    noon, night = datetime(2026, 11, 20, 12, tzinfo=UTC), datetime(2026, 11, 20, 20, tzinfo=UTC)
    assert cost("deepseek-reasoner", "deepseek", noon) > cost("deepseek-reasoner", "deepseek", night)
    assert cost("deepseek-reasoner", "deepseek", noon) > cost("deepseek-reasoner", "deepseek", night)


def test_a_tier_priced_later_than_the_call_is_flagged() -> None:
    early = Billed("chat", "gpt-5", USAGE, host="openai", service_tier="flex", when=datetime(2026, 1, 1, tzinfo=UTC))
    assert PriceBook().cost(early).flags == ("rate-since:2026-10-12",)


def test_a_cloud_does_not_inherit_the_vendors_tiers() -> None:
    billed = Billed("chat", "gpt-5", USAGE, host="https://acme.openai.azure.com", service_tier="priority")
    cost = PriceBook().cost(billed)
    assert cost.flags == ("tier:priority", "azure-deployment")
    assert cost.low_nano < cost.nano_usd < cost.high_nano


def test_a_fee_per_request_is_billed() -> None:
    rates = PriceBook().rates("perplexity", "sonar")
    assert rates is not None
    cost = PriceBook().cost(Billed("chat", "sonar", USAGE, host="https://api.perplexity.ai"))
    fee = next(line for line in cost.lines if line.kind == "requests")
    assert fee.nano_usd == rates.kinds["requests"] // 10**6
    assert fee.nano_usd > 0


def test_a_table_that_says_nothing_of_a_model_flags_it() -> None:
    cost = PriceBook().cost(Billed("chat", "mai-ds-r1:free", USAGE, host="azure"))
    assert not cost.priced
    assert cost.nano_usd > 0
