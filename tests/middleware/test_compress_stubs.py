"""Old tool outputs as stubs: what was sent stays as it was, in every process, until nothing is lost by a change."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmsaver import Saver, Stubs
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware import compress_stubs
from llmsaver.middleware.compress import Compress
from llmsaver.pricing import PriceBook
from llmsaver.prompt import stub_journal
from llmsaver.prompt.originals import Originals, reference_of
from llmsaver.testing.validation import refuse_body

if TYPE_CHECKING:
    from pathlib import Path

CHAT = "https://api.openai.com/v1/chat/completions"
MESSAGES = "https://api.anthropic.com/v1/messages"
TOOLS: dict[str, Any] = {
    "chat": [{"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}}}],
    "responses": [{"type": "function", "name": "bash", "parameters": {"type": "object", "properties": {}}}],
    "messages": [{"name": "bash", "input_schema": {"type": "object", "properties": {}}}],
}
MODELS = {"chat": "gpt-6-luna", "responses": "gpt-6-luna", "messages": "claude-sonnet-5"}
# Seconds after which a provider surely has nothing of the model above any more.
GONE = {"chat": 1_981.0, "responses": 1_981.0, "messages": 3_961.0}


def output(number: int, size: int = 2_400) -> str:
    """Return a listing of about so many bytes, no two alike."""
    return "\n".join(f"file_{number}_{line}.py 17" for line in range(size // 20))


def asked(dialect: str, outputs: list[str], **more: Any) -> dict[str, Any]:
    """Return an agent's request after so many calls of its tool."""
    turns: list[Any] = [{"role": "user", "content": "Repair the parser."}]
    for number, text in enumerate(outputs):
        call = f"c{number}"
        if dialect == "chat":
            called = {"id": call, "type": "function", "function": {"name": "bash", "arguments": "{}"}}
            turns.append({"role": "assistant", "content": None, "tool_calls": [called]})
            turns.append({"role": "tool", "tool_call_id": call, "content": text})
        elif dialect == "responses":
            turns.append({"type": "function_call", "call_id": call, "name": "bash", "arguments": "{}"})
            turns.append({"type": "function_call_output", "call_id": call, "output": text})
        else:
            use = {"type": "tool_use", "id": call, "name": "bash", "input": {}}
            thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
            turns.append({"role": "assistant", "content": [thought, use]})
            result = {"type": "tool_result", "tool_use_id": call, "content": text}
            turns.append({"role": "user", "content": [result]})
    name = "input" if dialect == "responses" else "messages"
    most = {"max_tokens": 100} if dialect == "messages" else {}
    return {"model": MODELS[dialect], name: turns, "tools": TOOLS[dialect], **most, **more}


@dataclass
class Desk:
    """A layer on a store, a clock, and what left it."""

    path: Path
    options: Stubs = field(default_factory=lambda: Stubs(recent=2))
    now: float = 1e9
    layers: list[Compress] = field(default_factory=list)
    last: Entry | None = None

    def __post_init__(self) -> None:
        self.another()

    def another(self) -> None:
        """Begin another program on the same store."""
        layer = Compress(stubs=self.options)
        layer.use_books(PriceBook())
        layer.use_originals(str(self.path), None)
        self.layers.append(layer)

    def send(self, body: dict[str, Any], at: int = 0, **more: Any) -> dict[str, Any]:
        """Send a request through one of the programs; return the body that leaves it."""
        dialect = "responses" if "input" in body else "messages" if body["model"].startswith("claude") else "chat"
        tenant = more.pop("tenant", None)
        self.last = Entry(dialect, body["model"], feature=more.pop("feature", "f"), tenant=tenant)
        sent: list[Any] = []

        async def below(request: Request) -> Response:
            sent.append(request.body)
            return Response(200, {}, content=b"{}")

        url = more.pop("url", MESSAGES if dialect == "messages" else CHAT)
        request = Request(dialect, body, url, self.last, SyncRuntime(), **more)
        with mock.patch.object(time, "time", side_effect=lambda: self.now):
            drive(self.layers[at](request, below))
        return sent[0]  # type: ignore[no-any-return]

    @property
    def store(self) -> Originals:
        """The store of the first program."""
        stubber = self.layers[0]._stubber
        assert stubber is not None
        assert stubber.originals is not None
        return stubber.originals

    def recall(self, reference: str, tenant: str | None = None) -> str | None:
        """Call an original back, by the clock of the desk."""
        with mock.patch.object(time, "time", return_value=self.now):
            return self.store.recall(reference, tenant)

    def stubbed(self) -> str | None:
        """Return why the last request had stubs; None where it had none."""
        assert self.last is not None
        return next((act.why for act in self.last.layers if act.action == "stubbed"), None)

    def close(self) -> None:
        """Close the stores."""
        for layer in self.layers:
            layer.close()


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    made = Desk(tmp_path / "originals.db")
    yield made
    made.close()


