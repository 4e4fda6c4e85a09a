"""MGPO rollouts by the real vLLM through the real environment and loop, against transformers.

8 questions x 8 siblings, two turns each, crops as second images: the log-probs of all sampled
tokens of both turns are those of transformers' full forward, before and after a weight update.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from agents.rollout.chat import Chat
from agents.rollout.engines import Completion, Sampling
from agents.rollout.loop import Group, RolloutStats, rollout
from agents.vlm import VLM
from hrvision_env.vector import HighResVQAVectorEnv

from ..agents.helpers import public_logprobs
from ..agents.rollout.engines.talking import TOLERANCE, changed_weights
from .conftest import FACTOR, MODELS, Opener
from .questions import SIZES, box_text

SIBLINGS = 8
TURN_ONE = 12
"""Tokens of a reply, at most."""
ENV: dict[str, Any] = {
    "dataset": "tests.vllm.questions:load",
    "dialogue": "mgpo",
    "prompt": "brief",
    "factor": FACTOR,
    "min_pixels": 2 * FACTOR**2,
    "max_pixels": 12 * FACTOR**2,
    "box_dialect": "relative_1000",
    "min_box": 2,
}


class Pointing(Chat):
    """A chat whose first reply is heard as a box, since a random model never says one.

    Only what the environment hears is made up: the tokens are the model's own.
    """

    def reply(self, completion: Completion) -> str:
        text = super().reply(completion)
        return box_text(self.member) if self.replies == 1 else text


def pointing(engine: Any, group: str) -> Pointing:
    chat = Pointing(engine.codec, group)
    chat.policy_version = engine.policy_version
    return chat


def play(engine: Any, questions: list[int], seed: int = 0) -> tuple[list[Group], RolloutStats]:
    env = HighResVQAVectorEnv(num_envs=4 * SIBLINGS, group_size=SIBLINGS, **ENV)
    stats = RolloutStats()
    sampling = Sampling(max_tokens=TURN_ONE, seed=seed)
    try:
        return rollout(env, engine, sampling, questions=questions, stats=stats), stats
    finally:
        env.close()


def furthest(policy: VLM, groups: list[Group]) -> float:
    """The largest |difference| in nats between a sampled token's log-prob and the policy's."""
    worst = 0.0
    for trajectory in (t for group in groups for t in group.trajectories):
        with torch.no_grad():
            expected = public_logprobs(policy, trajectory).numpy()  # type: ignore[arg-type]
        got = trajectory.logprobs[trajectory.loss_mask]
        assert len(got) == len(expected)
        worst = max(worst, float(np.abs(got - expected).max()))
    return worst


def turns_of(mask: np.ndarray) -> int:
    """Stretches of sampled tokens."""
    return int((np.diff(mask.astype(np.int8), prepend=0) == 1).sum())


@pytest.fixture(params=list(MODELS))
def folder(request: pytest.FixtureRequest, folder_of: Callable[[str], str]) -> str:
    return folder_of(request.param)


def test_a_rollout_agrees_with_transformers(
    folder: str,
    open_vllm: Opener,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
):
    engine = open_vllm(folder)
    monkeypatch.setattr(engine, "open_chat", lambda group: pointing(engine, group))
    groups, stats = play(engine, list(range(len(SIZES))))
    assert len(groups) == len(SIZES) == 8 and stats.errors == 0
    trajectories = [t for group in groups for t in group.trajectories]
    assert len(trajectories) == 64
    for trajectory in trajectories:
        assert turns_of(trajectory.loss_mask) == 2 and len(trajectory.images) == 2
        assert trajectory.images[0].hash != trajectory.images[1].hash
    assert len({t.images[1].grid for t in trajectories}) >= 3
    assert all(turn.box is not None for g in groups for e in g.episodes for turn in e.turns[:1])
    before = furthest(VLM.load(folder), groups)

    changed = changed_weights(folder, seed=1)
    engine.load_weights(changed, 1)
    again, _ = play(engine, list(range(len(SIZES))), seed=1)
    assert sum(len(group.trajectories) for group in again) == 64
    after = furthest(changed, again)
    old = furthest(VLM.load(folder), again)
    engine.load_weights(folder, 0)
    record_property("furthest", (before, after))
    print(f"max |difference|: {before:.1e} nats, after an update {after:.1e}")
    assert before < TOLERANCE and after < TOLERANCE < old


def test_second_turns_do_not_wait_for_the_siblings(
    folder_of: Callable[[str], str], open_vllm: Opener, monkeypatch: pytest.MonkeyPatch
):
    engine = open_vllm(folder_of("qwen3_vl"))
    monkeypatch.setattr(engine, "open_chat", lambda group: pointing(engine, group))
    submit, open_turns, mixed = engine.submit, {}, []

    def watched(chat: Any, sampling: Sampling) -> None:
        open_turns[id(chat)] = chat
        submit(chat, sampling)
        waiting = {r.chat.replies for r in engine._requests.values()}
        mixed.append(waiting == {0, 1})

    monkeypatch.setattr(engine, "submit", watched)
    groups, _ = play(engine, [0, 1, 2, 3], seed=5)
    assert len(groups) == 4
    assert any(mixed)  # first and second turns at the same time
