"""Budgets that hold: speed beside bare sqlite3, and a hostile provider against programs that are killed.

    python benchmarks/budgets.py [--json] [--quick]

*Speed*: reserve+settle pairs per second over 8 processes on one file, ours beside bare ``sqlite3`` running the same
transactions on the same schema with the same back-off, in alternating rounds of one run.

*Simulation*: worker processes make calls under nested budgets whose windows change while they run. A provider in a
process of its own spends what it likes up to everything it is allowed, bills after disconnects and time-outs, and keeps
its own books, by call and by window. Workers abort, time out, retry after unbilled replies, settle late, lose their
leases and are killed with SIGKILL at random moments. Afterwards: no window was billed beyond its limit; no hold is
reserved past its lease; for every window, and for the call rows, the provider's total lies between the ledger's low and
high; and every call with reported usage has the provider's cost to the nano-dollar.

*Affordable*: how many calls that would have fitted were answered (see ``affordable.py``).

Prediction, written before the first run: 0.5 of bare sqlite3 (a pair is two transactions of about 30 us of SQLite and
20 us of our Python, and with 8 processes on few cores the write lock, not Python, is what they wait for), zero
overshoot, 300 us of a core per simulated call.

Learned since: the ratio is 0.39 to 0.59 on two busy cores. A million simulated calls with 1,058 kills took 10 minutes
there beside other work, most of it the provider's thread switches: 356,643 were refused, the fullest window was billed
99.9 % of its limit and none more, and 561,821 calls with reported usage agreed with the provider to the nano-dollar.
Simulated time is counted in calls, because limits that were set for one machine's speed did not bind on another. Two
things came to light that no unit test had shown: an attempt that lapsed after its call's row was written was missing
from the row (it is added now), and under eight busy writers the write-ahead log was never begun anew and grew to 0.8 GB
(upkeep now competes for the lock on equal terms).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import struct
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affordable import TARGET as ADMITTED
from affordable import affordable
from racing import FORK, raced

from llmsaver.ledger import Budget, CallRow, Claim, Due, Hold, Ledger
from llmsaver.ledger.schema import LAPSED

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

PROCESSES = 8

# -- speed ------------------------------------------------------------------------------------------------------------

CHARGE = (
    "UPDATE windows SET held_nano=held_nano+?, held_tokens=held_tokens+?, held_calls=held_calls+?"
    " WHERE seq=? AND closed=0 AND spent_nano+held_nano+?<=limit_nano AND spent_tokens+held_tokens+?<=limit_tokens"
    " AND spent_calls+held_calls+?<=limit_calls"
)
PUT = "INSERT INTO holds (id, window, state, nano, tokens, calls, expires_at) VALUES (?, ?, 0, ?, ?, ?, ?)"
TAKE = "DELETE FROM holds WHERE id=? RETURNING window, nano, tokens, calls"
BOOK = (
    "UPDATE windows SET held_nano=held_nano-?, held_tokens=held_tokens-?, held_calls=held_calls-?,"
    " spent_nano=spent_nano+?, spent_tokens=spent_tokens+?, spent_calls=spent_calls+? WHERE seq=?"
)


def begin(connection: sqlite3.Connection) -> None:
    """Take the write lock with the same jittered back-off as ours."""
    longest = 0.0004
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            time.sleep(random.uniform(0.0001, longest))  # noqa: S311 - spreads waiters
            longest = min(longest * 1.5, 0.01)
        else:
            return


def bare_pairs(path: Path, seconds: float) -> int:
    """Run reserve+settle pairs on bare sqlite3; return how many."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=8000")
    (window,) = connection.execute("SELECT seq FROM windows").fetchone()
    pairs, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        hold, now = int.from_bytes(os.urandom(8), "big") >> 1, time.time()
        begin(connection)
        if connection.execute(CHARGE, (9, 9, 1, window, 9, 9, 1)).rowcount != 1:
            raise AssertionError("the control ran out of budget")
        connection.execute(PUT, (hold, window, 9, 9, 1, now + 60))
        connection.execute("COMMIT")
        begin(connection)
        for taken, nano, tokens, calls in connection.execute(TAKE, (hold,)).fetchall():
            connection.execute(BOOK, (nano, tokens, calls, 7, 7, 1, taken))
        connection.execute("COMMIT")
        pairs += 1
    connection.close()
    return pairs


