"""The token contract: every broken rule is named when a trajectory is created."""

from typing import Any

import numpy as np
import pytest

from agents.rollout.codec import EncodedImage
from agents.rollout.trajectory import Trajectory
from hrvision_env.records import Episode, Outcome

IMAGE, BANNED = 9, (8, 9)


def episode() -> Episode:
    """A finished episode's record."""
    return Episode("q", "d", "s", "mgpo", "brief", "", ((64, 64),), ((32, 32),), reward=1.0)


def picture(n_tokens: int) -> EncodedImage:
    return EncodedImage("0" * 32, (1, 2, 2 * n_tokens), n_tokens, np.zeros((4 * n_tokens, 1)))


def trajectory(**changes: Any) -> Trajectory:
    """Opening of 4 tokens with an image of 2, reply of 2, crop of 3, reply of 1."""
    mask = np.array([0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1], dtype=np.bool_)
    fields: dict[str, Any] = {
        "token_ids": np.array([1, 9, 9, 2, 3, 4, 5, 9, 9, 9, 6]),
        "loss_mask": mask,
        "logprobs": np.where(mask, -0.5, 0).astype(np.float32),
        "images": (picture(2), picture(3)),
        "prefix": 4,
        "image_token_id": IMAGE,
        "banned": BANNED,
        "group": "q",
        "member": 2,
        "reward": 1.0,
        "policy_version": 0,
        "episode": episode(),
    }
    return Trajectory(**{**fields, **changes})


def changed(name: str, place: int, value: Any) -> dict[str, np.ndarray]:
    array = getattr(trajectory(), name).copy()
    array[place] = value
    return {name: array}


def test_a_good_one_is_accepted() -> None:
    assert len(trajectory()) == 11
    assert trajectory().episode.outcome is Outcome.OPEN


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (changed("token_ids", 4, 8), "a banned token was sampled"),
        (changed("token_ids", 5, IMAGE), "a banned token was sampled"),
        (changed("logprobs", 4, 0.5), "not above 0"),
        (changed("logprobs", 4, -np.inf), "finite"),
        (changed("logprobs", 4, np.nan), "finite"),
        (changed("logprobs", 3, -0.5), "must be 0 on tokens that were not sampled"),
        (changed("loss_mask", 3, True), r"prefix 4 must end before the first sampled token"),
        ({"loss_mask": np.zeros(11, dtype=np.bool_)}, "no sampled token"),
        ({"loss_mask": np.ones(11)}, "loss_mask has type float64"),
        ({"logprobs": np.zeros(10, dtype=np.float32)}, "shapes differ"),
        ({"prefix": 0}, "prefix 0"),
        ({"prefix": 5}, "prefix 5"),
        ({"images": (picture(2),)}, r"placeholders \[2, 3\].*tokens \[2\]"),
        ({"images": (picture(3), picture(2))}, r"placeholders \[2, 3\].*tokens \[3, 2\]"),
    ],
)
def test_a_broken_rule_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"group 'q', member 2: .*{message}"):
        trajectory(**changes)
