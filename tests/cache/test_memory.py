"""The answers used most recently, within their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmsaver.cache.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmsaver.cache.stored import Stored


def test_the_one_used_longest_ago_goes_first(stored: Callable[..., Stored]) -> None:
    size = 2 * stored().size
    memory = Memory(8 * size)
    for number in range(8):
        memory.put(stored(str(number)))
    assert memory.get("0") is not None
    memory.put(stored("8"))
    assert memory.get("1") is None
    assert memory.get("0") is not None
    assert (len(memory), memory.bytes) == (8, 8 * size)


def test_one_that_is_put_again_or_removed_is_counted_once(stored: Callable[..., Stored]) -> None:
    memory = Memory(1 << 20)
    memory.put(stored("a"))
    memory.put(stored("a", "longer than before"))
    assert memory.bytes == 2 * stored("a", "longer than before").size
    memory.remove("a")
    memory.remove("a")
    assert (len(memory), memory.bytes) == (0, 0)
    memory.put(stored("a"))
    memory.clear()
    assert (len(memory), memory.bytes) == (0, 0)


def test_a_huge_one_pushes_nothing_out(stored: Callable[..., Stored]) -> None:
    memory = Memory(8 * 2 * stored().size)
    memory.put(stored("a"))
    memory.put(stored("b", "x" * 10_000))
    assert memory.get("b") is None
    assert memory.get("a") is not None


def test_a_forked_child_starts_empty(stored: Callable[..., Stored]) -> None:
    memory = Memory(1 << 20)
    memory.put(stored("a"))
    memory.after_fork()
    assert (len(memory), memory.bytes) == (0, 0)
