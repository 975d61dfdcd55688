"""What a server's log says about why it died: llama.cpp raises one and the same error for everything."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a server died: ``kind`` for code, ``text`` for people, ``retry`` where the same start may work next time."""

    kind: str
    text: str
    retry: bool


# (words in the log, kind, what to tell the user, whether to try again); the first match counts.
_SIGNS = (
    (
        ("No module named 'xllamacpp'",),
        "extra",
        "xllamacpp cannot be imported there; pip install 'llmsaver[local]'",
        False,
    ),
    (
        ("ImportError",),
        "install",
        "xllamacpp is installed but cannot be loaded; install a build for this machine",
        False,
    ),
    (("failed to open GGUF file",), "missing", "the file cannot be opened; check its path and permissions", False),
    (("invalid magic characters", "failed to read magic"), "format", "the file is not a GGUF model", False),
    (
        ("not within the file bounds", "corrupted or incomplete"),
        "corrupt",
        "the file is cut short; fetch it again",
        False,
    ),
    (("unknown model architecture",), "architecture", "this xllamacpp is too old for the model; upgrade it", False),
    (("couldn't bind",), "port", "its port was taken by another program", True),
    (
        (
            "insufficient memory",
            "failed to allocate",
            "unable to allocate",
            "out of memory",
            "bad_alloc",
            "MemoryError",
        ),
        "memory",
        "there is not enough memory; lower context or parallel, or choose smaller weights",
        False,
    ),
)
_SHOWN = 8


def diagnose(lines: Sequence[str], returncode: int | None) -> Diagnosis:
    """Tell the causes apart from the log's lines and the exit status (negative: a signal's number)."""
    log = "\n".join(lines)
    for words, kind, text, retry in _SIGNS:
        if any(word in log for word in words):
            return Diagnosis(kind, text, retry)
    if returncode == -signal.SIGKILL:
        return Diagnosis("killed", "it was killed, by hand or because the system ran out of memory", retry=True)
    if returncode is None:
        return Diagnosis("silent", "it runs but gives no usable answer", retry=True)
    if returncode < 0:
        return Diagnosis("crashed", f"it crashed (signal {-returncode})", retry=True)
    return Diagnosis("unknown", f"it ended with status {returncode}", retry=True)


def tail(path: Path, limit: int = 16_384) -> list[str]:
    """Return the log's last lines, out of its last ``limit`` bytes; nothing where there is no log."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - limit)
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[1:] if start else lines


def relevant(lines: Sequence[str]) -> list[str]:
    """Return the few lines worth showing: llama.cpp's errors (``0.00.006.186 E ...``), else the last ones."""
    errors = [line.partition(" E ")[2] for line in lines if " E " in line[:24]]
    return list(dict.fromkeys(errors or lines))[-_SHOWN:]
