"""Declared rates win, and wrong ones are refused by name."""

from decimal import Decimal
from typing import Any

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.pricing import Billed, Cost, PriceBook
from llmsaver.pricing.sheet import Table

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}


@pytest.fixture
def priced(listed: Table) -> Any:
    def cost(prices: dict[str, Any], model: str = "my-model", host: str = "openai", **facts: Any) -> Cost:
        return PriceBook(prices, table=listed).cost(
            Billed("chat", model, facts.pop("usage", USAGE), host=host, **facts)
        )

    return cost


def test_a_new_model(priced: Any) -> None:
    cost = priced({"my-model": {"input": "0.15", "output": Decimal("0.60"), "cache_read": "0.01"}})
    assert cost.nano_usd == 600 * 150 + 400 * 10 + 100 * 600
    assert cost.flags == ("declared",)
    assert not cost.estimated
    assert cost.priced


def test_what_is_left_out_costs_what_the_input_costs(priced: Any) -> None:
    details = {"cached_tokens": 400, "cache_write_tokens": 300, "audio_tokens": 0}
    cost = priced({"my-model": {"input": 1, "output": 2}}, usage={**USAGE, "prompt_tokens_details": details})
    assert cost.nano_usd == 1000 * 1000 + 100 * 2000
    assert cost.flags == ("declared",)


def test_a_free_model_is_declared_and_zero(priced: Any) -> None:
    cost = priced({"local/*": {"input": 0, "output": "0"}}, "gpt-4o", "http://127.0.0.1:8080", asked="local/smollm2")
    assert (cost.nano_usd, cost.high_nano, cost.flags, cost.estimated) == (0, 0, ("declared",), False)


def test_negotiated_rates_win_over_the_list_and_scale_what_they_leave_out(priced: Any) -> None:
    cost = priced({"gpt-4o": {"input": "2.00", "output": "8.00"}}, "gpt-4o")
    assert cost.nano_usd == 600 * 2000 + 400 * 1000 + 100 * 8000
    assert cost.flags == ("declared", "derived:cache_read")
    assert cost.low_nano <= cost.nano_usd <= cost.high_nano
    whole = priced({"gpt-4o": {"input": "2.00", "output": "8.00", "cache_read": "0.9"}}, "gpt-4o")
    assert (whole.nano_usd, whole.flags) == (600 * 2000 + 400 * 900 + 100 * 8000, ("declared",))


def test_only_the_output_may_be_negotiated(priced: Any) -> None:
    cost = priced({"gpt-4o": {"output": "8.00"}}, "gpt-4o")
    assert (cost.nano_usd, cost.flags) == (600 * 2500 + 400 * 1250 + 100 * 8000, ("declared",))


def test_an_exact_name_beats_a_pattern_and_a_long_pattern_a_short_one(priced: Any) -> None:
    prices = {
        "*": {"input": 1, "output": 1},
        "my-*": {"input": 2, "output": 2},
        "my-model": {"input": 3, "output": 3},
        "MY-M*L": {"input": 4, "output": 4},
    }
    assert priced(prices).nano_usd == 1100 * 3000
    assert priced({name: prices[name] for name in ("*", "my-*", "MY-M*L")}).nano_usd == 1100 * 4000
    assert priced(prices, "my-own").nano_usd == 1100 * 2000
    assert priced(prices, "other").nano_usd == 1100 * 1000


def test_a_provider_can_be_named(priced: Any) -> None:
    prices = {"gpt-4o": {"input": 1, "output": 1, "cache_read": 1, "provider": "azure"}}
    assert priced(prices, "gpt-4o", "https://acme.openai.azure.com").nano_usd == 1_100_000
    assert priced(prices, "gpt-4o").flags == ()


def test_long_contexts_tiers_and_searches(priced: Any) -> None:
    prices = {
        "m": {
            "input": 1,
            "output": 1,
            "web_search": 7,
            "requests": 2,
            "cache_write": "1.5",
            "above": {"500": {"input": 5}, 900: {"input": 9, "output": 9}},
            "tiers": {"flex": {"input": "0.5"}, "batch": {"input": "0.25", "output": "0.25"}},
            "context_window": 4096,
        }
    }
    plain = {"prompt_tokens": 100, "completion_tokens": 10}
    fee = 2_000_000
    assert priced(prices, "m", usage=plain).nano_usd == 110_000 + fee
    assert priced(prices, "m", usage={**plain, "prompt_tokens": 501}).nano_usd == 501 * 5000 + 10_000 + fee
    assert priced(prices, "m", usage={**plain, "prompt_tokens": 901}).nano_usd == 901 * 9000 + 90_000 + fee
    assert priced(prices, "m", usage=plain, service_tier="flex").nano_usd == 100 * 500 + 10_000 + fee
    assert priced(prices, "m", usage=plain, route="batch").nano_usd == 110 * 250 + fee
    assert priced(prices, "m", usage=plain, service_tier="priority").flags == ("declared", "tier:priority")
    searched = PriceBook(prices).cost(
        Billed(
            "responses", "m", {"input_tokens": 1, "output_tokens": 0}, tool_usage={"web_search": {"num_requests": 2}}
        )
    )
    assert searched.nano_usd == 1000 + 2 * 7_000_000 + fee
    rates = PriceBook(prices).rates("openai", "m")
    assert rates is not None
    assert (rates.context_window, rates.source, rates.flags) == (4096, "declared", ("declared",))
    assert [start for start, _ in rates.above] == [500, 900]


def test_claude_keeps_its_write_multiples_and_says_so(listed: Table) -> None:
    book = PriceBook({"claude-mine": {"input": 2, "output": 10, "cache_read": "0.2"}}, table=listed)
    split = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 10}
    usage = {"input_tokens": 1, "output_tokens": 0, "cache_creation_input_tokens": 20, "cache_creation": split}
    cost = book.cost(Billed("messages", "claude-mine", usage, host="anthropic"))
    assert cost.nano_usd == 2000 + 10 * 2500 + 10 * 4000
    assert cost.flags == ("declared", "derived:cache_write_5m", "derived:cache_write_1h")


@pytest.mark.parametrize(
    ("prices", "told"),
    [
        ("cheap", "prices: write a mapping"),
        ({"": {"input": 1}}, "'' is not a model's name"),
        ({7: {"input": 1}}, "7 is not a model's name"),
        ({"m": "cheap"}, r"prices\['m'\]: write a mapping"),
        ({"m": {}}, r"prices\['m'\]: no rate"),
        ({"m": {"input": 0.15}}, r"prices\['m'\]\['input'\]: 0.15 is a float"),
        ({"m": {"inputs": "1"}}, r"prices\['m'\]\['inputs'\]: no such rate"),
        ({"m": {"input": 1, "provider": 3}}, r"\['provider'\]"),
        ({"m": {"input": 1, "context_window": "big"}}, r"\['context_window'\]"),
        ({"m": {"input": 1, "above": []}}, r"\['above'\]"),
        ({"m": {"input": 1, "above": {"many": {"input": 1}}}}, r"\['above'\]\['many'\]"),
        ({"m": {"input": 1, "above": {"5": {"input": 1.5}}}}, r"\['above'\]\['5'\]\['input'\]"),
        ({"m": {"input": 1, "tiers": 1}}, r"\['tiers'\]"),
        ({"m": {"input": 1, "tiers": {"flex": 1}}}, r"\['tiers'\]\['flex'\]"),
        ({"m": {"input": 1, "tiers": {"flex": {"out": 1}}}}, r"\['tiers'\]\['flex'\]\['out'\]"),
    ],
)
def test_what_is_wrong_is_named(prices: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        PriceBook(prices)
