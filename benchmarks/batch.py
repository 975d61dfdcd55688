"""Whether a batch survives anything: programs killed with -9 at random and at the worst moments, and bad providers.

``python benchmarks/batch.py --json`` sends 10,000 requests to a fake OpenAI and as many to a fake Anthropic that answer
with 5xx, begin batches and deny it, cut downloads off, let batches expire and fail single lines. The program that runs
the batch is a process of its own, killed with -9 again and again: at random moments, and right after the provider took
a job and before its answer left, which is between submission and checkpoint. Counted in the end: answers that are
missing, doubled or another request's; and what the provider charged, by its own books, against the ledger's sum, the
run's own and what a hard budget around it has spent, with nothing left of what was held under it. ``--quick`` sends
1,000. Exits with 1 where anything is off.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.ledger import Ledger
from llmsaver.pricing import Billed, PriceBook
from llmsaver.testing import Answer, BatchTroubles, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.testing import Received
    from llmsaver.testing.reply import Reply

MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}
PARTS = 20
LIMIT_SECONDS = 900.0
RUN = """
import sys
from llmsaver import Client, Saver
from llmsaver.batch import Pace
via, url, ledger, requests, out, part = sys.argv[1:]
pace = Pace(poll_s=0.02, poll_most_s=0.1, retry_s=0.02, retry_most_s=0.1, settle_s=0.3, refused_s=0.05)
vendor = {"base_url": url, "api_key": "k", "max_retries": 0}
# The price at an address of its own is assumed only, so the budget says what a call is held at.
rule = {"name": "all", "scope": "organisation", "usd": 30, "max_call_usd": "0.001"}
with Saver(ledger=ledger, budgets=[rule]) as saver:
    with Client(saver=saver, **{**vendor, "base_url": url + "/v1"}, anthropic=vendor) as client:
        done = saver.batch(
            requests, via=via, out=out, client=client, pace=pace, part_requests=int(part), retries=50
        )
