"""`HighResVQAVectorEnv`: many episodes in one process, in groups that share question and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from PIL import Image

from .checks import RESET_OPTIONS
from .env import HighResVQAEnv
from .images import ImageError
from .records import Episode, Sample
from .running import Info, Observation

Batch = dict[str, Any]
Flags = np.ndarray
_EMPTY: tuple[str, tuple[Image.Image, ...]] = ("", ())


class HighResVQAVectorEnv(VectorEnv[Batch, Any, np.ndarray]):
    """`num_envs` episodes, every `group_size` in a row on the same question.

    >>> envs = gymnasium.make_vec("HighResVQA-v0", num_envs=16, group_size=8, prompt="brief")
    >>> observations, infos = envs.reset(options={"index": [3, 7]})  # one question per group
    >>> observations["images"][0][0] is observations["images"][7][0]  # decoded and resized once
    True
    >>> observations, rewards, terminated, truncated, infos = envs.step({0: "...", 9: "..."})

    Observations are `{"text": tuple of str, "images": tuple of tuples of PIL images}`, one entry
    per member; siblings get the very same view objects, and all share one image cache.

    There is no autoreset. A member that has finished is frozen: its observation is empty, its
    reward and its `terminated` are reported in the step in which it finished and never again, and
    it takes no action. `active` says who is still open. An image that cannot be opened fails its
    group alone: those episodes have outcome `error` and are not active after the reset.

    Raises ValueError when `num_envs` is no multiple of `group_size`; the other arguments are those
    of `HighResVQAEnv`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **HighResVQAEnv.metadata,
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(self, num_envs: int = 1, group_size: int = 1, **env_kwargs: Any) -> None:
        whole = isinstance(num_envs, int) and isinstance(group_size, int)
        if not whole or num_envs < 1 or group_size < 1 or num_envs % group_size:
            raise ValueError(
                f"num_envs, group_size: got {num_envs!r}, {group_size!r}, expected whole numbers, "
                "the first a multiple of the second"
            )
        first = HighResVQAEnv(**env_kwargs)
        self.envs = [first, *(first.sibling() for _ in range(num_envs - 1))]
        self.num_envs, self.group_size = num_envs, group_size
        self.num_groups = num_envs // group_size
        self.render_mode = first.render_mode
        self.single_action_space = first.action_space
        self.single_observation_space = first.observation_space
        self.action_space = batch_space(first.action_space, num_envs)
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.active: Flags = np.zeros(num_envs, dtype=np.bool_)
        """[num_envs] bool: who has an open episode."""
        self._observations = [_EMPTY] * num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Batch, Info]:
        """Begin one question per group.

        `seed`: group g begins as a single environment would with seed + g; or one seed per group.
        `options`: `index` or `question_id` are lists with one entry per group. With fewer entries
        the groups at the end stay idle. `dataset` and `split` hold for all.

        Raises ValueError for options that are unknown or of the wrong length, and what
        `HighResVQAEnv.reset` raises for a question that does not exist; the episodes before it
        then stay open.
        """
        if isinstance(seed, np.integer):
            seed = int(seed)
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds = self._seeds(seed)
        questions = self._questions(options or {})
        leaders = self.envs[:: self.group_size]
        chosen = zip(leaders, seeds, questions, strict=False)
        samples = [leader.choose(number, question) for leader, number, question in chosen]
        self.active[:] = False
        self._observations = [_EMPTY] * self.num_envs
        for env in self.envs:
            env.forget()
        infos: Info = {}
        for group, sample in enumerate(samples):
            self._begin(group, sample, infos)
        return self._batch(), infos

    def step(
        self, actions: Sequence[str] | Mapping[int, str]
    ) -> tuple[Batch, np.ndarray, Flags, Flags, Info]:
        """Give replies: one per member (those of finished members are ignored), or `{i: text}`
        for some open members, while the others wait.

        Raises ValueError for a wrong number of replies, a member that does not exist or one that
        is not active; TypeError for a reply that is not a str.
        """
        replies = self._replies(actions)
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        infos: Info = {}
        for i, reply in replies.items():
            observation, rewards[i], terminated[i], _, info = self.envs[i].step(reply)
            self._keep(i, observation)
            infos = self._add_info(infos, info, i)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self._batch(), rewards, terminated, truncated, infos

    def episode(self, i: int) -> Episode:
        """The record of member i's episode as it stands."""
        return self.envs[i].episode

    def sample(self, i: int) -> Sample:
        """The sample of member i, gold answer included."""
        return self.envs[i].sample

    def info(self, i: int) -> Info:
        """Member i's latest info, as a single environment gives it."""
        return self.envs[i].info()

    def observation(self, i: int) -> Observation:
        """Member i's current observation, as a single environment gives it."""
        text, images = self._observations[i]
        return {"text": text, "images": images}

    def fail(self, i: int, error: str) -> None:
        """End member i with outcome `error`: something outside failed, such as its engine.

        Raises ResetNeeded for a member that is not active.
        """
        self.envs[i].fail(error)
        self._keep(i, {"text": "", "images": ()})

    def render(self) -> tuple[Any, ...]:
        """One picture per member, see `HighResVQAEnv.render`."""
        return tuple(env.render() for env in self.envs)

    def _begin(self, group: int, sample: Sample, infos: Info) -> None:
        members = range(group * self.group_size, (group + 1) * self.group_size)
        scene, error = None, ""
        try:
            scene = self.envs[members[0]].look(sample)
        except ImageError as failure:
            error = f"ImageError: {failure}"
        for i in members:
            env = self.envs[i]
            begun = env.begin(sample, scene) if scene else env.begin_failed(sample, error)
            self._keep(i, begun[0])
            self._add_info(infos, begun[1], i)

    def _keep(self, i: int, observation: Observation) -> None:
        self._observations[i] = (observation["text"], observation["images"])
        self.active[i] = self.envs[i].running.open

    def _batch(self) -> Batch:
        texts, images = zip(*self._observations, strict=True)
        return {"text": texts, "images": images}

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        if seed is None or isinstance(seed, int):
            return [None if seed is None else seed + g for g in range(self.num_groups)]
        if len(seed) != self.num_groups:
            raise ValueError(
                f"seed: got {len(seed)} seeds, expected {self.num_groups}, one per group"
            )
        return list(seed)

    def _questions(self, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The reset options of each group that begins."""
        common = {k: v for k, v in options.items() if k not in ("index", "question_id")}
        chosen = [name for name in RESET_OPTIONS[:2] if name in options]
        if not chosen:
            return [common] * self.num_groups
        if len(chosen) > 1:
            raise ValueError("reset options: got both 'index' and 'question_id', expected one")
        name, values = chosen[0], options[chosen[0]]
        listed = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        if not listed or not 0 < len(values) <= self.num_groups:
            raise ValueError(
                f"reset options: {name!r}: got {values!r}, expected a list of at most "
                f"{self.num_groups}, one per group"
            )
        return [{**common, name: value} for value in values]

    def _replies(self, actions: Sequence[str] | Mapping[int, str]) -> dict[int, str]:
        if isinstance(actions, str):
            raise TypeError("actions: got one str, expected one per member or {member: text}")
        if isinstance(actions, Mapping):
            for i in actions:
                if i not in range(self.num_envs) or not self.active[i]:
                    raise ValueError(
                        f"actions: member {i!r} is not active, expected an open episode"
                    )
            replies = dict(sorted(actions.items()))
        elif len(actions) != self.num_envs:
            raise ValueError(f"actions: got {len(actions)}, expected {self.num_envs}")
        else:
            replies = {i: actions[i] for i in range(self.num_envs) if self.active[i]}
        for i, reply in replies.items():
            if not isinstance(reply, str):
                raise TypeError(f"actions: member {i}: got {type(reply).__name__}, expected str")
        return replies
