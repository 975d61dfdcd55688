"""The command of a vLLM tier: every flag for what is asked, and nothing that a version does not have."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError
from llmsaver.local.models import Vllm
from llmsaver.local.vllm_command import arguments, environment
from llmsaver.local.vllm_flags import Known, pinned

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = pinned()


def words(known: Known = KNOWN, **settings: Any) -> list[str]:
    return arguments(Vllm("org/Model-8B", **settings), known, host="127.0.0.1", port=8000)


def without(*flags: str, **more: Any) -> Known:
    return replace(KNOWN, flags={name: value for name, value in KNOWN.flags.items() if name not in flags}, **more)


def offload(found: list[str]) -> Any:
    prefix = "--kv-transfer-config="
    return json.loads(next(word for word in found if word.startswith(prefix)).removeprefix(prefix))


def test_a_plain_tier_gets_a_name_prefix_caching_and_cached_token_counts() -> None:
    assert words() == [
        *("serve", "org/Model-8B", "--host=127.0.0.1", "--port=8000", "--served-model-name=model-8b"),
        *("--enable-prefix-caching", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
        "--shutdown-timeout=30",
    ]


def test_every_setting_becomes_its_flag() -> None:
    found = words(
        name="m",
        quantization="awq_marlin",
        prefix_caching=False,
        kv_cache_dtype="fp8",
        gpus=2,
        context=8192,
        max_seqs=64,
        max_batched_tokens=4096,
        gpu_memory_utilization=0.9,
        tool_parser="hermes",
        speculative={"method": "ngram", "num_speculative_tokens": 3},
        extra={"--enforce-eager": None, "--seed": "-1"},
    )
    assert {
        *("--served-model-name=m", "--quantization=awq_marlin", "--no-enable-prefix-caching", "--kv-cache-dtype=fp8"),
        *("--tensor-parallel-size=2", "--max-model-len=8192", "--max-num-seqs=64", "--max-num-batched-tokens=4096"),
        *("--gpu-memory-utilization=0.9", "--enable-auto-tool-choice", "--tool-call-parser=hermes", "--seed=-1"),
        "--enforce-eager",
        '--speculative-config={"method":"ngram","num_speculative_tokens":3}',
    } <= set(found)


def test_the_cache_moves_to_cpu_memory_by_one_flag_where_the_version_has_it() -> None:
    found = words(kv_offload="native", kv_offload_gib=1.5)
    assert {"--kv-offloading-size=1.5", "--kv-offloading-backend=native"} <= set(found)
    assert offload(words(without("--kv-offloading-size"), kv_offload="native", kv_offload_gib=1.5)) == {
        "kv_connector": "OffloadingConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"cpu_bytes_to_use": 1610612736},
    }


def test_the_cache_moves_on_to_a_disk() -> None:
    settings = offload(words(kv_offload="native", kv_offload_gib=1, kv_offload_disk="/kv"))["kv_connector_extra_config"]
    assert settings["secondary_tiers"] == [{"type": "fs", "root_dir": "/kv"}]
    assert settings["spec_name"] == "TieringOffloadingSpec"


def test_lmcache_gets_its_sizes_by_its_environment() -> None:
    tier = Vllm("m", kv_offload="lmcache", kv_offload_gib=4, kv_offload_disk="/kv", kv_offload_disk_gib=50)
    assert offload(arguments(tier, KNOWN, host="h", port=1))["kv_connector"] == "LMCacheConnectorV1"
    assert environment(tier) == {
        "VLLM_NO_USAGE_STATS": "1",
        "LMCACHE_LOCAL_CPU": "True",
        "LMCACHE_MAX_LOCAL_CPU_SIZE": "4",
        "LMCACHE_LOCAL_DISK": "file:///kv/",
        "LMCACHE_MAX_LOCAL_DISK_SIZE": "50",
    }
    bare = environment(Vllm("m", kv_offload="lmcache"))
    assert bare == {"VLLM_NO_USAGE_STATS": "1", "LMCACHE_LOCAL_CPU": "True"}
    assert environment(Vllm("m")) == {"VLLM_NO_USAGE_STATS": "1"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kv_offload": "lmcache"}, "pip install lmcache"),
        ({"kv_offload": "native"}, "needs kv_offload_gib="),
        ({"kv_offload_gib": 4}, "need kv_offload="),
        ({"kv_offload_disk": "/kv"}, "need kv_offload="),
        ({"quantization": "gguf"}, "vllm-gguf-plugin"),
        ({"quantization": "bitsandbytes"}, "left vLLM's core"),
        ({"quantization": "awk"}, "it has awq"),
        ({"kv_cache_dtype": "fp3"}, "is one of auto, "),
        ({"extra": {"--max-model-length": "1"}}, "it has --max-model-len"),
        ({"extra": {"--qqqqqqqq": None}}, "has no --qqqqqqqq;"),
        ({"extra": {"--enforce-eager": "yes"}}, "takes no value"),
        ({"extra": {"--seed": None}}, "needs a value"),
        ({"extra": {"--api-key": "k"}}, "VLLM_API_KEY"),
        ({"extra": {"--port=1": None}}, "llmsaver chooses it"),
    ],
)
def test_what_cannot_work_is_refused_before_launch(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        words(replace(KNOWN, lmcache=False), **settings)
    assert said in str(caught.value)


def test_a_version_without_a_flag_is_named_with_its_interpreter() -> None:
    with pytest.raises(ConfigurationError, match=r"context=9.*vLLM 0\.1 \(/venv/bin/python\) has no --max-model-len"):
        words(without("--max-model-len", version="0.1", python="/venv/bin/python"), context=9)


def test_an_unknown_list_of_quantizations_lets_vllm_decide() -> None:
    assert "--quantization=mine" in words(replace(KNOWN, quantizations=()), quantization="mine")


def test_versions_that_log_prompts_are_told_not_to() -> None:
    old = replace(KNOWN, flags={**KNOWN.flags, "--disable-log-requests": []})
    assert "--disable-log-requests" in words(old)


def test_the_users_own_word_goes_first() -> None:
    found = words(extra={"--shutdown-timeout": "5", "--seed=7": None})
    assert "--shutdown-timeout=5" in found
    assert "--seed=7" in found
    assert "--shutdown-timeout=30" not in found


def test_a_model_is_never_taken_for_a_flag() -> None:
    with pytest.raises(ConfigurationError, match="starts with no '-'"):
        arguments(Vllm("--trust-remote-code", name="m"), KNOWN, host="h", port=1)


def test_adapters_come_last_with_the_rank_that_holds_them(tmp_path: Path) -> None:
    for name, text in {"a": '{"r": 20}', "b": '{"r": "?"}', "c": "[]", "d": "{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(text, encoding="utf-8")
    found = words(lora={name: str(tmp_path / name) for name in "abcd"})
    at = found.index("--enable-lora")
    assert found[at : at + 4] == ["--enable-lora", "--max-loras=4", "--max-lora-rank=32", "--lora-modules"]
    assert [json.loads(word)["name"] for word in found[at + 4 :]] == list("abcd")


def test_an_adapter_elsewhere_leaves_the_rank_to_vllm() -> None:
    found = words(lora={"triage": "/not/here"}, extra={"--max-loras": "9"})
    assert not [word for word in found if word.startswith("--max-lora-rank")]
    assert [word for word in found if word.startswith("--max-loras")] == ["--max-loras=9"]


def test_a_rank_beyond_all_choices_is_for_the_user_to_see(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"r": 4096}', encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not '4096'"):
        words(lora={"big": str(tmp_path)})


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.booleans() | st.none(), min_size=1))
def test_any_speculative_configuration_survives(configuration: dict[str, Any]) -> None:
    prefix = "--speculative-config="
    word = next(word for word in words(speculative=configuration) if word.startswith(prefix))
    assert json.loads(word.removeprefix(prefix)) == configuration