def turns(body: dict[str, Any]) -> list[Any]:
    return body["input"] if "input" in body else body["messages"]  # type: ignore[no-any-return]  # JSON


def results(body: dict[str, Any]) -> list[str]:
    """Return the texts of tools in a request."""
    found = []
    for turn in turns(body):
        if turn.get("role") == "tool" or turn.get("type") == "function_call_output":
            found.append(turn.get("content", turn.get("output")))
        elif isinstance(turn.get("content"), list):
            found += [part["content"] for part in turn["content"] if part["type"] == "tool_result"]
    return found


def is_stub(text: str) -> bool:
    return text.startswith("[output of bash, ")


DIALECTS = pytest.mark.parametrize("dialect", ["chat", "responses", "messages"])


@DIALECTS
def test_old_outputs_become_stubs_once_the_cache_is_gone(desk: Desk, dialect: str) -> None:
    outputs = [output(number) for number in range(6)]
    for end in range(6):
        assert results(desk.send(asked(dialect, outputs[:end]))) == outputs[:end]
        desk.now += 60
    desk.now += GONE[dialect]
    body = asked(dialect, outputs)
    sent = desk.send(body)
    assert [is_stub(text) for text in results(sent)] == [True] * 4 + [False] * 2
    assert desk.stubbed() == "4 old tool outputs (the cached prefix is gone)"
    reference = reference_of(outputs[0], None)
    assert reference in results(sent)[0]
    assert 'First of 120 lines: "file_0_0.py 17". Last line: "file_0_119.py 17".' in results(sent)[0]
    assert desk.recall(reference) == outputs[0]
    # All but the texts is as it was: calls and their results, thinking, the caller's own object.
    assert json.dumps(body) == json.dumps(asked(dialect, outputs))
    shown = dict(zip(outputs, results(sent), strict=True))
    assert json.loads(json.dumps(sent)) == asked(dialect, [shown[text] for text in outputs])


@DIALECTS
def test_what_became_a_stub_stays_one_and_nothing_else_becomes_one_in_time(desk: Desk, dialect: str) -> None:
    outputs = [output(number) for number in range(12)]
    desk.send(asked(dialect, outputs[:5]))
    desk.now += GONE[dialect]
    first = desk.send(asked(dialect, outputs[:6]))
    for end in range(7, 12):
        desk.now += 60
        later = desk.send(asked(dialect, outputs[:end]))
        assert turns(later)[: len(turns(first))] == turns(first)
        assert not any(is_stub(text) for text in results(later)[4:])
        assert desk.stubbed() == "4 old tool outputs"


def test_a_conversation_that_began_elsewhere_is_left_alone_until_it_rested(desk: Desk) -> None:
    outputs = [output(number) for number in range(8)]
    assert results(desk.send(asked("chat", outputs[:7]))) == outputs[:7]
    desk.now += 60
    assert results(desk.send(asked("chat", outputs))) == outputs


def test_other_conversations_with_the_same_beginning_keep_theirs(desk: Desk) -> None:
    """One rests, one goes on: what they share is still kept by the provider, and stays for both."""
    shared = [output(number) for number in range(6)]
    desk.send(asked("chat", shared[:5]))
    desk.send(asked("chat", shared))
    one, other = [*shared, output(50)], [*shared, output(60)]
    desk.send(asked("chat", one))
    desk.now += GONE["chat"] - 200
    desk.send(asked("chat", other))
    desk.now += 400
    # The provider read the shared beginning 400 seconds ago; only what came after it is gone for the first one.
    assert results(desk.send(asked("chat", [*one, output(51)]))) == [*one, output(51)]
    desk.now += 60
    assert results(desk.send(asked("chat", [*other, output(61)]))) == [*other, output(61)]


