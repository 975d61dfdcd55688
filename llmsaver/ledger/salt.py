"""Salted hashes: repetition can be counted without keeping a word, and without the salt nothing can be guessed back.

The salt lies outside the ledger, so that a copied ledger alone reveals nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["MESSAGES", "Salt", "salt_path"]

log = logging.getLogger("llmsaver")

LENGTH = 32
MESSAGES = 64


def _canonical() -> Callable[[Any], str]:
    """Return what writes JSON in one way only; ``JSONEncoder.encode`` makes the C encoder anew for every value."""
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return json.JSONEncoder(sort_keys=True).encode
    encoder = json.JSONEncoder()
    write = make(None, encoder.default, json.encoder.encode_basestring_ascii, None, ": ", ", ", True, False, True)
    return lambda value: "".join(write(value, 0))


_write = _canonical()


def salt_path() -> Path:
    """Return where the salt is kept unless told otherwise: the user's configuration folder."""
    from platformdirs import user_config_dir

    return Path(user_config_dir("llmsaver", appauthor=False)) / "salt"


class Salt:
    """A secret of 32 bytes, made on first use in a file of mode 0600.

    Where it can be neither read nor made, one is drawn for this process only, and hashes of two runs do not match.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = None if path is None else Path(path)
        self._value: bytes | None = None
        self._state: blake2b | None = None

    @property
    def value(self) -> bytes:
        """The secret."""
        if self._value is None:
            path = self._path or salt_path()
            try:
                self._value = _load(path)
            except OSError as error:
                log.warning("llmsaver: no salt at %s (%s); hashes of this run will match no other's", path, error)
                self._value = os.urandom(LENGTH)
        return self._value

    def hide(self, name: str) -> str:
        """Return the salted hash that stands for a user's or tenant's id."""
        return "h:" + blake2b(name.encode("utf-8", "replace"), digest_size=12, key=self.value, person=b"id").hexdigest()

    def prints(self, body: Mapping[str, Any]) -> tuple[str, list[str]]:
        """Return the salted hash of a request, 24 hex digits, and one for each of its first ``MESSAGES`` messages.

        A message's, 16 digits, is over its own content and all before it: two requests share exactly as many leading
        hashes as they share leading messages. The order of an object's keys makes no difference. Raises ``TypeError``,
        ``ValueError`` or ``RecursionError`` for what is no JSON.
        """
        running = self._keyed().copy()
        turns = body.get("messages", body.get("input"))
        chain: list[str] = []
        if isinstance(turns, list):
            for turn in turns[:MESSAGES]:
                running.update(_write(turn).encode() + b"\n")
                chain.append(running.hexdigest()[:16])
            if len(turns) > MESSAGES:
                running.update(_write(turns[MESSAGES:]).encode())
            body = {name: value for name, value in body.items() if value is not turns}
        running.update(b"\n" + _write(body).encode())
        return running.hexdigest(), chain

    def _keyed(self) -> blake2b:
        """Return a hash that has taken in the secret, to be copied: making one costs more than hashing a message."""
        if self._state is None:
            self._state = blake2b(digest_size=12, key=self.value, person=b"request")
        return self._state


def _load(path: Path) -> bytes:
    """Return the salt in ``path``, made there if there is none; of several makers at once, one wins."""
    with contextlib.suppress(FileNotFoundError):
        return _checked(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(os.urandom(LENGTH))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike a rename, never over one that another maker has put there
    finally:
        draft.unlink()
    return _checked(path)


def _checked(path: Path) -> bytes:
    with path.open("rb") as file:
        value = file.read()
    if len(value) < LENGTH:
        raise OSError(f"it holds {len(value)} bytes instead of {LENGTH}")
    return value
