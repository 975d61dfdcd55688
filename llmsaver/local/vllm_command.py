"""A declared ``Vllm`` tier -> the arguments of ``vllm serve`` and the environment it needs, for one version of vLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmsaver.local.models import Vllm
    from llmsaver.local.vllm_flags import Known

__all__ = ["DRAIN_SECONDS", "arguments", "environment"]

DRAIN_SECONDS = 30
"""How long vLLM lets running requests end after SIGTERM, where its version knows how to."""

_GIB = 1 << 30
_OURS = {
    "--api-key": "the key travels in the variable VLLM_API_KEY, where ps does not show it",
    "--host": "llmsaver chooses it",
    "--port": "llmsaver chooses it",
    "--served-model-name": "it is the tier's name",
    "--model": "it is Vllm's first argument",
    "--config": "flags in a file could not be checked",
}
_FIELDS = {
    "--quantization": "quantization",
    "--kv-cache-dtype": "kv_cache_dtype",
    "--max-model-len": "context",
    "--max-num-seqs": "max_seqs",
    "--max-num-batched-tokens": "max_batched_tokens",
    "--gpu-memory-utilization": "gpu_memory_utilization",
}


def arguments(tier: Vllm, known: Known, *, host: str, port: int) -> list[str]:
    """Return what follows ``vllm``: ``["serve", MODEL, "--host", ...]``.

    Every flag and choice is checked against the version that shall run it. Raises ConfigurationError.
    """
    if tier.model.startswith("-"):
        raise ConfigurationError(f"Vllm({tier.model!r}): a model is the hub's id or a folder, and starts with no '-'")
    asked = [*_asked(tier, known)]
    for flag, value, field in asked:
        known.check(flag, value, f"Vllm({tier.model!r}, {field})")
    if tier.quantization is not None:
        known.check_quantization(tier.quantization)
    pairs: list[tuple[str, str | None]] = [
        ("--host", host),
        ("--port", str(port)),
        ("--served-model-name", tier.name),
        *((flag, value) for flag, value, _ in asked),
        *((flag, value) for flag, value in _unasked(tier) if flag in known),
    ]
    # "=" keeps a value that starts with "-" a value.
    words = [flag if value is None else f"{flag}={value}" for flag, value in pairs]
    return ["serve", tier.model, *words, *_lora(tier, known)]


def environment(tier: Vllm) -> dict[str, str]:
    """Return the variables that go with the flags; no secrets: the key is added where the server is started."""
    found = {"VLLM_NO_USAGE_STATS": "1"}  # a library that starts it unasked must not report home for it
    if tier.kv_offload == "lmcache":
        found["LMCACHE_LOCAL_CPU"] = "True"
        if tier.kv_offload_gib is not None:
            found["LMCACHE_MAX_LOCAL_CPU_SIZE"] = f"{tier.kv_offload_gib:g}"
        if tier.kv_offload_disk is not None:
            found["LMCACHE_LOCAL_DISK"] = f"file://{Path(tier.kv_offload_disk).absolute()}/"
            found["LMCACHE_MAX_LOCAL_DISK_SIZE"] = f"{tier.kv_offload_disk_gib or 10:g}"
    return found


def _asked(tier: Vllm, known: Known) -> Iterator[tuple[str, str | None, str]]:
    """Yield (flag, value, what the user wrote) for everything the tier asks for."""
    for flag, field in _FIELDS.items():
        value = getattr(tier, field)
        if value is not None:
            yield flag, str(value), f"{field}={value!r}"
    caching = "--enable-prefix-caching" if tier.prefix_caching else "--no-enable-prefix-caching"
    yield caching, None, f"prefix_caching={tier.prefix_caching}"
    if tier.gpus > 1:
        yield "--tensor-parallel-size", str(tier.gpus), f"gpus={tier.gpus}"
    if tier.tool_parser is not None:
        yield "--enable-auto-tool-choice", None, "tool_parser"
        yield "--tool-call-parser", tier.tool_parser, f"tool_parser={tier.tool_parser!r}"
    if tier.speculative is not None:
        yield "--speculative-config", _json(tier.speculative), "speculative"
    yield from _offload(tier, known)
    for flag, value in tier.extra.items():
        name, _, inline = flag.partition("=")
        if name in _OURS:
            raise ConfigurationError(f"Vllm({tier.model!r}, extra={{{flag!r}: ...}}): {_OURS[name]}; leave it out")
        yield name, inline if value is None and inline else value, f"extra={{{flag!r}: ...}}"


def _unasked(tier: Vllm) -> Iterator[tuple[str, str | None]]:
    """Yield what serves us on every version that has it: cached-token counts, no prompts in logs, a drain."""
    wanted: dict[str, str | None] = {
        "--enable-prompt-tokens-details": None,
        "--disable-log-requests": None,  # gone where not logging them has become the default
        "--disable-uvicorn-access-log": None,
        "--shutdown-timeout": str(DRAIN_SECONDS),
    }
    yield from ((flag, value) for flag, value in wanted.items() if flag not in tier.extra)


def _offload(tier: Vllm, known: Known) -> Iterator[tuple[str, str, str]]:
    """Yield the flags that move the KV cache to CPU memory and on to a disk.

    Natively: one flag where CPU memory is all, a configuration of its tiers where a disk is wanted too. LMCache goes
    in-process by its connector; ``--kv-offloading-backend lmcache`` would look for a separate LMCache server.
    """
    if tier.kv_offload is None:
        if tier.kv_offload_gib is not None or tier.kv_offload_disk is not None:
            raise ConfigurationError(f"Vllm({tier.model!r}): kv_offload_* need kv_offload='native' or 'lmcache'")
        return
    said = f"kv_offload={tier.kv_offload!r}"
    if tier.kv_offload == "lmcache":
        if not known.lmcache:
            raise ConfigurationError(
                f"Vllm({tier.model!r}, {said}): LMCache is not installed there: pip install lmcache"
            )
        yield "--kv-transfer-config", _json({"kv_connector": "LMCacheConnectorV1", "kv_role": "kv_both"}), said
        return
    if tier.kv_offload_gib is None:
        raise ConfigurationError(f"Vllm({tier.model!r}, {said}) needs kv_offload_gib=, the CPU memory it may take")
    if tier.kv_offload_disk is None and "--kv-offloading-size" in known:
        yield "--kv-offloading-size", f"{tier.kv_offload_gib:g}", said
        yield "--kv-offloading-backend", "native", said
        return
    settings: dict[str, Any] = {"cpu_bytes_to_use": int(tier.kv_offload_gib * _GIB)}
    if tier.kv_offload_disk is not None:
        folder = str(Path(tier.kv_offload_disk).absolute())
        settings["spec_name"] = "TieringOffloadingSpec"
        settings["secondary_tiers"] = [{"type": "fs", "root_dir": folder}]
    connector = {"kv_connector": "OffloadingConnector", "kv_role": "kv_both", "kv_connector_extra_config": settings}
    yield "--kv-transfer-config", _json(connector), said


def _lora(tier: Vllm, known: Known) -> list[str]:
    """Return the adapters' flags, last on the line since their list has no end mark of its own."""
    if not tier.lora:
        return []
    rank = max((_rank(Path(path)) for path in tier.lora.values()), default=0)
    flags: dict[str, str | None] = {"--enable-lora": None, "--max-loras": str(len(tier.lora))}
    if rank:
        flags["--max-lora-rank"] = _allowed_rank(rank, known)
    for flag, value in flags.items():
        known.check(flag, value, f"Vllm({tier.model!r}, lora)")
    words = [flag if value is None else f"{flag}={value}" for flag, value in flags.items() if flag not in tier.extra]
    modules = [_json({"name": name, "path": str(path)}) for name, path in tier.lora.items()]
    return [*words, "--lora-modules", *modules]


def _rank(folder: Path) -> int:
    """Return an adapter's rank from its own configuration; 0 where that is not on this machine."""
    try:
        rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return rank if isinstance(rank, int) else 0


def _allowed_rank(rank: int, known: Known) -> str:
    """Return the smallest rank that vLLM allocates for and that holds this one."""
    choices = sorted(int(choice) for choice in known.flags.get("--max-lora-rank") or ())
    return str(next((choice for choice in choices if choice >= rank), rank))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), separators=(",", ":"))
