"""Local tiers as settings say them."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmsaver.errors import ConfigurationError
from llmsaver.local.catalogue import known_model
from llmsaver.local.models import Attach, LocalModel, Part, Tier, Vllm
from llmsaver.local.tiers import rated, tiers_from

TABLES = """
plain = "/models/plain.gguf"
[big]
repo = "Qwen/Qwen3-4B-GGUF"
file = "Qwen3-4B-Q4_K_M.gguf"
context = 32768
gpu_layers = 20
lora = { triage = "/lora/triage.gguf" }
speculative = "ngram"
hourly_usd = 0.40
parts = [{ package = "p", filename = "f" }]
[llama]
kind = "vllm"
model = "meta-llama/Llama-3.1-8B-Instruct"
quantization = "awq"
kv_offload = "lmcache"
speculative = { method = "ngram", num_speculative_tokens = 4 }
extra = { "--seed" = "1" }
[tgi]
kind = "attach"
base_url = "http://gpu-host:8080/v1"
hourly_usd = "4.5"
max_queue = 4
spill_to = "gpt-5-mini"
[smollm2-135m]
kind = "llama.cpp"
context = 2048
"""


def error_of(given: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        tiers_from(given, "local_models in x.toml")
    return str(caught.value)


def test_every_kind_of_table() -> None:
    tiers = tiers_from(tomllib.loads(TABLES))
    assert list(tiers) == ["plain", "big", "llama", "tgi", "smollm2-135m"]
    assert tiers["plain"] == LocalModel("plain", path="/models/plain.gguf")
    assert tiers["big"] == LocalModel(
        "big",
        repo="Qwen/Qwen3-4B-GGUF",
        file="Qwen3-4B-Q4_K_M.gguf",
        context=32768,
        gpu_layers=20,
        lora={"triage": "/lora/triage.gguf"},
        speculative="ngram",
        hourly_usd="0.4",
        parts=[Part("p", "f")],
    )
    llama = tiers["llama"]
    assert isinstance(llama, Vllm)
    assert (llama.name, llama.model, llama.kv_offload) == ("llama", "meta-llama/Llama-3.1-8B-Instruct", "lmcache")
    assert llama.extra == {"--seed": "1"}
    assert tiers["tgi"] == Attach(
        "tgi", base_url="http://gpu-host:8080/v1", hourly_usd="4.5", max_queue=4, spill_to="gpt-5-mini"
    )
    known = known_model("smollm2-135m")
    small = tiers["smollm2-135m"]
    assert known is not None
    assert isinstance(small, LocalModel)
    assert (small.sha256, small.context) == (known.sha256, 2048)


def test_objects_in_a_list_or_under_names_of_their_own() -> None:
    given = [LocalModel("qwen3-4b", context=8192), Vllm("a/B"), Attach("tgi", base_url="http://x/v1")]
    tiers = tiers_from(given)
    assert list(tiers) == ["qwen3-4b", "b", "tgi"]
    small = tiers["qwen3-4b"]
    assert isinstance(small, LocalModel)
    assert small.sourced
    renamed = tiers_from({"mine": Vllm("a/B"), "own": Path("/x.gguf")})
    assert renamed == {"mine": Vllm("a/B", name="mine"), "own": LocalModel("own", path=Path("/x.gguf"))}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "must be a table of names"),
        ("/x.gguf", "must be a table of names"),
        (["/x.gguf"], "[0] must be a LocalModel, Vllm or Attach; it is '/x.gguf'"),
        ([Vllm("a/b"), Vllm("c/b")], "[1]: the name 'b' is taken"),
        ([LocalModel("nothing")], "[0]: LocalModel('nothing') names no weights"),
        ({"mine": 3}, ": 'mine': must be a path, a table"),
        ({"mine": {"kind": "ollama"}}, ": 'mine': kind must be one of 'llama.cpp', 'vllm', 'attach'; it is 'ollama'"),
        ({"mine": {"kind": []}}, ": 'mine': kind must be one of"),
        ({"mine": {"contxt": 1}}, ": 'mine': contxt is no field of kind 'llama.cpp': did you mean context?"),
        ({"mine": {"zzz": 1}}, ": 'mine': zzz is no field of kind 'llama.cpp': remove it. Its fields are"),
        ({"mine": {"name": "other"}}, ": 'mine': name is no field"),
        ({"mine": {"context": "long"}}, ": 'mine': context should be a valid integer"),
        ({"mine": {"path": "/x", "context": 0}}, ": 'mine': LocalModel('mine'): context must be a whole number"),
        ({"mine": {"path": "/x", "gpu_layers": "most"}}, ": 'mine': gpu_layers"),
        ({"mine": {"path": "/x", "hourly_usd": "much"}}, ": 'mine': LocalModel('mine'): hourly_usd must be dollars"),
        ({"mine": {"context": 4096}}, ": 'mine': LocalModel('mine') names no weights"),
        ({"a:b": "/x"}, ": 'a:b': LocalModel('a:b') needs a name"),
        ({"mine": {"kind": "vllm"}}, ": 'mine': model is missing"),
        ({"mine": {"kind": "attach"}}, ": 'mine': Attach('mine') needs base_url="),
    ],
)
def test_what_is_wrong_names_place_key_and_fix(given: Any, said: str) -> None:
    assert error_of(given).startswith(f"local_models in x.toml{'' if said[0] in ':[' else ' '}{said}")


def test_a_rate_for_all_reaches_those_without_one_and_the_catalogue() -> None:
    own: dict[str, Tier] = {"a": LocalModel("a", path="/a", hourly_usd=2), "b": Attach("b", base_url="http://b/v1")}
    assert rated(own, None) == own
    tiers = rated(own, Decimal("0.5"))
    assert tiers["a"].hourly_usd == 2
    assert tiers["b"].hourly_usd == Decimal("0.5")
    assert tiers["smollm2-135m"].hourly_usd == Decimal("0.5")
