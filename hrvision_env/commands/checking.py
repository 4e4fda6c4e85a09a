"""`check`: does an environment keep what it promises? Gymnasium's checks, then ours."""

from __future__ import annotations

import importlib.util
import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env, data_equivalence

from ..env import HighResVQAEnv
from ..rendering import CANVAS

SEEDS = range(4)
Make = Callable[..., HighResVQAEnv]


class Broken(AssertionError):
    """A promise that is not kept."""


def run_checks(env_id: str, options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each check as (name, what is wrong); the second is empty when nothing is.

    Raises what `gymnasium.make` raises when the environment cannot be made, ValueError for one
    that is not of this package.
    """

    def make(**more: Any) -> HighResVQAEnv:
        env = gym.make(env_id, **{**options, **more}).unwrapped
        if not isinstance(env, HighResVQAEnv):
            raise ValueError(f"{env_id}: got {type(env).__name__}, expected a HighResVQAEnv")
        return env

    make().close()
    for check in CHECKS:
        yield check.__name__.replace("_", " "), _fault(check, make)


def _fault(check: Callable[[Make], None], make: Make) -> str:
    try:
        check(make)
    except Exception as error:  # any failure of the environment is what is looked for
        text = " ".join(str(error).split())
        return text if isinstance(error, Broken) else f"{type(error).__name__}: {text}"
    return ""


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def gymnasium_api(make: Make) -> None:
    """Gymnasium's own checker, with its warnings as errors. Its windows stay invisible."""
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    has_windows = importlib.util.find_spec("pygame") is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(), skip_render_check=not has_windows)


def seeding(make: Make) -> None:
    """A seed alone decides the first observation, in any instance."""
    one, other = make(), make()
    for seed in SEEDS:
        first = one.reset(seed=seed)
        _expect(_same(first, other.reset(seed=seed)), f"two instances differ at seed {seed}")
        one.reset()
        _expect(_same(first, one.reset(seed=seed)), f"one instance differs at seed {seed}")


def pickling(make: Make) -> None:
    """A copy goes on like the original, before the first reset and in mid-episode."""
    env = make()
    copy = pickle.loads(pickle.dumps(env))
    _expect(_same(env.reset(seed=0), copy.reset(seed=0)), "a fresh copy begins differently")
    copy = pickle.loads(pickle.dumps(env))
    for reply in _replies(env, seed=0):
        _expect(
            _same(env.step(reply), copy.step(reply)), "a copy in mid-episode goes on differently"
        )
        if not env.running.open:
            break


def spec_as_json(make: Make) -> None:
    """The spec can be written down, and makes the same environment."""
    env = make()
    _expect(env.spec is not None, "there is no spec")
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    _expect(_same(env.reset(seed=0), again.reset(seed=0)), "begins differently from its JSON")


def reset_options(make: Make) -> None:
    """A question can be chosen by index and by id; an unknown option is an error."""
    env = make()
    by_index = env.reset(options={"index": 0})
    name = by_index[1]["question_id"]
    _expect(_same(by_index, env.reset(options={"question_id": name})), f"{name!r} is not index 0")
    _expect_error(ValueError, env, {"indx": 0})
    _expect_error(IndexError, env, {"index": len(env.dataset)})
    _expect_error(KeyError, env, {"question_id": "no such question"})


def _expect_error(error: type[Exception], env: HighResVQAEnv, options: dict[str, Any]) -> None:
    try:
        env.reset(options=options)
    except error:
        return
    raise Broken(f"reset(options={options}) raises no {error.__name__}")


def random_episodes(make: Make) -> None:
    """Episodes of random replies stay in the spaces and end within the turn budget."""
    env = make()
    for seed in SEEDS:
        observation, info = env.reset(seed=seed)
        _expect(observation in env.observation_space, f"seed {seed}: observation not in its space")
        kinds = {key: type(value) for key, value in info.items()}
        for turn, reply in enumerate(_replies(env, seed), start=1):
            observation, reward, terminated, truncated, info = env.step(reply)
            _expect(
                observation in env.observation_space, f"turn {turn}: observation not in its space"
            )
            found = {key: type(value) for key, value in info.items()}
            _expect(found == kinds, f"turn {turn}: info has other keys or types than at first")
            _expect(0 <= reward <= 1 and not truncated, f"turn {turn}: reward {reward}, truncated?")
            if terminated:
                break
        _expect(terminated, f"seed {seed}: not over after {info['max_turns']} turns")
        _expect(info["outcome"] != "error", f"seed {seed}: {env.episode.error}")


def hidden_answer(make: Make) -> None:
    """The gold answer is in the info only on request."""
    _expect("target" not in make(expose_target=False).reset(seed=0)[1], "info holds the target")
    _expect("target" in make(expose_target=True).reset(seed=0)[1], "info lacks the target")


def rendering(make: Make) -> None:
    """The picture has one size at any time; the text can be encoded."""
    env, text = make(render_mode="rgb_array"), make(render_mode="ansi")
    pictures = [env.render()]
    env.reset(seed=0)
    text.reset(seed=0)
    for reply in _replies(env, seed=0):
        pictures.append(env.render())
        text.render().encode()
        if env.step(reply)[2]:
            break
    for picture in [*pictures, env.render()]:
        _expect(picture.shape == CANVAS and picture.dtype == np.uint8, "a picture has another size")


def groups(make: Make) -> None:
    """Siblings of the vector environment share question and images."""
    spec = make().spec
    assert spec is not None
    envs = gym.make_vec(spec.id, num_envs=4, vector_kwargs=None, group_size=2, **spec.kwargs)
    observations, infos = envs.reset(seed=0)
    for a, b in ((0, 1), (2, 3)):
        _expect(infos["question_id"][a] == infos["question_id"][b], "siblings differ in question")
        same = zip(observations["images"][a], observations["images"][b], strict=True)
        _expect(all(x is y for x, y in same), "siblings have images of their own")
    envs.close()


def _replies(env: HighResVQAEnv, seed: int) -> Iterator[str]:
    """As many random replies as an episode may take; they know nothing of the question."""
    env.action_space.seed(seed)
    for _ in range(env.running.setting.max_turns):
        yield env.action_space.sample()


def _same(one: Any, other: Any) -> bool:
    return data_equivalence(one, other, exact=True)


CHECKS = (
    gymnasium_api,
    seeding,
    pickling,
    spec_as_json,
    reset_options,
    random_episodes,
    hidden_answer,
    rendering,
    groups,
)
