"""The two ways a coroutine of the stack is run, and a request to send down it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.runtime import AsyncRuntime, SyncRuntime, drive


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    return drive if request.param == "sync" else asyncio.run


@pytest.fixture
def runtime(run: Callable[..., Any]) -> SyncRuntime | AsyncRuntime:
    return SyncRuntime() if run is drive else AsyncRuntime()


@pytest.fixture
def asked() -> Request:
    return Request(
        dialect="chat",
        body={"model": "m", "messages": []},
        url="https://provider.test/v1/chat/completions",
        entry=Entry("chat", "m", feature="search", tenant="acme", conversation="c1"),
        runtime=SyncRuntime(),
    )
