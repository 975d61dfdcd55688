"""The prompts of a file."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsaver.errors import ConfigurationError
from llmsaver.reporting.local_prompts import Prompt, as_chat, as_messages, prompts_of


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_a_line_each(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "\ufeffone\n\n  two \n")
    assert prompts_of(path) == [Prompt(1, asked("one")), Prompt(3, asked("  two "))]
    assert prompts_of(path, 1) == [Prompt(1, asked("one"))]
    assert prompts_of(path)[1].shown == "  two "


@pytest.mark.parametrize(("name", "cut"), [("p.csv", ","), ("p.tsv", "\t")])
def test_csv(tmp_path: Path, name: str, cut: str) -> None:
    path = written(tmp_path, name, f'id{cut}Prompt{cut}system\n1{cut}"a\nb"{cut}\n2{cut}c{cut}Be brief.\n')
    assert prompts_of(path) == [Prompt(2, asked("a\nb")), Prompt(4, asked("c", system="Be brief."))]


JSON_LINES: list[tuple[Any, dict[str, Any], str]] = [
    ("a", asked("a"), "any"),
    ({"prompt": "a", "id": 7, "expected": "b"}, asked("a"), "any"),
    ({"prompt": "a", "system": "s"}, asked("a", system="s"), "any"),
    (asked("a")["messages"], asked("a"), "any"),
    (asked("a", id=7, max_tokens=5), asked("a", max_tokens=5), "any"),
    (asked("a", model="gpt-5", n=2, stream=True, user="u", seed=1, reasoning_effort="low"),
     asked("a", reasoning_effort="low"), "chat"),
    ({"custom_id": "1", "body": asked("a", model="m")}, asked("a"), "any"),
    (asked("a", tools=[{"name": "t", "input_schema": {}}]), asked("a", tools=[{"name": "t", "input_schema": {}}]),
     "messages"),
    (asked("a", tools=[{"type": "function"}]), asked("a", tools=[{"type": "function"}]), "chat"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]},
     {"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "chat"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "body", "dialect"), JSON_LINES)
def test_json(tmp_path: Path, row: Any, body: dict[str, Any], dialect: Any) -> None:
    assert prompts_of(written(tmp_path, "p.jsonl", json.dumps(row) + "\n")) == [Prompt(1, body, dialect)]
    assert prompts_of(written(tmp_path, "p.json", json.dumps([row], indent=1))) == [Prompt(1, body, dialect)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("p.jsonl", '"a"\n{"prompt"\n', "line 2 is no JSON"),
        ("p.json", '["a",\n"b"', "line 1 is no JSON"),
        ("p.jsonl", '{"question": "a"}', "line 1 has neither a prompt nor messages"),
        ("p.jsonl", '{"messages": []}', "neither"),
        ("p.jsonl", '{"messages": ["a"]}', "neither"),
        ("p.jsonl", "7", "neither"),
        ("p.csv", "question,id\na,1\n", "needs a column 'prompt'; it has question, id"),
        ("p.csv", "", "it has none"),
        ("p.txt", "\n \n", "holds no prompt"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        prompts_of(written(tmp_path, name, text))


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        prompts_of(tmp_path / "absent.txt")
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        prompts_of(tmp_path / "p.txt")


def test_as_chat() -> None:
    prompt = Prompt(1, asked("a", system=[{"type": "text", "text": "s"}], stop_sequences=["x"], max_tokens=5))
    assert as_chat(prompt, 9, "max_completion_tokens") == {
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}],
        "stop": ["x"],
        "max_completion_tokens": 5,
    }
    assert as_chat(Prompt(1, asked("a")), 9, "max_tokens")["max_tokens"] == 9


def test_as_messages() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    prompt = Prompt(1, {"messages": turns, "stop": "x", "max_completion_tokens": 5})
    assert as_messages(prompt, 9) == {
        "messages": turns[1:],
        "system": "s",
        "stop_sequences": ["x"],
        "max_tokens": 5,
    }
    assert as_messages(Prompt(1, asked("a", stop=["x"])), 9) == asked("a", stop_sequences=["x"], max_tokens=9)
    cached = [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]
    assert as_messages(Prompt(1, asked("a", system=cached), "messages"), 9)["system"] == cached


@given(st.text())
def test_any_json_lines(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "p.jsonl"
    path.write_text(text, encoding="utf-8", errors="replace")
    with suppress(ConfigurationError):
        assert prompts_of(path)
