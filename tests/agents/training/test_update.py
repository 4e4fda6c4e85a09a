"""Credit by hand, and the counts that a loss divides by."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from agents.config_sections import Optim
from agents.grpo import ALGORITHM as GRPO
from agents.mgpo import ALGORITHM as MGPO
from agents.rollout.codec import Codec
from agents.rollout.loop import Group
from agents.training.algorithm import Options
from agents.training.optimizer import Optimizer
from agents.training.tree import micro_batches, token_logprobs
from agents.training.update import Updater, correction, credit
from agents.vlm import VLM
from hrvision_env.records import ImageRef, Outcome, Sample

SAMPLE = Sample("q", "What?", (ImageRef(data=b"", key="k"),), ("A",))


def group_of(trajectories, rewards, failed=()):
    members = []
    for n, (trajectory, reward) in enumerate(zip(trajectories, rewards, strict=True)):
        outcome = Outcome.ERROR if n in failed else trajectory.episode.outcome
        episode = dataclasses.replace(trajectory.episode, outcome=outcome, reward=reward)
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


def shifted(vlm, groups, shift):
    """The groups as a sampler had drawn them whose log-probs are the trainer's minus `shift`."""
    moved = []
    for group in groups:
        (batch,) = micro_batches([group], 10**6)
        with torch.no_grad():
            scores = token_logprobs(vlm, batch, entropy=False).logprobs
        for n, member in enumerate(group):
            t = member.trajectory
            logprobs = (scores[n, : len(t)].numpy() - shift) * t.loss_mask
            moved.append(
                dataclasses.replace(
                    member, trajectory=dataclasses.replace(t, logprobs=logprobs.astype("float32"))
                )
            )
    return [moved]


def gradient_with(folder, make_group, shift, **optim):
    """Gradient of one update, before clipping, and its metrics."""
    vlm = VLM.load(folder)
    group = group_of(make_group(vlm.codec, 1, members=3), [1.0, 0.0, 0.0])
    credited, _ = credit([group], MGPO, Options())
    given = Optim(mismatch_stop=1e6, **optim)
    optimizer: Any = Optimizer(vlm.trainable(), given)
    found: dict[str, torch.Tensor] = {}
    optimizer.step = lambda: found.update(g=vlm.body.language_model.norm.weight.grad.clone())
    updater = Updater(vlm, optimizer, MGPO, Options(), given)
    with pytest.raises(AttributeError):  # there was no step
        updater.update(shifted(vlm, credited, shift))
    return found["g"]


@pytest.mark.parametrize(("cap", "weight"), [(3.0, 2.0), (1.5, 1.5)])
def test_the_correction_weighs_tokens_by_trainer_over_sampler(
    qwen3_folder, make_group, cap, weight
):
    """A sampler that finds every token half as likely: each counts twice, or as the cap says."""
    plain = gradient_with(qwen3_folder, make_group, 0.0)
    same = gradient_with(qwen3_folder, make_group, 0.0, importance_cap=cap)
    assert torch.allclose(same, plain, rtol=1e-3, atol=1e-7)
    corrected = gradient_with(qwen3_folder, make_group, math.log(2), importance_cap=cap)
    assert torch.allclose(corrected, weight * plain, rtol=1e-3, atol=1e-7)
    # Without it the ratio of 2 stands outside of the clip: good tokens get no gradient at all.
    assert not torch.allclose(gradient_with(qwen3_folder, make_group, math.log(2)), 2 * plain)


def test_the_correction_by_hand():
    trainer = torch.tensor([[0.9, 0.2, 0.6, 1.0]]).log()
    sampler = torch.tensor([[0.3, 0.4, 0.6, 0.1]]).log()
    mask = torch.tensor([[True, True, True, False]])
    weights, told = correction(trainer, sampler, mask, cap=2.0)
    assert weights.tolist() == [pytest.approx([2.0, 0.5, 1.0, 1.0])]
    assert told == {"importance_mean": pytest.approx(3.5), "importance_capped": 1.0}


@pytest.mark.parametrize("cap", [None, 3.0])
def test_the_kl_is_that_of_the_sampler_also_with_a_correction(qwen3_folder, make_group, cap):
    """All tokens are twice as likely as under the sampler: 2 - log 2 - 1 nats each."""
    vlm = VLM.load(qwen3_folder)
    group = group_of(make_group(vlm.codec, 1, members=3), [1.0, 0.0, 0.0])
    credited, _ = credit([group], MGPO, Options())
    optim = Optim(mismatch_stop=1e6, importance_cap=cap)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), MGPO, Options(), optim)
    metrics = updater.update(shifted(vlm, credited, math.log(2)))
    assert metrics["kl_sampler"] == pytest.approx(1 - math.log(2), abs=1e-3)


def test_later_minibatches_start_from_the_weights_of_the_first(qwen3_folder, make_group):
    vlm = VLM.load(qwen3_folder)
    groups = [group_of(make_group(vlm.codec, s, members=2), [1.0, 0.0]) for s in range(3)]
    credited, _ = credit(groups, MGPO, Options())
    (exact,) = shifted(vlm, credited, 0.0)
    exact = [exact[n : n + 2] for n in (0, 2, 4)]
    optim = Optim(minibatches=3, importance_cap=2.0, lr=1e-2, warmup_steps=0)
    seen = []

    def loss(inputs, options):
        gap = (inputs.logprobs.detach() - inputs.old_logprobs)[inputs.mask].abs().max()
        seen.append((float(gap), float((inputs.weights - 1).abs().max())))
        return MGPO.loss(inputs, options)

    algorithm = dataclasses.replace(MGPO, loss=loss)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), algorithm, Options(), optim)
    metrics = updater.update(exact)
    assert seen[0][0] == 0.0 and seen[1][0] > 1e-3 and seen[2][0] > 1e-3
    assert all(weight < 1e-4 for _, weight in seen)  # trainer and sampler were the same
    assert metrics["importance_mean"] == pytest.approx(1.0, abs=1e-4)
    assert metrics["importance_capped"] == 0.0
