"""Two models on the same prompts: a local one and a paid one's stand-in, both played by the fake provider."""

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from llmsaver.compare import Verdict
from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.reporting import local_check_view
from llmsaver.reporting.local_ask import Said, resolved
from llmsaver.reporting.local_check import Check, Compared, Tolerance, as_json, check, embedder_here
from llmsaver.reporting.local_prompts import Prompt
from llmsaver.saver import Saver
from llmsaver.testing import Answer, FakeProvider, Fault, Received, ToolCall
from llmsaver.testing.answer import Scripted

MODEL, REFERENCE = "local/smollm2-135m", "gpt-5-mini"


def prompt(text: str, line: int = 1, **more: Any) -> Prompt:
    return Prompt(line, {"messages": [{"role": "user", "content": text}], **more})


@pytest.fixture
def vendor(provider: FakeProvider, local: Any, monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """Have the fake play OpenAI and Anthropic too."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{local.url}/v1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-anthropic")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", local.url)
    return provider


def says(vendor: FakeProvider, model: Sequence[Scripted] = (), reference: Sequence[Scripted] = ()) -> None:
    """Script the answers of the local model and of the others, in order; what is left says "well"."""
    left = {True: list(model), False: list(reference)}

    def answer(received: Received) -> Scripted:
        queue = left["smollm2" in str(received.json["model"])]
        return queue.pop(0) if queue else "well"

    vendor.answer = answer


def bodies(vendor: FakeProvider) -> list[Any]:
    return [received.json for received in vendor.requests if received.method == "POST"]


class Letters:
    """An embedder whose vectors count two letters."""

    name = "letters"
    dimensions = 2

    def embed(self, texts: Sequence[str]) -> Any:
        import numpy as np

        return np.array([[text.count("a") + 0.1, text.count("b")] for text in texts], np.float32)


def test_figures(vendor: FakeProvider) -> None:
    says(vendor, ["Paris", '{"b": 2, "a": 1.0}', "17", "aab"], ["Paris ", '{"a": 1, "b": 2}', "18", "aaab"])
    heard: list[int] = []
    made = check(
        "smollm2-135m",
        REFERENCE,
        [prompt(text, line) for line, text in enumerate(("one", "two", "three", "four"), start=1)],
        embedder=Letters(),
        told=lambda sofar: heard.append(len(sofar.rows)),
    )
    assert heard == [1, 2, 3, 4]
    assert (made.model, made.against) == (MODEL, REFERENCE)
    assert (made.exact, made.json, made.same, made.f1) == (0.25, 1.0, 0.75, 0.5)
    assert made.embedding == pytest.approx(0.99, abs=0.02)
    assert made.logprobs is not None
    assert made.logprob_change == pytest.approx(made.logprobs[0] - made.logprobs[1])
    assert [(row.line, row.verdict and row.verdict.how) for row in made.worst()] == [(3, "numbers")]
    assert made.costs()[0] == 0
    assert (made.costs()[1] or 0) > 0
    told = json.loads(as_json(made, ["x"]))
    assert (told["compared"], told["errors"], told["broken"]) == (4, 0, ["x"])
    assert told["rows"][2]["against"]["text"] == "18"


def test_what_is_sent(vendor: FakeProvider) -> None:
    check(MODEL, REFERENCE, [prompt("one", response_format={"type": "json_object"})], max_tokens=7)
    reference, model = bodies(vendor)
    for body in (reference, model):
        assert body["temperature"] == 0
        assert body["seed"] == 0
        assert body["logprobs"] is True
        assert body["response_format"] == {"type": "json_object"}
    assert reference["max_completion_tokens"] == 7
    assert model["max_tokens"] == 7


def test_rows_are_booked_under_check(vendor: FakeProvider) -> None:
    assert vendor.calls == 0
    with Saver(mode="observe") as saver:
        check(MODEL, REFERENCE, [prompt("one")], saver=saver)
        assert [entry.feature for entry in saver.recent()] == ["check", "check"]
        saver.sync_runtime  # noqa: B018 - the Saver that was given stays open


def test_a_model_of_the_messages_dialect(vendor: FakeProvider) -> None:
    made = check(MODEL, "claude-haiku-4-5", [prompt("one", system="Be brief.")])
    assert made.errors == []
    assert made.logprobs is None
    assert bodies(vendor)[0]["system"] == "Be brief."


def test_tool_calls_are_compared_as_json(vendor: FakeProvider) -> None:
    call = {"name": "book", "arguments": {"count": 1}}
    theirs = [Answer(tool_calls=(ToolCall("book", each),)) for each in ({"count": 1.0}, "{broken")]
    says(vendor, reference=[theirs[0], "well", theirs[1], "well"])
    tool = {"type": "function", "function": {"name": "book", "parameters": {"type": "object"}}}
    row = Prompt(1, prompt("one", tools=[tool]).body, "chat")
    made = check("gpt-5", REFERENCE, [row, row])
    assert made.errors == []
    told = [json.loads(each.against.text) for each in made.rows if each.against is not None]
    assert told == [[call], [{"name": "book", "arguments": "{broken"}]]
    assert "logprobs" not in bodies(vendor)[0]


def test_tools_of_the_messages_dialect(vendor: FakeProvider) -> None:
    says(vendor, [], [Answer(tool_calls=(ToolCall("book", {"count": 1}),))] * 2)
    row = Prompt(1, prompt("one", tools=[{"name": "book", "input_schema": {"type": "object"}}]).body, "messages")
    made = check("claude-haiku-5-5", "claude-haiku-4-5", [row])
    assert made.errors == []
    assert made.json == 1.0
    with_other = check("gpt-5-mini", "claude-haiku-4-5", [row])
    assert "is written in the other dialect than gpt-5-mini's" in (with_other.rows[0].error or "")


def test_a_row_that_fails_is_counted(vendor: FakeProvider) -> None:
    says(vendor, [Fault(422, message="odd")])
    made = check(MODEL, REFERENCE, [prompt("one"), prompt("two", 2)])
    assert len(made.compared) == 1
    assert (made.rows[0].error or "").startswith(f"{MODEL}: UnprocessableEntityError")
    assert as_json(made).count("odd") == 1


def test_what_a_model_does_not_take_is_left_out(vendor: FakeProvider) -> None:
    says(vendor, reference=[Fault(400, message=f"Unsupported value: '{name}'") for name in ("temperature", "logprobs")])
    made = check(MODEL, REFERENCE, [prompt("one"), prompt("two")])
    assert made.errors == []
    assert made.without == {REFERENCE: ["logprobs", "temperature"]}
    assert "temperature" not in bodies(vendor)[-2]
    assert made.logprobs is None


def test_another_400_is_the_rows(vendor: FakeProvider) -> None:
    says(vendor, reference=[Fault(400, message="bad schema")])
    assert "bad schema" in (check(MODEL, REFERENCE, [prompt("one")]).rows[0].error or "")


def test_what_no_row_could_mend_is_raised(vendor: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    says(vendor, reference=[Fault(404, message="no such model")] * 2)
    with pytest.raises(ConfigurationError, match=r"smolm2-135m cannot be asked: .*Did you mean smollm2-135m"):
        check(MODEL, "smolm2-135m", [prompt("one")])
    says(vendor, [Fault(404, message="lost")])
    with pytest.raises(ConfigurationError, match="cannot be asked"):
        check(MODEL, REFERENCE, [prompt("one")])
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigurationError):
        check(MODEL, REFERENCE, [prompt("one")])


def test_a_models_name() -> None:
    assert resolved("smollm2-135m") == resolved(MODEL) == MODEL
    assert resolved("smollm2-135m:triage") == f"{MODEL}:triage"
    assert resolved("/m.gguf") == "local//m.gguf"
    assert resolved("local/unknown") == "local/unknown"
    assert resolved("gpt-5") == "gpt-5"


def test_a_server_that_cannot_start(vendor: FakeProvider, local: Any) -> None:
    local.error = LocalModelError("no room")
    with pytest.raises(LocalModelError, match="no room"):
        check(MODEL, REFERENCE, [prompt("one")])
    assert vendor.calls == 0


def test_ctrl_c_keeps_the_rows_so_far(vendor: FakeProvider) -> None:
    assert vendor.calls == 0

    def told(made: Check) -> None:
        if len(made.rows) == 2:
            raise KeyboardInterrupt

    made = check(MODEL, REFERENCE, [prompt("one")] * 3, told=told)
    assert (made.stopped, len(made.rows), made.asked) == (True, 2, 3)
    assert "2 of 3 rows" in view(made)


def test_embedder_here(monkeypatch: pytest.MonkeyPatch) -> None:
    import llmsaver.embed

    monkeypatch.setattr(llmsaver.embed, "default_embedder", Letters)
    assert isinstance(embedder_here(), Letters)

    def absent() -> Any:
        raise ConfigurationError("absent")

    monkeypatch.setattr(llmsaver.embed, "default_embedder", absent)
    assert embedder_here() is None


def row(line: int = 1, *, f1: float = 1.0, same: bool = True, **more: Any) -> Compared:
    said = Said("text\x1b\n of it", -0.5, 1.5, 0)
    return Compared(line, "a prompt", said, said, f1=f1, verdict=Verdict(same, f1, "words"), **more)


def made_of(*rows: Compared) -> Check:
    return Check(MODEL, REFERENCE, len(rows), list(rows))


class TestTolerance:
    def test_kept(self) -> None:
        made = made_of(row(exact=True, as_json=True, embedding=1.0))
        assert Tolerance(1.0, 1.0, 1.0, 1.0, 1.0, 0.0).broken(made) == []
        assert Tolerance().broken(made) == []

    def test_broken(self) -> None:
        made = made_of(row(f1=0.5, same=False), row())
        assert Tolerance(same=0.6, f1=0.8, exact=0.1).broken(made) == [
            "same is 0.500; at least 0.6 was asked for",
            "exact is 0.000; at least 0.1 was asked for",
            "f1 is 0.750; at least 0.8 was asked for",
        ]

    def test_not_measured_is_broken(self) -> None:
        made = made_of(Compared(1, "p", Said("a", None, 1.0, None), Said("a", None, 1.0, None)))
        assert Tolerance(json=0.1, logprob_drop=1.0).broken(made) == [
            "json was not measured; at least 0.1 was asked for",
            "log-probabilities were not told; a drop of at most 1 was asked for",
        ]

    def test_logprob_drop(self) -> None:
        made = made_of(Compared(1, "p", Said("a", -2.0, 1.0, 0), Said("a", -0.5, 1.0, 0)))
        assert Tolerance(logprob_drop=1.5).broken(made) == []
        assert Tolerance(logprob_drop=1.0).broken(made) == [
            "the log-probability fell by 1.500; at most 1 was asked for"
        ]

    def test_errors(self) -> None:
        failed = Compared(2, "p", error="m: no")
        assert Tolerance().broken(made_of(row(), failed)) == ["1 of 2 rows failed; a share of 0.05 may"]
        assert Tolerance(errors=1.0).broken(made_of(failed)) == ["no row was answered by both"]


def view(made: Check, broken: Sequence[str] = (), **options: Any) -> str:
    out = io.StringIO()
    local_check_view.as_text(made, broken, Console(file=out, width=80), **options)
    return out.getvalue()


class TestView:
    def test_fits_eighty_columns(self) -> None:
        cut = Said("x " * 90, -0.25, 2.0, None, cut=True)
        made = made_of(
            row(7, f1=0.2, same=False, as_json=False, embedding=0.5),
            Compared(8, "p" * 90, cut, cut, f1=0.1, verdict=Verdict(same=False, score=0.1, how="numbers")),
            Compared(9, "p", error="m: " + "long " * 30),
        )
        made.without = {REFERENCE: ["seed"]}
        text = view(made, ["f1 is low"])
        assert max(map(len, text.splitlines())) <= 80
        assert "\x1b" not in text
        for part in (
            "3 rows",
            "of 1 row with",
            "the worst of those that differ",
            "line 8  F1 0.10  by numbers",
            "1 error",
            "asked without seed",
            "below tolerance: f1 is low",
            "cut short",
            "reference unknown",
        ):
            assert part in text  # fmt: skip

    def test_what_is_not_known(self) -> None:
        text = view(made_of(Compared(1, "p", error="m: no")))
        assert "needs pip install 'llmsaver[semantic]'" in text
        assert "not told by both" in text
        assert "time" not in text

    def test_how_many_of_the_worst(self) -> None:
        made = made_of(*(row(line, f1=0.0, same=False) for line in (1, 2, 3)))
        assert "line 1 " in view(made, worst=1)
        assert "line 2 " not in view(made, worst=1)
        assert "the worst" not in view(made, worst=0)

    def test_progress(self) -> None:
        out = io.StringIO()
        with local_check_view.watched(MODEL, 2, Console(file=out, force_terminal=True, width=80)) as told:
            told(made_of(row(), Compared(2, "p", error="no")))
        assert "1 error" in out.getvalue()
        assert "2/2" in out.getvalue()
