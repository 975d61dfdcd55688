"""What a deployment has to know of a tier: its program's words, variables, files, weights and metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError
from llmsaver.local.deploy_text import dns_name
from llmsaver.local.models import LocalModel, Vllm
from llmsaver.local.vllm_command import arguments, environment
from llmsaver.local.vllm_flags import Known, pinned

if TYPE_CHECKING:
    from llmsaver.local.models import Tier

__all__ = ["PORT", "Served", "files", "line", "served", "tier_name", "vllm_of", "written"]

PORT = 8000
"""Inside a container, and the default outside."""

_EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside a container: what reaches it is decided outside
_QUEUE = 4
_SLOTS = 256
_CACHE = "/root/.cache/huggingface"
_LLAMA_CACHE = "/root/.cache/llama.cpp"
_LLAMA_IMAGE = "ghcr.io/ggml-org/llama.cpp:server-cuda"
_CONTEXT, _PARALLEL = 4096, 4
_BUILD = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True, slots=True)
class Served:
    """What a container needs to know: its program's words, variables, files, and what its metrics are called."""

    title: str
    name: str
    image: str
    words: list[str]
    key_name: str
    cache: str
    waiting: str
    running: str
    queue: int
    slots: int
    gpus: int
    variables: dict[str, str] = field(default_factory=dict)
    fetch: list[str] = field(default_factory=list)
    fills_cache: bool = False
    read: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def served(tier: Tier, known: Known | None, image: str | None) -> Served:
    """Return what a container serves; vLLM's flags are checked against ``known``, and its image is of that version.

    Raises ConfigurationError.
    """
    return _llama_served(tier, image) if isinstance(tier, LocalModel) else _vllm_served(vllm_of(tier), known, image)


def _vllm_served(tier: Vllm, known: Known | None, image: str | None) -> Served:
    known = known or pinned()
    version = known.version.partition("+")[0]
    if image is None and tier.kv_offload == "lmcache":
        raise ConfigurationError(
            f"Vllm({tier.model!r}, kv_offload='lmcache'): vLLM's own image may lack LMCache; name one that has it, "
            f"with vLLM {version}: image='lmcache/vllm-openai:<tag>'"
        )
    if image is None and not _BUILD.fullmatch(version):
        raise ConfigurationError(f"there is no image of {known.where}: name one by image=")
    hub = not _is_path(tier.model)
    series = f'{{model_name="{_promql(tier.name)}"}}'
    return Served(
        title=line(f"local/{tier.name} on vLLM {known.version}"),
        name=dns_name(tier.name),
        image=image or f"vllm/vllm-openai:v{version}",
        words=["vllm", *arguments(tier, known, host=_EVERYWHERE, port=PORT)],
        key_name="VLLM_API_KEY",
        cache=_CACHE,
        waiting=f"sum(vllm:num_requests_waiting{series})",
        running=f"sum(vllm:num_requests_running{series})",
        queue=tier.max_queue or _QUEUE,
        slots=tier.max_seqs or _SLOTS,
        gpus=tier.gpus,
        variables=environment(tier) | ({"HF_HUB_OFFLINE": "1"} if hub else {}),
        fetch=["hf", "download", tier.model] if hub else [],
        read=files(tier),
        written=written(tier),
    )


def _llama_served(tier: LocalModel, image: str | None) -> Served:
    """Return the same for llama.cpp's own server, whose flags these are; contexts are per slot, as elsewhere."""
    parallel = tier.parallel or _PARALLEL
    if tier.path is not None:
        weights = [f"--model={Path(tier.path).absolute()}"]
    elif tier.repo is not None and tier.file is not None:
        weights = [f"--hf-repo={tier.repo}", f"--hf-file={tier.file}"]
    else:
        raise ConfigurationError(
            f"local/{tier.name} comes from a package, which that image does not have: name its file there, "
            f"LocalModel({tier.name!r}, path='/models/...gguf'), or run: llmsaver local serve {tier.name}"
        )
    layers = 999 if tier.gpu_layers == "auto" else tier.gpu_layers
    return Served(
        title=line(f"local/{tier.name} on llama.cpp (name a build in the image to pin it: server-cuda-bNNNN)"),
        name=dns_name(tier.name),
        image=image or _LLAMA_IMAGE,
        words=[
            *("/app/llama-server", *weights, f"--alias={tier.name}", f"--host={_EVERYWHERE}", f"--port={PORT}"),
            *(f"--ctx-size={(tier.context or _CONTEXT) * parallel}", f"--parallel={parallel}"),
            *(f"--n-gpu-layers={layers}", "--metrics", "--jinja"),
            *(f"--lora={Path(path).absolute()}" for path in tier.lora.values()),
        ],
        key_name="LLAMA_API_KEY",
        cache=_LLAMA_CACHE,
        waiting=f'sum(llamacpp:requests_deferred{{pod=~"{dns_name(tier.name)}-.*"}})',
        running=f'sum(llamacpp:requests_processing{{pod=~"{dns_name(tier.name)}-.*"}})',
        queue=tier.max_queue or _QUEUE,
        slots=parallel,
        gpus=1,
        fills_cache=tier.path is None,
        read=files(tier),
    )


def vllm_of(tier: Tier) -> Vllm:
    """Return a tier that vLLM serves, its paths absolute. Raises ConfigurationError for a server that runs already."""
    if not isinstance(tier, Vllm):
        raise ConfigurationError(
            f"local/{tier_name(tier)} is served by somebody else already: there is nothing to deploy"
        )
    model = str(Path(tier.model).absolute()) if _is_path(tier.model) else tier.model
    return replace(tier, model=model, lora={name: str(Path(path).absolute()) for name, path in tier.lora.items()})


def tier_name(tier: Tier) -> str:
    """Return a tier's name; every kind has one."""
    return str(getattr(tier, "name", ""))


def _is_path(model: str) -> bool:
    return model.startswith(("/", "./", "../")) or Path(model).is_dir()


def files(tier: Tier) -> list[str]:
    """Return the files and folders of that machine which the server reads."""
    if isinstance(tier, LocalModel):
        main = tier.path
    elif isinstance(tier, Vllm):
        main = tier.model if _is_path(tier.model) else None
    else:
        return []
    found = [path for path in (main, *tier.lora.values()) if path is not None]
    return list(dict.fromkeys(str(Path(path).absolute()) for path in found))


def written(tier: Vllm) -> list[str]:
    """Return the folders of that machine which the server writes to."""
    return [str(Path(tier.kv_offload_disk).absolute())] if tier.kv_offload_disk else []


def _promql(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def line(text: str) -> str:
    """Return a text as it may stand in a comment: on one line."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