@pytest.mark.parametrize(
    "kept",
    [
        "Error: no such file\n" + output(1),
        "Traceback (most recent call last):\n" + output(1),
        '{"error": "no", "details": "' + "x" * 3000 + '"}',
        output(1) + "<keep>the key is 7</keep>",
        "short",
    ],
)
def test_what_must_stay_stays(desk: Desk, kept: str) -> None:
    outputs = [kept, *(output(number) for number in range(2, 8))]
    desk.send(asked("chat", outputs[:6]))
    desk.now += GONE["chat"]
    told = results(desk.send(asked("chat", outputs)))
    assert told[0] == kept
    assert [is_stub(text) for text in told[1:]] == [True] * 4 + [False] * 2


def test_a_result_that_says_it_is_an_error_stays(desk: Desk) -> None:
    body = asked("messages", [output(number) for number in range(5)])
    body["messages"][2]["content"][0]["is_error"] = True
    desk.send(body)
    desk.now += GONE["messages"]
    assert [is_stub(text) for text in results(desk.send(body))] == [False, True, True, False, False]


def test_the_parts_of_a_result_are_each_left_out(desk: Desk) -> None:
    body = asked("messages", [output(number) for number in range(4)])
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    body["messages"][2]["content"][0]["content"] = [{"type": "text", "text": output(0)}, image]
    desk.send(body)
    desk.now += GONE["messages"]
    part, same = desk.send(body)["messages"][2]["content"][0]["content"]
    assert is_stub(part["text"])
    assert same == image


def test_a_text_that_comes_again_is_told_in_full_where_the_first_is_a_stub(desk: Desk) -> None:
    outputs = [output(number) for number in range(6)]
    desk.send(asked("chat", outputs[:5]))
    desk.now += GONE["chat"]
    desk.send(asked("chat", outputs))
    desk.now += 60
    again = results(desk.send(asked("chat", [*outputs, outputs[0]])))
    assert again[-1] == outputs[0]
    desk.now += GONE["chat"]
    later = results(desk.send(asked("chat", [*outputs, outputs[0], output(8), output(9)])))
    assert is_stub(later[0])
    assert is_stub(later[6])


def test_a_text_told_as_the_same_as_above_keeps_the_one_above(desk: Desk) -> None:
    outputs = [output(0), output(1), output(2), output(3), output(0)]
    desk.send(asked("chat", outputs))
    desk.now += GONE["chat"]
    told = results(desk.send(asked("chat", [*outputs, output(6)])))
    assert told[0] == outputs[0]
    assert told[4].startswith("[the same text as in message 3 above]")
    assert is_stub(told[1])


def test_a_rewrite_that_pays_is_made_at_once(desk: Desk) -> None:
    """Conversations of a feature were seen to go on and on, so a cached prefix is given up for a shorter one."""
    for talk in range(8):
        for end in range(40):
            small = [output(talk * 100 + number, 200) for number in range(end)]
            desk.send(asked("chat", ["x" * 500, *small]))
            desk.now += 30
    large = [output(9_000 + number, 8_000) for number in range(6)]
    whys = []
    for end in range(1, 7):
        told = results(desk.send(asked("chat", large[:end])))
        whys.append(desk.stubbed())
        desk.now += 30
    assert [is_stub(text) for text in told] == [True] * 4 + [False] * 2
    assert any("further requests pay for it" in why for why in whys if why)
    # Elsewhere nothing is known of how far such conversations go.
    others = [f"{text}\n" for text in large]
    for end in range(1, 7):
        assert results(desk.send(asked("chat", others[:end]), feature="other")) == others[:end]


def test_without_prices_nothing_that_may_be_cached_is_given_up(desk: Desk) -> None:
    for gap, count in ((80_000.0, 0), (100_000.0, 4)):
        outputs = [output(int(gap) + number) for number in range(6)]
        desk.send(asked("chat", outputs), url="https://gateway.example/v1/chat/completions")
        desk.now += gap
        sent = desk.send(asked("chat", outputs), url="https://gateway.example/v1/chat/completions")
        assert sum(is_stub(text) for text in results(sent)) == count


