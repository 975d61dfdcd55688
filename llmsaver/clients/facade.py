"""``Client`` and ``AsyncClient``: one object with the surfaces of both SDKs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal, Self

from llmsaver.clients.drop_in import Binding
from llmsaver.saver import Saver, default_saver

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from llmsaver.clients.anthropic import Anthropic, AsyncAnthropic
    from llmsaver.clients.openai import AsyncOpenAI, OpenAI

__all__ = ["AsyncClient", "Client"]

# Fills the place of a key that nobody gave; it never leaves the process (see Seam.missing_key).
_NO_KEY = "llmsaver-no-key"
_OPENAI_NAMES = ("gpt-", "chatgpt-", "o1", "o3", "o4", "codex-", "text-embedding-")


def _not_openai(host: str, model: str) -> str | None:
    # Another host, however it came to be the base URL, may serve models of any name.
    if host.endswith("openai.com") and model.startswith("claude"):
        return (
            f"{model!r} is an Anthropic model: call client.messages.create(...), or give the tool or library the "
            f"anthropic surface; a Cascade translates what it routes: Cascade([..., {model!r}], replaces=[{model!r}])"
        )
    return None


def _not_anthropic(host: str, model: str) -> str | None:
    if host.endswith("anthropic.com") and model.startswith(_OPENAI_NAMES):
        return (
            f"{model!r} is an OpenAI model: call client.chat.completions.create(...) or client.responses.create(...); "
            f"a Cascade translates what it routes: Cascade([..., {model!r}], replaces=[{model!r}])"
        )
    return None


class _Facade:
    """What the two clients share; each SDK is imported, and its key asked for, at first use."""

    def __init__(
        self,
        *,
        saver: Saver | None = None,
        annotate: bool | None = None,
        anthropic: Mapping[str, Any] | None = None,
        _made: dict[str, Any] | None = None,
        **openai: Any,
    ) -> None:
        self.saver: Saver = saver or default_saver()
        self._annotate = annotate
        self._arguments = openai
        self._anthropic_arguments = dict(anthropic or {})
        self._lock = threading.RLock()
        self._made: dict[str, Any] = _made or {}

    def _class_of(self, vendor: Literal["openai", "anthropic"]) -> Any:
        """Return the vendor's client class of this facade's kind; nothing of the other vendor is imported."""
        raise NotImplementedError

    def _binding(self, other_vendor: Any, missing_key: str | None) -> Binding:
        return Binding(
            self.saver,
            annotate=self._annotate,
            default_annotate=True,
            missing_key=missing_key,
            other_vendor=other_vendor,
        )

    def _openai_client(self) -> Any:
        with self._lock:
            if "openai" not in self._made:
                self._made["openai"] = self._new_openai()
            return self._made["openai"]

    def _anthropic_client(self) -> Any:
        with self._lock:
            if "anthropic" not in self._made:
                self._made["anthropic"] = self._new_anthropic()
            return self._made["anthropic"]

    def _new_openai(self) -> Any:
        from openai import OpenAIError

        kind, arguments = self._class_of("openai"), self._arguments
        try:
            return kind(**arguments, _llmsaver=self._binding(_not_openai, None))
        except OpenAIError as error:
            if arguments.get("api_key") is not None:
                raise
            missing = f"{error} Or use a local model, which needs no key: model='local/smollm2-135m'."
        return kind(**{**arguments, "api_key": _NO_KEY}, _llmsaver=self._binding(_not_openai, missing))

    def _new_anthropic(self) -> Any:
        kind, arguments = self._class_of("anthropic"), self._anthropic_arguments
        client = kind(**arguments, _llmsaver=self._binding(_not_anthropic, None))
        if client.api_key or client.auth_token or getattr(client, "credentials", None) is not None:
            return client
        if any(name.lower() in {"authorization", "x-api-key"} for name in arguments.get("default_headers") or {}):
            return client
        missing = (
            "No Anthropic credentials: set ANTHROPIC_API_KEY or pass Client(anthropic={'api_key': ...}). "
            "Or use a local model, which needs no key: model='local/smollm2-135m'."
        )
        return kind(**{**arguments, "api_key": _NO_KEY}, _llmsaver=self._binding(_not_anthropic, missing))

    def copy(
        self,
        *,
        saver: Saver | None = None,
        annotate: bool | None = None,
        anthropic: Mapping[str, Any] | None = None,
        **openai: Any,
    ) -> Self:
        """Return a facade like this one with some options changed; connections are shared where possible."""
        made = {}
        wanted = (("openai", self._openai_client, openai), ("anthropic", self._anthropic_client, dict(anthropic or {})))
        with self._lock:
            for name, client_of, changes in wanted:
                if not changes and name not in self._made:
                    continue
                client = client_of()
                # One made without a key is made anew from the arguments: a key may be among the changes.
                if client._llmsaver.missing_key is None:  # noqa: SLF001 - our own attribute
                    made[name] = client.copy(saver=saver, annotate=annotate, **changes)
        return type(self)(
            saver=saver or self.saver,
            annotate=self._annotate if annotate is None else annotate,
            anthropic={**self._anthropic_arguments, **(anthropic or {})},
            _made=made,
            **{**self._arguments, **openai},
        )

    with_options = copy

    def __getattr__(self, name: str) -> Any:
        # Names of the SDK's own only: a half-made facade (copy, pickle) must not build clients.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._openai_client(), name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mode={self.saver.settings.mode!r})"


class Client(_Facade):
    """A facade over both SDKs: ``.messages`` and ``.anthropic`` are Anthropic's, every other name is OpenAI's.

    Arguments are ``openai.OpenAI``'s; ``anthropic={...}`` holds those of ``anthropic.Anthropic``; ``saver=`` and
    ``annotate=`` are ours (annotation is on by default here). Without any key, local models work.
    """

    def _class_of(self, vendor: Literal["openai", "anthropic"]) -> Any:
        if vendor == "openai":
            from llmsaver.clients.openai import OpenAI

            return OpenAI
        from llmsaver.clients.anthropic import Anthropic

        return Anthropic

    @property
    def openai(self) -> OpenAI:
        """The OpenAI client behind this facade."""
        client: OpenAI = self._openai_client()
        return client

    @property
    def anthropic(self) -> Anthropic:
        """The Anthropic client behind this facade."""
        client: Anthropic = self._anthropic_client()
        return client

    @property
    def messages(self) -> Any:
        """Anthropic's messages resource."""
        return self._anthropic_client().messages

    def close(self) -> None:
        """Close the connections of both clients; the Saver, which may be shared, stays open."""
        with self._lock:
            for client in self._made.values():
                client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_Facade):
    """The same over ``AsyncOpenAI`` and ``AsyncAnthropic``."""

    def _class_of(self, vendor: Literal["openai", "anthropic"]) -> Any:
        if vendor == "openai":
            from llmsaver.clients.openai import AsyncOpenAI

            return AsyncOpenAI
        from llmsaver.clients.anthropic import AsyncAnthropic

        return AsyncAnthropic

    @property
    def openai(self) -> AsyncOpenAI:
        """The OpenAI client behind this facade."""
        client: AsyncOpenAI = self._openai_client()
        return client

    @property
    def anthropic(self) -> AsyncAnthropic:
        """The Anthropic client behind this facade."""
        client: AsyncAnthropic = self._anthropic_client()
        return client

    @property
    def messages(self) -> Any:
        """Anthropic's messages resource."""
        return self._anthropic_client().messages

    async def close(self) -> None:
        """Close the connections of both clients; the Saver, which may be shared, stays open."""
        with self._lock:
            clients = list(self._made.values())
        for client in clients:
            await client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
