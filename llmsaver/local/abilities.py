"""What llama-server cannot do, said before a call instead of wrong in its answer; measured on xllamacpp 2026.10."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmsaver.errors import LocalModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["StartRepair", "prepared"]

# Content parts that only a multimodal model could read; the server answers them with a 500, which SDKs retry.
_MEDIA = frozenset({"image_url", "input_image", "image", "input_audio", "file", "input_file", "document"})


def prepared(dialect: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body as the local server understands it.

    Raises ``LocalModelError`` for what it would ignore in silence (a forced tool choice, a JSON schema on the messages
    dialect) or refuse with an error that an SDK retries (embeddings, images).
    """
    if dialect == "embeddings":
        raise LocalModelError("local models give no embeddings in this version; use an embedding model of a provider")
    if _holds_media(body):
        raise LocalModelError("local models read text only in this version; leave out images, audio and files")
    if _forces_tool(body.get("tool_choice")):
        raise LocalModelError(
            "local models cannot be forced to call a tool in this version; use tool_choice='auto' or a JSON schema"
        )
    adapted = dict(body)
    if dialect == "responses":
        text = body.get("text")
        wanted = text.get("format") if isinstance(text, dict) else None
        if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
            # The server reads the schema of this dialect nowhere but here.
            adapted["json_schema"] = wanted.get("schema")
    if dialect == "messages":
        config = body.get("output_config")
        if isinstance(config, dict) and config.get("format"):
            raise LocalModelError(
                "local models follow a JSON schema on the chat and responses surfaces only, in this version: "
                "use client.chat.completions.parse(...) instead of output_config.format"
            )
    return adapted


def _forces_tool(choice: Any) -> bool:
    if isinstance(choice, dict):
        return choice.get("type") not in {"auto", "none", None}
    return choice in {"required", "any"}


def _holds_media(body: Mapping[str, Any]) -> bool:
    """Tell whether a message of any dialect has a part that is not text."""
    turns = body.get("messages", body.get("input"))
    for turn in turns if isinstance(turns, list) else []:
        content = turn.get("content") if isinstance(turn, dict) else None
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict) and part.get("type") in _MEDIA:
                return True
    return False


class StartRepair:
    """Puts back the ``message_start`` that llama-server leaves out of about one messages stream in thirty.

    It happens where the first token is half a multi-byte character; the SDK's stream then raises an assertion.
    """

    _START = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_local","type":"message",'
        b'"role":"assistant","model":"local","content":[],"stop_reason":null,"stop_sequence":null,'
        b'"usage":{"input_tokens":0,"output_tokens":0}}}\n\n'
    )

    def __init__(self) -> None:
        self._held: bytes | None = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may go on; the first event waits until it is whole."""
        if self._held is None:
            return chunk
        self._held += chunk
        event, blank, _ = self._held.partition(b"\n\n")
        if not blank:
            return b""
        held, self._held = self._held, None
        # An error event, too, stands alone.
        alone = b"message_start" in event or b'"error"' in event
        return held if alone else self._START + held

    def flush(self) -> bytes:
        """Return what was held at the end of a stream without a whole event."""
        held, self._held = self._held or b"", None
        return held
