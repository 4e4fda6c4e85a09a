"""Credit by hand, and the counts that a loss divides by."""

import dataclasses

import pytest
import torch

from agents.config import Optim
from agents.grpo import ALGORITHM as GRPO
from agents.mgpo import ALGORITHM as MGPO
from agents.rollout.codec import Codec
from agents.rollout.loop import Group
from agents.training.algorithm import Options
from agents.training.optimizer import Optimizer
from agents.training.update import Updater, credit
from agents.vlm import VLM
from hrvision_env.records import ImageRef, Outcome, Sample

SAMPLE = Sample("q", "What?", (ImageRef(data=b"", key="k"),), ("A",))


def group_of(trajectories, rewards, failed=()):
    members = []
    for n, (trajectory, reward) in enumerate(zip(trajectories, rewards, strict=True)):
        outcome = Outcome.ERROR if n in failed else trajectory.episode.outcome
        episode = dataclasses.replace(trajectory.episode, outcome=outcome)
        members.append(dataclasses.replace(trajectory, reward=reward, episode=episode))
    return Group("q", tuple(members), tuple(m.episode for m in members), SAMPLE)


@pytest.fixture
def codec(qwen3_folder):
    return Codec.from_pretrained(qwen3_folder)


def test_credit_by_hand(codec, make_group):
    group = group_of(make_group(codec, 1, members=4), [1.0, 0.0, 0.0, 0.0])
    credited, constant = credit([group], MGPO, MGPO.presets["paper"])
    assert [[c.advantage for c in g] for g in credited] == [[0.75, -0.25, -0.25, -0.25]]
    assert constant == 0.0
    (scaled,), _ = credit([group], GRPO, Options(std_eps=0.0))
    assert [c.advantage for c in scaled] == pytest.approx([1.5, -0.5, -0.5, -0.5])


def test_failed_episodes_enter_neither_mean_nor_loss(codec, make_group):
    group = group_of(make_group(codec, 1, members=4), [1.0, 0.0, 0.0, 1.0], failed={1})
    (members,), _ = credit([group], MGPO, MGPO.presets["paper"])
    assert [c.trajectory.member for c in members] == [0, 2, 3]
    assert [c.advantage for c in members] == pytest.approx([1 / 3, -2 / 3, 1 / 3])


def test_an_episode_counts_once_however_many_trajectories_it_left(codec, make_group):
    one, two, three = make_group(codec, 1, members=3)
    hidden = dataclasses.replace(one, member=0)
    group = group_of([one, hidden, two, three], [1.0, 1.0, 0.0, 0.0])
    (members,), _ = credit([group], MGPO, MGPO.presets["paper"])
    assert [c.trajectory.member for c in members] == [0, 0, 1, 2]
    assert [c.advantage for c in members] == pytest.approx([2 / 3, 2 / 3, -1 / 3, -1 / 3])


def test_a_group_that_failed_as_a_whole_is_left_out(codec, make_group):
    good = group_of(make_group(codec, 1, members=2), [1.0, 0.0])
    bad = group_of(make_group(codec, 2, members=2), [0.0, 0.0], failed={0, 1})
    credited, _ = credit([good, bad], MGPO, Options(drop_zero_variance=False))
    assert len(credited) == 1


@pytest.mark.parametrize("drop", [True, False])
def test_dropping_constant_groups_is_a_switch(codec, make_group, drop):
    # Fault of the reference code: groups without a gradient are computed all the same.
    groups = [
        group_of(make_group(codec, seed, members=2), rewards)
        for seed, rewards in enumerate([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ]
    credited, constant = credit(groups, MGPO, Options(drop_zero_variance=drop))
    assert constant == 0.5
    assert len(credited) == (2 if drop else 4)


class Recorder:
    """MGPO's loss that keeps what it was given."""

    def __init__(self):
        self.seen = []

    def loss(self, inputs, options):
        self.seen.append((inputs.n_tokens, inputs.n_trajectories, len(inputs.mask)))
        return MGPO.loss(inputs, options)


@pytest.mark.parametrize(("budget", "parts"), [(100_000, 1), (150, 3)])
def test_counts_are_those_of_the_whole_update(qwen3_folder, make_group, budget, parts):
    vlm = VLM.load(qwen3_folder)
    groups = [group_of(make_group(vlm.codec, s, members=3), [1.0, 0.0, 0.0]) for s in (1, 2, 3)]
    credited, _ = credit(groups, MGPO, Options())
    optim = Optim(micro_batch_tokens=budget, mismatch_stop=1e6)
    recorder = Recorder()
    algorithm = dataclasses.replace(MGPO, loss=recorder.loss)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), algorithm, Options(), optim)
    metrics = updater.update(credited)
    n_tokens = sum(int(c.trajectory.loss_mask.sum()) for g in credited for c in g)
    assert len(recorder.seen) >= parts
    assert {(tokens, members) for tokens, members, _ in recorder.seen} == {(n_tokens, 9)}
    assert sum(rows for _, _, rows in recorder.seen) == 9
    assert metrics["tokens_trained"] == n_tokens


def test_minibatches_step_once_each(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    groups = [group_of(make_group(vlm.codec, s, members=2), [1.0, 0.0]) for s in range(5)]
    credited, _ = credit(groups, MGPO, Options())
    optim = Optim(minibatches=3, mismatch_stop=1e6, warmup_steps=0)
    optimizer = Optimizer(vlm.trainable(), optim)
    recorder = Recorder()
    algorithm = dataclasses.replace(MGPO, loss=recorder.loss)
    Updater(vlm, optimizer, algorithm, Options(), optim).update(credited)
    assert optimizer.updates == 3
    assert [members for _, members, _ in recorder.seen] == [4, 2, 4]


def test_no_group_left_means_no_update(qwen3_folder):
    vlm = VLM.load(qwen3_folder)
    optim = Optim()
    optimizer = Optimizer(vlm.trainable(), optim)
    before = vlm.model.lm_head.weight.clone()
    metrics = Updater(vlm, optimizer, MGPO, Options(), optim).update([])
    assert metrics["tokens_trained"] == 0.0
    assert optimizer.updates == 0
    assert torch.equal(vlm.model.lm_head.weight, before)
