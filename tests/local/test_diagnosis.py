"""llama.cpp's words, told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.local.diagnosis import diagnose, relevant, tail

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "kind", "retry"),
    [
        ("E gguf_init_from_file: failed to open GGUF file '/x' (No such file or directory)", "missing", False),
        ("E gguf_init_from_reader: invalid magic characters: 'junk', expected 'GGUF'", "format", False),
        ("tensor 'blk.16' data is not within the file bounds, model is corrupted or incomplete", "corrupt", False),
        ("unknown model architecture: 'future'", "architecture", False),
        ("E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 33107", "port", True),
        ("E ggml_aligned_malloc: insufficient memory (attempted to allocate 180.00 MB)", "memory", False),
        ("ModuleNotFoundError: No module named 'xllamacpp'", "extra", False),
        ("ImportError: libcuda.so.1: cannot open shared object file", "install", False),
    ],
)
def test_llama_cpps_words_are_told_apart(line: str, kind: str, retry: bool) -> None:
    found = diagnose(["0.00 I something", line, "0.01 E srv init: exiting due to model loading error"], 1)
    assert (found.kind, found.retry) == (kind, retry)


@pytest.mark.parametrize(
    ("returncode", "kind"), [(-9, "killed"), (-11, "crashed"), (3, "unknown"), (0, "unknown"), (None, "silent")]
)
def test_a_silent_log_leaves_the_exit_status(returncode: int | None, kind: str) -> None:
    found = diagnose([], returncode)
    assert found.kind == kind
    assert found.retry


@given(st.lists(st.text()), st.none() | st.integers(-64, 255))
def test_any_log_gets_an_answer(lines: list[str], returncode: int | None) -> None:
    assert diagnose(lines, returncode).text
    assert len(relevant(lines)) <= 8


def test_errors_are_shown_once_and_first() -> None:
    lines = ["0.00.01 W odd", "0.00.02 E bad", "0.00.03 E bad", "0.00.04 E worse", "Traceback"]
    assert relevant(lines) == ["bad", "worse"]
    assert relevant(["just this"]) == ["just this"]


def test_the_tail_starts_at_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\nsecond\nth\xffrd\n")
    assert tail(log) == ["first", "second", "th\ufffdrd"]
    assert tail(log, limit=8) == ["th\ufffdrd"]
    assert tail(tmp_path / "none") == []
