"""LLMLingua behind the interface of the selection of sentences, with a stand-in that has the package's arguments."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import pytest

from llmsaver import ConfigurationError, MissingExtra
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.compress import Compress
from llmsaver.prompt.lingua import LLMLingua

PROSE = "".join(f"The archive of Rome holds the letter number {n} of the year. " for n in range(40))


class PromptCompressor:
    """As llmlingua 0.2.2 has it: keeps every so many words."""

    made: list[PromptCompressor] = []  # noqa: RUF012 - what a test looks at

    def __init__(self, model_name: str, device_map: str = "cuda", *, use_llmlingua2: bool = False) -> None:
        self.model_name, self.device_map, self.use_llmlingua2 = model_name, device_map, use_llmlingua2
        self.asked: list[dict[str, Any]] = []
        self.made.append(self)

    def compress_prompt(self, context: list[str], question: str = "", rate: float = 0.5, **more: Any) -> dict[str, Any]:
        self.asked.append({"question": question, "rate": rate, **more})
        words = " ".join(context).split()
        return {"compressed_prompt": " ".join(words[:: round(1 / rate)]), "origin_tokens": len(words), "rate": "25%"}


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[PromptCompressor]:
    module = ModuleType("llmlingua")
    module.__spec__ = importlib.util.spec_from_loader("llmlingua", loader=None)
    module.PromptCompressor = PromptCompressor  # type: ignore[attr-defined]  # a stand-in for the package
    monkeypatch.setitem(sys.modules, "llmlingua", module)
    PromptCompressor.made.clear()
    return PromptCompressor


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"LLMLingua needs an optional part: pip install 'llmsaver\[lingua\]'"):
        LLMLingua()


def test_it_is_asked_as_the_package_wants_it(package: type[PromptCompressor]) -> None:
    short = LLMLingua(force_tokens=["?"])
    assert package.made == []  # nothing is loaded before it is needed
    assert 0 < len(short(PROSE, "Which letter?", 4)) < len(PROSE) / 3
    short(PROSE, "Which letter?", 2)
    (made,) = package.made
    assert (made.device_map, made.use_llmlingua2) == ("cpu", True)
    first = {"question": "Which letter?", "rate": 0.25, "force_tokens": ["?"]}
    assert made.asked[0] == {**first, "force_reserve_digit": True, "concate_question": False}
    LLMLingua("gpt2")(PROSE, "", 2)
    assert not package.made[-1].use_llmlingua2
    assert repr(short).startswith("LLMLingua('microsoft/llmlingua-2")


class Odd:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def compress_prompt(self, *_: Any, **__: Any) -> Any:
        return self.answer


def test_what_is_no_shorter_stays() -> None:
    for told in ("", "  ", PROSE + "!"):
        assert LLMLingua(compressor=Odd({"compressed_prompt": told}))(PROSE, "", 2) == PROSE
    for odd in (None, {}, {"compressed_prompt": 7}):
        with pytest.raises(ConfigurationError, match="no 'compressed_prompt'"):
            LLMLingua(compressor=Odd(odd))(PROSE, "", 2)


def sent(layer: Compress) -> str:
    seen: list[Any] = []

    async def below(request: Request) -> Response:
        seen.append(request.body)
        return Response(200, content=b"{}")

    ask = f"<documents>\n{PROSE}\n</documents>\n\nWhich letter is of the year?"
    body = {"model": "m", "messages": [{"role": "user", "content": ask}]}
    drive(layer(Request("chat", body, "https://x.test", Entry("chat", "m"), SyncRuntime()), below))
    return str(seen[0]["messages"][0]["content"])


def test_it_takes_the_place_of_the_selection(package: type[PromptCompressor]) -> None:
    layer = Compress("all", ratio=4, passages=LLMLingua())
    told = sent(layer)
    assert len(told) < len(PROSE) / 3
    assert told.endswith("Which letter is of the year?")
    assert package.made[0].asked[0]["question"] == "Which letter is of the year?"
    assert sent(layer) == told


def test_a_failure_of_it_sends_the_passages_whole() -> None:
    assert PROSE in sent(Compress("all", ratio=4, passages=LLMLingua(compressor=Odd(None))))


@pytest.mark.parametrize("given", [{"steps": "all"}, {"steps": "lossless", "ratio": 4}])
def test_it_must_be_told_how_short(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"Compress\(passages=\) needs ratio="):
        Compress(**given, passages=LLMLingua(compressor=Odd(None)))