@pytest.mark.parametrize(("mark", "gone"), [({"type": "ephemeral"}, 300), ({"type": "ephemeral", "ttl": "1h"}, 3_600)])
def test_the_callers_own_marks_say_for_how_long(desk: Desk, mark: dict[str, str], gone: float) -> None:
    body = asked("messages", [output(number) for number in range(6)])
    body["messages"][-1]["content"][0]["cache_control"] = mark
    desk.send(body)
    desk.now += gone
    assert results(desk.send(body)) == results(body)
    desk.now += gone * 1.1 + 1
    assert sum(is_stub(text) for text in results(desk.send(body))) == 4


@pytest.mark.parametrize(
    ("model", "more", "gone"),
    [
        ("gpt-5-mini", {}, 3_600),
        ("gpt-5-mini", {"prompt_cache_retention": "24h"}, 86_400),
        ("gpt-5.5", {}, 86_400),
        ("nobody-knows-it", {}, 86_400),
    ],
)
def test_a_prefix_is_gone_when_its_provider_says_so(desk: Desk, model: str, more: Any, gone: float) -> None:
    outputs = [output(number) for number in range(6)]
    body = {**asked("chat", outputs), "model": model, **more}
    desk.send(body)
    desk.now += gone
    assert results(desk.send(body)) == outputs
    desk.now += gone * 1.1 + 1
    assert sum(is_stub(text) for text in results(desk.send(body))) == 4


def test_conversations_that_the_provider_keeps_are_not_looked_at(desk: Desk) -> None:
    body = asked("responses", [output(number) for number in range(6)], previous_response_id="resp_1")
    for _ in range(2):
        assert desk.send(body) == body
        desk.now += GONE["responses"]
    assert not desk.path.exists()


def test_tenants_and_accounts_have_their_own(desk: Desk) -> None:
    body = asked("chat", [output(number) for number in range(6)])
    desk.send(body, tenant="a")
    desk.send(body, account="k1")
    desk.now += GONE["chat"]
    assert results(desk.send(body, tenant="b")) == results(body)
    assert results(desk.send(body, account="k2")) == results(body)
    stub = results(desk.send(body, tenant="a"))[0]
    reference = reference_of(output(0), "a")
    assert reference in stub
    assert desk.recall(reference, "a") == output(0)
    assert desk.recall(reference, "b") is None
    assert desk.recall(reference) is None


def test_an_original_that_was_lost_is_stored_anew_by_the_next_request(desk: Desk) -> None:
    body = asked("chat", [output(number) for number in range(6)])
    desk.send(body)
    desk.now += GONE["chat"]
    first = desk.send(body)
    with desk.store.place.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM stub_originals")
    assert desk.recall(reference_of(output(0), None)) is None
    assert desk.send(body) == first
    assert desk.recall(reference_of(output(0), None)) == output(0)


@pytest.mark.parametrize("stubs", ["[999]", "[-1]", '["x"]', "{", "null", "7"])
def test_a_broken_row_is_as_good_as_none(desk: Desk, stubs: str) -> None:
    body = asked("chat", [output(number) for number in range(6)])
    desk.send(body)
    with desk.store.place.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE stub_prompts SET stubs = ?", (stubs,))
    desk.now += 60
    assert results(desk.send(body)) == results(body)


