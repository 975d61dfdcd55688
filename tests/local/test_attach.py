"""Somebody else's server: found, asked once what it can do, remembered, and asked how busy it is."""

from __future__ import annotations

import http.server
import json
import os
import stat
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import ConfigurationError, LocalModelError
from llmsaver.local import attach, probe_http, vllm_metrics
from llmsaver.local.endpoint import Load
from llmsaver.local.models import Attach
from llmsaver.local.probe import ABILITIES, Abilities
from llmsaver.local.probe_http import ask, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Answers = dict[str, Callable[[dict[str, Any]], tuple[int, Any]]]


class Stand:
    """A server whose answers a test may change; ``asked`` are the requests it got."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.key: str | None = None
        self.owner = "vllm"
        self.limits: dict[str, Any] = {"max_model_len": 4096}
        self.answers: Answers = {
            "/v1/models": lambda _: (200, {"data": [{"id": "m", "owned_by": self.owner, **self.limits}]}),
            "/version": lambda _: (200, {"version": "1.0"}),
            "/metrics": lambda _: (200, "vllm:num_requests_running 1\nvllm:num_requests_waiting 2\n"),
            "/v1/chat/completions": self.chat,
            "/v1/responses": lambda _: (200, {"output": []}),
            "/v1/messages": lambda _: (200, {"type": "message"}),
        }
        self.refused: tuple[str, ...] = ()
        self.message: dict[str, Any] = {}
        self.usage: Any = {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}
        self.url = ""

    def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        for name in self.refused:
            if name in body:
                return 400, {"error": {"message": f"no {name} here"}}
        if body.get("stream"):
            usage = "data: " + json.dumps({"choices": [], "usage": {"prompt_tokens": 3}}) + "\n\n"
            return 200, 'data: {"choices": [{}]}\n\ndata: {broken\n\n' + usage + "data: [DONE]\n\n"
        message: dict[str, Any] = {"content": "Hello"}
        if "response_format" in body:
            message = {"content": ' {"ok"'}
        if isinstance(body.get("tool_choice"), dict):
            message = {"content": None, "tool_calls": [{"function": body["tool_choice"]["function"]}]}
        choice: dict[str, Any] = {"message": message | self.message}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": "H"}]}
        return 200, {"choices": [choice], "usage": self.usage}

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]


@pytest.fixture
def stand() -> Iterator[Stand]:
    """Return a running stand-in."""
    found = Stand()

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append((self.path, body, headers))
            status: int = 404
            said: Any = {"detail": "Not Found"}
            if found.key is not None and headers.get("authorization") != f"Bearer {found.key}":
                status, said = 401, {"error": "Unauthorized"}
            elif self.path in found.answers:
                status, said = found.answers[self.path](body)
            raw = (said if isinstance(said, str) else json.dumps(said)).encode()
            self.send_response(status)
            if status == 307:
                self.send_header("location", "https://elsewhere/")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as served:
        threading.Thread(target=served.serve_forever, args=(0.01,), daemon=True).start()
        found.url = f"http://127.0.0.1:{served.server_port}"
        yield found
        served.shutdown()


@pytest.fixture(autouse=True)
def _no_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget other tests' servers: a port may come back."""
    monkeypatch.setattr(attach, "_pulses", {})


def found_in(stand: Stand, folder: Path, **settings: Any) -> Abilities:
    return attach.abilities(Attach("t", base_url=stand.url, **settings), cache_dir=folder)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
def test_a_capable_server_is_asked_once_and_remembered(stand: Stand, tmp_path: Path, ending: str) -> None:
    tier = Attach("t", base_url=stand.url + ending)
    endpoint = attach.endpoint(tier, cache_dir=tmp_path)
    assert (endpoint.base_url, endpoint.model, endpoint.runner, endpoint.tier) == (stand.url, "m", "attach", tier)
    found = endpoint.abilities
    assert found.certain
    assert {name: getattr(found, name) for name in ABILITIES} == dict.fromkeys(ABILITIES, True)
    assert (found.server, found.models, found.context) == ("vLLM 1.0", ("m",), 4096)
    assert "streamed answers: yes" in found.lines()
    assert "context: 4096 tokens" in found.lines()
    assert all(body.get("max_tokens", 16) <= 96 for _, body, _ in stand.asked)
    stand.asked.clear()
    assert attach.endpoint(tier, cache_dir=tmp_path) == endpoint
    assert stand.paths() == ["/v1/models", "/version"]


