"""Running a batch: begin it or go on with it, drive it to its end, and merge the answers."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmsaver.batch import merge
from llmsaver.batch.anthropic_jobs import AnthropicJobs
from llmsaver.batch.direct import Direct
from llmsaver.batch.holding import Holding, budgets_around
from llmsaver.batch.openai_jobs import OpenAIJobs
from llmsaver.batch.outcome import BatchResult
from llmsaver.batch.pace import Pace
from llmsaver.batch.requests import Requests
from llmsaver.batch.spool import Spool, folder_of
from llmsaver.batch.waves import Waves, drain
from llmsaver.batch.work import Terms, Work, figures
from llmsaver.core.options import current_options, options
from llmsaver.errors import ConfigurationError
from llmsaver.ledger.batches import Batches, BatchRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from llmsaver.batch.outcome import Progress
    from llmsaver.batch.provider import Jobs
    from llmsaver.ledger import Ledger
    from llmsaver.saver import Saver

__all__ = ["batch", "cancel"]

_ENDED = frozenset({"finished", "incomplete"})


def batch(  # noqa: PLR0913 - what may be said of a run, by keyword
    saver: Saver,
    requests: str | Path | Iterable[Mapping[str, Any]],
    *,
    via: str | None = None,
    out: str | Path | None = None,
    max_usd: Decimal | str | int | None = None,
    partly: bool = False,
    concurrency: int = 8,
    retries: int = 2,
    part_requests: int | None = None,
    again: bool = False,
    client: Any = None,
    pace: Pace | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> BatchResult:
    """Have many requests answered, at half price where ``via`` is "openai" or "anthropic"; blocks until they are.

    ``requests``: a file of JSON lines, or objects: OpenAI's batch lines, Anthropic's, or plain bodies. ``via`` may also
    be "local" (local models and attached servers) or "flex" (OpenAI's flex tier): ordinary calls, ``concurrency`` at a
    time; left out, it follows from the requests. ``out``: the file that the answers are written to, in the order of the
    requests. ``max_usd``: refuse to begin where the upper bound is more; with ``partly`` do as much as surely fits. So
    do hard budgets around the call: ``BudgetExceeded``.
    ``retries``: how often a request that failed for now is sent again. ``part_requests``: fewer requests to a job than
    the provider takes. ``client``: a ``llmsaver.Client`` over the same Saver. ``progress`` is called at every step.

    Killed at any point, the same call goes on: the run is found by the content of its requests. One that ended is not
    paid again, but for requests that failed, unless ``again`` is given. Raises ``ConfigurationError``,
    ``BatchTooDear`` (nothing was sent) and ``BatchInterrupted`` (call again to go on).
    """
    if concurrency < 1 or retries < 0 or (part_requests is not None and part_requests < 1):
        raise ConfigurationError("concurrency= and part_requests= must be at least 1, and retries= 0 or more")
    terms = Terms(_nano(max_usd), partly, retries, concurrency, part_requests, progress, pace or Pace())
    ledger = _ledger(saver)
    with ExitStack() as stack:
        read = Requests(requests, via)
        stack.callback(read.close)
        if client is None:
            client = stack.enter_context(_client(saver))
        jobs = _jobs(read.via, client)
        host = jobs.host if jobs is not None else str(client.openai.base_url) if read.via == "flex" else "local"
        books = Batches(ledger)
        target = None if out is None else Path(out).absolute()
        run, new = _run_of(books, read, host, target, saver, again=again)
        spool = Spool(folder_of(ledger), run.id)
        stack.callback(spool.close)
        if new:
            spool.clear()
            books.begin(run)
        work = Work(read, run, spool, books, saver.prices, terms)
        if run.state == "finished" and (kept := _kept(run, target)) is not None:
            return kept
        work.run = books.note(run, out=run.out if target is None else str(target), limit_nano=terms.limit_nano)
        if jobs is None:
            Direct(work, client).drive()
        else:
            holding = Holding(ledger, budgets_around(saver), work.bounded)
            Waves(work, jobs, holding).drive()
        return _ended(work, target)


def cancel(saver: Saver, batch_id: str, *, client: Any = None, pace: Pace | None = None) -> BatchRun:
    """Cancel what of a run is under way, fetch (and book) what was answered by then, and return the run.

    Those answers are kept for 30 days, so that the same run may be gone on with.
    """
    ledger = _ledger(saver)
    books = Batches(ledger)
    run = books.find(batch_id)
    if run is None:
        raise ConfigurationError(f"no batch {batch_id!r} is known; see llmsaver batch list")
    if run.state in _ENDED:
        return run
    with ExitStack() as stack:
        if client is None:
            client = stack.enter_context(_client(saver))
        spool = Spool(folder_of(ledger), run.id)
        stack.callback(spool.close)
        jobs = _jobs(run.via, client)
        if jobs is not None:
            if jobs.host != run.host:
                raise ConfigurationError(f"batch {run.id} is at {run.host}, and this client talks to {jobs.host}")
            with options(feature=run.feature):
                drain(run, jobs, books, spool, saver.prices, pace or Pace(), Holding(ledger))
        return books.note(run, state="cancelled", **figures(spool))


def _run_of(
    books: Batches, requests: Requests, host: str, out: Path | None, saver: Saver, *, again: bool
) -> tuple[BatchRun, bool]:
    """Return the run of these requests that there is, or a new one, and whether it is new."""
    from hashlib import blake2b

    said = f"{requests.via}\0{host}\0{requests.digest}".encode("utf-8", "surrogatepass")
    base = "b" + blake2b(said, digest_size=6, person=b"llmsaver.run").hexdigest()
    found, name, times = books.find(base), base, 1
    while (later := books.find(f"{base}-{times + 1}")) is not None:
        found, times = later, times + 1
    if found is not None and not again:
        return found, False
    if found is None:
        _refuse_changed(books, requests)
    else:
        name = f"{base}-{times + 1}"
    current, now = current_options.get(), time.time()
    source = None if requests.path is None else str(requests.path.absolute())
    feature = current.feature or saver.settings.feature
    tenant = books.hide(current.tenant or saver.settings.tenant)
    return (
        BatchRun(
            name,
            now,
            now,
            requests.via,
            host,
            "open",
            feature,
            len(requests),
            tenant=tenant,
            source=source,
            out=None if out is None else str(out),
        ),
        True,
    )


def _refuse_changed(books: Batches, requests: Requests) -> None:
    """Refuse a file that was changed while its run was under way: all of it would be paid anew."""
    if requests.path is None:
        return
    source = str(requests.path.absolute())
    for run in books.latest(1000):
        if run.source == source and run.state == "open" and run.via == requests.via:
            raise ConfigurationError(
                f"{requests.path} has changed since batch {run.id} was begun with it ({run.answered} of {run.total} "
                f"answered). Put it back as it was, or end that run: llmsaver batch cancel {run.id}"
            )


def _kept(run: BatchRun, target: Path | None) -> BatchResult | None:
    """Return a finished run's result where its file of answers is still there, copied to where it is wanted."""
    there = None if run.out is None else Path(run.out)
    if there is None or not there.is_file():
        return None
    if target is not None and target != there:
        shutil.copyfile(there, target)
        target.chmod(0o600)
    return BatchResult(run.id, run.via, run.state, run.total, run.answered, (), run.spent_nano, target or there)


def _ended(work: Work, target: Path | None) -> BatchResult:
    """Merge the answers, write down how the run ended, and let go of what is not needed any more."""
    requests, spool = work.requests, work.spool
    work.tell("merging")
    failed = merge.failures(requests, spool)
    held: tuple[bytes, ...] = ()
    if target is None:
        held = tuple(merge.lines(requests, spool))
    else:
        merge.write(target, requests, spool)
    state = "finished" if not failed else "stopped" if work.why else "incomplete"
    work.save(state=state, failed=len(failed))
    if not failed:
        spool.close(remove=True)
    run, answered = work.run, len(requests) - len(failed)
    work.tell("done")
    return BatchResult(
        run.id, run.via, state, len(requests), answered, failed, run.spent_nano, target, work.why, lines=held
    )


def _ledger(saver: Saver) -> Ledger:
    if saver.ledger is None:
        raise ConfigurationError("a batch needs the ledger, where its steps are written down: mode off has none")
    return saver.ledger.open()


def _client(saver: Saver) -> Any:
    from llmsaver.clients.facade import Client

    return Client(saver=saver, annotate=False)


def _jobs(via: str, client: Any) -> Jobs | None:
    if via == "openai":
        return OpenAIJobs(client.openai)
    return AnthropicJobs(client.anthropic) if via == "anthropic" else None


def _nano(amount: Decimal | str | int | None) -> int | None:
    """Return dollars as nano-dollars."""
    if amount is None:
        return None
    if isinstance(amount, float):
        raise ConfigurationError(f"max_usd={amount!r} is a float, which holds no exact amount; write '{amount!r}'")
    try:
        dollars = Decimal(amount)
    except (InvalidOperation, TypeError):
        raise ConfigurationError(f"max_usd={amount!r} is no amount of dollars") from None
    if not dollars.is_finite() or dollars < 0:
        raise ConfigurationError(f"max_usd={amount!r} is no amount of dollars")
    return int(dollars.scaleb(9))
