"""How long answers get, and whether part of them is hidden."""

from typing import Any

import pytest

from llmsaver.pricing.limits import answers, asked_tokens, model_tokens, thinks


def test_the_requests_own_limit() -> None:
    assert asked_tokens({"max_tokens": 5, "max_completion_tokens": 7}, "chat") == 7
    assert asked_tokens({"max_tokens": 5}, "chat") == 5
    assert asked_tokens({"max_output_tokens": 9, "max_tokens": 5}, "responses") == 9
    assert asked_tokens({"max_tokens": 5}, "messages") == 5
    for wrong in (None, -1, 1.5, "5", True):
        assert asked_tokens({"max_tokens": wrong}, "messages") is None
    assert asked_tokens({"max_tokens": 5}, "embeddings") is None


@pytest.mark.parametrize(
    ("model", "most"),
    [
        ("gpt-5-pro-2025-10-06", 272_000),
        ("gpt-5-mini", 128_000),
        ("gpt-6-astra", 128_000),
        ("o4-mini", 100_000),
        ("gpt-4.1-nano", 32_768),
        ("gpt-4o-mini", 16_384),
        ("gpt-4-turbo", 8_192),
        ("claude-opus-4-20250514", 32_000),
        ("claude-opus-4-1", 32_000),
        ("claude-haiku-4-5-20251001", 64_000),
        ("claude-opus-4-8", 128_000),
        ("us.anthropic.claude-fable-5-1", 128_000),
        ("claude-3-5-haiku-latest", 8_192),
        ("house-blend", 4_096),
    ],
)
def test_the_models_limit(model: str, most: int) -> None:
    assert model_tokens(model, 4_096) == most


def test_choices() -> None:
    assert answers({"n": 4}, "chat") == 4
    assert answers({"n": 4}, "responses") == 1
    for wrong in (0, -1, "3", None):
        assert answers({"n": wrong}, "chat") == 1


@pytest.mark.parametrize(
    ("body", "model", "hidden"),
    [
        ({}, "gpt-4o", False),
        ({}, "gpt-5", True),
        ({"reasoning_effort": "none"}, "gpt-5.4", False),
        ({"reasoning": {"effort": "none"}}, "gpt-5.4", False),
        ({"reasoning": {"effort": "low"}}, "gpt-5.4", True),
        ({}, "house-blend", True),
        ({}, "claude-opus-4-8", False),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "claude-opus-4-8", True),
        ({"thinking": {"type": "disabled"}}, "claude-opus-5", False),
        ({}, "claude-opus-5", True),
        ({}, "claude-3-haiku-20240307", False),
        ({"thinking": "odd"}, "claude-opus-4-8", False),
    ],
)
def test_hidden_reasoning(body: dict[str, Any], model: str, hidden: bool) -> None:
    assert thinks(body, model) is hidden
