"""Where a tier is, what is spoken there, and that no key goes where it was not made for."""

from __future__ import annotations

from typing import Any

import pytest

from llmsaver import ConfigurationError
from llmsaver.router.address import address_of, checked_base, vendor_of
from llmsaver.router.tier import Tier

OPENAI, ANTHROPIC = "https://api.openai.com/v1/chat/completions", "https://api.anthropic.com/v1/messages"
RESPONSES = "https://api.openai.com/v1/responses"
GATEWAY = "https://gw.example/llm/v1/chat/completions"
KEYS = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a", "OTHER_KEY": " sk-x\n"}


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("gpt-5-mini", "openai"),
        ("ft:gpt-4o-mini:acme", "openai"),
        ("o3", "openai"),
        ("o4-mini", "openai"),
        ("claude-haiku-4-5", "anthropic"),
        ("openai/gpt-5", None),
        ("o1000", None),
        ("deepseek-chat", None),
    ],
)
def test_the_vendor_is_known_by_the_models_name(model: str, vendor: str | None) -> None:
    assert vendor_of(model) == vendor


@pytest.mark.parametrize(
    ("tier", "url", "dialect", "target", "spoken", "key"),
    [
        # Where the caller's own client goes: no other key, and no other request than its own.
        (Tier("gpt-5-mini"), OPENAI, "chat", OPENAI, "chat", None),
        (Tier("gpt-5-mini"), RESPONSES, "responses", RESPONSES, "responses", None),
        (Tier("claude-haiku-4-5"), ANTHROPIC, "messages", ANTHROPIC, "messages", None),
        (Tier("claude-haiku-4-5"), GATEWAY, "chat", GATEWAY, "chat", None),
        (Tier("deepseek-chat"), OPENAI, "chat", OPENAI, "chat", None),
        (Tier("x", base_url="https://gw.example:443/llm/v1/"), GATEWAY, "chat", GATEWAY, "chat", None),
        # At the other vendor's.
        (Tier("claude-haiku-4-5"), OPENAI, "chat", ANTHROPIC, "messages", "sk-a"),
        (Tier("claude-haiku-4-5"), RESPONSES, "responses", ANTHROPIC, "messages", "sk-a"),
        (Tier("gpt-5-mini"), ANTHROPIC, "messages", OPENAI, "chat", "sk-o"),
        (Tier("gpt-5-mini"), "https://eu.api.openai.com/v1/responses", "responses", ..., "responses", None),
        (Tier("gpt-5", base_url="https://api.openai.com"), ANTHROPIC, "messages", OPENAI, "chat", "sk-o"),
        (Tier("gpt-5", base_url="https://api.openai.com/v1"), RESPONSES, "responses", RESPONSES, "responses", None),
        (Tier("claude-x", base_url="https://api.anthropic.com/v1"), OPENAI, "chat", ANTHROPIC, "messages", "sk-a"),
        # At a third place.
        (
            Tier("m", base_url="https://o.example/v1", api_key_env="OTHER_KEY"),
            OPENAI,
            "chat",
            "https://o.example/v1/chat/completions",
            "chat",
            "sk-x",
        ),
        (
            Tier("m", base_url="https://o.example/api/anthropic", api_key="k"),
            OPENAI,
            "chat",
            "https://o.example/api/anthropic/v1/messages",
            "messages",
            "k",
        ),
        (
            Tier("claude-x", base_url="https://o.example", api_key="k"),
            ANTHROPIC,
            "messages",
            "https://o.example/v1/messages",
            "messages",
            "k",
        ),
        (
            Tier("m", base_url="https://o.example/v1", api_key=""),
            ANTHROPIC,
            "messages",
            "https://o.example/v1/chat/completions",
            "chat",
            "",
        ),
        (
            Tier("m", base_url="http://127.0.0.1:8000/v1"),
            OPENAI,
            "chat",
            "http://127.0.0.1:8000/v1/chat/completions",
            "chat",
            "",
        ),
        # The same host under another key, or in another dialect.
        (Tier("gpt-5", api_key="k2"), OPENAI, "chat", OPENAI, "chat", "k2"),
        (
            Tier("claude-x", dialect="messages", api_key="k2"),
            GATEWAY,
            "chat",
            "https://gw.example/llm/v1/messages",
            "messages",
            "k2",
        ),
        (Tier("gpt-5", dialect="responses"), OPENAI, "chat", RESPONSES, "responses", "sk-o"),
    ],
)
def test_where_a_tier_is(tier: Tier, url: str, dialect: str, target: Any, spoken: str, key: str | None) -> None:
    found = address_of(tier, url, dialect, KEYS)
    assert found.missing is None
    assert (found.url, found.dialect, found.key) == (url if target is ... else target, spoken, key)