def test_a_broken_file_costs_no_call(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    body = asked("chat", [output(number) for number in range(6)])
    desk.send(body)
    desk.close()
    for suffix in ("-wal", "-shm"):
        desk.path.with_name(desk.path.name + suffix).unlink(missing_ok=True)
    desk.path.write_bytes(b"no database " * 1000)
    desk.now += GONE["chat"]
    assert results(desk.send(body)) == results(body)
    assert "the originals are broken" in caplog.text
    assert list(desk.path.parent.glob("*.broken-*"))
    desk.now += GONE["chat"]
    assert sum(is_stub(text) for text in results(desk.send(body))) == 4


def test_a_store_that_fails_costs_no_call(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    body = asked("chat", [output(number) for number in range(6)])
    desk.send(body)
    desk.now += GONE["chat"]
    desk.send(body)
    with mock.patch.object(stub_journal, "_past", side_effect=RuntimeError("a bug")):
        desk.now += 60
        assert results(desk.send(body)) == results(body)
        assert results(desk.send(body)) == results(body)
    assert caplog.text.count("tool outputs are sent whole: RuntimeError: a bug") == 1
    assert sum(is_stub(text) for text in results(desk.send(body))) == 4


@pytest.mark.parametrize(
    "text",
    ["\0" * 3000, "\ud800 lone " * 500, "x" * (1 << 20), json.dumps([{"id": n, "at": "x" * 40} for n in range(9_000)])],
    ids=["nul", "surrogate", "a megabyte", "large JSON"],
)
def test_any_text_can_be_left_out_and_called_back(desk: Desk, text: str) -> None:
    body = asked("chat", [text, *(output(number) for number in range(5))])
    desk.send(body)
    desk.now += GONE["chat"]
    told = results(desk.send(body))[0]
    assert is_stub(told)
    assert len(told.encode()) < 1_500
    assert desk.recall(told) == text


def test_what_is_larger_than_the_store_keeps_stays(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "o.db", Stubs(recent=1, max_bytes=40_000))
    body = asked("chat", ["y" * 6_000, output(1), output(2)])
    desk.send(body)
    desk.now += GONE["chat"]
    assert [is_stub(text) for text in results(desk.send(body))] == [False, True, False]
    desk.close()


# -- the rule itself --------------------------------------------------------------------------------------------------

event = st.tuples(
    st.integers(0, 2),  # which conversation
    st.sampled_from([1.0, 60.0, 900.0, 1_790.0, 2_100.0, 5_000.0]),  # seconds after the event before
    st.integers(0, 1),  # which program
    st.sampled_from([40, 1_700, 2_400, 9_000]),  # the size of the next output
    st.booleans(),  # whether the conversation says something that another has said
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(event, min_size=4, max_size=24), dialect=st.sampled_from(list(MODELS)))
def test_a_prefix_never_changes_while_a_provider_may_have_it(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], dialect: str
) -> None:
    """Of every conversation, whoever sends it: no byte of the request before changes unless it had rested."""
    desk = Desk(tmp_path_factory.mktemp("freeze") / "o.db")
    desk.another()
    talks: list[list[str]] = [[], [], []]
    before: dict[int, tuple[float, list[str], int]] = {}
    with mock.patch.object(compress_stubs, "further", return_value=0.0):
        for number, (talk, gap, program, size, same) in enumerate(events):
            desk.now += gap
            talks[talk].append(output(0 if same else talk * 1_000 + number, size))
            body = desk.send(asked(dialect, talks[talk]), program)
            assert refuse_body(dialect, body) is None
            sent = [json.dumps(turn) for turn in turns(body)]
            if talk in before:
                at, earlier, _ = before[talk]
                if desk.now - at < GONE[dialect]:
                    assert sent[: len(earlier)] == earlier
            before[talk] = (desk.now, sent, program)
            raw = [json.dumps(turn) for turn in turns(asked(dialect, talks[talk]))]
            # The last two outputs are always told, in full or as the same as one that is.
            assert not any("left out here" in text for text in sent[-3:])
            assert all("left out here" in told or len(told) <= len(text) for told, text in zip(sent, raw, strict=True))
    desk.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(event, min_size=4, max_size=20), expected=st.sampled_from([0.5, 3.0, 30.0]))
def test_what_changes_a_prefix_is_always_said(
    tmp_path_factory: pytest.TempPathFactory, events: list[Any], expected: float
) -> None:
    """Where rewriting is expected to pay, too: it happens then and only then, and holds from then on."""
    desk = Desk(tmp_path_factory.mktemp("freeze") / "o.db")
    desk.another()
    talks: list[list[str]] = [[], [], []]
    before: dict[int, list[str]] = {}
    with mock.patch.object(compress_stubs, "further", return_value=expected):
        for number, (talk, gap, program, size, _) in enumerate(events):
            desk.now += gap
            talks[talk].append(output(talk * 1_000 + number, size))
            sent = [json.dumps(turn) for turn in turns(desk.send(asked("chat", talks[talk]), program))]
            earlier = before.get(talk, [])
            why = desk.stubbed() or ""
            assert sent[: len(earlier)] == earlier or "gone" in why or "further requests pay for it" in why
            # Never back: what became a stub stays one.
            assert all(
                "left out here" in new for old, new in zip(earlier, sent, strict=False) if "left out here" in old
            )
            before[talk] = sent
    desk.close()


