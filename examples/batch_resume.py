"""A batch at half price whose program is killed at the worst moment, and run again as if nothing had happened.

    python examples/batch_resume.py

The provider is the fake of llmsaver.testing, on a real socket. The first program dies by SIGKILL after the provider
took its second job and before the answer that says so left: nobody has written down that the job exists. The second
one finds it by its metadata.

    first program   killed by SIGKILL with 2 of 4 jobs begun
    second program  finished: 200 of 200 answered
    order           req-0, req-1, req-2 ... req-199
    jobs begun      4, none of them twice
    paid            200 answers, $0.000375 by the provider's books
    ledger          $0.000375 for 200 calls
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from llmsaver.ledger import Ledger
from llmsaver.pricing import Billed, PriceBook
from llmsaver.testing import FakeProvider
from llmsaver.testing.reply import Reply

PROGRAM = """
import sys
from llmsaver import Client, Saver
from llmsaver.batch import Pace
url, ledger, requests, out = sys.argv[1:]
with Saver(ledger=ledger) as saver, Client(saver=saver, base_url=url + "/v1", api_key="sk-fake") as client:
    pace = Pace(poll_s=0.05, settle_s=1.0)  # a real provider is given minutes
    done = saver.batch(requests, out=out, part_requests=50, client=client, pace=pace)
    print(f"{done.state}: {done.answered} of {done.total} answered")
"""


WORST = 2  # the job at whose beginning the first program dies


class Deadly(FakeProvider):
    """Kills the program that begins the worst job, before it hears that the job was begun."""

    victim: subprocess.Popen[str] | None = None
    begun = 0

    def receive(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer a request."""
        reply = super().receive(method, url, headers, body)
        if (method, url.endswith("/batches")) == ("POST", True):
            self.begun += 1
            if self.begun == WORST and self.victim is not None:
                os.kill(self.victim.pid, signal.SIGKILL)
                self.victim.wait()
        return reply


def run(fake: Deadly, url: str, folder: Path) -> subprocess.Popen[str]:
    """Run the program to its end, whichever that is."""
    files = [str(folder / name) for name in ("ledger.db", "requests.jsonl", "answers.jsonl")]
    command = [sys.executable, "-c", PROGRAM, url, *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:  # noqa: S603
        fake.victim = program
        print(program.communicate()[0] or "", end="")
    return program


with tempfile.TemporaryDirectory() as name:
    folder, fake = Path(name), Deadly("ok")
    with (folder / "requests.jsonl").open("w") as file:
        for number in range(200):
            body = {"model": "gpt-5-mini", "max_tokens": 20, "messages": [{"role": "user", "content": f"q{number}"}]}
            print(
                json.dumps({"custom_id": f"req-{number}", "url": "/v1/chat/completions", "body": body}),
                file=file,
            )
    with fake.serve() as url:
        print("first program   ", end="", flush=True)
        died = run(fake, url, folder)
        print(f"killed by {signal.Signals(-died.returncode).name} with {fake.begun} of 4 jobs begun")
        print("second program  ", end="", flush=True)
        run(fake, url, folder)

    ids = [json.loads(line)["custom_id"] for line in (folder / "answers.jsonl").open()]
    print(f"order           {', '.join(ids[:3])} ... {ids[-1]}")
    print(f"jobs begun      {fake.begun}, none of them twice")
    book = PriceBook()
    paid = sum(
        book.cost(Billed(bill.dialect, bill.model, bill.usage, host="openai", route="batch")).usd
        for bill in fake.billed
    )
    print(f"paid            {len(fake.billed)} answers, ${paid:.6f} by the provider's books")
    with Ledger(folder / "ledger.db") as ledger, ledger.reader() as reader:
        total = reader.totals()
    print(f"ledger          ${total.cost_nano / 1e9:.6f} for {total.calls} calls")