def our_pairs(path: Path, seconds: float) -> int:
    """Run reserve+settle pairs through the ledger; return how many."""
    ledger = Ledger(path, patience=30).open()
    claims = [Claim(WIDE)]
    pairs, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        hold = ledger.reserve(claims, nano=9, tokens=9)
        assert isinstance(hold, Hold)
        assert ledger.settle(hold, 7, 7).settled
        pairs += 1
    ledger.close()
    return pairs


WIDE = Budget("wide", limit_nano=10**15, limit_tokens=10**15, limit_calls=10**15, per="total")


def race(pairs: Callable[[Path, float], int], folder: Path, seconds: float) -> float:
    """Return pairs per second over all processes, on a fresh file."""
    path = folder / f"{pairs.__name__}-{time.monotonic_ns()}.db"
    with Ledger(path) as ledger:
        hold = ledger.reserve([Claim(WIDE)], nano=1)
        assert isinstance(hold, Hold)
        ledger.release(hold)
    return raced(pairs, path, seconds, PROCESSES)


def speed(folder: Path, rounds: int, seconds: float) -> dict[str, Any]:
    """Race both in turns and compare the sums."""
    bare, ours = 0.0, 0.0
    for _ in range(rounds):
        bare += race(bare_pairs, folder, seconds) / rounds
        ours += race(our_pairs, folder, seconds) / rounds
    return {
        "processes": PROCESSES,
        "bare_pairs_per_s": round(bare),
        "pairs_per_s": round(ours),
        "ratio": round(ours / bare, 3),
    }


# -- the hostile provider ---------------------------------------------------------------------------------------------

ASK = struct.Struct("<qqqq")  # call, how much it may spend at most, and the two windows that pay (0: none)
REPLY = struct.Struct("<qqq")  # call, status, cost
UNBILLED, DISCONNECTED, OK = 429, 0, 200
# How often a call goes which way.
REFUSED, ALL_IT_MAY, HANGS_UP = 0.05, 0.4, 0.03
NESTED, ABORTED, TIMES_OUT, SLOW, GIVES_UP = 0.7, 0.02, 0.06, 0.001, 0.5


