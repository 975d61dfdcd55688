"""Which request is in which dialect."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llmsaver.wire import DIALECTS, detect
from llmsaver.wire.dialect import Dialect, Shaper


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/chat/completions/", "chat"),
        ("/openai/deployments/my-gpt/chat/completions", "chat"),
        ("/openai/deployments/my-gpt/chat/completions?api-version=2026-01-01", "chat"),
        ("/v1beta/openai/chat/completions", "chat"),
        ("/v1/responses", "responses"),
        ("/openai/v1/responses", "responses"),
        ("/v1/messages", "messages"),
        ("/anthropic/v1/messages", "messages"),
        ("/v1/messages?beta=true", "messages"),
        ("/v1/embeddings", "embeddings"),
        ("/openai/deployments/e/embeddings", "embeddings"),
        ("/v1/threads/thread_1/messages", None),
        ("/v1/threads/v1/messages", None),
        ("/v1/messages/count_tokens", None),
        ("/v1/messages/batches", None),
        ("/v1/responses/input_tokens", None),
        ("/v1/responses/resp_1/cancel", None),
        ("/v1/completions", None),
        ("/v1/batches", None),
        ("/v1/files", None),
        ("", None),
        ("/", None),
    ],
)
def test_only_the_end_of_the_path_counts(path: str, name: str | None) -> None:
    found = detect("POST", path)
    assert (found.name if found else None) == name
    assert found is (DIALECTS[name] if name else None)
    assert detect("GET", path) is None


def test_dialects_by_name() -> None:
    dialects: dict[str, Dialect] = DIALECTS
    assert list(dialects) == ["chat", "responses", "messages", "embeddings"]
    assert all(dialect.name == name for name, dialect in dialects.items())
    assert all(detect("POST", dialect.local_path) is dialect for dialect in dialects.values())


def test_every_dialect_and_shaper_has_all_that_is_promised() -> None:
    for dialect in DIALECTS.values():
        promised = [(Dialect, dialect), (Shaper, dialect.shaper(hide_usage=True, note=dict))]
        for protocol, thing in promised:
            assert {name for name in vars(protocol) if not name.startswith("_")} <= set(dir(thing))


def test_the_package_needs_no_sdk() -> None:
    code = "import sys, llmsaver.wire; print(sorted({'openai', 'anthropic', 'httpx', 'httpx2'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - our own code
    assert ran.stdout.strip() == "[]"
