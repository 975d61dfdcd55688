"""Addresses become providers and regions."""

import pytest

from llmsaver.pricing import Billed, PriceBook
from llmsaver.pricing.places import Place, place_of, regional
from llmsaver.pricing.sheet import Factor, Table
from llmsaver.pricing.table import GenaiPrices

LIVE = GenaiPrices()


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("openai", Place("openai")),
        ("https://api.openai.com/v1/chat/completions", Place("openai")),
        ("api.openai.com", Place("openai")),
        ("https://eu.api.openai.com/v1", Place("openai", "eu")),
        ("https://api.anthropic.com", Place("anthropic")),
        ("https://bedrock-runtime.eu-central-1.amazonaws.com/model/x/invoke", Place("aws", "eu-central-1")),
        ("https://bedrock-mantle.us-east-1.api.aws/v1", Place("aws", "us-east-1")),
        ("https://us-east5-aiplatform.googleapis.com/v1", Place("google", "us-east5")),
        ("https://aiplatform.eu.rep.googleapis.com/v1", Place("google", "eu")),
        ("https://aiplatform.googleapis.com/v1", Place("google")),
        ("https://generativelanguage.googleapis.com/v1beta/openai", Place("google")),
        ("https://acme.openai.azure.com/openai", Place("azure")),
        ("https://acme.services.ai.azure.com/anthropic/", Place("azure")),
        ("https://api.groq.com/openai/v1", Place("groq")),
        ("https://openrouter.ai/api/v1", Place("openrouter")),
        ("http://localhost:8000/v1", Place("openai", flag="assumed-provider:openai")),
        ("localhost", Place("openai", flag="assumed-provider:openai")),
        ("https://[not-an-address/", Place("openai", flag="assumed-provider:openai")),
        ("", Place("openai", flag="assumed-provider:openai")),
        ("http://llm.internal:8080/v1", Place("groq")),
        ("https://eu.gateway.acme.com/v1", Place("anthropic")),
    ],
)
def test_who_answers(host: str, place: Place) -> None:
    gateways = {"LLM.internal:8080": "groq", "*.gateway.acme.com": "anthropic"}
    assert place_of(host, "gpt-4o", LIVE, gateways) == (
        place if not place.flag else Place(LIVE.home("gpt-4o"), flag=f"assumed-provider:{LIVE.home('gpt-4o')}")
    )


def test_nobody_answers_for_a_model_nobody_knows() -> None:
    assert place_of("http://localhost:1", "house-blend", LIVE, {}) == Place(None)
    assert place_of("http://localhost:1", "", LIVE, {}) == Place(None)


@pytest.mark.parametrize(
    ("place", "model", "factor"),
    [
        (Place("openai"), "gpt-6-astra", Factor()),
        (Place("openai", "eu"), "gpt-6-astra", Factor(110, 110, 110)),
        (Place("openai", "eu"), "gpt-5-4-mini", Factor(110, 110, 110)),
        (Place("openai", "eu"), "gpt-5", Factor()),
        (Place("openai", "eu"), "gpt-5-mini", Factor()),
        (Place("openai", "eu"), "gpt-5.3-codex", Factor()),
        (Place("openai", "eu"), "o4-mini", Factor()),
        (Place("openai", "eu"), "house-blend", Factor(110, 100, 110, "region:eu")),
        (Place("azure"), "gpt-4o", Factor(100, 100, 110, "azure-deployment")),
        (Place("google", "us-east5"), "claude-opus-4-6", Factor(110, 110, 110)),
        (Place("google", "us-east5"), "claude-fable-5-1", Factor(110, 110, 110)),
        (Place("google", "us-east5"), "claude-opus-4-1", Factor()),
        (Place("google", "global"), "claude-opus-5", Factor()),
        (Place("google", "us-east5"), "gemini-3-pro", Factor()),
        (Place("aws", "us-east-1"), "global.anthropic.claude-opus-5", Factor()),
    ],
)
def test_what_a_region_adds(place: Place, model: str, factor: Factor) -> None:
    assert regional(place, model) == factor


def test_a_gateway_is_priced_as_what_it_stands_for(listed: Table) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    billed = Billed("chat", "gpt-4o", usage, host="http://127.0.0.1:9000/v1")
    assert PriceBook(table=listed).cost(billed).flags == ("assumed-provider:openai",)
    assert PriceBook(table=listed, hosts={"127.0.0.1:*": "openai"}).cost(billed).flags == ()
