"""A vLLM of our own: started on this machine, waited for, asked how busy it is, and ended with this program."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from llmsaver.errors import LocalModelError
from llmsaver.local.diagnosis import Diagnosis, tail
from llmsaver.local.endpoint import Endpoint, Load
from llmsaver.local.launch import ServerFailed, child_environment
from llmsaver.local.probe_http import ask
from llmsaver.local.vllm_command import DRAIN_SECONDS, arguments, environment
from llmsaver.local.vllm_diagnosis import diagnose, relevant
from llmsaver.local.vllm_flags import PROGRAM, Known, installed
from llmsaver.local.vllm_metrics import Metrics, Pulse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmsaver.local.models import Vllm

__all__ = ["VllmServer", "start"]

log = logging.getLogger("llmsaver")

_WATCH = Path(__file__).with_name("vllm_watch.py")
_HOST = "127.0.0.1"
_PORTS = 3  # a free port may be taken before vLLM binds it
_POLL_SECONDS = 0.25
_ASK_SECONDS = 2.0
_LOAD_SECONDS = 1.0
_TELL_SECONDS = 30.0
_OK = 200
_MISSING = 404
_SLOTS = 256  # vLLM's own --max-num-seqs for most GPUs
_GRACE_SECONDS = 10.0
_LOG_LINES_BYTES = 131_072  # vLLM prints its cause far above the last traceback
_HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def start(tier: Vllm, *, log_dir: Path | None = None, timeout: float = 900.0, python: str | None = None) -> VllmServer:
    """Start vLLM for a tier, and return once it answers, within ``timeout`` seconds (weights may be fetched first).

    ``python`` is the interpreter that has vLLM; None: this one, else the one of the ``vllm`` command. Raises
    ConfigurationError for what this version does not have, before anything starts; LocalModelError (a ServerFailed
    with the log's last words, where it was started) otherwise.
    """
    known = installed(python)
    folder = _log_folder(tier, log_dir)
    for attempt in range(_PORTS):
        server = VllmServer(tier, known, _free_port(), folder)
        try:
            server.wait_ready(timeout)
        except ServerFailed as error:
            if error.diagnosis.kind != "port" or attempt == _PORTS - 1:
                raise
        except BaseException:
            server.stop()
            raise
        else:
            return server
    raise LocalModelError(f"local/{tier.name}: no free port was found on {_HOST}")


class VllmServer:
    """One running vLLM; ``wait_ready`` once, then use ``endpoint``; ended by ``stop`` or with this program.

    A watching program ends it within 2 seconds of this program's death, whatever kills that. ``command`` is what was
    started and ``log`` a file of mode 0600, removed by an orderly stop. The key is random and reaches vLLM by its
    environment.
    """

    def __init__(self, tier: Vllm, known: Known, port: int, log_dir: Path) -> None:
        self.tier = tier
        self.command = [known.python, "-P", str(PROGRAM), *arguments(tier, known, host=_HOST, port=port)]
        stem = re.sub(r"[^\w.-]", "_", tier.name)
        self.log = log_dir / f"local-{stem}-{os.getpid()}-{secrets.token_hex(3)}.log"
        key = secrets.token_urlsafe(32)
        self.endpoint = Endpoint(f"http://{_HOST}:{port}", key, tier.name, tier, "vllm")
        self._pulse = Pulse(self._metrics_text, tier.max_seqs or _SLOTS)
        self._popen = _started(self.log)
        self.pid = self._popen.pid
        self._stop = weakref.finalize(self, _stop, self._popen, os.getpid(), self.log)
        spec = {
            "command": self.command,
            "environment": {**environment(tier), **_hub_token(tier), "VLLM_API_KEY": key},
            "parent": os.getpid(),
            "grace": DRAIN_SECONDS + _GRACE_SECONDS,
        }
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it died already: its log says why
                self._popen.stdin.write(json.dumps(spec).encode() + b"\n")

    def wait_ready(self, timeout: float) -> None:
        """Wait until it answers, saying every 30 seconds that it is still starting. Raises ServerFailed."""
        began = time.monotonic()
        told = began
        log.info("local/%s: vLLM is starting; its log is %s", self.tier.name, self.log)
        while not self._healthy():
            now = time.monotonic()
            if not self.alive():
                raise self.failure()
            if now - began > timeout:
                text = f"it was not ready after {timeout:g} s; allow more (start_timeout) or choose smaller weights"
                error = self._failed(Diagnosis("timeout", text, retry=False))
                self._give_up()
                raise error
            if now - told >= _TELL_SECONDS:
                told = now
                last = (tail(self.log) or [""])[-1]
                log.warning(
                    "local/%s: vLLM is still starting after %.0f s: %s", self.tier.name, now - began, last[:200]
                )
            time.sleep(_POLL_SECONDS)
        log.info("local/%s: vLLM answers after %.1f s", self.tier.name, time.monotonic() - began)

    def alive(self) -> bool:
        """Return whether it runs; to be asked in the program that started it."""
        return self._popen.poll() is None

    def load(self) -> Load | None:
        """Return how busy it is, at most half a second old; None where it does not say."""
        return self._pulse.load()

    def metrics(self) -> Metrics | None:
        """Return what it counted since its start: requests, tokens, prefix-cache hits; None where it does not say."""
        return self._pulse.metrics()

    def failure(self) -> ServerFailed:
        """Return why it ended (or gives no usable answer), as an error with its log's own words; it is ended then."""
        error = self._failed(diagnose(tail(self.log, _LOG_LINES_BYTES), self._popen.poll()))
        self._stop()
        return error

    def stop(self) -> None:
        """End it: SIGTERM, time for running requests, SIGKILL. Twice is once; in a fork it does nothing."""
        self._stop()

    def _give_up(self) -> None:
        """End it at once: one that never got ready has no requests to wait for. Its log stays."""
        if self._stop.detach() is not None:
            _stop(self._popen, os.getpid(), self.log, patient=False)

    def _healthy(self) -> bool:
        try:
            return ask(self.endpoint.base_url, "/health", timeout=_ASK_SECONDS).status == _OK
        except OSError:
            return False

    def _metrics_text(self) -> str | None:
        answer = ask(self.endpoint.base_url, "/metrics", timeout=_LOAD_SECONDS)
        return answer.text if answer.ok else None

    def _failed(self, diagnosis: Diagnosis) -> ServerFailed:
        shown = "".join(f"\n  {line}" for line in relevant(tail(self.log, _LOG_LINES_BYTES)))
        message = f"local/{self.tier.name} ({self.tier.model}, vLLM) is not running: {diagnosis.text}."
        return ServerFailed(message + (f" {self.log} says:{shown}" if shown else ""), diagnosis)


def _started(path: Path) -> subprocess.Popen[bytes]:
    """Start the watching program; what it shall start follows through its stdin."""
    if not sys.executable:
        raise LocalModelError("local models need a Python program to run: sys.executable is empty")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and file
            [sys.executable, "-P", str(_WATCH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=descriptor,
            bufsize=0,  # no locks, so that a fork can close its copies
            env=child_environment(os.environ),
            start_new_session=True,  # Ctrl-C in the terminal is this program's
        )
    finally:
        os.close(descriptor)


def _stop(popen: subprocess.Popen[bytes], owner: int, path: Path, *, patient: bool = True) -> None:
    """End the watching program, and vLLM by it; the log of one that failed stays."""
    if os.getpid() != owner:
        return
    orderly = popen.poll() is None
    if orderly:
        if patient:
            popen.terminate()
        elif popen.stdin is not None:
            popen.stdin.close()  # it takes us for dead, and is quick
        try:
            popen.wait(DRAIN_SECONDS + 2 * _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            orderly = False
            popen.kill()
            popen.wait()
    if popen.stdin is not None:
        popen.stdin.close()
    if orderly and patient:
        path.unlink(missing_ok=True)


def _hub_token(tier: Vllm) -> Mapping[str, str]:
    """Return the hub's token where vLLM may have to fetch the model: everything else named like a secret stays here."""
    if Path(tier.model).is_dir():
        return {}
    return {name: os.environ[name] for name in _HUB_TOKENS if os.environ.get(name)}


def _log_folder(tier: Vllm, folder: Path | None) -> Path:
    import platformdirs

    folder = folder or platformdirs.user_log_path("llmsaver")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LocalModelError(f"local/{tier.name}: the log folder {folder} cannot be used ({error})") from error
    return folder


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind((_HOST, 0))
        return int(sock.getsockname()[1])
