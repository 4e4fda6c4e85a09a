"""`HighResVQAVectorEnv`: many episodes in one process, in groups that share question and images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from PIL import Image

from .checks import RESET_OPTIONS, check_render_mode
from .env import HighResVQAEnv
from .images import ImageError
from .records import Episode, Sample
from .running import Info, Observation, Running

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

    Gymnasium's `vector.RecordEpisodeStatistics` counts calls of `step`, also those in which a
    member waited; `len(envs.episode(i).turns)` is the length of an episode in any case.

    Raises ValueError when `num_envs` is no multiple of `group_size`; the other arguments are those
    of `HighResVQAEnv`.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        **HighResVQAEnv.metadata,
        "render_modes": ["rgb_array", "ansi"],  # one window cannot show many members
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(self, num_envs: int = 1, group_size: int = 1, **env_kwargs: Any) -> None:
        whole = isinstance(num_envs, int) and isinstance(group_size, int)
        if not whole or num_envs < 1 or group_size < 1 or num_envs % group_size:
            raise ValueError(
                f"num_envs, group_size: got {num_envs!r}, {group_size!r}, expected whole numbers, "
                "the first a multiple of the second"
            )
        check_render_mode(env_kwargs.get("render_mode"), self.metadata["render_modes"])
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
        self._unreported: Flags = np.zeros(num_envs, dtype=np.bool_)
        """[num_envs] bool: who was failed since the last step."""

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> tuple[Batch, Info]:
        """Begin one question per group.

        `seed`: group g begins as a single environment would with seed + g; or one seed per group.
        `options`: `index` or `question_id` are lists with one entry per group, `dataset` and
        `split` hold for all; or a list with the options of each group. With fewer entries the
        groups at the end stay idle. `reset_mask` [num_envs] bool resets whole groups, and these
        lists then count them alone; the others go on.

        Raises ValueError for options that are unknown or of the wrong length, and what
        `HighResVQAEnv.reset` raises for a question that does not exist; the episodes before it
        then stay open.
        """
        if isinstance(seed, np.integer):
            seed = int(seed)
        self.closed = False  # images are opened again when they are needed
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds = self._seeds(seed)
        mask = options.get("reset_mask") if isinstance(options, Mapping) else None
        groups = list(range(self.num_groups)) if mask is None else self._masked(mask)
        questions = self._questions(options or {}, len(groups))
        samples = [
            self.envs[group * self.group_size].choose(seeds[group], question)
            for group, question in zip(groups, questions, strict=False)
        ]
        begun = [self._begin(group, sample) for group, sample in zip(groups, samples, strict=False)]
        for i in (i for group in groups for i in self._members(group)):
            self._forget(i)
        infos: Info = {}
        for i, running in (member for group in begun for member in group):
            self._keep(i, self.envs[i].play(running)[0])
            infos = self._add_info(infos, running.info(), i)
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
        terminated = self._unreported.copy()
        infos: Info = {}
        for i in (int(n) for n in np.flatnonzero(terminated)):
            infos = self._add_info(infos, self.envs[i].info(), i)
        self._unreported[:] = False
        for i, reply in replies.items():
            observation, rewards[i], terminated[i], _, info = self.envs[i].step(reply)
            self._keep(i, observation)
            infos = self._add_info(infos, info, i)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return self._batch(), rewards, terminated, truncated, infos

    def episode(self, i: int) -> Episode:
        """The record of member i's episode as it stands."""
        return self._env(i).episode

    def sample(self, i: int) -> Sample:
        """The sample of member i, gold answer included."""
        return self._env(i).sample

    def info(self, i: int) -> Info:
        """Member i's latest info, as a single environment gives it."""
        return self._env(i).info()

    def observation(self, i: int) -> Observation:
        """Member i's current observation, as a single environment gives it."""
        self._env(i)
        text, images = self._observations[i]
        return {"text": text, "images": images}

    def fail(self, i: int, error: str) -> None:
        """End member i with outcome `error`: something outside failed, such as its engine.

        The next step reports it as terminated. Raises ResetNeeded for a member that is not active.
        """
        self._env(i).fail(error)
        self._keep(i, {"text": "", "images": ()})
        self._unreported[i] = True

    def restart(self, i: int) -> Observation:
        """Begin member i's episode anew, on the views that it began with, and so does its group.

        The siblings go on. Returns its first observation; the next step reports nothing of the
        episode that was given up. Raises ResetNeeded for a member without views: before its first
        reset, or because an image could not be opened; `reset` with a `reset_mask` opens it again.
        """
        env = self._env(i)
        sample, views = env.sample, env.running.views
        if not views:
            raise ResetNeeded(f"restart: member {i} has no views of its images, expected a reset")
        observation, _ = env.play(env.referee.begin(sample, views))
        self._keep(i, observation)
        self._unreported[i] = False
        return observation

    def reads_box(self, i: int, reply: str) -> dict[str, bool]:
        """By box parser (`strict`, `lenient`): would it find a valid box in a reply to member i's
        current turn? Empty where that asks for none. Changes nothing; a step obeys `box_parser`.
        """
        env = self._env(i)
        return env.referee.reads_box(env.running, reply)

    def prefetch(self, questions: Iterable[int | str]) -> None:
        """Open the images of questions to come in the background, see `HighResVQAEnv.prefetch`."""
        self.envs[0].prefetch(questions)

    def render(self) -> tuple[Any, ...] | None:
        """One picture (or text) per member, see `HighResVQAEnv.render`."""
        return None if self.render_mode is None else tuple(env.render() for env in self.envs)

    def close_extras(self, **kwargs: Any) -> None:
        """Free the images, which all members share."""
        for i in range(self.num_envs):
            self._forget(i)
        self.envs[0].close()

    def _begin(self, group: int, sample: Sample) -> list[tuple[int, Running]]:
        """The new episodes of a group by member; nothing changes yet."""
        members = self._members(group)
        referee = self.envs[members[0]].referee
        try:
            views = referee.look(sample)
        except ImageError as failure:
            error = f"ImageError: {failure}"
            return [(i, referee.failed(sample, error)) for i in members]
        return [(i, referee.begin(sample, views)) for i in members]

    def _forget(self, i: int) -> None:
        self.envs[i].forget()
        self._observations[i], self.active[i], self._unreported[i] = _EMPTY, False, False

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
        return [int(s) if isinstance(s, np.integer) else s for s in seed]

    def _env(self, i: int) -> HighResVQAEnv:
        """Member i. Raises IndexError when there is none."""
        if isinstance(i, bool) or not isinstance(i, int | np.integer) or not 0 <= i < self.num_envs:
            raise IndexError(f"member: got {i!r}, expected 0 to {self.num_envs - 1}")
        return self.envs[i]

    def _members(self, group: int) -> range:
        return range(group * self.group_size, (group + 1) * self.group_size)

    def _masked(self, mask: Any) -> list[int]:
        """The groups that a `reset_mask` resets."""
        shaped = isinstance(mask, np.ndarray) and mask.shape == (self.num_envs,)
        if not shaped or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"reset options: 'reset_mask': got {mask!r}, expected {self.num_envs} bools, some "
                "of them True"
            )
        rows = mask.reshape(self.num_groups, self.group_size)
        if (rows.any(axis=1) != rows.all(axis=1)).any():
            raise ValueError(
                f"reset options: 'reset_mask': got {mask!r}, expected groups of {self.group_size} "
                "to be reset as a whole"
            )
        return [int(group) for group in np.flatnonzero(rows.all(axis=1))]

    def _questions(
        self, options: Mapping[str, Any] | Sequence[Mapping[str, Any]], count: int
    ) -> list[Mapping[str, Any]]:
        """The reset options of each group that begins, at most `count`."""
        if not isinstance(options, Mapping):
            if not 0 < len(options) <= count:
                raise ValueError(f"reset options: got {len(options)}, expected at most {count}")
            return list(options)
        own = ("index", "question_id", "reset_mask")
        common = {k: v for k, v in options.items() if k not in own}
        chosen = [name for name in RESET_OPTIONS[:2] if name in options]
        if not chosen:
            return [common] * count
        if len(chosen) > 1:
            raise ValueError("reset options: got both 'index' and 'question_id', expected one")
        name, values = chosen[0], options[chosen[0]]
        listed = isinstance(values, Sequence | np.ndarray) and not isinstance(values, str)
        if not listed or not 0 < len(values) <= count:
            raise ValueError(
                f"reset options: {name!r}: got {values!r}, expected a list of at most "
                f"{count}, one per group"
            )
        return [{**common, name: value} for value in values]

    def _replies(self, actions: Sequence[str] | Mapping[int, str]) -> dict[int, str]:
        if isinstance(actions, str):
            raise TypeError("actions: got one str, expected one per member or {member: text}")
        if isinstance(actions, Mapping):
            for i in actions:
                whole = isinstance(i, int | np.integer) and not isinstance(i, bool)
                if not whole or i not in range(self.num_envs) or not self.active[i]:
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
