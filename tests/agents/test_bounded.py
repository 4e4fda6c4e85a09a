"""What is kept in bounded memory, and what goes."""

from dataclasses import dataclass

from agents.bounded import Bounded


@dataclass
class Thing:
    n_bytes: int


def test_the_least_recently_used_go_first() -> None:
    kept: Bounded[Thing] = Bounded(10)
    for key, size in (("a", 4), ("b", 4), ("c", 2)):
        kept.put(key, Thing(size))
    assert kept.get("a") == Thing(4) and kept.n_bytes == 10
    kept.put("d", Thing(1))  # b is the one that was not used for longest
    assert [key in kept for key in "abcd"] == [True, False, True, True] and kept.n_bytes == 7
    kept.put("d", Thing(9))  # is there already
    assert kept.n_bytes == 7 and len(kept) == 3
    kept.put("e", Thing(11))  # larger than all there is room for
    assert len(kept) == kept.n_bytes == 0 and kept.get("e") is None
