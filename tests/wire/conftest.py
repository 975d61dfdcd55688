"""The real SDKs over a transport that answers with given bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anthropic
import httpx2
import openai
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Wire(httpx2.BaseTransport):
    """Answers every request with the bytes it was last given."""

    body = b""
    content_type = ""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": self.content_type}, content=self.body, request=request)

    def carry(self, body: bytes, content_type: str) -> None:
        self.body, self.content_type = body, content_type


@pytest.fixture(scope="session")
def openai_sdk() -> Iterator[Callable[..., openai.OpenAI]]:
    """``openai_sdk(body)`` is a client whose every call gets ``body``, by default as a stream."""
    wire = _Wire()
    with openai.OpenAI(api_key="made-up", http_client=httpx2.Client(transport=wire), max_retries=0) as client:

        def make(body: bytes, content_type: str = "text/event-stream") -> openai.OpenAI:
            wire.carry(body, content_type)
            return client

        yield make


@pytest.fixture(scope="session")
def anthropic_sdk() -> Iterator[Callable[..., anthropic.Anthropic]]:
    """``anthropic_sdk(body)`` is a client whose every call gets ``body``, by default as a stream."""
    wire = _Wire()
    with anthropic.Anthropic(api_key="made-up", http_client=httpx2.Client(transport=wire), max_retries=0) as client:

        def make(body: bytes, content_type: str = "text/event-stream") -> anthropic.Anthropic:
            wire.carry(body, content_type)
            return client

        yield make
