"""What a user writes, type-checked by mypy in strict mode and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import anthropic
import openai

import llmsaver
from llmsaver import (
    AsyncClient,
    Attach,
    CallNext,
    Cascade,
    Client,
    ConfigurationError,
    Entry,
    ExactCache,
    LLMSaverError,
    LocalModel,
    Middleware,
    Outcome,
    Request,
    Response,
    Saver,
    SemanticCache,
    Tier,
    Usage,
    Vllm,
    feedback,
)
from llmsaver.embed import Embedder, LlamaCpp, MiniLM, OpenAIEmbeddings, SentenceTransformers

if TYPE_CHECKING:
    import httpx2
    from anthropic.types import Message
    from openai.types.chat import ChatCompletion

    from llmsaver.router.views import Answer, Asked

# Layers are async functions or objects with such a method.


async def polite(request: Request, call_next: CallNext) -> Response:
    """Change the request, look at the answer."""
    response = await call_next(request.with_body(temperature=0))
    response.on_complete(note)
    return response


def note(outcome: Outcome) -> None:
    """Be told how an answer ended."""
    assert_type(outcome.usage, Usage | None)
    assert_type(outcome.complete, bool)


class Canned:
    """Answer without asking anybody."""

    name = "canned"

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Answer one question."""
        if request.model == "canned":
            return Response.of({"choices": []})
        return await call_next(request.replace(model="gpt-4o-mini"))


async def hedging(asked: Request, onwards: CallNext) -> Response:
    """Ask twice; a layer names its arguments as it likes."""
    first, second = await asked.runtime.gather(onwards(asked), onwards(asked))
    assert_type(second, Response)
    return first


layers: list[Middleware] = [polite, hedging, Canned()]

# Caches, by what they promise; any embedder that has a name, a size and vectors.
semantic = SemanticCache(
    max_wrong=0.01,
    ttl="6h",
    embedder=OpenAIEmbeddings(openai.OpenAI(api_key="k"), dimensions=256),
    judge=lambda _question, stored, new: stored == new,
    hide_hits=True,
)
embedders: list[Embedder] = [
    LlamaCpp(openai.OpenAI(api_key="k"), "local/mine", weights="/m.gguf"),
    MiniLM(),
    SentenceTransformers("x"),
]
Saver(stack=[..., ExactCache(ttl="1d", stale="1h", when="deterministic"), semantic]).cache.invalidate(tag="prices-v3")

# One Saver, shared.
saver = Saver(mode="safe", stack=[polite, ..., Canned()], annotate=True, feature="search")
assert_type(saver.last, Entry | None)
assert_type(saver.entry("e1"), Entry | None)
with Saver() as short_lived:
    assert_type(short_lived, Saver)

# The facade.
client = Client(saver=saver, api_key="k", anthropic={"api_key": "a"}, timeout=30)
assert_type(client.openai, llmsaver.OpenAI)
assert_type(client.anthropic, llmsaver.Anthropic)
assert_type(client.with_options(timeout=3), Client)
with client as entered:
    assert_type(entered, Client)

# The drop-in classes are the SDKs' own: their overloads decide the types.
drop_in = llmsaver.OpenAI(api_key="k", saver=saver, annotate=False, max_retries=3, base_url="https://example.org/v1")
as_openai: openai.OpenAI = drop_in
chat: ChatCompletion = drop_in.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
for chunk in drop_in.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True):
    assert_type(chunk.choices[0].delta.content, str | None)
assert_type(drop_in.with_options(saver=saver, timeout=3), llmsaver.OpenAI)
assert_type(drop_in.saver, Saver)
azure: openai.AzureOpenAI = llmsaver.AzureOpenAI(api_key="k", azure_endpoint="https://me", api_version="1", saver=saver)

claude = llmsaver.Anthropic(api_key="k", saver=saver)
message: Message = claude.messages.create(
    model="claude-haiku-4-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
)
as_anthropic: anthropic.Anthropic = claude

# Somebody else's clients.
assert_type(llmsaver.wrap(openai.OpenAI(api_key="k"), saver=saver), openai.OpenAI)
assert_type(llmsaver.wrap(anthropic.AsyncAnthropic(api_key="k")), anthropic.AsyncAnthropic)
http: httpx2.Client = llmsaver.http_client(saver=saver, timeout=3)
async_http: httpx2.AsyncClient = llmsaver.async_http_client()

# Options of one call.
with llmsaver.options(feature="search", tags={"team": "a"}, annotate=True):
    drop_in.responses.create(model="m", input="hi", extra_body={"llmsaver": {"feature": "inner"}})


async def asynchronously() -> None:
    """Write the same, awaited."""
    async with AsyncClient(saver=saver) as facade:
        assert_type(facade.openai, llmsaver.AsyncOpenAI)
    sdk: openai.AsyncOpenAI = llmsaver.AsyncOpenAI(api_key="k", saver=saver)
    answer = await sdk.responses.create(model="m", input="hi")
    assert_type(answer.output_text, str)
    stream = await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    async for part in stream:
        assert_type(part.id, str)


try:
    pass
except ConfigurationError as error:
    assert_type(error, ConfigurationError)
except LLMSaverError as error:
    assert_type(error.args, tuple[Any, ...])


# Local tiers, declared as objects or by name.

Saver(
    local_models=[
        LocalModel("qwen3-4b", context=8192, parallel=2, gpu_layers="auto", lora={"triage": "/t.gguf"}, hourly_usd=0.4),
        Vllm("meta-llama/Llama-3.1-8B-Instruct", quantization="awq", kv_offload="lmcache", gpus=2),
        Attach("tgi", base_url="http://gpu-host:8080/v1", hourly_usd="4.5", max_queue=4, spill_to="gpt-5-mini"),
    ],
    local_memory_mib=8000,
)
Saver(local_models={"mine": "/models/mine.gguf"}, local_hourly_usd="0.5")


# A cascade: tiers by name or as objects, validators and a judge as functions.


def polite_answer(asked: Asked, answer: Answer) -> str | None:
    """Reject an answer without thanks."""
    return None if "thank" in answer.text or asked.json else "it is impolite"


def says_the_same(question: str, cheap: str, best: str) -> bool:
    """Compare two answers."""
    return bool(question) and cheap == best


cascade = Cascade(
    ["local/qwen2.5-coder-1.5b", Tier("gpt-5-mini", max_context=100_000, skills=frozenset({"tools"})), "gpt-5.1"],
    min_quality=0.95,
    risk=0.1,
    replaces=["gpt-5.1"],
    validators=[polite_answer],
    judge=says_the_same,
    streaming="optimistic",
    max_wait=3,
)
with Saver(stack=[..., cascade]) as routed:
    explained = routed.router.explain(model="auto", messages=[{"role": "user", "content": "hi"}])
    assert_type(explained.as_dict(), dict[str, Any])
    assert_type(explained.expected_cost_usd, str | None)
    for state in routed.router.status():
        assert_type(state.threshold, float | None)
    assert_type(feedback(chat, ok=False), bool)
    assert_type(routed.router.feedback("e1", ok=True), bool)