def test_the_vendors_place_may_be_named_by_its_own_variable() -> None:
    environ = {"ANTHROPIC_BASE_URL": "https://claude.corp.example", "ANTHROPIC_API_KEY": "sk-corp"}
    found = address_of(Tier("claude-haiku-4-5"), OPENAI, "chat", environ)
    assert (found.url, found.key) == ("https://claude.corp.example/v1/messages", "sk-corp")


@pytest.mark.parametrize(
    ("tier", "environ", "said"),
    [
        (
            Tier("claude-haiku-4-5"),
            {},
            "no key for api.anthropic.com: set ANTHROPIC_API_KEY, or Tier('claude-haiku-4-5'",
        ),
        (Tier("claude-haiku-4-5"), {"ANTHROPIC_API_KEY": " "}, "no key for api.anthropic.com"),
        (Tier("m", base_url="https://o.example/v1"), KEYS, "no key for o.example: name the environment variable"),
        (Tier("gpt-5", base_url="https://o.example/v1"), KEYS, "no key for o.example: name the environment variable"),
        (Tier("m", base_url="https://api.openai.com.evil.example/v1"), KEYS, "no key for api.openai.com.evil.example"),
        (Tier("m", base_url="https://notopenai.com/v1"), KEYS, "no key for notopenai.com"),
        (Tier("m", base_url="https://o.example/v1", api_key_env="MINE"), KEYS, "no key for o.example: set MINE"),
        (Tier("gpt-5", api_key_env="MINE"), KEYS, "no key for api.openai.com: set MINE"),
    ],
)
def test_no_key_is_sent_where_it_was_not_made_for(tier: Tier, environ: dict[str, str], said: str) -> None:
    found = address_of(tier, OPENAI, "chat", environ)
    assert found.key is None
    assert found.missing is not None
    assert found.missing.startswith(said)


@pytest.mark.parametrize(
    "base",
    ["api.openai.com", "ftp://x.example", "https://", "https://x.example:port", "https://[x", 7, "https://x.example:0"],
)
def test_a_base_url_that_is_none_is_told_at_once(base: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Tier\('m'\): base_url must be an http"):
        checked_base(Tier("m", base_url=base))


def test_a_base_url_holds_no_secrets() -> None:
    for base in ("https://me:secret@x.example/v1", "https://x.example/v1?key=secret"):
        with pytest.raises(ConfigurationError, match="a key belongs into api_key_env") as raised:
            checked_base(Tier("m", base_url=base))
        assert "secret" not in str(raised.value)


def test_a_local_model_is_found_by_its_name() -> None:
    checked_base(Tier("local/smollm2-135m"))
    with pytest.raises(ConfigurationError, match="does not go with a local/"):
        checked_base(Tier("local/smollm2-135m", base_url="http://127.0.0.1:8000"))


def test_a_url_without_a_known_end_is_its_own_base() -> None:
    found = address_of(Tier("m", dialect="messages", api_key="k"), "https://gw.example/odd", "chat", {})
    assert found.url == "https://gw.example/odd/v1/messages"
