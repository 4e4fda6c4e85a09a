"""Steps without anything to learn, or too much of it at once: defined, and nothing breaks."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from agents.config_sections import Optim
from agents.mgpo import ALGORITHM as MGPO
from agents.rollout.engines import Failure, ModelSource, Sampling
from agents.rollout.engines.transformers import Options as EngineOptions
from agents.rollout.engines.transformers import open_engine
from agents.training.algorithm import Options
from agents.training.credit import credit
from agents.training.losses import LossOutputs
from agents.training.optimizer import Optimizer, TrainingError
from agents.training.trainer import Trainer
from agents.training.update import Updater
from agents.vlm import VLM

from ...agents.helpers import opening
from .conftest import small_run
from .groups import group_of
from .test_trainer import rows


def updater_of(vlm, algorithm=MGPO, **optim):
    options = Optim(**{"mismatch_stop": 1e6, "warmup_steps": 0, **optim})
    return Updater(vlm, Optimizer(vlm.trainable(), options), algorithm, Options(), options)


def weights_of(vlm):
    return [p.detach().clone() for _, p in vlm.trainable()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_advantages_of_zero_move_nothing(qwen3_folder, make_group):
    """No update, so that neither AdamW's decay nor its moments of earlier steps act."""
    vlm = VLM.load(qwen3_folder)
    # .7: three times that, divided by 3, is not .7
    groups = [group_of(make_group(vlm.codec, s), [0.7] * 3) for s in (1, 2)]
    credited, _ = credit(groups, MGPO, Options())
    assert {a for group in credited for c in group for a in c.advantages} == {0.0}
    updater = updater_of(vlm, weight_decay=0.1, lr=1e-3)
    lesson, _ = credit([group_of(make_group(vlm.codec, 3), [1.0, 0.0, 0.0])], MGPO, Options())
    start = weights_of(vlm)
    updater.update(lesson)
    before = weights_of(vlm)
    assert updater.optimizer.counters == (1, 0, 0) and not same(start, before)
    assert updater.update(credited)["tokens_trained"] == 0.0
    assert updater.optimizer.counters == (1, 0, 0)
    assert same(before, weights_of(vlm))


def test_a_micro_batch_larger_than_the_data_is_one(qwen3_folder, make_group):
    """And more mini-batches than groups are as many as there are groups."""
    found = []
    for budget, minibatches in ((2**31, 9), (1, 2)):
        vlm = VLM.load(qwen3_folder)
        groups = [group_of(make_group(vlm.codec, s), [1.0, 0.0, 0.0]) for s in (1, 2)]
        credited, _ = credit(groups, MGPO, Options())
        updater = updater_of(vlm, micro_batch_tokens=budget, minibatches=minibatches)
        updater.update(credited)
        assert updater.optimizer.counters == (2, 0, 0)
        found.append(weights_of(vlm))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


class Broken:
    """MGPO's loss, infinite in the calls that are named; its gradient stays finite."""

    def __init__(self, *calls):
        self.calls, self.n = calls, 0

    def loss(self, inputs, options):
        out = MGPO.loss(inputs, options)
        self.n += 1
        return LossOutputs(out.loss + float("inf"), out.sums) if self.n in self.calls else out


def test_an_infinite_loss_is_skipped_though_its_gradient_is_finite(qwen3_folder, make_group):

    vlm = VLM.load(qwen3_folder)
    groups = [group_of(make_group(vlm.codec, s), [1.0, 0.0, 0.0]) for s in (1, 2, 3)]
    credited, _ = credit(groups, MGPO, Options())
    algorithm = dataclasses.replace(MGPO, loss=Broken(1).loss)
    updater = updater_of(vlm, algorithm, minibatches=3)
    states: list[Any] = [weights_of(vlm)]
    step = updater.optimizer.step

    def noted():
        states.append(weights_of(vlm))
        return step()

    updater.optimizer.step = noted
    updater.update(credited)
    assert updater.optimizer.counters == (2, 1, 0)  # the other two were made
    assert same(states[0], states[1]) and not same(states[1], states[2])


def test_infinite_losses_in_a_row_stop_the_run(qwen3_folder, make_group):

    vlm = VLM.load(qwen3_folder)
    groups = [group_of(make_group(vlm.codec, s), [1.0, 0.0, 0.0]) for s in (1, 2)]
    credited, _ = credit(groups, MGPO, Options())
    algorithm = dataclasses.replace(MGPO, loss=Broken(1, 2).loss)
    before = weights_of(vlm)
    updater = updater_of(vlm, algorithm, minibatches=2, max_bad_steps=2)
    with pytest.raises(TrainingError, match="2 updates in a row had a non-finite loss or gradient"):
        updater.update(credited)
    assert same(before, weights_of(vlm))
    assert all(p.grad is None for _, p in vlm.trainable())


def test_a_reply_ends_where_the_context_does_and_no_prompt_exceeds_it(qwen3_folder):
    """`context` tokens in all; a prompt that fills it is refused, its neighbour is answered."""
    engine = open_engine(ModelSource(qwen3_folder), EngineOptions())
    short, long = opening(engine.codec, 0), opening(engine.codec, 3)
    engine.context = len(long.token_ids)
    room = engine.context - len(short.token_ids)
    replies: Any = engine.generate([short, long], Sampling(max_tokens=10_000, temperature=1.0))
    assert isinstance(replies[1], Failure)
    assert "does not fit the model's context" in replies[1].reason and not replies[1].again
    assert 0 < len(replies[0].token_ids) <= room


def test_a_step_whose_prompts_exceed_the_context_is_counted_and_stops(qwen3_folder, tmp_path):
    config = small_run(qwen3_folder, optim={"max_bad_steps": 2}, eval={"every": 0})
    trainer: Any = Trainer(config, tmp_path)
    before = weights_of(trainer.policy)
    trainer.engine.context = 16
    expected = "2 steps in a row had nothing .* does not fit the model's context of N tokens x 12"
    with pytest.raises(TrainingError, match=expected):
        trainer.fit()
    assert [row["tokens_trained"] for row in rows(tmp_path, "train")] == [0.0, 0.0]
    assert same(before, weights_of(trainer.policy))


def test_an_episode_that_outgrows_the_context_fails_alone(qwen3_folder, tmp_path):
    """The first turn fits, the second one does not: the episode is an error, not trained on."""
    config = small_run(qwen3_folder, optim={"steps": 1}, eval={"every": 0})
    trainer: Any = Trainer(config, tmp_path)
    lengths: list[int] = []
    generate = trainer.engine.generate

    def noted(chats, sampling):
        lengths.extend(len(chat.token_ids) for chat in chats)
        return generate(chats, sampling)

    trainer.engine.generate = noted
    trainer.fit()
    openings = [n for n in lengths if n < np.mean(lengths)]
    again: Any = Trainer(config, tmp_path / "again")
    again.engine.context = max(openings) + 4
    again.fit()
    (row,) = rows(tmp_path / "again", "train")
    assert row["errors"] == 12 and row["tokens_trained"] == 0.0
