"""Shares, counts and failures over processes, without any process: each rank is a thread."""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.rollout.loop import RolloutStats
from agents.training.interrupt import Interrupted
from agents.training.played import all_stats
from agents.training.ranks import ALONE, Ranks, SharedFailure
from agents.training.share import idle_batch, parts_of
from agents.training.tree import Credited, micro_batches
from agents.vlm import VLM


@dataclass
class Table:
    """Where threads put what they gather."""

    world: int
    slots: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = [None] * self.world
        self.barrier = threading.Barrier(self.world, timeout=20)


@dataclass(frozen=True)
class Threads(Ranks):
    def gather(self, value):
        self.group.slots[self.rank] = value
        self.group.barrier.wait()
        found = list(self.group.slots)
        self.group.barrier.wait()
        return found


def everywhere(world: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What `work` returns or raises on each rank."""
    table = Table(world)
    found: list[Any] = [None] * world

    def run(rank: int) -> None:
        try:
            found[rank] = work(Threads(rank, world, rank, table))
        except BaseException as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return found


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_make_up_the_whole_in_order(world):
    items = list("abcde")

    def work(ranks):
        own = ranks.share(items)
        assert [items[ranks.place(n)] for n in range(len(own))] == own
        return ranks.collect(own)

    assert everywhere(world, work) == [items] * world


def test_sums_do_not_depend_on_who_has_what():
    numbers = {"a": 0.1, "b": 1e16}, {"a": 0.2, "b": 1.0}, {"a": 0.3, "b": -1e16}
    found = everywhere(3, lambda ranks: ranks.total(numbers[ranks.rank]))
    assert found == [{"a": 0.6, "b": 1.0}] * 3  # 0.1 + 0.2 + 0.3 is 0.6000000000000001
    lacking = everywhere(2, lambda ranks: ranks.total({"a": 1.0} if ranks.main else {}))
    assert lacking == [{"a": 1.0}] * 2
    assert ALONE.total({"a": 1.0}) == {"a": 1.0}


def test_what_is_not_finite_adds_up_as_in_one_process():
    """A guard is to count it; `math.fsum` would raise."""
    losses = {"a": math.inf, "b": 1e308, "c": 1.0}, {"a": -math.inf, "b": 1e308, "c": math.nan}
    for found in everywhere(2, lambda ranks: ranks.total(losses[ranks.rank])):
        assert math.isnan(found["a"]) and found["b"] == math.inf and math.isnan(found["c"])


def test_what_fails_on_one_fails_on_all():
    def work(ranks):
        with ranks.together():
            if ranks.rank == 1:
                raise ValueError("no disk")

    found = everywhere(3, work)
    assert all(isinstance(error, SharedFailure) for error in found)
    assert {str(error) for error in found} == {"rank 1: no disk"}
    assert [error.main for error in found] == [True, False, False]
    assert isinstance(found[1].__cause__, ValueError)


def test_a_signal_to_one_interrupts_all():
    def work(ranks):
        with ranks.together():
            if ranks.main:
                raise Interrupted

    assert [type(error) for error in everywhere(2, work)] == [Interrupted] * 2


def test_a_failure_goes_before_a_signal():
    def work(ranks):
        with ranks.together():
            raise OSError("full") if ranks.main else Interrupted

    assert [str(error) for error in everywhere(2, work)] == ["rank 0: OSError: full"] * 2


def test_one_process_raises_what_it_is():
    with pytest.raises(ValueError, match=r"^no disk$"), ALONE.together():
        raise ValueError("no disk")


def test_the_main_one_tells():
    found = everywhere(3, lambda ranks: ranks.told(lambda: f"rows of {ranks.rank}"))
    assert found == ["rows of 0"] * 3


def test_counts_add_up_and_seconds_do_not():
    def work(ranks):
        own = RolloutStats(episodes=ranks.rank + 1, seconds_engine=2.0, sampled_tokens=10)
        return all_stats(own, ranks)

    for stats in everywhere(2, work):
        assert (stats.episodes, stats.sampled_tokens, stats.seconds_engine) == (3, 20, 2.0)
        assert stats.tokens_per_second == 10.0


def sibling(number: int, tokens: int) -> Any:
    """Stands for a `Credited` of group `number`."""
    mask = np.ones(tokens, dtype=bool)
    return SimpleNamespace(trajectory=SimpleNamespace(group=number, member=0, loss_mask=mask))


def cut(part: Any) -> Any:
    """A micro-batch for each group."""
    return [SimpleNamespace(groups=[g[0].trajectory.group]) for g in part]


def parts(ranks: Ranks, kept: list[int], count: int, constant: tuple[int, ...] = ()) -> list[Any]:
    """Of 7 questions those in `kept` are left; question n has n + 1 tokens."""
    own = [n for n in ranks.share(list(range(7))) if n in kept]
    groups = [[sibling(n, n + 1)] for n in own]

    def computed(group: Any) -> bool:
        return group[0].trajectory.group not in constant

    found: list[Any] = parts_of(groups, count, cut, ranks, own, computed)
    return [
        ([b.groups[0] for b in p.batches], p.passes, p.n_tokens, p.n_trajectories) for p in found
    ]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5, 6], [1, 3, 5], [6], []])
def test_an_update_is_of_the_same_groups_whatever_the_number_of_ranks(world, kept):
    (alone,) = everywhere(1, lambda ranks: parts(ranks, kept, 3))
    found = everywhere(world, lambda ranks: parts(ranks, kept, 3))
    assert all(len(own) == len(alone) <= 3 for own in found)
    for own in zip(alone, *found, strict=True):
        (groups, _, tokens, episodes), *shares = own
        assert sorted(n for share in shares for n in share[0]) == groups
        assert {share[2:] for share in shares} == {(tokens, episodes)}
        assert tokens == sum(n + 1 for n in groups)
        assert {share[1] for share in shares} == {max(len(share[0]) for share in shares)}


def test_parts_by_hand():
    """Questions 0, 2, 4, 6 are the first rank's, 1, 3, 5 the second's."""
    first, second = everywhere(2, lambda ranks: parts(ranks, [1, 3, 4, 5, 6], 2))
    assert first == [([], 2, 6, 2), ([4, 6], 2, 18, 3)]
    assert second == [([1, 3], 2, 6, 2), ([5], 2, 18, 3)]


def test_groups_that_only_count_by_hand():
    """As above, of which 1, 3 and 5 are constant: the second rank idles along, and still counts."""
    first, second = everywhere(2, lambda ranks: parts(ranks, [1, 2, 3, 4, 5, 6], 2, (1, 3, 5)))
    assert first == [([2], 1, 9, 3), ([4, 6], 2, 18, 3)]
    assert second == [([], 1, 9, 3), ([], 2, 18, 3)]
    first, second = everywhere(2, lambda ranks: parts(ranks, [0, 1, 3, 5], 2, (0, 1)))
    assert (first, second) == ([([], 2, 10, 2)], [([3, 5], 2, 10, 2)])  # 0 and 1 are no update


def test_an_idle_pass_runs_what_others_run(qwen25_folder, make_group):
    """Same modules, each as often, as a batch of two-turn groups."""
    vlm = VLM.load(qwen25_folder)

    def called(batch):
        from agents.training.tree import token_logprobs

        names = []
        hooks = [
            m.register_forward_hook(lambda *_, name=name: names.append(name))
            for name, m in vlm.body.language_model.named_modules()
        ]
        token_logprobs(vlm, batch)
        for hook in hooks:
            hook.remove()
        return names

    group = [Credited(t, (1.0,)) for t in make_group(vlm.codec, 1)]
    real = next(micro_batches([group], budget=10_000))
    assert called(idle_batch(vlm.codec)) == called(real) != []
