"""Credit by hand: who enters the mean, who the loss, and what each reply is worth."""

import dataclasses
import threading
from typing import Any

import pytest
import torch

from agents.grpo import ALGORITHM as GRPO
from agents.mgpo import ALGORITHM as MGPO
from agents.mt_grpo import ALGORITHM as TURNS
from agents.reinforce_pp import ALGORITHM as WHOLE_STEP
from agents.rollout.codec import Codec
from agents.training.advantages import whitening
from agents.training.algorithm import Options
from agents.training.credit import credit, used_up_turns
from agents.training.ranks import Ranks, SharedFailure
from agents.training.tree import micro_batches
from hrvision_env.records import Outcome, Turn

from .groups import group_of

PAPER = MGPO.presets["paper"]


@pytest.fixture
def codec(qwen3_folder):
    return Codec.from_pretrained(qwen3_folder)


def advantages(members):
    """One per trajectory, where each has a single one."""
    assert all(len(c.advantages) == 1 for c in members)
    return [c.advantages[0] for c in members]


def test_by_hand(codec, make_group):
    group = group_of(make_group(codec, 1, members=4), [1.0, 0.0, 0.0, 0.0])
    credited, told = credit([group], MGPO, PAPER)
    assert [advantages(g) for g in credited] == [[0.75, -0.25, -0.25, -0.25]]
    assert told == {"zero_variance_share": 0.0, "over_turn_share": 0.0}
    (scaled,), _ = credit([group], GRPO, Options(std_eps=0.0))
    assert advantages(scaled) == pytest.approx([1.5, -0.5, -0.5, -0.5])


def test_failed_episodes_enter_neither_mean_nor_loss(codec, make_group):
    group = group_of(make_group(codec, 1, members=4), [1.0, 0.0, 0.0, 1.0], failed={1})
    (members,), _ = credit([group], MGPO, PAPER)
    assert [c.trajectory.member for c in members] == [0, 2, 3]
    assert advantages(members) == pytest.approx([1 / 3, -2 / 3, 1 / 3])


def test_an_episode_counts_once_however_many_trajectories_it_left(codec, make_group):
    one, two, three = make_group(codec, 1, members=3)
    hidden = dataclasses.replace(one, member=0)
    group = group_of([one, hidden, two, three], [1.0, 1.0, 0.0, 0.0])
    (members,), _ = credit([group], MGPO, PAPER)
    assert [c.trajectory.member for c in members] == [0, 0, 1, 2]
    assert advantages(members) == pytest.approx([2 / 3, 2 / 3, -1 / 3, -1 / 3])


def test_a_group_that_failed_as_a_whole_is_left_out(codec, make_group):
    good = group_of(make_group(codec, 1, members=2), [1.0, 0.0])
    bad = group_of(make_group(codec, 2, members=2), [0.0, 0.0], failed={0, 1})
    credited, _ = credit([good, bad], MGPO, Options(drop_zero_variance=False))
    assert len(credited) == 1


def test_no_group_is_no_credit():
    nothing = {"zero_variance_share": 0.0, "over_turn_share": 0.0}
    for algorithm in (MGPO, TURNS, WHOLE_STEP):
        options = next(iter(algorithm.presets.values()))
        assert credit([], algorithm, options) == ([], nothing)


