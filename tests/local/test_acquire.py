"""A lease on the server that a model needs: what may go wrong between finding it and its being ready."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from llmsaver.errors import LocalModelError
from llmsaver.local import LocalModel, acquire, folder, running, stop
from llmsaver.local.acquire import Starter
from llmsaver.local.gguf import Header
from llmsaver.local.launch import ServerFailed
from llmsaver.local.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Model = Callable[[str], Path]
    Until = Callable[[Callable[[], object]], None]


def starter(timeout: float = 60.0, **changes: Any) -> Starter:
    settings: dict[str, Any] = {
        "context": 64,
        "parallel": 1,
        "threads": None,
        "sleep_idle_seconds": -1,
        "exit_idle_seconds": -1,
        "memory_mib": None,
        "stop": threading.Event(),
    }
    return Starter(**settings | changes, timeout=timeout)


def key_of(found: Starter, tier: LocalModel) -> str:
    assert tier.path is not None
    return found._plan(tier, tier.path if not isinstance(tier.path, str) else None).key()  # type: ignore[arg-type] # a Path here


def test_a_lock_that_nobody_answers_for_is_told(model: Model) -> None:
    tier, found = LocalModel("tiny", path=model("ok")), starter(timeout=0.2)
    lock = folder.try_lock(folder.runtime_folder() / f"{key_of(found, tier)}.lock")
    assert lock is not None
    with pytest.raises(LocalModelError, match=r"another program keeps .*\.lock but answers nothing"):
        found.lease(tier)
    closing = starter()
    threading.Timer(0.1, closing.stop.set).start()
    with pytest.raises(LocalModelError, match="closed"):
        closing.lease(tier)
    lock.release()


def test_a_supervisor_that_says_nothing_is_waited_for_and_replaced(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier, found = LocalModel("tiny", path=model("ok")), starter()
    key = key_of(found, tier)
    monkeypatch.setattr(acquire, "_HELLO_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        facts = folder.runtime_folder() / f"{key}.json"
        facts.write_text(f'{{"control": {port}, "token": "t", "name": "tiny"}}', encoding="utf-8")
        monkeypatch.setattr(acquire, "_HELLO_SECONDS", 20)
        threading.Timer(0.2, listener.close).start()
        lease, plan = found.lease(tier)
    assert (lease.facts["key"], plan.name) == (key, "tiny")
    lease.let_go()
    assert lease.gone(60)


def test_one_that_is_stopped_while_it_starts_is_told(model: Model, until: Until) -> None:
    tier = LocalModel("tiny", path=model("slow"))
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            starter().lease(tier)
        except LocalModelError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(running)
    assert stop("tiny")
    thread.join(60)
    assert "was stopped while it started" in str(errors)


def test_one_that_goes_in_peace_while_somebody_waits_is_started_again(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    tier, found = LocalModel("tiny", path=model("ok")), starter()
    ready, turned_away = Lease.ready, list[str]()

    def evicted_once(lease: Lease, timeout: float) -> str | None:
        if not turned_away:
            turned_away.append(lease.facts["key"])
            lease.ask("stop", frozenset({"stopping"}), reason="evicted")
        return ready(lease, timeout) if lease.facts.get("base_url") is None else None

    monkeypatch.setattr(Lease, "ready", evicted_once)
    lease, _ = found.lease(tier)
    assert turned_away
    lease.let_go()
    assert lease.gone(60)


def test_one_that_never_answers_is_ended(model: Model, gone: Callable[[int, float], bool]) -> None:
    found = starter()
    with pytest.raises(ServerFailed, match="no usable answer"):
        found.lease(LocalModel("tiny", path=model("sick")))
    assert running() == []
    assert gone is not None


def test_a_start_after_the_end_has_begun_is_given_up(model: Model) -> None:
    found = starter()
    found.stop.set()
    with pytest.raises(LocalModelError):
        found.lease(LocalModel("tiny", path=model("ok")))
    assert running() == []


def test_a_port_is_taken_as_told_and_nobody_has_to_know_it(model: Model) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = model("ok")
    found = starter()
    lease, plan = found.lease(LocalModel("tiny", path=path, port=port))
    assert plan.port == port
    assert str(lease.facts["base_url"] if "base_url" in lease.facts else lease.ready(1.0)).endswith(f":{port}")
    other, _ = starter().lease(LocalModel("tiny", path=path))
    assert other.ready(1.0) == lease.ready(1.0)
    other.close()
    lease.close()


def test_a_port_that_another_program_has_is_told_with_the_fix(model: Model) -> None:
    with socket.socket() as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.listen()
        port = theirs.getsockname()[1]
        with pytest.raises(LocalModelError, match=rf"cannot have port {port} .*--port"):
            starter().lease(LocalModel("tiny", path=model("ok"), port=port))


@pytest.mark.parametrize(("header", "pooling"), [(None, "mean"), (Header(), "mean"), (Header(pools=True), "own")])
def test_vectors_are_pooled_as_the_weights_say_or_as_a_mean(
    header: Header | None, pooling: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmsaver.local.acquire.gguf.read", lambda _: header)
    path = model("ok")
    found = starter()
    plans = [found._plan(LocalModel("tiny", path=path, embeddings=on), path) for on in (True, False)]
    assert [plan.embeddings for plan in plans] == [pooling, None]
    assert plans[0].key() != plans[1].key()
