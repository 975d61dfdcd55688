"""What may leave for another place, and why something may not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmsaver import ConfigurationError, Request, Response
from llmsaver.core.entry import Entry
from llmsaver.core.runtime import SyncRuntime
from llmsaver.middleware.reach import Reach
from llmsaver.router.tier import Tier

OPENAI, ANTHROPIC = "https://api.openai.com/v1/chat/completions", "https://api.anthropic.com/v1/messages"
RESPONSES = "https://api.openai.com/v1/responses"
KEYS = {"OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a"}
CLAUDE, GPT = Tier("claude-haiku-4-5"), Tier("gpt-5-mini")
THIRD = Tier("m", base_url="https://o.example/v1", api_key="k")


def asked(url: str = OPENAI, dialect: str = "chat", carrier: Any = None, **body: Any) -> Request:
    given = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], **body}
    return Request(
        dialect=dialect,
        body={key: value for key, value in given.items() if value is not None},
        url=url,
        entry=Entry(dialect=dialect, model_asked="auto"),
        runtime=SyncRuntime(),
        account="caller",
        carrier=carrier,
    )


def reach(*tiers: Tier) -> Reach:
    return Reach(tiers, environ=KEYS)


def test_at_home_only_the_model_changes() -> None:
    request = asked()
    for tier in (GPT, Tier("local/smollm2-135m")):
        sent = reach(tier).to(request, tier)
        assert sent == request.replace(model=tier.model)
        assert reach(tier).missing(tier, request) is None


def test_elsewhere_place_dialect_key_and_account_do() -> None:
    sent = reach(CLAUDE).to(asked(max_tokens=7), CLAUDE)
    assert (sent.url, sent.dialect, sent.model) == (ANTHROPIC, "messages", "claude-haiku-4-5")
    assert sent.origin is not None
    assert (sent.origin.url, sent.origin.dialect, sent.origin.api_key) == (ANTHROPIC, "messages", "sk-a")
    assert "sk-a" not in repr(sent)
    assert sent.account not in {"caller", ""}
    assert sent.account == reach(CLAUDE).to(asked(), CLAUDE).account
    assert sent.body["max_tokens"] == 7


def test_keys_are_looked_up_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Reach([CLAUDE])
    assert (found.missing(CLAUDE, asked()) or "").startswith("no key for api.anthropic.com")
    with pytest.raises(ConfigurationError, match=r"claude-haiku-4-5 cannot be asked: no key for api\.anthropic\.com"):
        found.to(asked(), CLAUDE)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-later")
    assert found.missing(CLAUDE, asked()) is None


def test_a_wrong_address_is_told_when_it_is_made() -> None:
    with pytest.raises(ConfigurationError, match="base_url must be an http"):
        reach(Tier("m", base_url="o.example"))


@pytest.mark.parametrize(
    ("tier", "request_", "said"),
    [
        (CLAUDE, asked(RESPONSES, "responses", input="hi"), "it speaks messages, into which nothing is translated"),
        (CLAUDE, asked(n=3), "the request cannot be told in messages: "),
        (THIRD, asked("https://gw/v1/responses", "responses", previous_response_id="r"), "previous_response_id refers"),
        (
            THIRD,
            asked(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]),
            "file_id refers to what only the account of the caller's own client has",
        ),
        (
            GPT,
            asked("https://x.openai.azure.com/openai/deployments/mine/chat/completions"),
            "the caller's URL names an Azure deployment",
        ),
        (GPT, asked(carrier=SimpleNamespace(missing_key="set OPENAI_API_KEY")), "set OPENAI_API_KEY"),
    ],
    ids=["responses", "untranslatable", "stored", "file", "azure", "no key here"],
)
def test_why_a_tier_cannot_be_asked(tier: Tier, request_: Request, said: str) -> None:
    assert (reach(tier).missing(tier, request_) or "").startswith(said)


def test_an_azure_deployment_of_the_tiers_own_name_is_it() -> None:
    request = asked("https://x.openai.azure.com/openai/deployments/gpt-5-mini/chat/completions")
    assert reach(GPT).missing(GPT, request) is None


def test_the_callers_missing_key_does_not_matter_elsewhere() -> None:
    request = asked(carrier=SimpleNamespace(missing_key="set OPENAI_API_KEY"))
    assert reach(CLAUDE).missing(CLAUDE, request) is None
    sent = reach(CLAUDE).to(request, CLAUDE)
    assert reach(CLAUDE).missing(CLAUDE, sent) is None


def test_an_answer_in_the_callers_dialect_is_the_answer() -> None:
    request = asked()
    answer = Response.of({"id": "x"})
    assert reach(GPT).back(answer, request, reach(GPT).to(request, GPT)) is answer
    message = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "stop_reason": "end_turn",
    }
    usage = {"input_tokens": 1, "output_tokens": 1}
    told = reach(CLAUDE).back(
        Response.of({**message, "content": [{"type": "text", "text": "hello"}], "usage": usage}),
        request,
        reach(CLAUDE).to(request, CLAUDE),
    )
    assert b'"hello"' in (told.content or b"")
    assert told.outcome is not None
    assert told.outcome.message is not None
    assert told.outcome.message["choices"][0]["message"]["content"] == "hello"


def test_odd_bodies_are_looked_through_without_harm() -> None:
    deep: Any = {"file_id": "f"}
    for _ in range(40):
        deep = [deep]
    odd = asked(metadata=deep, messages=[None, 7, "text", {"content": [["x"]]}])
    assert reach(THIRD).missing(THIRD, odd) is None