def test_what_is_remembered_is_private_and_for_one_version(stand: Stand, tmp_path: Path) -> None:
    found_in(stand, tmp_path)
    (file,) = (tmp_path / "attach").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    stand.answers["/version"] = lambda _: (200, {"version": "2.0"})
    stand.refused = ("logprobs",)
    found = found_in(stand, tmp_path)
    assert (found.server, found.logprobs) == ("vLLM 2.0", False)
    assert len(list((tmp_path / "attach").iterdir())) == 2


@pytest.mark.parametrize("spoil", ["not json", '{"abilities": {}}', '{"abilities": {"chat": 1}}', "old", "other form"])
def test_what_is_old_or_broken_is_asked_again(stand: Stand, tmp_path: Path, spoil: str) -> None:
    found = found_in(stand, tmp_path)
    (file,) = (tmp_path / "attach").iterdir()
    held = json.loads(file.read_text(encoding="utf-8"))
    if spoil == "old":
        held["at"] -= 8 * 86_400
    if spoil == "other form":
        held["form"] = 0
    file.write_text(json.dumps(held) if spoil in {"old", "other form"} else spoil, encoding="utf-8")
    stand.asked.clear()
    assert found_in(stand, tmp_path) == found
    assert "/v1/messages" in stand.paths()


def test_an_unsure_answer_is_good_for_ten_minutes(stand: Stand, tmp_path: Path) -> None:
    stand.answers["/v1/messages"] = lambda _: (503, "warming up")
    found = found_in(stand, tmp_path)
    assert (found.messages, found.certain) == (None, False)
    assert "messages: unknown (status 503: warming up)" in found.lines()
    (file,) = (tmp_path / "attach").iterdir()
    held = json.loads(file.read_text(encoding="utf-8"))
    held["at"] -= 601
    file.write_text(json.dumps(held), encoding="utf-8")
    del stand.answers["/v1/messages"]
    assert found_in(stand, tmp_path).messages is False


def test_a_cache_that_cannot_be_written_costs_the_memory_only(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "attach").touch()
    assert found_in(stand, tmp_path).chat


def test_the_users_own_cache_folder_is_the_default(stand: Stand, tmp_path: Path) -> None:
    attach.endpoint(Attach("t", base_url=stand.url))
    assert list((tmp_path / "cache").rglob("attach/*.json"))


def test_a_modest_server_is_told_apart(stand: Stand, tmp_path: Path) -> None:
    stand.refused = ("logprobs", "response_format", "stream_options", "tools")
    stand.usage = None
    del stand.answers["/v1/responses"]
    del stand.answers["/v1/messages"]
    found = found_in(stand, tmp_path)
    can = {name for name in ABILITIES if getattr(found, name)}
    assert can == {"chat", "stream"}
    assert found.certain
    assert "log probabilities: no (status 400: no logprobs here)" in found.lines()
    assert "responses: no (status 404: Not Found)" in found.lines()


def test_what_is_accepted_and_ignored_counts_as_no(stand: Stand, tmp_path: Path) -> None:
    stand.message = {"content": "Hello!", "tool_calls": None}
    found = found_in(stand, tmp_path)
    assert (found.json_schema, found.tools, found.forced_tools) == (False, True, False)
    assert found.notes["json_schema"] == "it takes the schema and does not keep to it"


def test_a_model_that_shows_no_text_leaves_the_schema_open(stand: Stand, tmp_path: Path) -> None:
    stand.message = {"content": None, "tool_calls": [{"function": {"name": "other"}}]}
    found = found_in(stand, tmp_path)
    assert (found.json_schema, found.forced_tools) == (None, False)


@pytest.mark.parametrize("said", [{"choices": []}, {"choices": [1]}, [], "<html>", {"choices": [{"message": 1}]}])
def test_nonsense_is_no_ability(stand: Stand, tmp_path: Path, said: Any) -> None:
    stand.answers["/v1/chat/completions"] = lambda body: (200, said) if not body.get("stream") else (200, "data: 1")
    found = found_in(stand, tmp_path)
    assert not found.logprobs
    assert not found.forced_tools


