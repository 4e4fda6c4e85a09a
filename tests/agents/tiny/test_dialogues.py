"""The embedded model in every dialogue: it points, so that crops and hidden parts really happen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.head import logprobs_of
from agents.mgpo import ALGORITHM as MGPO
from agents.prefix import Row, trained_hidden
from agents.rollout.engines import Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, rollout
from agents.rollout.trajectory import Trajectory
from agents.tiny import ENV, WEIGHTS
from agents.training.algorithm import Options
from agents.training.credit import credit
from agents.training.losses import LossInputs, mgpo_loss
from agents.training.ranks import ALONE
from agents.training.share import parts_of
from agents.training.tree import micro_batches, padded_tokens, token_logprobs
from agents.vlm import VLM
from hrvision_env.vector import HighResVQAVectorEnv


@pytest.fixture(scope="module")
def engine() -> TransformersEngine:
    return TransformersEngine(VLM.load(WEIGHTS))


def played(engine: TransformersEngine, dialogue: str, max_turns: int | None = None) -> list[Group]:
    env = {**ENV, "dialogue": dialogue, "max_turns": max_turns, "box_parser": "lenient"}
    envs = HighResVQAVectorEnv(num_envs=6, group_size=3, **env)
    return rollout(envs, engine, Sampling(max_tokens=40, seed=7), questions=[0, 1])


def scored(engine: TransformersEngine, trajectories: list[Trajectory]) -> np.ndarray:
    """[K] nats of the sampled tokens, by the forward of training."""
    rows = [Row(t.token_ids, t.images, t.prefix) for t in trajectories]
    with torch.no_grad():
        hidden, targets = trained_hidden(engine.vlm, rows, [t.loss_mask for t in trajectories])
        banned = engine.vlm.codec.banned
        return logprobs_of(hidden, engine.vlm.lm_head, targets, 1.0, banned).numpy()


@pytest.mark.parametrize(
    ("dialogue", "max_turns"),
    [("mgpo", None), ("mgpo", 3), ("crop_only", None), ("free", 3), ("single_turn", None)],
)
def test_the_sampler_and_the_trainer_agree(engine, dialogue, max_turns):
    groups = played(engine, dialogue, max_turns)
    episodes = [episode for group in groups for episode in group.episodes]
    trajectories = [t for group in groups for t in group.trajectories]
    crops = sum(len(turn.crop_sizes) for episode in episodes for turn in episode.turns)
    assert (crops > 0) is (dialogue != "single_turn")
    hidden = sum(turn.fresh for episode in episodes for turn in episode.turns)
    assert len(trajectories) == len(episodes) + hidden
    assert (hidden > 0) is (dialogue == "crop_only")
    sampled = np.concatenate([t.logprobs[t.loss_mask] for t in trajectories])
    assert np.abs(sampled - scored(engine, trajectories)).max() < 1e-4


def test_a_hidden_part_is_trained_as_a_part_of_its_episode(engine):
    """Lengths and counts are the episode's, openings are counted one by one, and shared prefixes
    give the scores of separate rows."""
    groups = played(engine, "crop_only")
    credited, _ = credit(groups, MGPO, Options(drop_zero_variance=False))
    (batch,) = micro_batches(credited, 100_000)
    tokens: dict[tuple[str, int], int] = {}
    for member in batch.members:
        t = member.trajectory
        key = (t.group, t.member)
        tokens[key] = tokens.get(key, 0) + int(t.loss_mask.sum())
    expected = [tokens[m.trajectory.group, m.trajectory.member] for m in batch.members]
    assert batch.lengths.tolist() == expected and len(tokens) == 6 < len(batch.members)
    openings = {m.trajectory.opening for m in batch.members}
    assert len(openings) > len(groups)
    longest = max(m.trajectory.prefix - 1 for m in batch.members)
    branch = max(len(m.trajectory) - m.trajectory.prefix + 1 for m in batch.members)
    assert padded_tokens(credited) == len(openings) * longest + len(batch.members) * branch
    with torch.no_grad():
        shared, rows = (
            token_logprobs(engine.vlm, batch, form=f).logprobs for f in ("cache", "rows")
        )
    torch.testing.assert_close(shared, rows, atol=1e-5, rtol=0)


def test_every_episode_weighs_the_same_in_the_mean(engine):
    groups = played(engine, "crop_only")
    credited, _ = credit(groups, MGPO, Options(drop_zero_variance=False))
    (batch,) = micro_batches(credited, 100_000)
    (whole,) = parts_of(credited, 1, lambda groups: micro_batches(groups, 100_000), ALONE)
    assert len(batch.members) > 6  # of 6 episodes
    logprobs = torch.zeros(batch.mask.shape, requires_grad=True)
    inputs = LossInputs(
        logprobs,
        torch.zeros(batch.mask.shape),
        torch.ones(batch.mask.shape),
        batch.mask,
        n_tokens=whole.n_tokens,
        n_trajectories=whole.n_trajectories,
        lengths=batch.lengths,
    )
    mgpo_loss(inputs, Options(aggregation="trajectory")).loss.backward()
    weights: dict[tuple[str, int], float] = {}
    assert logprobs.grad is not None
    for member, row in zip(batch.members, logprobs.grad, strict=True):
        key = (member.trajectory.group, member.trajectory.member)
        weights[key] = weights.get(key, 0.0) + float(row.sum())
    assert list(weights.values()) == pytest.approx([-1 / 6] * 6)
