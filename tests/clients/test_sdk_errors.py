"""Our errors belong to the calling SDK's family as well, so that its users catch them and it does not retry them."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any

import anthropic
import openai
import pytest

from llmsaver import ConfigurationError, LLMSaverError, MiddlewareError, MissingExtra, Request, Response, Saver
from llmsaver.clients.sdk_errors import family_of, in_family


class Custom(LLMSaverError):  # noqa: N818 - as an application may call it
    """An application's own."""

    def __init__(self, one: int, *, two: str) -> None:
        super().__init__(f"{one} {two}")
        self.one, self.two = one, two


ERRORS: list[LLMSaverError] = [
    ConfigurationError("wrong"),
    MissingExtra("a thing", "extra"),
    MiddlewareError("broken", "layer"),
    Custom(1, two="b"),
    LLMSaverError(),
]


@pytest.mark.parametrize("family", ["openai", "anthropic"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_both_families(error: LLMSaverError, family: str) -> None:
    error.add_note("a note")
    raised: Any = in_family(error, family)
    base = openai.OpenAIError if family == "openai" else anthropic.AnthropicError
    assert isinstance(raised, base)
    assert isinstance(raised, type(error))
    assert type(raised) is type(in_family(error, family))
    assert (type(raised).__name__, type(raised).__module__) == (type(error).__name__, type(error).__module__)
    assert (str(raised), raised.args, vars(raised)) == (str(error), error.args, vars(error))
    assert in_family(raised, family) is raised


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_pickled_and_copied(error: LLMSaverError) -> None:
    raised = in_family(error, "openai")
    for again in (pickle.loads(pickle.dumps(raised)), copy.copy(raised), copy.deepcopy(raised)):  # noqa: S301 - ours
        assert type(again) is type(error)
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_where_no_sdk_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openai")
    error = ConfigurationError("wrong")
    assert in_family(error, "openai") is error


@pytest.mark.parametrize(
    ("agent", "dialect", "family"),
    [
        ("OpenAI/Python 3.52.0", "chat", "openai"),
        ("AsyncAzureOpenAI/Python 3.52.0", None, "openai"),
        ("OpenAI/Python 3.52.0", "messages", "openai"),
        ("AsyncAnthropic/Python 2.11.0", None, "anthropic"),
        ("my-app", "messages", "anthropic"),
        ("my-app", "responses", "openai"),
        ("", None, "openai"),
    ],
)
def test_who_is_calling(agent: str, dialect: str | None, family: str) -> None:
    assert family_of(agent, dialect) == family


def test_an_error_is_sent_once_and_raised_once(way: Any, caller: Any, fake: Any) -> None:
    runs = []

    async def refuses(request: Request, call_next: Any) -> Response:
        runs.append(request)
        response = await call_next(request)
        await response.read()
        raise Custom(1, two="enough") from ValueError("why")

    caller.saver = Saver(stack=[refuses])
    with pytest.raises(Custom, match="1 enough") as raised:
        caller.ask(way, fake, max_retries=5)
    assert len(runs) == fake.calls == 1
    assert raised.value.two == "enough"
    assert raised.value.__cause__ is None, "an SDK that follows causes may retry one"
