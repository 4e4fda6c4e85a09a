"""Groups of one reward, through `credit` and `Updater`: what the loss is divided by, by hand."""

import dataclasses
import threading
from typing import Any

import pytest
import torch

from agents.config_sections import Optim
from agents.mgpo import ALGORITHM as MGPO
from agents.training.algorithm import get_algorithm
from agents.training.credit import credit
from agents.training.optimizer import Optimizer
from agents.training.ranks import ALONE
from agents.training.reference import Reference
from agents.training.update import Updater
from agents.vlm import VLM

from .groups import group_of, shifted
from .test_credit import Threads

RIGHT, WRONG, MIXED = [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]
BUDGET = 20.0
NAMES = ("grpo", "mgpo", "dr_grpo", "gspo", "rloo", "cispo", "reinforce_pp", "mt_grpo", "dapo")


class Recorder:
    """An algorithm's loss that keeps the counts and every token's gradient."""

    def __init__(self, algorithm):
        self.of, self.counts, self.slopes = algorithm, [], {}
        self.algorithm = dataclasses.replace(algorithm, loss=self.loss)

    def loss(self, inputs, options):
        out = self.of.loss(inputs, options)
        (slope,) = torch.autograd.grad(out.loss, inputs.logprobs, retain_graph=True)
        self.counts.append((inputs.n_tokens, inputs.n_trajectories))
        for row, mask in zip(slope, inputs.mask, strict=True):
            values = row[mask]
            self.slopes[(round(float(values[0]), 6), len(values))] = values
        return out


def made(vlm, make_group, rewards):
    """Groups of two siblings of one turn: 3 and 4 sampled tokens."""
    trajectories = (make_group(vlm.codec, n, members=2, turns=1) for n in range(len(rewards)))
    boxed = [(False,), (False,)]
    return [group_of(t, r, boxed=boxed) for t, r in zip(trajectories, rewards, strict=True)]


def run(folder, make_group, recorder, rewards, change=None, minibatches=1, **own):
    """Metrics and the optimizer, of one step in which trainer and sampler agree."""
    vlm = own.get("vlm") or VLM.load(folder)
    preset = next(iter(recorder.of.presets.values()))
    options = preset.model_copy(update=change or {})
    ranks, share = own.get("ranks", ALONE), own.get("share", slice(None))
    groups = made(vlm, make_group, rewards)[share]
    credited, _ = credit(groups, recorder.algorithm, options, ranks)
    places = [ranks.place(n) for n in range(len(groups))]
    optim = Optim(minibatches=minibatches, warmup_steps=0, lr=1e-9, mismatch_stop=1.0)
    optimizer = Optimizer(vlm.trainable(), optim)
    reference = Reference(vlm) if options.kl else None
    updater = Updater(vlm, optimizer, recorder.algorithm, options, optim, reference, BUDGET, ranks)
    return updater.update(shifted(vlm, credited, 0.0), places), optimizer


def slope(options, advantage, length, tokens, episodes):
    """dL / d log π of a token where all ratios are 1."""
    divisor = {
        "trajectory": episodes * length,
        "token": tokens,
        "budget": episodes * BUDGET,
        "sum": episodes,
    }
    return -advantage / divisor[options.aggregation]


def advantage_of(name):
    """Of the better of two siblings with rewards 1 and 0."""
    centred = {"mgpo": 0.5, "dr_grpo": 0.5, "rloo": 1.0}
    return centred.get(name, 0.5**0.5)  # (1 - .5) / .7071


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "reinforce_pp"])
def test_what_a_preset_divides_by(qwen3_folder, make_group, name, drop):
    """One group of four has an advantage: 7 of 28 tokens, 2 of 8 episodes."""
    recorder = Recorder(get_algorithm(name))
    change = {"drop_zero_variance": drop}
    rewards = [RIGHT, MIXED, WRONG, RIGHT]
    metrics, _ = run(qwen3_folder, make_group, recorder, rewards, change)
    tokens, episodes = (7, 2) if drop else (28, 8)
    assert set(recorder.counts) == {(tokens, episodes)}
    assert metrics["tokens_trained"] == 7  # the others are not computed
    found = sorted((length, float(v.mean())) for (_, length), v in recorder.slopes.items())
    options, value = next(iter(recorder.of.presets.values())), advantage_of(name)
    expected = [
        (3, slope(options, value, 3, tokens, episodes)),
        (4, slope(options, -value, 4, tokens, episodes)),
    ]
    assert [length for length, _ in found] == [3, 4]
    for (_, got), (_, wanted) in zip(found, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)


