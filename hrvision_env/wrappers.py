"""Wrappers that change what an agent gets to see."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from PIL import Image

from .spaces import UnicodeText


class ChatHistory(gym.Wrapper[dict[str, Any], str, dict[str, Any], str], RecordConstructorArgs):
    """Observe the whole conversation instead of the newest user turn.

    `messages` are `{"role": "system" | "user" | "assistant", "text": str}` from the beginning,
    `images` belong to the `<image>` markers of all messages in order. After the end the last
    message is the agent's.
    """

    def __init__(self, env: gym.Env[dict[str, Any], str]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        inner = env.observation_space
        assert isinstance(inner, spaces.Dict)
        message = spaces.Dict({"role": UnicodeText(16), "text": UnicodeText()})
        self.observation_space = spaces.Dict(
            {"messages": spaces.Sequence(message), "images": inner["images"]}
        )
        self._messages: list[tuple[str, str]] = []
        self._images: list[Image.Image] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._messages = [("system", info["system"])] if info["system"] else []
        self._images = []
        return self._grow(observation), info

    def step(self, action: str) -> tuple[dict[str, Any], Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._messages.append(("assistant", action))
        return self._grow(observation), reward, terminated, truncated, info

    def _grow(self, observation: dict[str, Any]) -> dict[str, Any]:
        if observation["text"]:
            self._messages.append(("user", observation["text"]))
            self._images.extend(observation["images"])
        messages = tuple({"role": role, "text": text} for role, text in self._messages)
        return {"messages": messages, "images": tuple(self._images)}
