"""Boxes as four numbers, for agents that act with a fixed-size array of floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from ..checks import check_int
from ..env import HighResVQAEnv
from ..images import Numbers
from ..plugins import resolve
from ..replies import write_answer, write_boxes

Answerer = Callable[[dict[str, Any], dict[str, Any]], str]
r"""(observation, info) of the turn that is to be answered -> a reply, such as `\boxed{B}`."""


class NumericBox(gym.Wrapper[dict[str, Any], Any, dict[str, Any], str], RecordConstructorArgs):
    r"""Point with four numbers: corners in shares of the shown image, 0 to 1.

    The two corners may come in any order. The wrapper writes them in the environment's own
    dialect and form, on the image that a box without index refers to: the (first) original with
    `box_frame="original"`, the newest image with `"last_image"`. What is too small stays so and
    is judged by the environment; `box_small="grow"` spares an agent that explores this lesson.

    Two action spaces, by who answers:

    * `answer=None`: `Dict(answer=Discrete(n_answers), box=Box(0, 1, (4,)))`. A step is a turn:
      the box is said in turns that read boxes, the k-th option of the question in the last turn
      (`n_answers` is the most options that a question of the dataset has).
    * `answer=function`, or its import path `"my_pkg.my_module:name"`: `Box(0, 1, (4,))`, float32.
      The agent points, and `function(observation, info)` - a frozen model that reads the crop,
      say - replies where an answer is due, in the same step. Every step is thus a box that
      counts, and an episode of `mgpo` is one step. An import path keeps the spec JSON-able.

    Raises ValueError for a question without options where the agent has to choose one, and for
    an action of another shape or with a number that is not finite.
    """

    def __init__(
        self,
        env: gym.Env[dict[str, Any], str],
        answer: str | Answerer | None = None,
        n_answers: int = 6,
    ) -> None:
        check_int("n_answers", n_answers)
        RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, answer=answer, n_answers=n_answers
        )
        gym.Wrapper.__init__(self, env)
        self._answer = _function(answer)
        box = spaces.Box(0.0, 1.0, (4,), np.float32)
        choice = spaces.Discrete(n_answers)
        self.action_space = box if self._answer else spaces.Dict({"answer": choice, "box": box})
        self._seen: tuple[dict[str, Any], dict[str, Any]] = ({}, {})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self._seen = self.env.reset(seed=seed, options=options)
        return self._seen

    def step(self, action: Any) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self._say(self._reply(action))
        while self._answer and not (terminated or truncated or wants_box(self.env)):
            reply = self._answer(*self._seen)
            observation, more, terminated, truncated, info = self._say(reply)
            reward = float(reward) + float(more)
        return observation, reward, terminated, truncated, info

    def _say(self, reply: str) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(reply)
        self._seen = observation, info
        return observation, reward, terminated, truncated, info

    def _reply(self, action: Any) -> str:
        numbers, choice = action, 0
        if self._answer is None:
            if not isinstance(action, Mapping) or set(action) != {"answer", "box"}:
                raise ValueError(f"action: got {action!r}, expected a dict of 'answer' and 'box'")
            numbers, choice = action["box"], int(action["answer"])
        lines = [box_text(self.env, _corners(numbers))] if wants_box(self.env) else []
        info = self._seen[1]
        if not lines or info["turn"] == info["max_turns"] - 1:
            own = self._answer
            lines.append(own(*self._seen) if own else option_text(self.env, choice))
        return "\n".join(lines)


def core(env: gym.Env[Any, Any]) -> HighResVQAEnv:
    """The environment inside all wrappers. Raises TypeError for one of another kind."""
    inner = env.unwrapped
    if not isinstance(inner, HighResVQAEnv):
        raise TypeError(f"env: got {type(inner).__name__}, expected a wrapped HighResVQAEnv")
    return inner


def wants_box(env: gym.Env[Any, Any]) -> bool:
    """Is the next reply read for boxes?"""
    return core(env).running.user.wants_box


def box_text(env: gym.Env[Any, Any], shares: Numbers) -> str:
    """A reply that asks for a region of the image that a box without index refers to.

    `shares` are left, top, right, bottom in shares of that image as it is shown, 0..1.
    """
    inner = core(env)
    rules, frames = inner.referee.rules, inner.running.frames
    frame = frames[-1 if rules.box_frame == "last_image" else 0]
    wide, high = frame.seen
    x1, y1, x2, y2 = shares
    box = frame.box((x1 * wide, y1 * high, x2 * wide, y2 * high))
    return write_boxes(rules.form, [(frame.write(box, rules.dialect), None)])


def option_text(env: gym.Env[Any, Any], k: int) -> str:
    """A reply that answers with the question's k-th option, counted from 0.

    With fewer options a dash, an answer that is never right. Raises ValueError without options.
    """
    sample = core(env).sample
    letters = list(sample.options or ())
    if not letters:
        raise ValueError(
            f"question {sample.id!r}: has no options to choose from, expected a question with "
            "options (or a function that answers)"
        )
    return write_answer(letters[k] if 0 <= k < len(letters) else "-")


def _function(answer: str | Answerer | None) -> Answerer | None:
    if not isinstance(answer, str):
        return answer
    if ":" not in answer:
        raise ValueError(
            f"answer: got {answer!r}, expected a function or its import path "
            "'my_pkg.my_module:name'"
        )
    function: Answerer = resolve(__package__, answer, "")
    return function


def _corners(numbers: Any) -> Numbers:
    """Left, top, right, bottom from two corners in any order."""
    values = np.asarray(numbers, dtype=np.float64)
    if values.shape != (4,) or not np.isfinite(values).all():
        raise ValueError(f"box: got {numbers!r}, expected four finite numbers from 0 to 1")
    x1, y1, x2, y2 = (float(v) for v in np.clip(values, 0, 1))
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
