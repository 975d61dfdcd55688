"""Rows of requests as applications send them, made from real agent trajectories, and the least a cache could cost.

Each workload is a list of (seconds, request); texts come from the trajectories' own messages, and times from
exponential pauses. The oracle knows the future: of every piece of every prefix it decides by itself, at each of its
times, whether to write it and for how long; no provider's limit binds it, so nobody can cost less.
"""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any

from provider_caches import Anthropic, OpenAI, OpenAIBefore, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["PROVIDERS", "WORKLOADS", "oracle", "requests_of", "trajectories"]

READ = 0.1
TOOL = {"name": "bash", "description": "runs a command", "input_schema": {"type": "object", "properties": {}}}
FUNCTION = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}}}
# By provider: dialect, model, host, a fresh simulation, and what writing costs by seconds kept.
PROVIDERS: Mapping[str, tuple[str, str, str, Callable[[], Any], Mapping[float, float]]] = {
    "anthropic": (
        "messages",
        "claude-sonnet-5",
        "https://api.anthropic.com/v1/messages",
        Anthropic,
        {300.0: 1.25, 3600.0: 2.0},
    ),
    "openai": ("chat", "gpt-6-luna", "https://api.openai.com/v1/chat/completions", OpenAI, {1800.0: 1.25}),
    "openai before 5.6": (
        "chat",
        "gpt-5-mini",
        "https://api.openai.com/v1/chat/completions",
        OpenAIBefore,
        {600.0: 1.0},
    ),
}
Turns = list[tuple[str, str]]
Event = tuple[float, Turns, bool]


def trajectories(folder: Path) -> list[Turns]:
    """Return the conversations of the agent trajectory files as (role, text)."""
    found = []
    for path in sorted(folder.glob("agent_trajectory_*.json.gz")):
        with gzip.open(path) as file:
            told = json.load(file)
        turns = told.get("history") or max((step.get("messages", []) for step in told["trajectory"]), key=len)
        found.append([(turn["role"], _text(turn["content"])) for turn in turns])
    if not found:
        raise SystemExit(
            f"no agent_trajectory_*.json.gz in {folder}: set LLMSAVER_DATA or --data to a folder with them"
        )
    return found


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content)


class Words:
    """Texts of a given length out of the trajectories, no two alike."""

    def __init__(self, talks: Sequence[Turns], seed: int) -> None:
        self.words = " ".join(text for talk in talks for _, text in talk).split()
        self.random = random.Random(seed)  # noqa: S311 - a workload, the same each time

    def take(self, count: int) -> str:
        """Return so many words in a row, with a number that nothing else has."""
        at = self.random.randrange(max(1, len(self.words) - count - 1))
        return f"{' '.join(self.words[at : at + count])} {self.random.random()}"


def agents(talks: Sequence[Turns], rng: random.Random, sessions: int, pause: float) -> list[Event]:
    """Return agents at work side by side: the same instructions, each task its own."""
    events: list[Event] = []
    for session in range(sessions):
        talk = rng.choice(talks)
        at = rng.uniform(0, sessions * 300)
        own = [(role, text if role == "system" else f"{session} {text}") for role, text in talk]
        for end, (role, _) in enumerate(own):
            if role == "assistant":
                events.append((at, own[:end], True))
                at += rng.expovariate(1 / pause)
    return events


def chats(talks: Sequence[Turns], rng: random.Random, count: int, pause: float) -> list[Event]:
    """Return conversations under one system prompt, three of four questions followed by another."""
    words = Words(talks, 1)
    system = words.take(1500)
    events: list[Event] = []
    for _ in range(count):
        at = rng.uniform(0, count * 60)
        turns = [("system", system), ("user", words.take(60))]
        while True:
            events.append((at, list(turns), False))
            if rng.random() > 0.75:  # noqa: PLR2004 - three of four
                break
            turns += [("assistant", words.take(200)), ("user", words.take(60))]
            at += rng.expovariate(1 / pause)
    return events


