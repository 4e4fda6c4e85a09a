"""Groups with chosen rewards, outcomes and boxes, of trajectories that a test made."""

import dataclasses

import torch

from agents.rollout.loop import Group
from agents.training.tree import micro_batches, token_logprobs
from hrvision_env.records import Box, ImageRef, Outcome, Sample, Turn

SAMPLE = Sample("q", "What?", (ImageRef(data=b"", key="k"),), ("A",))


def group_of(trajectories, rewards, failed=(), over_turn=(), boxed=None):
    """One reward per trajectory. `failed`, `over_turn`: numbers of those that ended so; `boxed`:
    for each trajectory which replies of its episode hold a valid box."""
    members = []
    for n, (trajectory, reward) in enumerate(zip(trajectories, rewards, strict=True)):
        outcome = Outcome.CORRECT if reward else Outcome.WRONG
        outcome = Outcome.ERROR if n in failed else outcome
        outcome = Outcome.NO_ANSWER if n in over_turn else outcome
        episode = dataclasses.replace(
            trajectory.episode,
            outcome=outcome,
            reward=reward,
            turns=tuple(_turn(box) for box in boxed[n]) if boxed else (),
        )
        members.append(dataclasses.replace(trajectory, reward=reward, episode=episode))
    return Group("q", tuple(members), tuple(m.episode for m in members), SAMPLE)


def shifted(vlm, groups, shift):
    """Credited groups as a sampler had drawn them whose log-probs are the trainer's - `shift`."""
    return [_shifted(vlm, group, shift) for group in groups]


def _shifted(vlm, group, shift):
    (batch,) = micro_batches([group], 10**6)
    with torch.no_grad():
        scores = token_logprobs(vlm, batch, entropy=False).logprobs
    moved = []
    for n, member in enumerate(group):
        t = member.trajectory
        logprobs = (scores[n, : len(t)].numpy() - shift) * t.loss_mask
        t = dataclasses.replace(t, logprobs=logprobs.astype("float32"))
        moved.append(dataclasses.replace(member, trajectory=t))
    return moved


def _turn(box):
    return Turn("Where?", 1, "{}", boxes=(Box(1, 2, 3, 4),) if box else ())
