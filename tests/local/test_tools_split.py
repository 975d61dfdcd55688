"""Whatever a model writes in the form it is bound to comes out as the same calls, wherever its text is cut."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.local.tools_split import Splitter

if TYPE_CHECKING:
    from llmsaver.local.tools_split import Form, Piece

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=4)
NAMES = st.text(min_size=1, max_size=20)
CUTS = st.lists(st.integers(0, 400), max_size=12)
INDENTS = st.sampled_from([None, 0, 1, 4])


def cut(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted({at for at in cuts if at < len(text)}), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


def calls_of(splitter: Splitter, parts: list[str]) -> tuple[str, list[tuple[str, str]]]:
    """Return the text outside calls, and each call's name and arguments."""
    pieces: list[Piece] = [piece for part in parts for piece in splitter.feed(part)] + splitter.finish()
    calls: list[tuple[str, str]] = []
    text = ""
    for piece in pieces:
        if piece.kind == "call":
            calls.append((piece.text, ""))
        elif piece.kind == "arguments":
            calls[-1] = calls[-1][0], calls[-1][1] + piece.text
        elif piece.kind == "text":
            text += piece.text
    return text, calls


def written(name: str, arguments: Any, indent: int | None, *, ascii_only: bool) -> tuple[str, str]:
    """Return a call as a model may write it, and its arguments in it."""
    inner = json.dumps(arguments, indent=indent, ensure_ascii=ascii_only)
    return f'{{\n "name"\n: {json.dumps(name)} ,\t"arguments" :\n{inner}\n}}', inner


@given(ARGUMENTS, CUTS, INDENTS, st.booleans())
def test_one_tools_arguments(arguments: Any, cuts: list[int], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(arguments, indent=indent, ensure_ascii=ascii_only)
    splitter = Splitter("bare", "look")
    assert calls_of(splitter, cut(f" {text}\n ", cuts)) == ("", [("look", text)])
    assert not splitter.broken()


@given(NAMES, ARGUMENTS, CUTS, INDENTS, st.booleans())
def test_a_call_by_name(name: str, arguments: Any, cuts: list[int], indent: int | None, ascii_only: bool) -> None:
    call, inner = written(name, arguments, indent, ascii_only=ascii_only)
    splitter = Splitter("single")
    assert calls_of(splitter, cut(call, cuts)) == ("", [(name, inner)])
    assert not splitter.broken()


@given(st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=3), CUTS, INDENTS)
def test_a_list_of_calls(called: list[tuple[str, Any]], cuts: list[int], indent: int | None) -> None:
    calls = [written(name, arguments, indent, ascii_only=False) for name, arguments in called]
    splitter = Splitter("several")
    text = "[" + " ,\n".join(call for call, _ in calls) + "]"
    expected = [(name, inner) for (name, _), (_, inner) in zip(called, calls, strict=True)]
    assert calls_of(splitter, cut(text, cuts)) == ("", expected)
    assert not splitter.broken()


@given(NAMES, ARGUMENTS, CUTS, st.text(), st.text())
def test_a_tagged_call_in_free_text(name: str, arguments: Any, cuts: list[int], before: str, after: str) -> None:
    before, after = "Well: " + before.replace("<", ""), after.replace("<", "").lstrip(" \t\r\n")
    call, inner = written(name, arguments, None, ascii_only=False)
    text = f"{before}<tool_call>\n{call}\n</tool_call>{after}"
    splitter = Splitter("tagged", known={name})
    assert calls_of(splitter, cut(text, cuts)) == (before + after, [(name, inner)])
    assert not splitter.broken()


@given(ARGUMENTS, CUTS, st.sampled_from(["", "```", "```json\n"]))
def test_a_call_that_is_the_whole_text_needs_no_tags(arguments: Any, cuts: list[int], fence: str) -> None:
    call, inner = written("look", arguments, 2, ascii_only=False)
    text = f"{fence}{call}\n{'```' if fence else ''}"
    splitter = Splitter("tagged", known={"look"})
    assert calls_of(splitter, cut(text, cuts)) == ("", [("look", inner)])
    assert not splitter.broken()
    unknown = Splitter("tagged", known={"other"})
    assert calls_of(unknown, cut(text, cuts)) == (text, [])


@given(st.text().filter(lambda text: "<tool_call>" not in text and '"arguments"' not in text), CUTS)
def test_text_without_a_call_is_untouched(text: str, cuts: list[int]) -> None:
    splitter = Splitter("tagged", known={"look"})
    assert calls_of(splitter, cut(text, cuts)) == (text, [])
    assert not splitter.broken()


def test_a_call_that_arrives_sign_by_sign() -> None:
    text = '```json\n{"name": "look", "arguments": {"a": 1}}\n```'
    assert calls_of(Splitter("tagged", known={"look"}), list(text)) == ("", [("look", '{"a": 1}')])


def test_only_what_may_become_a_call_waits() -> None:
    splitter = Splitter("tagged", known={"look"})
    assert [piece.text for piece in splitter.feed("Hello")] == ["Hello"]
    assert [piece.text for piece in splitter.feed(" <")] == [" "]
    assert [piece.text for piece in splitter.feed("b>")] == ["<b>"]
    code = Splitter("tagged", known={"look"})
    assert code.feed("```") == []
    assert [piece.text for piece in code.feed("python\n")] == ["```python\n"]
    assert Splitter("tagged").feed("{" + "x" * 300)[0].text.startswith("{x")


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("bare", ""),
        ("bare", '{"a": 1'),
        ("bare", "12"),
        ("bare", '{"a": 1} and more'),
        ("single", '{"name": "look"}'),
        ("single", '{"name": "look", "arguments": {}'),
        ("single", '{"name": "look", "arguments": {}, "more": 1}'),
        ("several", '[{"name": "look", "arguments": {}'),
        ("several", '[{"name": "look", "arguments": {}}] and more'),
        ("tagged", "<tool_call>nothing</tool_call>"),
        ("tagged", '<tool_call>{"name": "look", "arguments": {"a"'),
        ("tagged", '<tool_call>{"name": "look", "arguments": {}} and more'),
    ],
)
def test_what_is_no_call_is_told(form: Form, text: str) -> None:
    splitter = Splitter(form, "look")
    splitter.feed(text)
    splitter.finish()
    assert splitter.broken()


@pytest.mark.parametrize("text", ['<tool_call>{"name": "look", "arguments": {}}', '{"name": "look", "arguments": {}}'])
def test_a_closing_tag_may_be_left_out(text: str) -> None:
    splitter = Splitter("tagged", known={"look"})
    assert calls_of(splitter, [text]) == ("", [("look", "{}")])
    assert not splitter.broken()


def test_a_name_with_a_bad_escape_is_no_tools_name() -> None:
    assert calls_of(Splitter("single"), ['{"name": "\\x", "arguments": {}}'])[1][0][0] == '"\\x"'