def questions(talks: Sequence[Turns], rng: random.Random, count: int, pause: float, *, shared: int = 0) -> list[Event]:
    """Return single questions: on one system prompt of ``shared`` words, or each on its own that never comes again."""
    words = Words(talks, 2)
    system = words.take(shared) if shared else ""
    at, events = 0.0, []
    for _ in range(count):
        at += rng.expovariate(1 / pause)
        events.append((at, [("system", system or words.take(1500)), ("user", words.take(800))], False))
    return events


WORKLOADS: Mapping[str, Callable[[Sequence[Turns], random.Random, int], list[Event]]] = {
    "agents, 20 s between calls": lambda talks, rng, n: agents(talks, rng, n // 12, 20),
    "agents, 3 min between calls": lambda talks, rng, n: agents(talks, rng, n // 12, 180),
    "chats, 1 min between turns": lambda talks, rng, n: chats(talks, rng, n // 4, 60),
    "chats, 15 min between turns": lambda talks, rng, n: chats(talks, rng, n // 4, 900),
    "questions on one prompt, 25 s apart": lambda talks, rng, n: questions(talks, rng, n, 25, shared=2000),
    "questions on one prompt, 7 min apart": lambda talks, rng, n: questions(talks, rng, n, 420, shared=3000),
    "questions on one prompt, 2 h apart": lambda talks, rng, n: questions(talks, rng, n, 7200, shared=3000),
    "every prompt another, 20 s apart": lambda talks, rng, n: questions(talks, rng, n, 20),
    "every prompt another, in a burst": lambda talks, rng, n: questions(talks, rng, n, 0.05),
}


def requests_of(events: Sequence[Event], dialect: str, model: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the requests of a workload in the order of their times."""
    for at, turns, tools in sorted(events, key=lambda event: event[0]):
        if dialect == "messages":
            body: dict[str, Any] = {"model": model, "max_tokens": 1000, "messages": _alternating(turns)}
            system = "\n".join(text for role, text in turns if role == "system")
            body |= {"system": system} if system else {}
            body |= {"tools": [TOOL]} if tools else {}
        else:
            said = [{"role": "user" if role == "tool" else role, "content": text} for role, text in turns]
            body = {"model": model, "messages": said, **({"tools": [FUNCTION]} if tools else {})}
        yield at, body


def _alternating(turns: Turns) -> list[dict[str, str]]:
    made: list[dict[str, str]] = []
    for role, text in turns:
        who = "assistant" if role == "assistant" else "user"
        if role == "system":
            continue
        if made and made[-1]["role"] == who:
            made[-1]["content"] += f"\n{text}"
        else:
            made.append({"role": who, "content": text})
    return made


def oracle(dialect: str, sent: Sequence[tuple[float, Mapping[str, Any]]], write: Mapping[float, float]) -> float:
    """Return the least that the input of these requests could cost, in plain input tokens."""
    pieces: dict[str, tuple[int, list[float]]] = {}
    for at, body in sent:
        for block in row_of(dialect, body):
            pieces.setdefault(block.upto, (block.tokens, []))[1].append(at)
    return sum(tokens * _least(times, write) for tokens, times in pieces.values())


def _least(times: Sequence[float], write: Mapping[float, float]) -> float:
    """Return the least that one token costs that is asked for at these times."""
    states: dict[float | None, float] = {None: 0.0}
    before = times[0]
    for at in times:
        reached: dict[float | None, float] = {}
        for kept, cost in states.items():
            if kept is not None and at - before <= kept:
                choices = [(kept, cost + READ)]
            else:
                choices = [(None, cost + 1), *((keep, cost + price) for keep, price in write.items())]
            for state, total in choices:
                reached[state] = min(total, reached.get(state, float("inf")))
        states, before = reached, at
    return min(states.values())