def provide(sockets: list[socket.socket], report: Connection, seed: int) -> None:
    """Answer calls until every worker's line is closed, then hand over the books.

    It spends everything it is allowed in a third of the calls; hangs up on some after billing them; refuses some
    without billing; and never looks at whether anyone is still there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = random.Random(seed)  # noqa: S311 - dice, not secrets
    calls: dict[int, int] = {}
    windows: dict[int, int] = defaultdict(int)
    lock = threading.Lock()

    def serve(line: socket.socket) -> None:
        with suppress(OSError):
            while len(asked := line.recv(ASK.size, socket.MSG_WAITALL)) == ASK.size:
                call, bound, first, second = ASK.unpack(asked)
                dice = rng.random()
                if dice < REFUSED:
                    line.sendall(REPLY.pack(call, UNBILLED, 0))
                    continue
                cost = bound if dice < ALL_IT_MAY else rng.randrange(bound + 1)
                with lock:
                    calls[call] = calls.get(call, 0) + cost
                    windows[first] += cost
                    windows[second] += cost
                line.sendall(REPLY.pack(call, DISCONNECTED if dice > 1 - HANGS_UP else OK, cost))

    threads = [threading.Thread(target=serve, args=(line,)) for line in sockets]
    for thread in threads:
        thread.start()
    while report.recv() != "close":
        pass
    for line in sockets:
        line.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    report.send((calls, dict(windows)))


# -- the workers ------------------------------------------------------------------------------------------------------

LARGEST = 4_000  # the highest bound of a call, in nano-dollars
LEASE = 8.0  # simulated seconds


PER_MINUTE = 600  # calls, so that limits bind alike however fast the machine is
# What two thirds of those calls cost; the inner one has five users, who each want a seventh of it all.
LIMIT = int(0.45 * PER_MINUTE * LARGEST / 2)
OUTER = Budget("outer", limit_nano=LIMIT, per="minute")
INNER = Budget("inner", limit_nano=LIMIT // 6, limit_calls=PER_MINUTE // 8, per="minute", scope="user")


class Clock:
    """Simulated time, the same in every process: every call moves it on, so that windows change often."""

    def __init__(self, quota: Any) -> None:
        self.left = quota.get_obj()
        self.calls = self.left.value
        self.zero = 1_795_000_000.0

    def now(self) -> float:
        """Return simulated seconds since the epoch."""
        return float(self.zero + (self.calls - self.left.value) * 60 / PER_MINUTE)


def work(place: Path, line: socket.socket, clock: Clock, quota: Any, refused: Any, seed: int) -> None:
    """Make calls until the quota of all workers together is used up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rng = random.Random(seed)  # noqa: S311 - dice, not secrets
    ledger = Ledger(place, patience=60).open()
    full = 0
    while True:
        with quota.get_lock():  # nobody is killed while it holds this one
            refused.value += full
            full = 0
            if quota.value <= 0:
                break
            quota.value -= 20
        for _ in range(20):
            full += one_call(ledger, line, clock, rng)
    ledger.close()
    os._exit(0)


def one_call(ledger: Ledger, line: socket.socket, clock: Clock, rng: random.Random) -> bool:
    """Reserve, send, and settle in one of the ways a call can end; return whether a budget refused it."""
    call = rng.getrandbits(60)
    row = CallRow(f"{call:015x}", started_at=clock.now(), feature="simulated")
    claims = [Claim(OUTER)]
    if rng.random() < NESTED:
        claims.append(Claim(INNER, INNER.key(user=f"u{rng.randrange(5)}")))
    bound = rng.randrange(1, LARGEST)
    for attempt in range(3):
        hold = ledger.reserve(
            claims,
            nano=bound,
            calls=1 if attempt == 0 else 0,
            now=clock.now(),
            lease_s=LEASE,
            about={"id": row.id, "started_at": row.started_at, "feature": row.feature},
        )
        if not isinstance(hold, Hold):
            return True
        if rng.random() < ABORTED:
            ledger.release(hold)  # aborted before it left
            break
        if not ledger.mark_sent(hold):
            continue
        status, cost = ask(line, call, hold)
        if status == UNBILLED:
            ledger.release(hold)
            continue
        if end(ledger, hold, row, status, cost, rng):
            break
    return False


def ask(line: socket.socket, call: int, hold: Hold) -> tuple[int, int]:
    """Send one request and read the reply."""
    first, second = (*(pot.window for pot in hold.pots), 0)[:2]
    line.sendall(ASK.pack(call, hold.nano, first, second))
    while True:
        answered, status, cost = REPLY.unpack(line.recv(REPLY.size, socket.MSG_WAITALL))
        if answered == call:  # and not to whoever had this line before, and was killed
            return status, cost


def end(ledger: Ledger, hold: Hold, row: CallRow, status: int, cost: int, rng: random.Random) -> bool:
    """Settle a call that was billed, as a caller who knows its cost or does not; False where it is tried again."""
    dice = rng.random()
    row.cost_low = row.cost_low or 0
    before_low, before_high = row.cost_low, row.cost_high or 0
    known = status == OK and dice >= TIMES_OUT
    low, high = (cost, cost) if known else (0, hold.nano)  # cut off: anything from nothing to the bound
    row.cost_low, row.cost_high = before_low + low, before_high + high
    row.cost_nano = row.cost_high
    row.estimated = row.cost_low != row.cost_high
    if dice > 1 - SLOW:
        time.sleep(rng.random() * 0.1)  # so slow that the lease may have lapsed
    ledger.write(row, settle=[Due(hold, high, low_nano=low)])
    return known or rng.random() < GIVES_UP


