"""What layers hand back, good and bad, on its way to the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest

from llmsaver import MiddlewareError, Request, Response, Saver

if TYPE_CHECKING:
    from llmsaver import CallNext
    from llmsaver.testing import FakeProvider

BAD: dict[str, Any] = {
    "a status in words": lambda: Response("200"),  # type: ignore[arg-type]  # a layer's mistake
    "text for content": lambda: Response(200, content="{}"),  # type: ignore[arg-type]  # a layer's mistake
    "a header that is a number": lambda: Response(200, {"x-count": 5}, content=b"{}"),  # type: ignore[dict-item]  # the same
    "a header that is none": lambda: Response(200, {"x-count": None}, content=b"{}"),  # type: ignore[dict-item]  # the same
    "no JSON": lambda: Response.of({"a": object()}),
}


@pytest.mark.parametrize("what", BAD)
def test_a_response_that_is_none_is_told_clearly_and_once(way: Any, caller: Any, fake: FakeProvider, what: str) -> None:
    runs = []

    async def answers(_request: Request, _call_next: CallNext) -> Response:
        runs.append(1)
        bad: Response = BAD[what]()
        return bad

    caller.saver = Saver(stack=[answers])
    with pytest.raises(MiddlewareError, match="TypeError") as raised:
        caller.ask(way, fake, max_retries=3)
    family: Any = anthropic.AnthropicError if way.dialect == "messages" else openai.OpenAIError
    assert isinstance(raised.value, family)
    assert len(runs) == 1


def test_a_layer_may_add_headers_to_an_answer(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def adds(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.headers["x-mine"] = "yes"  # type: ignore[index]  # a client's own headers can be written to
        return response

    caller.saver = Saver(stack=[adds])
    for annotate in (False, True):
        told = caller.ask(way, fake, annotate=annotate)
        assert told.headers["x-mine"] == "yes"
        assert told.text == "one two three four five six"


def test_a_layer_may_change_the_status(way: Any, caller: Any, fake: FakeProvider) -> None:
    async def refuses(request: Request, call_next: CallNext) -> Response:
        response = await call_next(request)
        response.status = 403
        return response

    caller.saver = Saver(stack=[refuses])
    error: Any = anthropic.PermissionDeniedError if way.dialect == "messages" else openai.PermissionDeniedError
    with pytest.raises(error):
        caller.ask(way, fake)
    assert fake.calls == 1


def test_an_exception_that_cannot_be_told(way: Any, caller: Any, fake: FakeProvider) -> None:
    class Mute(Exception):  # noqa: N818 - a stranger's
        def __str__(self) -> str:
            raise ZeroDivisionError

    async def before(_request: Request, _call_next: CallNext) -> Response:
        raise Mute

    async def after(request: Request, call_next: CallNext) -> Response:
        await call_next(request)
        raise Mute

    caller.saver = Saver(stack=[after])
    assert caller.ask(way, fake).text == "one two three four five six"
    caller.saver = Saver(stack=[before])
    with pytest.raises(MiddlewareError, match="layer 'before' failed: Mute"):
        caller.ask(way, fake)
