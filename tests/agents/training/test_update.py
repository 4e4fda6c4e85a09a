"""The counts that a loss divides by, and the weights that correct for the sampler."""

import dataclasses
import math
from typing import Any

import pytest
import torch

from agents.config_sections import Optim
from agents.mgpo import ALGORITHM as MGPO
from agents.training.algorithm import Options, get_algorithm
from agents.training.beginning import opening_lines
from agents.training.credit import credit
from agents.training.learner import Learner
from agents.training.opening import turns_of
from agents.training.optimizer import Optimizer
from agents.training.ranks import ALONE
from agents.training.update import Updater
from agents.vlm import VLM

from .conftest import small_run
from .groups import group_of, shifted


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
    same = gradient_with(
        qwen3_folder, make_group, 0.0, importance="token_truncate", importance_cap=cap
    )
    assert torch.allclose(same, plain, rtol=1e-3, atol=1e-7)
    corrected = gradient_with(
        qwen3_folder, make_group, math.log(2), importance="token_truncate", importance_cap=cap
    )
    assert torch.allclose(corrected, weight * plain, rtol=1e-3, atol=1e-7)
    # Without it the ratio of 2 stands outside of the clip: good tokens get no gradient at all.
    assert not torch.allclose(gradient_with(qwen3_folder, make_group, math.log(2)), 2 * plain)


@pytest.mark.parametrize("importance", ["none", "token_truncate", "sequence_mask"])
def test_the_kl_is_that_of_the_sampler_also_with_a_correction(qwen3_folder, make_group, importance):
    """All tokens are twice as likely as under the sampler: 2 - log 2 - 1 nats each."""
    vlm = VLM.load(qwen3_folder)
    group = group_of(make_group(vlm.codec, 1, members=3), [1.0, 0.0, 0.0])
    credited, _ = credit([group], MGPO, Options())
    optim = Optim(mismatch_stop=1e6, importance=importance, importance_cap=3.0)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), MGPO, Options(), optim)
    metrics = updater.update(shifted(vlm, credited, math.log(2)))
    assert metrics["kl_sampler"] == pytest.approx(1 - math.log(2), abs=1e-3)


@pytest.mark.parametrize("gap", [0.0, math.log(2)])
def test_later_minibatches_start_from_the_weights_of_the_first(qwen3_folder, make_group, gap):
    vlm = VLM.load(qwen3_folder)
    groups = [group_of(make_group(vlm.codec, s, members=2), [1.0, 0.0]) for s in range(3)]
    credited, _ = credit(groups, MGPO, Options())
    exact = shifted(vlm, credited, gap)
    optim = Optim(
        minibatches=3,
        importance="token_truncate",
        importance_cap=3.0,
        lr=1e-2,
        warmup_steps=0,
        mismatch_stop=1.0,
    )
    weight = math.exp(gap)  # of the policy before the step, in every mini-batch
    seen = []

    def loss(inputs, options):
        moved = (inputs.logprobs.detach() - inputs.old_logprobs)[inputs.mask].abs().max()
        off = (inputs.weights - weight)[inputs.mask].abs().max()
        seen.append((float(moved), float(off)))
        return MGPO.loss(inputs, options)

    algorithm = dataclasses.replace(MGPO, loss=loss)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), algorithm, Options(), optim)
    metrics = updater.update(exact)
    assert seen[0][0] == 0.0 and seen[1][0] > 1e-3 and seen[2][0] > 1e-3
    assert all(off < 1e-4 for _, off in seen)
    assert metrics["importance_mean"] == pytest.approx(weight, abs=1e-4)
    assert metrics["importance_capped"] == 0.0


@pytest.mark.parametrize("name", ["gspo", "grpo"])
def test_whose_log_probs_a_ratio_starts_from(qwen3_folder, make_group, name):
    """All tokens .01 nats off: beyond GSPO's bounds, but it starts from the trainer's own."""
    seen = []
    vlm, algorithm = VLM.load(qwen3_folder), get_algorithm(name)
    options = algorithm.presets["paper"]

    def loss(inputs, options):
        seen.append((inputs.logprobs.detach() - inputs.old_logprobs)[inputs.mask])
        assert inputs.weights is None
        return algorithm.loss(inputs, options)

    groups = [group_of(make_group(vlm.codec, s, members=2), [1.0, 0.0]) for s in range(2)]
    credited = shifted(vlm, credit(groups, algorithm, options)[0], 0.01)
    optim = Optim(minibatches=2, warmup_steps=0, lr=1e-2)
    changed = dataclasses.replace(algorithm, loss=loss)
    updater = Updater(vlm, Optimizer(vlm.trainable(), optim), changed, options, optim)
    metrics = updater.update(credited)
    assert metrics["mismatch_mean"] == pytest.approx(0.01, rel=1e-2)  # it is told all the same
    first = 0.0 if name == "gspo" else 0.01
    assert float(seen[0].mean()) == pytest.approx(first, rel=1e-2, abs=1e-9)
    assert float(seen[1].abs().max()) > 1e-3  # the second begins where the first began


def test_gspo_s_first_update_cuts_nothing(qwen3_folder, make_group):
    vlm, gspo = VLM.load(qwen3_folder), get_algorithm("gspo")
    options, optim = gspo.presets["paper"], Optim(warmup_steps=0, lr=1e-9)
    group = group_of(make_group(vlm.codec, 1), [1.0, 0.0, 0.0])
    credited = shifted(vlm, credit([group], gspo, options)[0], 0.02)
    found = []
    for old in ("trainer", "sampler"):
        own = dataclasses.replace(gspo, old_policy=old)
        updater = Updater(vlm, Optimizer(vlm.trainable(), optim), own, options, optim)
        found.append(updater.update(credited))
    assert [m["clip_fraction"] > 0 for m in found] == [False, True]
    assert found[0]["kl_sampler"] == pytest.approx(
        found[1]["kl_sampler"], rel=1e-3
    )  # of the sampler


def test_an_episode_s_budget_is_that_of_all_its_turns(qwen3_folder):
    """What Dr. GRPO divides by: 4 tokens a reply, two replies."""
    config = small_run(qwen3_folder, algorithm={"name": "dr_grpo"}, env={"dialogue": "mgpo"})
    assert turns_of(config) == 2
    assert Learner(config, None).updater.budget == 8


@pytest.mark.parametrize(
    ("name", "minibatches", "told"), [("rloo", 2, 1), ("rloo", 1, 0), ("grpo", 2, 0)]
)
def test_a_loss_without_a_ratio_wants_one_update(qwen3_folder, name, minibatches, told):
    config = small_run(qwen3_folder, algorithm={"name": name}, optim={"minibatches": minibatches})
    source: Any = None
    lines = opening_lines(config, VLM.load(qwen3_folder), source, ALONE, [])
    found = [line for line in lines if "optim.minibatches: got 2" in line]
    assert len(found) == told and all("rloo has no ratio" in line for line in found)