print(done.state, done.spent_nano)
sys.exit(0 if done.ok else 3)
"""


class Deadly(FakeProvider):
    """A provider that has the calling program killed: right after it began a job, or while it serves anything else."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.victim: subprocess.Popen[bytes] | None = None
        self.kills = {"before the checkpoint": 0, "while it polled, sent or fetched": 0}
        self.left = 0
        self._random = random.Random(seed)  # noqa: S311 - the same kills for the same seed

    def receive(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer, and perhaps kill whoever asked before the answer leaves."""
        reply = super().receive(method, url, headers, body)
        begun = method == "POST" and url.rstrip("/").endswith("batches") and reply.status < 300  # noqa: PLR2004 - HTTP
        if self.left and self._random.random() < (0.35 if begun else 0.01):
            self._kill("before the checkpoint" if begun else "while it polled, sent or fetched")
        return reply

    def _kill(self, when: str) -> None:
        victim = self.victim
        if victim is not None and victim.poll() is None:
            self.left -= 1
            self.kills[when] += 1
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()


@dataclass(frozen=True)
class Figures:
    """What one vendor's batch came to; nano-dollars."""

    via: str
    requests: int
    programs: int
    kills: dict[str, int]
    troubles: dict[str, int]
    seconds: float
    state: str
    missing: int
    doubled: int
    wrong: int
    answered_more_than_once_by_the_provider: int
    provider_nano: int
    ledger_nano: int
    run_nano: int
    budget_spent_nano: int
    budget_held_nano: int

    @property
    def ok(self) -> bool:
        """Whether every request was answered once, and every book tells the same."""
        off = self.missing + self.doubled + self.wrong + self.answered_more_than_once_by_the_provider
        books = {self.provider_nano, self.ledger_nano, self.run_nano, self.budget_spent_nano}
        return not off and self.state == "finished" and len(books) == 1 and self.budget_held_nano == 0


def answer(received: Received) -> Answer:
    """Repeat the question, so that an answer tells whose it is."""
    return Answer(f"re {received.json['messages'][0]['content']}")


def measure(via: str, count: int, kills: int, seed: int) -> Figures:
    """Run one batch to its end through all its deaths, and count."""
    with tempfile.TemporaryDirectory(prefix="llmsaver-batch-") as name:
        folder = Path(name)
        requests, out, ledger = folder / "requests.jsonl", folder / "answers.jsonl", folder / "ledger.db"
        with requests.open("w") as file:
            for number in range(count):
                body = {"model": MODELS[via], "max_tokens": 30, "messages": [{"role": "user", "content": f"q{number}"}]}
                url = "/v1/messages" if via == "anthropic" else "/v1/chat/completions"
                print(json.dumps({"custom_id": f"id-{number}", "method": "POST", "url": url, "body": body}), file=file)
        troubles = BatchTroubles(
            seed, refused=0.02, lost=0.15, cut=0.05, expired=0.05, limited=0.03, line=0.01, late=0.005
        )
        fake = Deadly(seed, answer=answer, troubles=troubles)
        begun = time.monotonic()
        with fake.serve() as url:
            command = [sys.executable, "-c", RUN, via, url, str(ledger), str(requests), str(out), str(count // PARTS)]
            said, programs = _live(fake, command, kills, seed)
        seconds = time.monotonic() - begun
        state, run_nano = said.split() if said else ("died", "0")
        return _counted(
            via,
            count,
            fake,
            out,
            ledger,
            {
                "programs": programs,
                "seconds": round(seconds, 1),
                "state": state,
                "run_nano": int(run_nano),
                "troubles": troubles.counted,
            },
        )


def _live(fake: Deadly, command: list[str], kills: int, seed: int) -> tuple[str, int]:
    """Start the program until it ends by itself; return what it said, and how often it was started."""
    dice = random.Random(seed)  # noqa: S311 - the same kills for the same seed
    until = time.monotonic() + LIMIT_SECONDS
    fake.left, fake.kills["at random"] = kills // 2, 0
    for programs in range(1, 10_000):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as program:  # noqa: S603 - ours
            fake.victim = program
            if fake.kills["at random"] < kills - kills // 2:
                try:
                    program.wait(dice.uniform(0.8, 4.0))
                except subprocess.TimeoutExpired:
                    program.kill()
                    fake.kills["at random"] += 1
            said = (program.communicate(timeout=LIMIT_SECONDS)[0] or b"").decode()
        if program.returncode >= 0 or time.monotonic() > until:
            return said.strip(), programs
    raise AssertionError


def _counted(via: str, count: int, fake: Deadly, out: Path, ledger: Path, more: dict[str, Any]) -> Figures:
    """Count the answers, and the money in all three books."""
    seen: dict[str, int] = {}
    wrong = 0
    for number, line in enumerate(map(json.loads, out.read_text("utf-8").splitlines()) if out.exists() else ()):
        seen[line["custom_id"]] = seen.get(line["custom_id"], 0) + 1
        wrong += line["custom_id"] != f"id-{number}" or _text(line) != f"re q{number}"
    book = PriceBook()
    priced = [book.cost(Billed(bill.dialect, bill.model, bill.usage, route="batch", host=via)) for bill in fake.billed]
    with Ledger(ledger) as books, books.reader() as reader:
        booked = reader.totals().cost_nano
        (budget,) = reader.budgets(time.time())
    return Figures(
        via=via,
        requests=count,
        kills=fake.kills,
        missing=sum(f"id-{number}" not in seen for number in range(count)),
        doubled=sum(times - 1 for times in seen.values()),
        wrong=wrong,
        answered_more_than_once_by_the_provider=len(fake.billed) - count,
        provider_nano=sum(cost.nano_usd for cost in priced),
        ledger_nano=booked,
        budget_spent_nano=budget["spent_nano"],
        budget_held_nano=budget["held_nano"],
        **more,
    )


def _text(line: dict[str, Any]) -> str | None:
    try:
        if "result" in line:
            return str(line["result"]["message"]["content"][0]["text"])
        return str(line["response"]["body"]["choices"][0]["message"]["content"])
    except (KeyError, TypeError):
        return None


def main() -> int:
    """Measure both vendors and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    count, kills = (1_000, 6) if asked.quick else (10_000, 24)
    found = [measure(via, count, kills, asked.seed) for via in MODELS]
    if asked.json:
        print(json.dumps({"ok": all(each.ok for each in found), "vendors": [asdict(each) for each in found]}, indent=2))
    else:
        for each in found:
            print(f"{each.via}: {'ok' if each.ok else 'NOT OK'} {asdict(each)}")
    return 0 if all(each.ok for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