# -- the simulation ---------------------------------------------------------------------------------------------------


class Simulation:
    """Workers, their lines to the provider, and the hand that kills them."""

    def __init__(self, folder: Path, calls: int, kill_every: float, seed: int = 1) -> None:
        self.place = folder / "simulation.db"
        self.calls, self.kill_every = calls, kill_every
        self.rng = random.Random(seed)  # noqa: S311 - the same
        Ledger(self.place).open().close()
        self.quota, self.refused = FORK.Value("q", calls), FORK.Value("q", 0, lock=False)
        self.clock = Clock(self.quota)
        pairs = [socket.socketpair() for _ in range(PROCESSES)]
        self.lines, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        self.report, report = FORK.Pipe()
        self.provider = FORK.Process(target=provide, args=(theirs, report, seed))
        self.provider.start()
        self.kills = 0
        self.late_reserved = 0

    def run(self) -> dict[str, Any]:
        """Run it to the end and compare the books."""
        began = time.monotonic()
        workers = [self._start(n) for n in range(PROCESSES)]
        monitor = Ledger(self.place, patience=60).open()
        next_kill = began + self.kill_every
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.05)
            if time.monotonic() >= next_kill:
                next_kill = time.monotonic() + self.rng.uniform(0.5, 1.5) * self.kill_every
                self._kill(workers)
                self._look(monitor)
        killed_late = [worker.exitcode for worker in workers if worker.exitcode not in {0, -signal.SIGKILL}]
        assert not killed_late, f"workers failed: {killed_late}"
        elapsed = time.monotonic() - began
        self.report.send("close")
        calls, windows = self.report.recv()
        self.provider.join()
        end_of_leases = self.clock.now() + LEASE + 1
        monitor.reap(end_of_leases)
        monitor.close()
        return {"calls": self.calls, "seconds": round(elapsed, 1), "kills": self.kills, **self._compare(calls, windows)}

    def _start(self, n: int) -> Any:
        seed = self.rng.getrandbits(60)
        arguments = (self.place, self.lines[n], self.clock, self.quota, self.refused, seed)
        worker = FORK.Process(target=work, args=arguments)
        worker.start()
        return worker

    def _kill(self, workers: list[Any]) -> None:
        """Kill one worker without warning; another takes over its line, whatever is still on it."""
        n = self.rng.randrange(PROCESSES)
        if not workers[n].is_alive() or self.quota.value <= 0:
            return
        if not self.quota.get_lock().acquire(timeout=5):  # not while it holds the count of what is left to do
            raise AssertionError("the quota's lock is stuck")
        try:
            os.kill(workers[n].pid, signal.SIGKILL)
            workers[n].join()
        finally:
            self.quota.get_lock().release()
        self.kills += 1
        workers[n] = self._start(n)

    def _look(self, monitor: Ledger) -> None:
        """Count the holds that are still open past their lease after somebody has looked through them.

        A worker that was held up may reserve for a time that is over by then: only what outlives the next look counts.
        """
        now = self.clock.now()
        seen: set[tuple[int, int]] | None = None
        for _ in range(2):
            monitor.reap(now)
            with monitor.reader() as reader:
                open_ = [hold for hold in reader.holds() if hold["state"] != LAPSED and hold["expires_at"] <= now]
            found = {(hold["id"], hold["window"]) for hold in open_}
            seen = found if seen is None else seen & found
        self.late_reserved += len(seen or ())

    def _compare(self, billed: dict[int, int], by_window: dict[int, int]) -> dict[str, Any]:
        with closing(sqlite3.connect(self.place)) as connection:
            windows = connection.execute(
                "SELECT seq, limit_nano, spent_nano, held_nano, low_nano, budget FROM windows"
            ).fetchall()
            rows = connection.execute("SELECT id, cost_low, cost_high, estimated FROM calls").fetchall()
            (still,) = connection.execute("SELECT count(*) FROM holds WHERE state != ?", (LAPSED,)).fetchone()
        exact = [(billed.get(int(row[0], 16), 0), row[1]) for row in rows if not row[3]]
        low, high, total = sum(row[1] for row in rows), sum(row[2] for row in rows), sum(billed.values())
        return {
            "refused_calls": self.refused.value,
            "billed_calls": len(billed),
            "windows": len(windows),
            "overshot_windows": sum(by_window.get(seq, 0) > limit for seq, limit, *_ in windows),
            "overbooked_windows": sum(spent + held > limit for _, limit, spent, held, *_ in windows),
            "windows_outside_bounds": sum(
                not low <= by_window.get(seq, 0) <= spent for seq, _, spent, _, low, _ in windows
            ),
            "busiest_window": max((by_window.get(window[0], 0) / window[1] for window in windows), default=0.0),
            "held_at_the_end": sum(window[3] for window in windows),
            "open_holds_at_the_end": still,
            "reserved_past_lease": self.late_reserved,
            "exact_calls": len(exact),
            "exact_calls_wrong": sum(a != b for a, b in exact),
            "ledger_low_nano": low,
            "provider_nano": total,
            "ledger_high_nano": high,
            "provider_within_ledger": low <= total <= high,
            "calls_without_a_row": len(set(billed) - {int(row[0], 16) for row in rows}),
        }


