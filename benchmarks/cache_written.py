"""The questions in ``cache_questions/``, and the pairs that the cross-encoder and the judge are fitted on.

A group is a question ("="), other wordings of it ("+"), which one answer serves too, and near misses ("- kind"), which
want another. They were written by a large language model, each file in one go, from general knowledge: its authors had
seen neither the guards, nor the trap suites, nor a line of the streams. Groups that share a line with a suite are
left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmsaver.embed import default_embedder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Group", "Pair", "crossed", "groups", "pairs", "weights"]

FOLDER = Path(__file__).with_name("cache_questions")
SUITES = Path(__file__).parents[1] / "tests" / "cache"
PARTS = 8
_MOST = 3.0
# Of the nearest questions of other groups, those nearer than this may be the same question once more.
_NEAREST, _FARTHEST, _EACH, _LOOKED_AT = 0.86, 0.45, 2, 6
vector = lru_cache(maxsize=None)(lambda text: default_embedder().embed([text])[0])


@dataclass(frozen=True)
class Group:
    """The wordings of one question, and its near misses with their kinds.

    ``held_out``: the cross-encoder is not fitted on it; every eighth block of a file, so files may only grow at their
    ends. One that shares a line with a group that is fitted is left out.
    """

    wordings: tuple[str, ...]
    misses: tuple[tuple[str, str], ...]
    held_out: bool = False

    @property
    def lines(self) -> set[str]:
        """All its texts, without case and marks."""
        texts = (*self.wordings, *(text for _, text in self.misses))
        return {" ".join(re.findall(r"\w+", text.lower())) for text in texts}


@dataclass(frozen=True)
class Pair:
    """Two questions, whether one answer serves both, and their group; ``kind`` of a near miss, "" where there is none.

    ``minimal``: the first wording and a near miss of it.
    """

    one: str
    other: str
    same: bool
    group: Group
    kind: str = ""
    minimal: bool = False


def groups() -> list[Group]:
    """Return all groups, file by file; ``ValueError`` for one that is no group."""
    known = {text.lower() for path in SUITES.glob("traps*.jsonl") for text in _texts(path)}
    found = []
    for path in sorted(FOLDER.glob("*.txt")):
        for at, block in enumerate(re.split(r"\n\s*\n", path.read_text())):
            rows = [(line[0], line[2:].strip()) for line in block.splitlines() if line and line[0] != "#"]
            if not rows:
                continue
            wordings = tuple(text for mark, text in rows if mark in "=+")
            misses = tuple((kind, text) for mark, row in rows if mark == "-" for kind, _, text in [row.partition(" ")])
            if (
                rows[0][0] != "="
                or len(wordings) + len(misses) != len(rows)
                or not all((*wordings, *(text for _, text in misses)))
            ):
                raise ValueError(f"{path.name}: this is no group of questions:\n{block}")
            if known.isdisjoint(text.lower() for text in (*wordings, *(text for _, text in misses))):
                found.append(Group(wordings, misses, held_out=at % PARTS == 0))
    fitted = {line for each in found if not each.held_out for line in each.lines}
    return [each for each in found if not each.held_out or fitted.isdisjoint(each.lines)]


def _texts(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        row = json.loads(line)
        yield from (row["a"], row["b"])


def weights(among: Sequence[Pair]) -> list[float]:
    """Return how much each pair counts: near misses of rare kinds more, as the square root of how rare they are.

    Writers find another thing to ask about ("word", "wh") more easily than another tense or unit, users do not.
    """
    counted = Counter(each.kind for each in among if each.kind)
    return [min(_MOST, (counted["wh"] / counted[each.kind]) ** 0.5) if each.kind else 1.0 for each in among]


def pairs(group: Group) -> Iterator[Pair]:
    """Yield every two wordings of a group, and every wording with every near miss."""
    for at, one in enumerate(group.wordings):
        for other in group.wordings[at + 1 :]:
            yield Pair(one, other, same=True, group=group)
        for kind, miss in group.misses:
            yield Pair(one, miss, same=False, group=group, kind=kind, minimal=at == 0)


def crossed(among: Sequence[Group]) -> Iterator[Pair]:
    """Yield the nearest questions of different groups: what a cache that holds few questions finds for a new one."""
    texts = [(text, group) for group in among for text in group.wordings[:2]]
    vectors = np.stack([vector(text) for text, _ in texts])
    numbers = {group: at for at, group in enumerate(among)}
    owner = np.array([numbers[group] for _, group in texts])
    lines = [group.lines for _, group in texts]
    for at, (text, group) in enumerate(texts):
        near: Any = vectors @ vectors[at]
        near[owner == owner[at]] = -1
        nearest = [
            each
            for each in np.argsort(-near)[:_LOOKED_AT]
            if _FARTHEST < near[each] < _NEAREST and lines[at].isdisjoint(lines[each])
        ]
        for each in nearest[:_EACH]:
            yield Pair(text, texts[each][0], same=False, group=group)
