"""What the caches' tests share: the ledger's PostgreSQL server, and made-up requests and answers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.cache.stored import Stored
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.runtime import SyncRuntime

if TYPE_CHECKING:
    from collections.abc import Callable

_spec = importlib.util.spec_from_file_location(
    "ledger_conftest", Path(__file__).parent.with_name("ledger") / "conftest.py"
)
assert _spec is not None
assert _spec.loader is not None
_ledger = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_ledger)
server, postgres = _ledger.server, _ledger.postgres

NOW = 1_800_000_000.0


@pytest.fixture
def asked() -> Callable[..., Request]:
    """Make a request; the words of its body by name, those of the request in capitals' place: ``_tenant`` and so on."""

    def make(dialect: str = "chat", **body: Any) -> Request:
        tenant = body.pop("_tenant", None)
        fields = {name: body.pop(f"_{name}") for name in ("url", "account", "carrier") if f"_{name}" in body}
        entry = Entry(dialect, body.get("model"), tenant=tenant)
        return Request(
            dialect, body, **{"url": "https://api.test/v1/chat", **fields}, entry=entry, runtime=SyncRuntime()
        )

    return make


@pytest.fixture
def stored() -> Callable[..., Stored]:
    """Make an answer made at ``NOW`` that lives for a hundred seconds."""

    def make(key: str = "k", said: str = "hello", **more: Any) -> Stored:
        message = {
            "id": "1",
            "model": "m",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"},
            ],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
        created = more.pop("created_at", NOW)
        given = {"expires_at": created + 100, "model": "m", "cost_nano": 1000, "cost_low": 900, "cost_high": 1100}
        return Stored(key, "chat", json.dumps(message).encode(), created, **{**given, **more})

    return make


@pytest.fixture
def now() -> float:
    """Return the moment at which ``stored`` makes answers."""
    return NOW
