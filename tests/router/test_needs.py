"""What tiers lack for requests."""

from __future__ import annotations

import pytest

from llmsaver.router.needs import estimated_tokens, known_skills, lacks
from llmsaver.router.tier import Tier
from llmsaver.router.views import Asked


def test_context() -> None:
    asked = Asked("", prompt_bytes=30_000, max_output=500)
    assert estimated_tokens(asked) == 10_016
    assert lacks(Tier("m", max_context=10_516), asked) is None
    why = lacks(Tier("m", max_context=10_515), asked, context=99_999)
    assert why == "has a context of 10515 tokens, and this needs some 10516"
    assert lacks(Tier("m"), asked, context=8_000) is not None
    assert lacks(Tier("m"), asked) is None
    assert lacks(Tier("m", max_context=11_000), Asked("", prompt_bytes=30_000)) is not None  # room for the answer


@pytest.mark.parametrize(
    ("model", "need", "has"),
    [
        ("gpt-4o-mini", "logprobs", True),
        ("ft:gpt-4o-mini:acme::1", "images", True),
        ("openai/gpt-4o-mini", "images", True),
        ("gpt-4o-2024-05-13", "json_schema", False),
        ("gpt-4", "images", False),
        ("gpt-4-turbo", "images", True),
        ("gpt-3.5-turbo", "json_schema", False),
        ("gpt-6-luna", "logprobs", False),
        ("gpt-6-luna", "hosted_tools", True),
        ("o1-mini", "tools", False),
        ("o3-mini", "images", False),
        ("gpt-4o-audio-preview", "audio", True),
        ("gpt-4o-mini", "audio", False),
        ("gpt-4o-search-preview", "tools", False),
        ("chatgpt-4o-latest", "tools", False),
        ("claude-2.1", "tools", False),
        ("claude-3-5-haiku-20241022", "json_schema", False),
        ("us.anthropic.claude-haiku-4-5-v1:0", "json_schema", True),
        ("claude-haiku-4-5", "logprobs", False),
        ("local/qwen2.5-coder-1.5b", "logprobs", True),
        ("local/qwen2.5-coder-1.5b", "images", False),
        ("mystery-7b", "tools", True),
        ("mystery-7b", "json_schema", True),
        ("mystery-7b", "images", False),
        ("mystery-7b", "logprobs", False),
        ("mystery-7b", "hosted_tools", False),
    ],
)
def test_what_is_known_of_models(model: str, need: str, has: bool) -> None:
    assert (lacks(Tier(model), Asked("", needs=frozenset({need}))) is None) is has


def test_who_says_what_a_tier_can() -> None:
    seeing = Asked("", needs=frozenset({"images"}))
    assert known_skills("mystery-7b") is None
    assert lacks(Tier("mystery-7b", skills=frozenset({"images"})), seeing) is None
    assert lacks(Tier("mystery-7b"), seeing, skills=frozenset({"images"})) is None
    assert lacks(Tier("gpt-4o", skills=frozenset()), seeing) == "is not known to read images"
    # No tier can claim a need beyond the skills: what is known of its model answers for it.
    searching = Asked("", needs=frozenset({"hosted_tools"}))
    assert lacks(Tier("gpt-6-luna", skills=frozenset({"tools"})), searching) is None
    assert lacks(Tier("mystery-7b", skills=frozenset({"tools"})), searching) is not None
    assert lacks(Tier("m"), Asked("", needs=frozenset({"telepathy"}))) == "is not known to have telepathy"
