"""Budgets against a model, and against many programs at once, some of them killed."""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from llmsaver.ledger import Budget, Claim, Hold, Ledger, Refusal
from llmsaver.ledger.schema import LAPSED, RESERVED, SENT

Make = Callable[..., Ledger]
Python = Callable[..., Popen[str]]

HOUR = 3_600
BUDGETS = (
    Budget("money", limit_nano=100, per="hour"),
    Budget("tokens", limit_tokens=60, per="day"),
    Budget("calls", limit_calls=12, per="total"),
    Budget("soft", limit_nano=20, per="hour", hard=False),
)


@dataclass
class Pot:
    """What the model thinks a window holds."""

    limits: tuple[int, int, int]
    hard: bool
    spent: list[int] = field(default_factory=lambda: [0, 0, 0])
    held: list[int] = field(default_factory=lambda: [0, 0, 0])
    low: int = 0


@dataclass
class Model:
    """A hold as the model knows it; ``state`` None once it is gone."""

    hold: Hold
    pots: list[Pot]
    amounts: tuple[int, int, int]
    expires: float
    state: int | None


class Books(RuleBasedStateMachine):
    """Two ledgers on one file, as two programs would have, and the sums kept by hand beside them."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledgers = [Ledger(self.folder / "l.db").open() for _ in range(2)]
        for ledger in self.ledgers:
            ledger._reserving._reaped_at = time.monotonic() + 10**6  # it looks for leases when there is no room
        self.now = 1_795_000_000.0
        self.pots: dict[tuple[str, str], Pot] = {}
        self.open: list[Model] = []

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        shutil.rmtree(self.folder)

    def pot(self, budget: Budget) -> Pot:
        limits = (budget.limit_nano, budget.limit_tokens, budget.limit_calls)
        nano, tokens, calls = (2**62 if limit is None else limit for limit in limits)
        return self.pots.setdefault((budget.name, budget.window(self.now).id), Pot((nano, tokens, calls), budget.hard))

    def lapse(self) -> None:
        for model in self.open:
            if model.expires <= self.now and model.state in {RESERVED, SENT}:
                for pot in model.pots:
                    for i, amount in enumerate(model.amounts):
                        pot.held[i] -= amount
                        pot.spent[i] += amount if model.state == SENT else 0
                model.state = LAPSED if model.state == SENT else None

    def fits(self, pots: list[Pot], amounts: tuple[int, int, int]) -> bool:
        return all(
            not pot.hard or not amounts[i] or pot.spent[i] + pot.held[i] + amounts[i] <= pot.limits[i]
            for pot in pots
            for i in range(3)
        )

    @rule(
        target=holds,
        which=st.sets(st.integers(0, 3), min_size=1),
        nano=st.integers(0, 60),
        tokens=st.integers(0, 30),
        calls=st.integers(0, 1),
        lease=st.integers(1, 3 * HOUR),
        sent=st.booleans(),
        ledger=st.integers(0, 1),
    )
    def reserve(
        self, which: set[int], nano: int, tokens: int, calls: int, lease: int, *, sent: bool, ledger: int
    ) -> Model | None:
        chosen, amounts = [BUDGETS[i] for i in which], (nano, tokens, calls)
        found = self.ledgers[ledger].reserve(
            [Claim(budget) for budget in chosen],
            nano=nano,
            tokens=tokens,
            calls=calls,
            now=self.now,
            lease_s=lease,
            sent=sent,
        )
        pots = [self.pot(budget) for budget in chosen]
        if not self.fits(pots, amounts):
            self.lapse()
        if isinstance(found, Refusal):
            assert not self.fits(pots, amounts)
            return None
        assert self.fits(pots, amounts)
        for pot in pots:
            pot.held = [held + amount for held, amount in zip(pot.held, amounts, strict=True)]
        model = Model(found, pots, amounts, self.now + lease, SENT if sent else RESERVED)
        self.open.append(model)
        return model

    @rule(model=holds, ledger=st.integers(0, 1))
    def send(self, model: Model | None, ledger: int) -> None:
        if model is not None:
            assert self.ledgers[ledger].mark_sent(model.hold) == (model.state == RESERVED)
            if model.state == RESERVED:
                model.state = SENT

    @rule(model=holds, ledger=st.integers(0, 1), lease=st.integers(1, HOUR))
    def renew(self, model: Model | None, ledger: int, lease: int) -> None:
        if model is not None:
            alive = self.ledgers[ledger].renew(model.hold, now=self.now, lease_s=lease) == [True]
            assert alive == (model.state in {RESERVED, SENT})
            if alive:
                model.expires = self.now + lease

    @rule(model=consumes(holds), ledger=st.integers(0, 1), part=st.integers(0, 100), guess=st.booleans())
    def settle(self, model: Model | None, ledger: int, part: int, *, guess: bool) -> None:
        if model is None:
            return
        nano, tokens, calls = (model.amounts[0] * part // 100, model.amounts[1] * part // 100, model.amounts[2])
        low = nano // 2 if guess else nano
        done = self.ledgers[ledger].settle(model.hold, nano, tokens, low_nano=low if guess else None).settled
        assert done == (model.state is not None)
        if done:
            for pot in model.pots:
                for i, (amount, actual) in enumerate(zip(model.amounts, (nano, tokens, calls), strict=True)):
                    if model.state == LAPSED:
                        pot.spent[i] -= amount
                    else:
                        pot.held[i] -= amount
                    pot.spent[i] += actual
                pot.low += low
        model.state = None
        assert not self.ledgers[1 - ledger].settle(model.hold, nano, tokens).settled

    @rule(seconds=st.integers(-HOUR, 2 * HOUR))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(ledger=st.integers(0, 1))
    def reap(self, ledger: int) -> None:
        self.ledgers[ledger].reap(self.now)
        self.lapse()

    @invariant()
    def the_books_agree(self) -> None:
        found: dict[tuple[str, str], tuple[list[int], list[int], int]] = {}
        connection = self.ledgers[0].store._connection  # type: ignore[attr-defined]
        for row in connection.execute(
            "SELECT budget, window, spent_nano, spent_tokens, spent_calls, held_nano, held_tokens, held_calls, "
            "low_nano FROM windows"
        ):
            found[row[0], row[1]] = ([*row[2:5]], [*row[5:8]], row[8])
        assert found == {key: (pot.spent, pot.held, pot.low) for key, pot in self.pots.items() if key in found}
        for key, pot in self.pots.items():
            assert key in found or (pot.spent, pot.held) == ([0, 0, 0], [0, 0, 0])
            for spent, held, limit in zip(pot.spent, pot.held, pot.limits, strict=True):
                assert not pot.hard or spent + held <= limit
                assert held >= 0


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_hundred_threads_cannot_overshoot(either: Ledger) -> None:
    claim = Claim(Budget.usd("cap", "0.05", per="total"))
    granted: list[int] = []

    def call() -> None:
        hold = either.reserve([claim], nano=10_000_000)
        if isinstance(hold, Hold):
            either.mark_sent(hold)
            either.settle(hold, 10_000_000)
            granted.append(1)

    threads = [threading.Thread(target=call) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 5


SPENDER = """
import os, random, sys, time
from llmsaver.ledger import Budget, Claim, Hold, Ledger
ledger = Ledger(sys.argv[1], patience=60).open()
limits = {"outer": 1_000_000, "inner": 700_000}
claims = [Claim(Budget(name, limit_nano=limit, per="total")) for name, limit in limits.items()]
books = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
rng = random.Random(int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + 60
while time.monotonic() < until:
    chosen = claims if rng.random() < 0.5 else claims[:1]
    bound = rng.randrange(1, 2_000)
    hold = ledger.reserve(chosen, nano=bound, lease_s=1.0)
    if not isinstance(hold, Hold):
        if bound < 50:
            break
        continue
    if not ledger.mark_sent(hold):
        continue
    actual = rng.randrange(bound // 2, bound + 1)
    os.write(books, f"{len(chosen)} {actual}\\n".encode())  # the provider's own books; it bills whoever dies next
    time.sleep(rng.random() * 0.002)
    ledger.settle(hold, actual)
print("done", flush=True)
"""


def billed(books: Path) -> tuple[int, int]:
    """Return what the provider billed under the outer and under the inner budget."""
    lines = [line.split() for line in books.read_text().splitlines()]
    return sum(int(line[1]) for line in lines), sum(int(line[1]) for line in lines if line[0] == "2")


def test_killed_programs_neither_overshoot_nor_block_a_budget(
    place: str, make: Make, tmp_path: Path, python: Python
) -> None:
    ledger = make(place)
    books = tmp_path / "books"
    books.touch()
    programs = [python(SPENDER, place, books, seed) for seed in range(4)]
    for program in programs:
        assert program.stdout is not None
        assert program.stdin is not None
        program.stdout.readline()
        program.stdin.write("go\n")
        program.stdin.flush()
    for seed in range(6):
        time.sleep(0.15)
        victim = programs.pop(0)
        os.kill(victim.pid, signal.SIGKILL)
        victim.communicate()
        programs.append(python(SPENDER, place, books, 100 + seed))
        assert programs[-1].stdin is not None
        programs[-1].stdin.write("go\n")
        programs[-1].stdin.flush()
    assert all(program.communicate()[0].strip().endswith("done") for program in programs)
    time.sleep(1.1)
    ledger.reap()
    with ledger.reader() as reader:
        windows = {window["name"]: window for window in reader.budgets(time.time())}
        assert [hold for hold in reader.holds() if hold["state"] != LAPSED] == []
    for name, total in zip(("outer", "inner"), billed(books), strict=True):
        window = windows[name]
        assert window["held_nano"] == 0
        assert window["low_nano"] <= total <= window["spent_nano"] <= window["limit_nano"]


def test_a_fork_shares_the_budget(tmp_path: Path, python: Python) -> None:
    code = (
        "import os, sys\nfrom llmsaver.ledger import Budget, Claim, Hold, Ledger\n"
        "ledger = Ledger(sys.argv[1]); claim = Claim(Budget('b', limit_calls=10, per='total'))\n"
        "first = ledger.reserve([claim], nano=0)\npid = os.fork()\n"
        "got = sum(isinstance(ledger.reserve([claim], nano=0), Hold) for _ in range(10))\n"
        "if pid == 0:\n    print(got, flush=True); os._exit(0)\n"
        "os.waitpid(pid, 0); print(got, flush=True)"
    )
    out = python(code, tmp_path / "ledger.db").communicate()[0].split()
    assert sum(map(int, out)) == 9


def test_a_window_that_keeps_closing_is_given_up(ledger: Ledger) -> None:
    claim = Claim(Budget("b", limit_calls=10))
    assert isinstance(ledger.reserve([claim], nano=0), Hold)
    ledger._reserving.forget = lambda: None  # type: ignore[method-assign]  # a memory that cannot be cleared
    ledger.set_budget(Budget("b", limit_calls=10, per="hour"))
    with pytest.raises(RuntimeError, match="closed"):
        ledger.reserve([claim], nano=0)