def test_a_server_of_messages_alone_will_do(stand: Stand, tmp_path: Path) -> None:
    del stand.answers["/v1/chat/completions"]
    found = found_in(stand, tmp_path)
    assert (found.chat, found.stream, found.messages) == (False, False, True)


def test_a_server_that_speaks_no_dialect_is_an_error(stand: Stand, tmp_path: Path) -> None:
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
        del stand.answers[path]
    with pytest.raises(LocalModelError, match=r"answers, but to no request .*status 404"):
        found_in(stand, tmp_path)


def test_a_server_that_breaks_off_is_unknown(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError

    monkeypatch.setattr("llmsaver.local.probe.ask", broken)
    with pytest.raises(LocalModelError, match="it did not answer"):
        found_in(stand, tmp_path)


def test_the_key_comes_from_the_environment(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand.key = "k1"
    monkeypatch.setenv("MY_KEY", " k1\n")
    tier = Attach("t", base_url=stand.url, api_key_env="MY_KEY")
    assert attach.endpoint(tier, cache_dir=tmp_path).api_key == "k1"
    assert all(headers["x-api-key"] == "k1" for _, _, headers in stand.asked)
    assert attach.load(tier) is not None
    monkeypatch.setenv("MY_KEY", "wrong")
    with pytest.raises(LocalModelError, match=r"wants a key \(status 401: Unauthorized\); check the key in MY_KEY"):
        attach.endpoint(tier, cache_dir=tmp_path)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigurationError, match="MY_KEY is not set"):
        attach.endpoint(tier, cache_dir=tmp_path)
    with pytest.raises(LocalModelError, match="name the variable that holds it: api_key_env="):
        found_in(stand, tmp_path)


def test_a_key_that_only_calls_need_is_asked_for_too(stand: Stand, tmp_path: Path) -> None:
    stand.answers["/v1/chat/completions"] = lambda _: (403, {"message": "forbidden"})
    with pytest.raises(LocalModelError, match=r"wants a key \(status 403: forbidden\)"):
        found_in(stand, tmp_path)
    assert not (tmp_path / "attach").exists()


def test_a_key_that_http_forbids_is_not_shown(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "two\nlines")
    with pytest.raises(LocalModelError, match="HTTP forbids") as caught:
        found_in(stand, tmp_path, api_key_env="MY_KEY")
    assert "two" not in str(caught.value)


def test_the_model_may_be_named(stand: Stand, tmp_path: Path) -> None:
    stand.answers["/v1/models"] = lambda _: (200, {"data": [{"id": "a:latest", "aliases": ["b"]}, {"id": "c"}, 7]})
    assert found_in(stand, tmp_path, model="c").model == "c"
    assert found_in(stand, tmp_path, model="b").model == "b"
    assert found_in(stand, tmp_path, model="a").model == "a"
    assert found_in(stand, tmp_path).model == "a:latest"
    with pytest.raises(LocalModelError, match="has no model 'd'; it lists a:latest, c"):
        found_in(stand, tmp_path, model="d")


def test_a_server_without_a_list_needs_the_models_name(stand: Stand, tmp_path: Path) -> None:
    del stand.answers["/v1/models"]
    with pytest.raises(LocalModelError, match=r"lists no model; name it: Attach\('t', model="):
        found_in(stand, tmp_path)
    assert found_in(stand, tmp_path, model="m").chat


@pytest.mark.parametrize(
    ("owner", "path", "said", "server"),
    [
        ("llamacpp", "/props", {"build_info": "b1"}, "llama.cpp b1"),
        ("library", "/api/version", {"version": "0.9"}, "Ollama 0.9"),
        ("somebody", "/version", {"version": "0.9"}, "0.9"),
        ("somebody", "/props", {"build_info": "b2"}, "llama.cpp b2"),
        ("somebody", "/nothing", {}, ""),
        ("vllm", "/version", {"version": 1}, ""),
    ],
)
def test_servers_say_their_version_in_their_own_way(
    stand: Stand, tmp_path: Path, owner: str, path: str, said: dict[str, Any], server: str
) -> None:
    stand.owner, stand.limits = owner, {"meta": {"n_ctx": 2048}}
    del stand.answers["/version"]
    stand.answers[path] = lambda _: (200, said)
    found = found_in(stand, tmp_path)
    assert (found.server, found.context) == (server, 2048)
    assert found.lines()[0] == f"server: {server or 'unknown'}"


def test_a_context_that_nobody_says_is_unknown(stand: Stand, tmp_path: Path) -> None:
    stand.limits = {"meta": None, "max_model_len": "x"}
    assert found_in(stand, tmp_path).context is None


def test_nobody_there_is_said_with_the_host_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match=r"nothing answers at 127\.0\.0\.1 port 9 .*curl http://127.*base_url="):
        attach.endpoint(Attach("t", base_url="http://127.0.0.1:9/v1"), cache_dir=tmp_path)
    with pytest.raises(LocalModelError, match=r"nothing answers at localhost port 443"):
        attach.endpoint(Attach("t", base_url="https://localhost/v1"), cache_dir=tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:secret@host/v1", "no user or password"),
        ("http://host:port/v1", "is not an address"),
        ("http:///v1", "needs a scheme and a host"),
        ("http://host/v1?key=1", "must end with its path"),
    ],
)
def test_addresses_that_cannot_work_are_refused(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        attach.endpoint(Attach("t", base_url=url))
    assert "secret" not in str(caught.value)


def test_a_path_in_front_of_v1_is_kept() -> None:
    assert root_of("https://host/llm/v1/") == "https://host/llm"
    assert root_of("http://[::1]:80") == "http://[::1]:80"


def test_a_redirect_is_not_followed_and_said(stand: Stand) -> None:
    stand.answers["/version"] = lambda _: (307, "")
    answer = ask(stand.url, "/version", timeout=60)
    assert (answer.ok, answer.words()) == (False, "it redirects to https://elsewhere/")


def test_an_endless_answer_is_cut(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_http, "_MOST_BYTES", 10)
    with pytest.raises(OSError, match="more than 10 bytes"):
        ask(stand.url, "/metrics", timeout=60)


def test_what_is_no_http_is_said(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(LocalModelError, match="does not answer in HTTP"):
            attach.endpoint(Attach("t", base_url=url), cache_dir=tmp_path)
        thread.join()


def test_the_load_is_the_servers_and_costs_nothing_twice(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_metrics, "time", SimpleNamespace(monotonic=lambda: 1_000.0))  # the answer stays fresh
    tier = Attach("t", base_url=stand.url)
    assert attach.load(tier) == Load(1, 2, 1)
    began = time.thread_time()
    for _ in range(100):
        attach.load(tier)
    assert (time.thread_time() - began) / 100 < 0.001
    assert stand.paths() == ["/metrics"]


def test_no_metrics_is_no_load(stand: Stand) -> None:
    del stand.answers["/metrics"]
    assert attach.load(Attach("t", base_url=stand.url)) is None


def test_what_is_shown_survives_json(stand: Stand, tmp_path: Path) -> None:
    found = found_in(stand, tmp_path)
    assert Abilities.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    with pytest.raises(ValueError, match="no abilities"):
        Abilities.from_dict({**found.as_dict(), "chat": "yes"})


def test_what_was_found_can_be_read_without_asking(stand: Stand, tmp_path: Path) -> None:
    tier = Attach("t", base_url=stand.url)
    assert attach.remembered(tier, cache_dir=tmp_path) is None
    found = attach.abilities(tier, cache_dir=tmp_path)
    stand.owner = "sglang"  # another program there now
    again = attach.abilities(tier, cache_dir=tmp_path)
    before = len(stand.asked)
    os.utime(next(iter((tmp_path / "attach").glob("*.json"))), (1, 1))
    assert attach.remembered(tier, cache_dir=tmp_path) in (found, again)
    assert attach.remembered(Attach("t", base_url=stand.url, model="m"), cache_dir=tmp_path) is not None
    assert attach.remembered(Attach("t", base_url=stand.url, model="other"), cache_dir=tmp_path) is None
    assert attach.remembered(Attach("t", base_url="http://127.0.0.1:9"), cache_dir=tmp_path) is None
    assert len(stand.asked) == before
