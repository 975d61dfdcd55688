"""A pull that a person watches."""

import io
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from llmsaver.local.models import LocalModel
from llmsaver.reporting import local_pull
from llmsaver.reporting.local_pull import pulled

MODEL = LocalModel("mine", repo="a/b", file="c.gguf")


@pytest.fixture(autouse=True)
def pulling(monkeypatch: pytest.MonkeyPatch) -> None:
    def pull(model: LocalModel, *, source: str, told: Any) -> Path:
        assert (model, source) == (MODEL, "hub")
        for stage in ("waiting", "asking", "downloading", "checking"):
            told(stage, 0, 2_000_000)
            told(stage, 1_000_000, 2_000_000)
        return Path("/c.gguf")

    monkeypatch.setattr(local_pull, "pull", pull)


@pytest.mark.parametrize("terminal", [False, True])
def test_each_stage_is_named_and_a_terminal_sees_bytes(terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=terminal, highlight=False)
    assert pulled(MODEL, "hub", console) == Path("/c.gguf")
    said = file.getvalue()
    if terminal:
        assert "checking sha256" in said
        assert "1.0/2.0 MB" in said
    else:
        assert said == "another program pulls it\nasking the hub\ndownloading\nchecking sha256\n"


def test_the_hubs_own_words_do_not_break_through(monkeypatch: pytest.MonkeyPatch) -> None:
    download = ModuleType("huggingface_hub.file_download")
    monkeypatch.setitem(sys.modules, "huggingface_hub", ModuleType("huggingface_hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub.file_download", download)
    monkeypatch.setattr(local_pull, "find_spec", lambda _name: object())
    monkeypatch.setattr(local_pull, "pull", lambda *_, **__: Path("/c.gguf"))
    log = logging.getLogger("huggingface_hub")
    before = log.level
    try:
        log.setLevel(logging.WARNING)
        pulled(LocalModel("own", path="/c.gguf"))
        assert log.level == logging.WARNING
        pulled(MODEL)
        assert log.level == logging.ERROR
    finally:
        log.setLevel(before)
