"""Stubs of old tool outputs, measured: what they do to the bill of agents at work.

    python benchmarks/prompt_stubs.py [--json] [--quick] [--data FOLDER]

The same requests go through ``Compress(stubs=True)`` and ``Compress()``, both above the real ``PromptCache``, and are
billed by the simulated provider caches, which share no code with either. Outputs are the trajectories' own; sessions of
several tasks are trajectories one after another, each with a number of its own in its texts. Not in it: what a model
would call back, or do otherwise without the old outputs. "saved" is of the bill without stubs, "rewritten" counts
requests whose prefix became another than the one before them had.

Written before the first run: 10 % of the bill where sessions rest, nothing elsewhere, and never more than without.
Learned: what is rewritten must be counted as it was sent, stubs and all, or rewriting looks as if it were free (1.9 %
above the bill without); an output that comes again after it became a stub is told in full, which costs what it saved.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from prompt_replays import FUNCTION, PROVIDERS, READ, TOOL, trajectories

from llmsaver.core.entry import Entry
from llmsaver.core.request import Request
from llmsaver.core.response import Response
from llmsaver.core.runtime import SyncRuntime, drive
from llmsaver.middleware.compress import Compress
from llmsaver.middleware.prompt_cache import PromptCache
from llmsaver.pricing import PriceBook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from prompt_replays import Turns

__all__ = ["stubs"]

Talk = tuple[str, list[tuple[str, str]]]
# By name: tasks to a session, seconds between calls and between tasks, sessions (an eighth of that with --quick).
SESSIONS: Mapping[str, tuple[int, float, float, int]] = {
    "one task, 20 s between calls": (1, 20, 0, 120),
    "one task, 3 min between calls": (1, 180, 0, 120),
    "one task, 90 min between calls": (1, 5400, 0, 60),
    "four tasks, 20 s between calls": (4, 20, 20, 40),
    "four tasks, 20 s between calls, 2 h between tasks": (4, 20, 7200, 40),
    "eight tasks, 20 s between calls": (8, 20, 20, 20),
    "eight tasks, 20 s between calls, 20 min between tasks": (8, 20, 1200, 20),
    "given up after three calls": (0, 20, 0, 160),
}


def sessions(talks: Sequence[Turns], rng: random.Random, name: str, count: int) -> list[tuple[float, list[Talk]]]:
    """Return requests as (seconds, tasks so far): a task is its instructions and its (answer, tool output) steps."""
    tasks, pause, rest, _ = SESSIONS[name]
    events: list[tuple[float, list[Talk]]] = []
    for session in range(count):
        at = rng.uniform(0, count * 300)
        done: list[Talk] = []
        for number in range(max(1, tasks)):
            first, steps = _steps(rng.choice(talks), f"{session}.{number} ")
            for end in range(len(steps) + 1 if tasks else 3):
                events.append((at, [*done, (first, steps[:end])]))
                at += rng.expovariate(1 / pause)
            done.append((first, steps))
            at += rng.expovariate(1 / rest) if rest else 0
    return sorted(events, key=lambda event: event[0])


def _steps(talk: Turns, own: str) -> Talk:
    """Return what a trajectory begins with, and its answers, each with what its tool gave."""
    begins = next(at for at, (role, _) in enumerate(talk) if role == "assistant")
    first = own + "\n".join(text for role, text in talk[:begins] if role != "system")
    steps: list[tuple[str, str]] = []
    for (role, text), (_, output) in itertools.pairwise(talk[begins:]):
        if role == "assistant":
            steps.append((text, own + output))
    return first, steps


def agent_request(dialect: str, model: str, system: str, tasks: Sequence[Talk]) -> dict[str, Any]:
    """Return a request of an agent that calls a tool in every answer but a task's last."""
    made: list[dict[str, Any]] = []
    for number, (first, steps) in enumerate(tasks):
        made.append({"role": "user", "content": first})
        for at, (said, output) in enumerate(steps):
            call = f"call_{number}_{at}"
            made += _chat_step(call, said, output) if dialect == "chat" else _messages_step(call, said, output)
        if number + 1 < len(tasks):
            made.append({"role": "assistant", "content": "Done."})
    if dialect == "chat":
        return {"model": model, "messages": [{"role": "system", "content": system}, *made], "tools": [FUNCTION]}
    return {"model": model, "max_tokens": 1000, "system": system, "messages": made, "tools": [TOOL]}