def test_programs_that_send_the_same_at_once_send_the_same_bytes(desk: Desk) -> None:
    for _ in range(3):
        desk.another()
    body = asked("chat", [output(number) for number in range(8)])
    desk.send(body)
    desk.now += GONE["chat"]
    sent: dict[int, Any] = {}
    ready = threading.Barrier(4)
    entries = [Entry("chat", "gpt-6-luna", feature="f") for _ in range(4)]

    def go(at: int) -> None:
        async def below(request: Request) -> Response:
            sent[at] = request.body
            return Response(200, {}, content=b"{}")

        ready.wait()
        drive(desk.layers[at](Request("chat", body, CHAT, entries[at], SyncRuntime()), below))

    with mock.patch.object(time, "time", side_effect=lambda: desk.now):
        threads = [threading.Thread(target=go, args=(at,)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({json.dumps(each) for each in sent.values()}) == 1
    assert sum(is_stub(text) for text in results(sent[0])) == 6


PROGRAM = """
import json, sys, time
from unittest import mock
from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.compress import Compress
from llmsaver.pricing import PriceBook
from llmsaver import Stubs
path, now, url = sys.argv[1], float(sys.argv[2]), sys.argv[3]
layer = Compress(stubs=Stubs(recent=2))
layer.use_books(PriceBook())
layer.use_originals(path, None)
body = json.load(sys.stdin)
async def below(request):
    print(json.dumps(request.body), flush=True)
    while len(sys.argv) > 4:
        time.sleep(60)  # until it is killed, stored and not sent
    return Response(200, {}, content=b"{}")
with mock.patch.object(time, "time", side_effect=lambda: now):
    drive(layer(Request("chat", body, url, Entry("chat", body["model"], feature="f"), SyncRuntime()), below))
"""


def program(desk: Desk, body: dict[str, Any], *more: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(  # noqa: S603 - our own interpreter and source
        [sys.executable, "-c", PROGRAM, str(desk.path), repr(desk.now), CHAT, *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdin is not None
    started.stdin.write(json.dumps(body))
    started.stdin.close()
    return started


def told_by(started: subprocess.Popen[str]) -> Any:
    assert started.stdout is not None
    return json.loads(started.stdout.readline())


def ended(started: subprocess.Popen[str]) -> None:
    assert started.stdout is not None
    started.stdout.close()
    started.wait(60)


def test_another_process_and_the_next_one_send_the_same(desk: Desk) -> None:
    outputs = [output(number) for number in range(8)]
    desk.send(asked("chat", outputs[:6]))
    desk.now += GONE["chat"]
    there = program(desk, asked("chat", outputs[:7]))
    first = told_by(there)
    ended(there)
    assert sum(is_stub(text) for text in results(first)) == 5
    desk.now += 60
    here = desk.send(asked("chat", outputs))
    assert turns(here)[: len(turns(first))] == turns(first)
    assert desk.recall(results(here)[0]) == outputs[0]


def test_a_program_killed_before_it_sends_leaves_all_as_it_should_be(desk: Desk) -> None:
    outputs = [output(number) for number in range(8)]
    desk.send(asked("chat", outputs[:6]))
    desk.now += GONE["chat"]
    there = program(desk, asked("chat", outputs[:7]), "hang")
    first = told_by(there)
    os.kill(there.pid, signal.SIGKILL)
    ended(there)
    desk.now += 60
    assert desk.send(asked("chat", outputs[:7])) == first
    assert turns(desk.send(asked("chat", outputs)))[: len(turns(first))] == turns(first)
    for text, told in itertools.islice(zip(outputs, results(first), strict=False), 5):
        assert desk.recall(told) == text


def test_a_saver_calls_back_what_its_layer_left_out(tmp_path: Path) -> None:
    layer = Compress(stubs=True)
    with Saver(stack=[..., layer], ledger=str(tmp_path / "ledger.db"), tenant="acme") as saver:
        assert saver.originals.place.path == tmp_path / "originals.db"
        assert saver.originals is layer._stubber.originals  # type: ignore[union-attr]  # it has one
        assert saver.recall("llmsaver:o-" + "0" * 24) is None
        assert not (tmp_path / "originals.db").exists()
        reference = reference_of("a text", "acme")
        texts = {reference: ("a text", "bash")}
        saver.originals.place.transact(lambda connection: saver.originals.keep(connection, texts, "acme", time.time()))
        assert saver.recall(reference) == "a text"
        assert saver.recall(f"[... reference {reference}]", tenant="acme") == "a text"
        assert saver.recall(reference, tenant="other") is None
    with Saver(ledger=str(tmp_path / "ledger.db")) as plain:
        assert plain.recall(reference, tenant="acme") == "a text"
