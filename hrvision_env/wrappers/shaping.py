"""Rewards for more than the answer, as an option: the environment itself rewards nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper

from ..records import Box, Episode, Outcome, Sample
from ..vector import HighResVQAVectorEnv
from .numeric import core

IOU_OF = ("last", "each")
TERMS = ("answer", "format", "iou", "invalid_box", "extra_turn")


@dataclass(frozen=True, slots=True)
class Weights:
    """What one unit of each term is worth; with the defaults nothing changes.

    Raises ValueError for a weight that is not finite or an unknown `iou_of`.
    """

    format: float = 0.0
    """For every turn that was read for boxes and held a valid one."""
    iou: float = 0.0
    """Times the IoU with the gold boxes, 0..1; see `box_iou`."""
    invalid_box: float = 0.0
    """Taken off for every turn that was read for boxes and held no valid one."""
    extra_turn: float = 0.0
    """Taken off for every reply after the first one."""
    iou_of: str = "last"
    """Pay IoU for the `last` valid boxes of the episode, at its end, or for `each` turn's."""

    def __post_init__(self) -> None:
        for name in ("format", "iou", "invalid_box", "extra_turn"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise ValueError(f"{name}: got {value!r}, expected a finite number")
        if self.iou_of not in IOU_OF:
            raise ValueError(f"iou_of: got {self.iou_of!r}, expected one of {', '.join(IOU_OF)}")


def shape(
    sample: Sample,
    episode: Episode,
    weights: Weights,
    *,
    done: bool,
    since: int = 0,
) -> dict[str, float]:
    """The terms of the reward for an episode's replies from number `since` (counted from 0) on.

    Pure. `done`: was the latest reply the last one, whoever ended the episode. The keys are
    `TERMS`; penalties are negative; the sum is the shaped reward. An episode that failed earns
    nothing.

    >>> shape(sample, episode, Weights(format=0.1, iou=0.5), done=True, since=1)
    {'answer': 1.0, 'format': 0.0, 'iou': 0.31, 'invalid_box': 0.0, 'extra_turn': 0.0}
    """
    terms = dict.fromkeys(TERMS, 0.0)
    if episode.outcome is Outcome.ERROR:
        return terms
    terms["answer"] = float(episode.reward)
    for number, turn in list(enumerate(episode.turns))[since:]:
        terms["format"] += weights.format if turn.boxes else 0.0
        terms["invalid_box"] -= weights.invalid_box if turn.invalid_reason else 0.0
        terms["extra_turn"] -= weights.extra_turn if number else 0.0
        if weights.iou_of == "each":
            terms["iou"] += weights.iou * box_iou(sample, turn.boxes)
    if done and weights.iou_of == "last":
        pointed = [turn.boxes for turn in episode.turns if turn.boxes]
        terms["iou"] = weights.iou * box_iou(sample, pointed[-1] if pointed else ())
    return terms


def box_iou(sample: Sample, boxes: tuple[Box, ...]) -> float:
    """IoU of each box with the gold box that fits it best, mean over the boxes, 0..1.

    0 without boxes, and for a sample without gold boxes.
    """
    if not boxes or not sample.boxes:
        return 0.0
    best = [max(box.iou(gold) for gold in sample.boxes) for box in boxes]
    return math.fsum(best) / len(best)


class RewardShaping(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Add terms to the reward: for a valid box, its IoU with the gold box, against extra turns.

    The reward becomes the sum of the terms, which `info` holds after every reset and step as
    floats: `reward/answer` (the reward as it was), `reward/format`, `reward/iou`,
    `reward/invalid_box` and `reward/extra_turn`; see `Weights` for what they pay. With a weight of
    0, the default, a term is 0. Observations stay as they are. Around `NumericBox`, not inside of
    it: so the terms of all turns of a step are in its info.

    `reward/iou` (and the reward) tells how near a box came to the gold box. That is a number
    about the gold, made from it: for training only, never for an agent that is to be evaluated.

    A vector environment takes `VectorRewardShaping`; who plays without either calls `shape`.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        format: float = 0.0,
        iou: float = 0.0,
        invalid_box: float = 0.0,
        extra_turn: float = 0.0,
        iou_of: str = "last",
    ) -> None:
        self.weights = Weights(format, iou, invalid_box, extra_turn, iou_of)
        RecordConstructorArgs.__init__(
            self,
            format=format,
            iou=iou,
            invalid_box=invalid_box,
            extra_turn=extra_turn,
            iou_of=iou_of,
        )
        gym.Wrapper.__init__(self, env)
        self._turns = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._turns = 0
        return observation, {**info, **_named(dict.fromkeys(TERMS, 0.0))}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        inner = core(self.env)
        episode, done = inner.episode, terminated or truncated
        terms = shape(inner.sample, episode, self.weights, done=done, since=self._turns)
        terms["answer"] = float(reward)
        self._turns = len(episode.turns)
        shaped = math.fsum(terms.values())
        return observation, shaped, terminated, truncated, {**info, **_named(terms)}


class VectorRewardShaping(VectorWrapper[Any, Any, Any, Any, np.ndarray]):
    """`RewardShaping` for `HighResVQAVectorEnv`, member by member.

    Members that did not act in a step earn nothing in it.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, np.ndarray],
        format: float = 0.0,
        iou: float = 0.0,
        invalid_box: float = 0.0,
        extra_turn: float = 0.0,
        iou_of: str = "last",
    ) -> None:
        if not isinstance(env.unwrapped, HighResVQAVectorEnv):
            name = type(env.unwrapped).__name__
            raise TypeError(f"env: got {name}, expected a wrapped HighResVQAVectorEnv")
        super().__init__(env)
        self.weights = Weights(format, iou, invalid_box, extra_turn, iou_of)

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observations, infos = self.env.reset(seed=seed, options=options)
        for i in _members(infos):
            infos = self._add_info(infos, _named(dict.fromkeys(TERMS, 0.0)), i)
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        shaped = np.zeros_like(rewards)
        envs: Any = self.env.unwrapped
        for i in _members(infos):
            episode = envs.episode(i)
            terms = shape(
                envs.sample(i),
                episode,
                self.weights,
                done=bool(terminated[i] or truncated[i]),
                since=len(episode.turns) - 1,
            )
            terms["answer"] = float(rewards[i])
            shaped[i] = math.fsum(terms.values())
            infos = self._add_info(infos, _named(terms), i)
        return observations, shaped, terminated, truncated, infos


def _named(terms: Mapping[str, float]) -> dict[str, float]:
    return {f"reward/{name}": value for name, value in terms.items()}


def _members(infos: Mapping[str, Any]) -> list[int]:
    """Who this report is about: those that the infos speak of."""
    return [int(i) for i in np.flatnonzero(infos.get("_question_id", ()))]