def test_only_dapo_leaves_them_out():
    kept = {
        name: {p.drop_zero_variance for p in get_algorithm(name).presets.values()}
        for name in (*NAMES, "hart")
    }
    assert kept.pop("dapo") == {True}
    assert set().union(*kept.values()) == {False}


def test_the_whole_steps_statistics_have_them(qwen3_folder, make_group):
    """REINFORCE++, plain: rewards of 28 tokens, 10 of them (7 + 3) of right answers."""
    plain = get_algorithm("reinforce_pp")
    recorder = Recorder(dataclasses.replace(plain, presets={"plain": plain.presets["plain"]}))
    metrics, _ = run(qwen3_folder, make_group, recorder, [RIGHT, MIXED, WRONG, WRONG])
    assert metrics["tokens_trained"] == 28  # off the step's mean, all have an advantage
    mean = 10 / 28
    spread = (mean * (1 - mean)) ** 0.5
    right, wrong = -(1 - mean) / spread / 28, mean / spread / 28
    assert {round(s, 4) for s, _ in recorder.slopes} == {round(right, 4), round(wrong, 4)}


def test_a_minibatch_counts_its_own(qwen3_folder, make_group):
    recorder = Recorder(MGPO)
    rewards = [RIGHT, MIXED, MIXED, MIXED]
    _, optimizer = run(qwen3_folder, make_group, recorder, rewards, minibatches=2)
    assert recorder.counts == [(14, 4), (14, 4)] and optimizer.updates == 2
    recorder = Recorder(MGPO)
    rewards = [RIGHT, WRONG, MIXED, RIGHT]  # the first half has nothing to learn from
    metrics, optimizer = run(qwen3_folder, make_group, recorder, rewards, minibatches=2)
    assert recorder.counts == [(14, 4)] and optimizer.updates == 1
    assert metrics["mismatch_mean"] < 1e-5  # the weights are still the sampler's


@pytest.mark.parametrize("change", [{"kl": 0.1}, {"entropy": 0.1}])
def test_with_kl_or_entropy_they_are_computed(qwen3_folder, make_group, change):
    recorder = Recorder(MGPO)
    rewards = [RIGHT, MIXED, WRONG, RIGHT]
    metrics, _ = run(qwen3_folder, make_group, recorder, rewards, change)
    assert metrics["tokens_trained"] == 28 and set(recorder.counts) == {(28, 8)}
    metrics, optimizer = run(qwen3_folder, make_group, recorder, [RIGHT, WRONG], change)
    assert metrics["tokens_trained"] == 14 and optimizer.updates == 1


def test_a_loss_with_a_term_of_its_own_is_computed(qwen3_folder, make_group):
    recorder = Recorder(dataclasses.replace(MGPO, zero_without_advantage=False))
    metrics, optimizer = run(qwen3_folder, make_group, recorder, [RIGHT, WRONG])
    assert metrics["tokens_trained"] == 14 and optimizer.updates == 1


def on_two_ranks(folder, make_group, rewards):
    barrier = threading.Barrier(2)
    table: list[Any] = []
    found: dict[int, Any] = {}
    models = [VLM.load(folder) for _ in range(2)]  # loading is not for threads

    def work(rank):
        ranks, recorder = Threads(rank, 2, barrier=barrier, table=table), Recorder(MGPO)
        own = {"ranks": ranks, "share": slice(rank, None, 2), "vlm": models[rank]}
        metrics, optimizer = run(folder, make_group, recorder, rewards, minibatches=2, **own)
        found[rank] = (recorder.counts, optimizer.updates, metrics["tokens_trained"])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found[0], found[1]


def test_two_ranks_divide_by_all(qwen3_folder, make_group):
    """The second rank has constant groups alone: it idles along, and its episodes count."""
    first, second = on_two_ranks(qwen3_folder, make_group, [MIXED, RIGHT, MIXED, WRONG])
    assert first == ([(14, 4), (14, 4)], 2, 14) and second == ([], 2, 14)
    first, second = on_two_ranks(qwen3_folder, make_group, [WRONG, RIGHT, MIXED, WRONG])
    assert first == ([(14, 4)], 1, 7) and second == ([], 1, 7)
    first, second = on_two_ranks(qwen3_folder, make_group, [WRONG, RIGHT, RIGHT, WRONG])
    assert first == second == ([], 0, 0)  # nobody steps
