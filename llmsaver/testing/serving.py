"""Answers and faults to replies, in the dialect of the request."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from llmsaver.testing import chat, messages, responses
from llmsaver.testing.answer import Answer, Delivery, Fault, Scripted
from llmsaver.testing.books import Bill, Received
from llmsaver.testing.frames import Event, Frame, sse
from llmsaver.testing.reply import Reply
from llmsaver.testing.text import JSON, dumps
from llmsaver.testing.turn import Turn, settle
from llmsaver.testing.vendor_errors import Refused, Vendor, request_id, vendor_headers

JSON_TYPE = "application/json"
SSE_TYPE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one dialect writes a turn: whole, as events, its usage, and what breaks a stream after some events."""

    body: Callable[[Turn], JSON]
    events: Callable[[Turn], list[Event]]
    usage: Callable[[Turn], JSON | None]
    error_events: Callable[[Turn, JSON, int], list[Event]]


DIALECTS = {
    "chat": Dialect(chat.body, chat.events, chat.usage, chat.error_events),
    "responses": Dialect(responses.body, responses.events, responses.usage, responses.error_events),
    "messages": Dialect(messages.body, messages.events, messages.usage, messages.error_events),
}


def refusal(
    received: Received, refused: Refused, delivery: Delivery, *, headers: dict[str, str] | None = None
) -> Reply:
    """Write the vendor's error answer."""
    model = received.json.get("model", "") if isinstance(received.json, dict) else ""
    body = refused.body(received.vendor, str(model), request_id(received.vendor, received.number))
    said = {**vendor_headers(received.vendor, received.number, JSON_TYPE), **(headers or {})}
    return Reply(refused.status, said, [Frame(dumps(body))], delivery)


def whole(received: Received, content: bytes, delivery: Delivery, *, content_type: str = JSON_TYPE) -> Reply:
    """Write a successful answer that is not streamed."""
    headers = vendor_headers(received.vendor, received.number, content_type)
    return Reply(200, headers, [Frame(content)], delivery)


def serve(received: Received, scripted: Scripted, delivery: Delivery) -> Reply:
    """Turn what a test scripted into the reply to a chat, responses or messages request."""
    if isinstance(scripted, Fault):
        return _faulty(received, scripted, scripted.delivery or delivery)
    answer = Answer(scripted) if isinstance(scripted, str) else scripted
    turn = settle(received.endpoint, received.number, received.json, answer)
    frames = _frames(received, turn, answer.delivery or delivery)
    return _reply(received, turn, frames, answer.delivery or delivery)


def plain_fault(received: Received, fault: Fault, delivery: Delivery) -> Reply:
    """Fail a request to an endpoint that generates nothing; `after` counts bytes of the fault's own body."""
    headers = _extra_headers(received, fault)
    if fault.body is None and fault.drop is None:
        return refusal(received, Refused(fault.status or 500, fault.message, fault.code), delivery, headers=headers)
    reply = whole(received, (fault.body or b"")[: fault.after], delivery)
    reply.headers |= headers
    reply.status, reply.drop, reply.early = fault.status or 200, fault.drop, fault.body is None
    return reply


def line(dialect: str, number: int, request: JSON, scripted: Scripted) -> tuple[tuple[int, JSON] | None, Bill | None]:
    """Answer one line of a batch: (status, body), or None for a line that expires, with its bill if it is charged."""
    if isinstance(scripted, Fault):
        if scripted.status is None:
            return None, None
        vendor: Vendor = "anthropic" if dialect == "messages" else "openai"
        refused = Refused(scripted.status, scripted.message, scripted.code)
        return (scripted.status, refused.body(vendor, str(request.get("model", "")), request_id(vendor, number))), None
    answer = Answer(scripted) if isinstance(scripted, str) else scripted
    turn = settle(dialect, number, request, answer, batch=True)
    bill = replace(_bill(number, turn, streamed=False), batch=True, state="complete")
    return (200, DIALECTS[dialect].body(turn)), bill


def _frames(received: Received, turn: Turn, delivery: Delivery) -> list[Frame]:
    dialect = DIALECTS[received.endpoint]
    if received.stream:
        return sse(dialect.events(turn), delivery)
    return [Frame(dumps(dialect.body(turn)), turn.visible_tokens)]


def _reply(received: Received, turn: Turn, frames: list[Frame], delivery: Delivery) -> Reply:
    headers = vendor_headers(received.vendor, received.number, SSE_TYPE if received.stream else JSON_TYPE)
    bill = _bill(received.number, turn, streamed=received.stream)
    return Reply(200, headers, frames, delivery, streamed=received.stream, bill=bill)


def _bill(number: int, turn: Turn, *, streamed: bool) -> Bill:
    counted = (turn.input_tokens, turn.output_tokens)
    usage = DIALECTS[turn.dialect].usage(turn)
    return Bill(number, turn.dialect, turn.model, usage, streamed, counted, visible=turn.visible_tokens)


def _faulty(received: Received, fault: Fault, delivery: Delivery) -> Reply:
    if (
        fault.status is not None
        and fault.body is None
        and fault.drop is None
        and (fault.after is None or not received.stream)
    ):
        refused = Refused(fault.status, fault.message, fault.code)
        return refusal(received, refused, delivery, headers=_extra_headers(received, fault))
    turn = settle(received.endpoint, received.number, received.json, fault.answer)
    reply = _reply(received, turn, [], delivery)
    reply.headers |= _extra_headers(received, fault)
    if fault.body is not None:
        reply.status = fault.status or 200
        reply.frames = [Frame(fault.body[: fault.after], turn.visible_tokens)]
    elif fault.drop is None:
        reply.frames, reply.failed = _broken_by_error(received, turn, fault, delivery), True
    elif fault.after is not None:
        frames = _frames(received, turn, delivery)
        reply.frames = frames[: fault.after] if received.stream else [Frame(frames[0].data[: fault.after])]
    reply.drop = fault.drop
    reply.early = fault.drop is not None and fault.after is None and fault.body is None
    # Nothing reached the provider, or it refused: no charge.
    if fault.drop in ("connect", "connect timeout") or reply.status >= 400:  # noqa: PLR2004 - HTTP
        reply.bill = None
    return reply


def _broken_by_error(received: Received, turn: Turn, fault: Fault, delivery: Delivery) -> list[Frame]:
    dialect = DIALECTS[received.endpoint]
    events = dialect.events(turn)[: fault.after]
    refused = Refused(fault.status or 500, fault.message, fault.code)
    error = refused.body(received.vendor, turn.model, request_id(received.vendor, received.number))
    return sse([*events, *dialect.error_events(turn, error, len(events))], delivery)


def _extra_headers(received: Received, fault: Fault) -> dict[str, str]:
    headers = {name.lower(): value for name, value in fault.headers.items()}
    if fault.content_type is not None:
        headers["content-type"] = fault.content_type
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
        if received.vendor == "openai":
            headers["retry-after-ms"] = f"{fault.retry_after * 1000:g}"
    return headers
