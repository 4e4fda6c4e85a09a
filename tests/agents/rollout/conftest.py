"""Codecs of both model families, and an environment with a script that solves it."""

from typing import Any

import pytest

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec

from .questions import BOX_TEXT


@pytest.fixture(scope="session")
def codec(model_folder: str) -> Codec:
    """The codec of each family in turn; their special tokens have different ids."""
    return Codec.from_pretrained(model_folder)


ENV: dict[str, Any] = {
    "dataset": "tests.agents.rollout.questions:load",
    "dialogue": "mgpo",
    "prompt": "brief",
    "factor": 16,
    "min_pixels": 2304,
    "max_pixels": 2304,
    "box_dialect": "relative_1000",
    "min_box": 2,
}
"""An environment that fits the test models: views and crops of 48 x 48 pixels, 9 tokens."""


def script(chat: Chat) -> str:
    """The right box, then a right answer to question q<n> by member 0 alone; others say A."""
    if chat.replies == 0:
        return BOX_TEXT + " I am sure of it."
    number = int(chat.group.split("#")[0][1:])
    return rf"\boxed{{{'ABCD'[number] if chat.member == 0 else 'A'}}}"


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data and dialogues of `faulty` fail only where a test says so."""
    from . import faulty

    monkeypatch.setattr(faulty, "picture", faulty.Flaky(0, OSError()))
    monkeypatch.setattr(faulty, "step", faulty.Flaky(0, RuntimeError()))
