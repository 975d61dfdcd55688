"""How much is left behind when programs that use a local server, or its supervisor, are killed at random moments.

``python benchmarks/orphans.py --rounds 50`` prints one JSON object; it exits with 1 where anything was left. Linux
only: what belongs to a round is found by its environment, in /proc, not by what the library itself wrote down.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MODEL = "smollm2-135m"
LIMIT_SECONDS = 10.0
POLL_SECONDS = 0.02
# A program that uses a server as long as it lives, and says so.
USER = """
import http.client, json, sys
from llmsaver.local import LocalServers
local = LocalServers(context=256, parallel=1)
while True:
    endpoint = local.endpoint({model!r})
    call = local.use(endpoint)
    connection = http.client.HTTPConnection(endpoint.base_url.removeprefix("http://"), timeout=30)
    asked = json.dumps({{"messages": [{{"role": "user", "content": "Say hi."}}], "max_tokens": 8}})
    try:
        connection.request("POST", "/v1/chat/completions", asked, {{"authorization": "Bearer " + endpoint.api_key}})
        print(connection.getresponse().status, flush=True)
    except OSError:
        local.failed(endpoint)
    call.end()
    connection.close()
"""


@dataclass(frozen=True)
class Round:
    """One kill: after how many seconds, how long until everything was gone, and what was left after the limit."""

    victim: str
    after_s: float
    gone_s: float
    left: int


def belonging(folder: str, marks: tuple[bytes, ...] = (b"supervisor.py", b"child.py")) -> dict[int, bytes]:
    """Return the running supervisors and servers whose runtime folder this is: command lines by process id."""
    found: dict[int, bytes] = {}
    mark = f"XDG_RUNTIME_DIR={folder}\0".encode()
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                command = (each / "cmdline").read_bytes()
                if any(name in command for name in marks) and mark in (each / "environ").read_bytes():
                    found[int(each.name)] = command
            except OSError:  # it has ended meanwhile
                continue
    return found


def kill_once(victim: str, after_s: float) -> Round:
    """Start a program, kill it ("program") or its server's supervisor ("supervisor"), and see what stays."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": folder}
        user = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", USER.format(model=MODEL)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            if victim == "program":
                time.sleep(after_s)
                user.kill()
                return _left(victim, after_s, folder, set(belonging(folder)))
            return _supervisor_killed(user, after_s, folder)
        finally:
            user.kill()
            user.communicate()
            _left(victim, 0.0, folder, set())


def _supervisor_killed(user: subprocess.Popen[str], after_s: float, folder: str) -> Round:
    """Kill the supervisor; its server must go, and the program go on with another one."""
    deadline = time.monotonic() + LIMIT_SECONDS * 3
    while not belonging(folder, (b"supervisor.py",)):
        if time.monotonic() > deadline:
            raise TimeoutError("no supervisor was started")
        time.sleep(POLL_SECONDS)
    time.sleep(after_s)
    before = belonging(folder)
    for pid, command in before.items():
        if b"supervisor.py" in command:
            os.kill(pid, signal.SIGKILL)
    found = _left("supervisor", after_s, folder, set(before))
    while user.stdout is not None and user.stdout.readline().strip() != "200":
        if time.monotonic() > deadline:
            raise TimeoutError("the program did not go on")
    return found


def _left(victim: str, after_s: float, folder: str, known: set[int]) -> Round:
    """Wait for the end of those that were there (all: of all that belong to the folder)."""
    begin = time.monotonic()
    while left := {pid for pid in belonging(folder) if victim == "program" or pid in known}:
        if time.monotonic() - begin > LIMIT_SECONDS:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(POLL_SECONDS)
    return Round(victim, round(after_s, 3), round(time.monotonic() - begin, 3), len(left))


def killed(rounds: int, seed: int = 0, longest_s: float = 1.5) -> list[Round]:
    """Kill as often as asked, programs and supervisors in turns, each after a random time."""
    chance = random.Random(seed)  # noqa: S311 - a reproducible choice of moments
    victims = ("program", "supervisor")
    return [kill_once(victims[number % 2], chance.uniform(0.0, longest_s)) for number in range(rounds)]


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    found = killed(chosen.rounds, chosen.seed)
    seconds = sorted(each.gone_s for each in found)
    print(
        json.dumps(
            {
                "rounds": len(found),
                "orphans": sum(each.left for each in found),
                "gone_s": {"median": seconds[len(seconds) // 2], "worst": seconds[-1]},
                "victims": {name: sum(each.victim == name for each in found) for name in ("program", "supervisor")},
            }
        )
    )
    return 1 if any(each.left for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