def failures(result: dict[str, Any], *, judge_speed: bool) -> list[str]:
    """Return what did not hold."""
    simulation = result["simulation"]
    zeros = (
        *(
            "overshot_windows",
            "overbooked_windows",
            "windows_outside_bounds",
            "held_at_the_end",
            "open_holds_at_the_end",
        ),
        *("reserved_past_lease", "exact_calls_wrong", "calls_without_a_row"),
    )
    found = [f"{name} = {simulation[name]}" for name in zeros if simulation[name]]
    if not BINDING[0] < simulation["refused_calls"] / simulation["calls"] < BINDING[1]:
        found.append(f"the limits do not bind as they should: {simulation['refused_calls']} calls refused")
    if not simulation["provider_within_ledger"]:
        found.append("the provider's total is outside the ledger's bounds")
    if result["affordable"]["admitted_share"] < ADMITTED or result["affordable"]["overshot"]:
        found.append(f"admitted {result['affordable']['admitted_share']} of the affordable calls < {ADMITTED}")
    if judge_speed and result["speed"]["ratio"] < TARGET:
        found.append(f"ratio {result['speed']['ratio']} < {TARGET}")
    return found


TARGET = 0.3
# A simulation whose budgets refuse nobody, or nearly everybody, proves nothing.
BINDING = (0.1, 0.9)


def main() -> int:
    """Run both parts; the exit status says whether everything held."""
    parser = argparse.ArgumentParser(description="Budgets: speed, and a hostile provider.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="20,000 calls instead of a million, shorter races")
    parser.add_argument("--calls", type=int, help="how many calls to simulate")
    options = parser.parse_args()
    calls = options.calls or (20_000 if options.quick else 1_000_000)
    folder = Path(tempfile.mkdtemp(prefix="llmsaver-budgets-"))
    try:
        result: dict[str, Any] = {
            "speed": speed(folder, 2 if options.quick else 4, 1.5 if options.quick else 4.0),
            "simulation": Simulation(folder, calls, kill_every=0.2 if options.quick else 0.5).run(),
            "affordable": affordable(folder, quick=options.quick),
        }
    finally:
        shutil.rmtree(folder)
    result["failures"] = failures(result, judge_speed=not options.quick)  # a short race on a busy machine tells little
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for part in ("speed", "simulation", "affordable"):
            print(part, *(f"  {name:24} {value}" for name, value in result[part].items()), sep="\n")
        print("failures:", ", ".join(result["failures"]) or "none")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
