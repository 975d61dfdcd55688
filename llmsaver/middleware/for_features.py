"""Which of a program's features a layer is for, and with what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from llmsaver.errors import ConfigurationError

if TYPE_CHECKING:
    from llmsaver.core.request import Request

__all__ = ["ForFeatures"]


class ForFeatures:
    """A word of ``words`` by feature: ``word`` for all where ``features`` is None, else for those, or as they say.

    A feature's word holds for the features inside it too, where they have none. Raises ``ConfigurationError``, in
    which ``what`` names the argument.
    """

    __slots__ = ("_by", "_word")

    def __init__(
        self, word: str, features: Iterable[str] | Mapping[str, str] | None, words: Iterable[str], what: str
    ) -> None:
        if isinstance(features, str) or not isinstance(features, Iterable | None):
            raise ConfigurationError(f"{what}: features= must be a list of features, or a word by feature")
        self._by = dict(features) if isinstance(features, Mapping) else dict.fromkeys(features or (), word)
        self._word = word if features is None else None
        known = list(words)
        for each in (word, *self._by.values()):
            if each not in known:
                raise ConfigurationError(f"{what} must be one of {', '.join(map(repr, known))}, not {each!r}")

    def __str__(self) -> str:
        return f"{self._word} {sorted(self._by.items())}"

    def of(self, request: Request) -> str | None:
        """Return the word for a call; None where the layer is not for it."""
        path = request.entry.path or (request.feature,)
        return next((self._by[name] for name in reversed(path) if name in self._by), self._word)
