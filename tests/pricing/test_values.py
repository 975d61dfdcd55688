"""Costs explain themselves and cannot be changed."""

import dataclasses
from decimal import Decimal

import pytest

import llmsaver.pricing
from llmsaver.pricing import Billed, Bound, Cost, Line, PriceBook


def test_a_cost_shows_its_arithmetic(book: PriceBook) -> None:
    usage = {
        "input_tokens": 1000,
        "output_tokens": 10,
        "iterations": [
            {"type": "message", "input_tokens": 1000, "output_tokens": 10},
            {"type": "advisor_message", "model": "claude-opus-4-7", "input_tokens": 2, "output_tokens": 1},
            {"type": "dream"},
        ],
    }
    cost = book.cost(Billed("messages", "claude-sonnet-5", usage, host="anthropic"))
    assert cost.explain().splitlines() == [
        "1000 input x $2/M = $0.002",
        "10 output x $10/M = $0.0001",
        "2 input x $5/M = $0.00001 (claude-opus-4-7)",
        "1 output x $25/M = $0.000025 (claude-opus-4-7)",
        "flag iteration:dream",
        "total $0.002135",
    ]
    assert cost.usd == Decimal("0.002135")
    assert str(cost) == "0.002135"
    assert cost.priced


def test_values_are_frozen_and_slotted() -> None:
    for value, name in ((Cost(1, 1, 1), "nano_usd"), (Bound(1, 1), "tokens"), (Billed("chat", "m", {}), "model")):
        assert not hasattr(value, "__dict__")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 0)
    assert Line("input", 1, 2, 3) == ("input", 1, 2, 3, "")


def test_a_bound_with_reasons_proves_nothing() -> None:
    assert Bound(1, 1).proven
    assert not Bound(1, 1, ("mcp",)).proven


def test_billed_reads_an_answer() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2}
    answer = {"model": "gpt-5", "usage": usage, "service_tier": "flex", "tool_usage": {}, "tools": [], "output": []}
    billed = Billed.of("responses", "https://api.openai.com/v1", answer, body={"model": "gpt"}, route="batch")
    assert (billed.model, billed.asked, billed.usage, billed.service_tier) == ("gpt-5", "gpt", usage, "flex")
    assert (billed.tool_usage, billed.tools, billed.output, billed.route) == ({}, [], [], "batch")
    assert Billed.of("chat", "", None, usage={"prompt_tokens": 3}).usage == {"prompt_tokens": 3}
    nothing = Billed.of("chat", "", {"model": 7, "usage": "no"}, body={"model": None})
    assert (nothing.model, nothing.asked, nothing.usage) == (None, None, None)


def test_the_public_names_are_the_namespace() -> None:
    public = {name for name, value in vars(llmsaver.pricing).items() if name[0] != "_" and not _is_module(value)}
    assert public - {"annotations"} == set(llmsaver.pricing.__all__)


def _is_module(value: object) -> bool:
    return type(value).__name__ == "module"