@pytest.mark.parametrize("drop", [True, False])
def test_dropping_constant_groups_is_a_switch(codec, make_group, drop):
    # Fault of the reference code: groups without a gradient are computed all the same.
    groups = [
        group_of(make_group(codec, seed, members=2), rewards)
        for seed, rewards in enumerate([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ]
    credited, told = credit(groups, MGPO, Options(drop_zero_variance=drop))
    assert told["zero_variance_share"] == 0.5
    assert len(credited) == (2 if drop else 4)


# -- episodes that used up their turns: rewards 1, 0, 0.5 and 0 for the one without an answer


@pytest.mark.parametrize(
    ("loss", "mean", "expected"),
    [
        (True, True, [0.625, -0.375, 0.125, -0.375]),  # mean 1.5 / 4
        (False, True, [0.625, -0.375, 0.125]),
        (True, False, [0.5, -0.5, 0.0, -0.5]),  # mean 1.5 / 3
        (False, False, [0.5, -0.5, 0.0]),
    ],
)
def test_over_turn_switches_by_hand(codec, make_group, loss, mean, expected):
    group = group_of(make_group(codec, 1, members=4), [1.0, 0.0, 0.5, 0.0], over_turn={3})
    options = Options(normalise_std=False, over_turn_loss=loss, over_turn_mean=mean)
    (members,), told = credit([group], MGPO, options)
    assert advantages(members) == pytest.approx(expected)
    assert told["over_turn_share"] == 0.25


@pytest.mark.parametrize(
    ("loss", "mean", "constant"),
    [(True, True, 0.0), (False, True, 0.0), (True, False, 0.0), (False, False, 1.0)],
)
def test_a_group_is_constant_by_those_that_count(codec, make_group, loss, mean, constant):
    """All answers are right; the one that is left out of loss and mean would differ."""
    group = group_of(make_group(codec, 1, members=3), [1.0, 1.0, 0.0], over_turn={2})
    options = Options(drop_zero_variance=True, over_turn_loss=loss, over_turn_mean=mean)
    credited, told = credit([group], GRPO, options)
    assert told["zero_variance_share"] == constant
    assert len(credited) == 1 - constant
    if loss and not mean:  # nothing to divide by: all answers were right
        assert advantages(credited[0]) == [0.0, 0.0, -1.0]


def test_a_group_of_nothing_but_over_turn_episodes(codec, make_group):
    group = group_of(make_group(codec, 1, members=3), [0.0] * 3, over_turn={0, 1, 2})
    for switch in ("over_turn_loss", "over_turn_mean"):
        options = Options(drop_zero_variance=True).model_copy(update={switch: False})
        credited, told = credit([group], GRPO, options)
        assert credited == [] and told["over_turn_share"] == 1.0


def test_what_counts_as_used_up(codec, make_group):
    (trajectory, _) = make_group(codec, 1, members=2)

    def ended(outcome, reply):
        turns = (Turn("Where?", 1, reply),)
        return dataclasses.replace(trajectory.episode, outcome=outcome, turns=turns)

    assert used_up_turns(ended(Outcome.NO_ANSWER, "one more look"))
    assert not used_up_turns(ended(Outcome.WRONG, "The answer is C."))
    assert not used_up_turns(ended(Outcome.NO_ANSWER, r"It is \boxed{both of them}."))
    assert not used_up_turns(ended(Outcome.ERROR, "one more look"))


# -- one advantage per reply


def test_turns_are_credited_one_by_one(codec, make_group):
    """Answers 1, 0; only the second one's box is valid: A^O = ±.5, A^T = -+.5."""
    group = group_of(
        make_group(codec, 1, members=2), [1.0, 0.0], boxed=[(False, False), (True, False)]
    )
    options = TURNS.presets["paper"].model_copy(update={"normalise_std": False})
    (members,), _ = credit([group], TURNS, options)
    assert [c.advantages for c in members] == [(0.0, 0.5), (0.0, -0.5)]
    (batch,) = micro_batches([members], 100_000)
    first, second = members[0].trajectory.replies
    values = batch.advantages[0, batch.mask[0]]
    assert values.tolist() == [0.0] * first + [0.5] * second
    assert batch.advantages[~batch.mask].abs().sum() == 0.0


def test_right_answers_without_boxes_still_teach_grounding(codec, make_group):
    groups = [
        group_of(make_group(codec, seed, members=2), [1.0, 1.0], boxed=[(a, False), (b, False)])
        for seed, (a, b) in enumerate([(True, False), (True, True)])
    ]
    drop = {"drop_zero_variance": True}
    credited, told = credit(groups, TURNS, TURNS.presets["paper"].model_copy(update=drop))
    assert told["zero_variance_share"] == 1.0
    (members,) = credited  # the second group is constant in both
    (up, _), (down, _) = (c.advantages for c in members)
    assert up == -down > 0.5 and [c.advantages[1] for c in members] == [0.0, 0.0]
    kept, _ = credit(groups, GRPO, Options(drop_zero_variance=True))
    assert kept == []


def test_each_trajectory_of_an_episode_has_its_own_replies(codec, make_group):
    """A dialogue that hides the first turn: one reply in each of two trajectories."""
    parts = [t for seed in (1, 2) for t in make_group(codec, seed, members=2, turns=1)]
    hidden = [dataclasses.replace(t, group="g") for t in (parts[0], parts[2], parts[1], parts[3])]
    boxes = [(True, False)] * 2 + [(False, False)] * 2
    group = group_of(hidden, [1.0, 1.0, 0.0, 0.0], boxed=boxes)
    options = TURNS.presets["paper"].model_copy(update={"normalise_std": False})
    (members,), _ = credit([group], TURNS, options)
    assert [c.advantages for c in members] == [(1.0,), (0.5,), (-1.0,), (-0.5,)]


def test_an_advantage_of_another_shape_is_named(codec, make_group):
    group = group_of(make_group(codec, 1, members=3), [1.0, 0.0, 0.0])
    odd = dataclasses.replace(MGPO, name="odd", advantage=lambda scores, options: torch.zeros(2))
    expected = (
        r"algorithm odd: its advantage has shape \(2,\), expected \(3,\) siblings, or \(3, 2\)"
    )
    with pytest.raises(ValueError, match=expected):
        credit([group], odd, PAPER)


# -- the whole step


@pytest.fixture
def step(codec, make_group):
    """Three groups: all right, one of three right, one of two right."""
    rewards = ([1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0])
    return [group_of(make_group(codec, n, members=len(r)), r) for n, r in enumerate(rewards)]


def every_token(credited):
    return torch.tensor([a for g in credited for c in g for a in c.token_advantages.tolist()])


@pytest.mark.parametrize("preset", ["baseline", "plain"])
def test_a_steps_tokens_have_mean_0_and_spread_1(step, preset):
    credited, _ = credit(step, WHOLE_STEP, WHOLE_STEP.presets[preset])
    values = every_token(credited).double()
    assert float(values.mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(values.std(unbiased=False)) == pytest.approx(1.0, abs=1e-5)
    constant = advantages(credited[0])
    assert (constant[0] > 0.3) == (preset == "plain")  # all right is above the step's mean


def test_a_steps_normalisation_by_hand(step):
    (_, group, _), _ = credit(step, WHOLE_STEP, WHOLE_STEP.presets["plain"])
    tokens = [[int(t.loss_mask.sum()) for t in g.trajectories] for g in step]
    total = sum(map(sum, tokens))
    right = sum(tokens[0]) + tokens[1][0] + tokens[2][1]
    mean = right / total
    spread = (mean * (1 - mean)) ** 0.5 + 1e-6
    assert advantages(group) == pytest.approx([(1 - mean) / spread, *[-mean / spread] * 2])


@pytest.mark.parametrize(
    ("loss", "mean", "right", "wrong"),
    [
        (True, True, 3**0.5, -(3**-0.5)),  # of 1, 0, 0, 0 the mean is .25, the spread .433
        (True, False, 2**0.5, -(2**-0.5)),  # of 1, 0, 0 it is 1/3 and .471
        (False, True, 3**0.5, -(3**-0.5)),
        (False, False, 2**0.5, -(2**-0.5)),
    ],
)
def test_over_turn_switches_where_a_step_is_normalised(codec, make_group, loss, mean, right, wrong):
    group = group_of(make_group(codec, 1, members=4), [1.0, 0.0, 0.0, 0.0], over_turn={3})
    same = dataclasses.replace(WHOLE_STEP, step_scale=_by_reply)
    change = {"over_turn_loss": loss, "over_turn_mean": mean}
    options = WHOLE_STEP.presets["plain"].model_copy(update=change)
    (members,), _ = credit([group], same, options)
    expected = [right, wrong, wrong, *([wrong] if loss else [])]
    assert advantages(members) == pytest.approx(expected, abs=1e-5)


def _by_reply(values, tokens, options):
    """Each episode's tokens count as one."""
    return whitening(values, torch.ones_like(tokens))


@dataclasses.dataclass(frozen=True)
class Threads(Ranks):
    """Ranks that are threads of one process."""

    barrier: threading.Barrier = dataclasses.field(default_factory=lambda: threading.Barrier(2))
    table: list = dataclasses.field(default_factory=list)

    def gather(self, value):
        self.barrier.wait(10)
        if self.rank == 0:
            self.table[:] = [None] * self.world
        self.barrier.wait(10)
        self.table[self.rank] = value
        self.barrier.wait(10)
        return list(self.table)


def on_two_ranks(shares, algorithm, options) -> Any:
    barrier = threading.Barrier(2)
    table: list[Any] = []
    found: dict[int, Any] = {}

    def run(rank):
        ranks = Threads(rank, 2, barrier=barrier, table=table)
        try:
            found[rank] = credit(shares[rank], algorithm, options, ranks)
        except SharedFailure as error:
            found[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found[0], found[1]


@pytest.mark.parametrize("preset", ["baseline", "plain"])
def test_two_ranks_credit_as_one_does(step, preset):
    options = WHOLE_STEP.presets[preset]
    alone, told = credit(step, WHOLE_STEP, options)
    for shares in ([step[:1], step[1:]], [step[::2], step[1::2]], [step, []]):
        (first, told_first), (second, told_second) = on_two_ranks(shares, WHOLE_STEP, options)
        assert told_first == told_second == told
        got = {c.trajectory.group + str(c.trajectory.member): c for g in first + second for c in g}
        expected = [c for g in alone for c in g]
        assert len(got) == len(expected)
        for c in expected:
            same = got[c.trajectory.group + str(c.trajectory.member)]
            assert same.advantages == c.advantages  # to the last bit


def test_a_fault_on_one_rank_is_raised_by_both(step):
    cut = dataclasses.replace(step[0].trajectories[0], truncated=True)
    broken = dataclasses.replace(step[0], trajectories=(cut,))
    found = on_two_ranks([[broken], step[1:]], WHOLE_STEP, WHOLE_STEP.presets["plain"])
    assert all("rank 0: " in str(error) and "top_p" in str(error) for error in found)