def _chat_step(call: str, said: str, output: str) -> list[dict[str, Any]]:
    called = {"id": call, "type": "function", "function": {"name": "bash", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": said, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": call, "content": output},
    ]


def _messages_step(call: str, said: str, output: str) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": call, "name": "bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": call, "content": output}
    return [
        {"role": "assistant", "content": [{"type": "text", "text": said}, use]},
        {"role": "user", "content": [result]},
    ]


def stubs(folder: Path, *, quick: bool) -> dict[str, Any]:
    """Return by workload and provider what stubs save of the bill, and how many requests had a prefix rewritten."""
    talks = trajectories(folder)
    system = next(text for role, text in talks[0] if role == "system")
    told: dict[str, Any] = {}
    bills = [0.0, 0.0]
    for name, (_, _, _, count) in SESSIONS.items():
        rng = random.Random(11)  # noqa: S311 - a workload, the same each time
        events = sessions(talks, rng, name, count // 8 if quick else count)
        row: dict[str, Any] = {}
        for provider, (dialect, model, url, simulation, _) in PROVIDERS.items():
            sent = [(at, agent_request(dialect, model, system, tasks)) for at, tasks in events]
            off, _, _ = agent_bill(sent, dialect, url, simulation(), Compress())
            with tempfile.TemporaryDirectory() as home:
                layer = Compress(stubs=True)
                layer.use_originals(str(Path(home) / "originals.db"), None)
                on, left_out, rewrites = agent_bill(sent, dialect, url, simulation(), layer)
                layer.close()
            bills = [bills[0] + off, bills[1] + on]
            row[provider] = {
                "saved": round(1 - on / off, 4),
                "requests": len(sent),
                "with_stubs": left_out,
                "rewritten": rewrites,
            }
        told[name] = row
    return {
        "workloads": told,
        "saved": round(1 - bills[1] / bills[0], 4),
        "above_off_worst": round(max(-each["saved"] for row in told.values() for each in row.values()), 4),
        "wanted": "above off <= 0.005",
    }


def agent_bill(
    sent: Sequence[tuple[float, dict[str, Any]]], dialect: str, url: str, simulation: Any, layer: Compress
) -> tuple[float, int, int]:
    """Return the bill in plain input tokens, how many requests had stubs, and in how many a prefix became another."""
    caching = PromptCache()
    for each in (layer, caching):
        each.use_books(PriceBook())
    billed, now = 0.0, [0.0]
    left_out = rewrites = 0

    async def below(request: Request) -> Response:
        nonlocal billed
        billed += simulation.bill(request.body, now[0]).cost(READ)
        return Response(200, {}, content=b"{}")

    async def shaped(request: Request) -> Response:
        return await caching(request, below)

    with mock.patch.object(time, "time", side_effect=lambda: now[0]):
        for at, body in sent:
            now[0] = at + 1e9
            entry = Entry(dialect, body["model"], feature="replay")
            drive(layer(Request(dialect, body, url, entry, SyncRuntime()), shaped))
            acts = [act for act in entry.layers if act.action == "stubbed"]
            left_out += bool(acts)
            rewrites += any("(" in act.why for act in acts)
    return billed, left_out, rewrites


def main() -> None:
    """Print what stubs save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="an eighth of it, for continuous integration")
    parser.add_argument("--data", type=Path, help="a folder with the data (default: LLMSAVER_DATA)")
    given = parser.parse_args()
    folder = given.data or Path(os.environ.get("LLMSAVER_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
    print("stubs ...", file=sys.stderr)
    print(json.dumps(stubs(folder, quick=given.quick), indent=None if given.json else 2))


if __name__ == "__main__":
    main()
