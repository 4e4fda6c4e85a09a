"""The token contract: every broken rule is named when a trajectory is created."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.rollout.codec import EncodedImage
from agents.rollout.contract import RULES, TokenRules
from agents.rollout.trajectory import Trajectory
from hrvision_env.records import Episode, Outcome

START, END, NEWLINE, ASSISTANT, USER, OPEN, CLOSE, IMAGE = 1, 2, 3, 4, 5, 7, 8, 9
TOKENS = TokenRules(
    vocab_size=12,
    image=IMAGE,
    vision=(OPEN, CLOSE),
    banned=(START, OPEN, CLOSE, IMAGE),
    eos=(END,),
    opening=(START, ASSISTANT),
    closing=(END, NEWLINE, START),
)
IDS = [
    *(START, USER, OPEN, IMAGE, IMAGE, CLOSE, END, NEWLINE, START, ASSISTANT),  # 0-9
    *(6, 10),  # 10, 11: a reply that a stop string ended
    *(END, NEWLINE, START, USER, OPEN, IMAGE, IMAGE, IMAGE, CLOSE),  # 12-20
    *(END, NEWLINE, START, ASSISTANT),  # 21-24
    *(11, END),  # 25, 26
]
MASK = np.isin(np.arange(27), [10, 11, 25, 26])


def episode() -> Episode:
    """A finished episode's record."""
    return Episode("q", "d", "s", "mgpo", "brief", "", ((64, 64),), ((32, 32),), reward=1.0)


def picture(n_tokens: int) -> EncodedImage:
    pixels = np.zeros((16, 16 * n_tokens, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    return EncodedImage("0" * 32, (1, 2, 2 * n_tokens), n_tokens, pixels)


def trajectory(**changes: Any) -> Trajectory:
    """An opening with an image of 2 tokens, a reply, a crop of 3 tokens, a reply."""
    fields: dict[str, Any] = {
        "token_ids": np.array(IDS),
        "loss_mask": MASK,
        "logprobs": np.where(MASK, -0.5, 0).astype(np.float32),
        "replies": (2, 2),
        "images": (picture(2), picture(3)),
        "prefix": 10,
        "rules": TOKENS,
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


def cut(start: int, end: int) -> dict[str, Any]:
    """A part of the trajectory; the numbers that belong to it go with it."""
    whole, images = trajectory(), (picture(2), picture(3))
    arrays = {n: getattr(whole, n)[start:end] for n in ("token_ids", "loss_mask", "logprobs")}
    seen = images[int(start > 4) : 1 + int(end > 19)]
    return {**arrays, "images": seen, "prefix": 10 - start, "replies": (2, 2)[: 1 + (end > 25)]}


def without(*places: int) -> dict[str, Any]:
    """The trajectory without some of its tokens, all of them in the second observation."""
    arrays = ("token_ids", "loss_mask", "logprobs")
    return {name: np.delete(getattr(trajectory(), name), places) for name in arrays}


def test_a_good_one_is_accepted() -> None:
    assert len(trajectory()) == 27
    assert trajectory().episode.outcome is Outcome.OPEN
    assert trajectory().banned == TOKENS.banned and trajectory().image_token_id == IMAGE


def test_the_other_track_has_one_token_per_image() -> None:
    ids = trajectory().collapsed_ids.tolist()
    assert ids == [*IDS[:4], *IDS[5:18], *IDS[20:]] and ids.count(IMAGE) == 2


@pytest.mark.parametrize("end", [12, 25, 27], ids=["reply", "open observation", "last reply"])
def test_it_may_end_at_any_turn(end: int) -> None:
    assert len(trajectory(**cut(0, end))) == end


def test_siblings_have_equal_openings() -> None:
    one, two = trajectory(), trajectory(member=3, **changed("token_ids", 25, 6))
    other = trajectory(**changed("token_ids", 1, 6))
    assert one.opening == two.opening != other.opening
    assert one.opening[1] == ("0" * 32,)  # the crop is not part of it


BROKEN: list[tuple[dict[str, Any], str]] = [
    # arrays
    ({"logprobs": np.zeros(10, dtype=np.float32)}, r"shapes differ: .*logprobs \(10,\)"),
    ({"loss_mask": np.ones(27)}, "loss_mask has type float64, expected bool"),
    ({"token_ids": np.array(IDS, dtype=np.int32)}, "token_ids has type int32, expected int64"),
    ({"logprobs": np.zeros(27)}, "logprobs has type float64, expected float32"),
    (changed("token_ids", 1, 12), "token id 12, expected 0 to 11"),
    (changed("token_ids", 1, -1), "token id -1, expected 0 to 11"),
    # mask
    ({"loss_mask": np.zeros(27, dtype=np.bool_)}, "no sampled token"),
    (changed("loss_mask", 9, True), "the loss mask has 5 tokens, 4 were sampled"),
    ({"replies": (1, 3)}, r"replies of \[2, 2\] tokens, expected \[1, 3\]"),
    # sampled ids
    (changed("token_ids", 10, OPEN), f"the banned token {OPEN} was sampled"),
    (changed("token_ids", 11, IMAGE), f"the banned token {IMAGE} was sampled"),
    (changed("token_ids", 10, END), "the reply goes on after its end, token 1 of 2"),
    # log-probs
    (changed("logprobs", 10, 0.5), r"a log-prob of 0\.5: they must not be above 0"),
    (changed("logprobs", 10, -np.inf), "log-probs must be finite"),
    (changed("logprobs", 10, np.nan), "log-probs must be finite"),
    (changed("logprobs", 9, -0.5), "must be 0 on tokens that were not sampled"),
    # images
    ({"images": (picture(2),)}, r"placeholders \[2, 3\].*tokens \[2\]"),
    ({"images": (picture(3), picture(2))}, r"placeholders \[2, 3\].*tokens \[3, 2\]"),
    (changed("token_ids", 17, 6), r"placeholders \[2, 2\].*tokens \[2, 3\]"),
    (
        {"images": (picture(2), picture(1), picture(2))},
        r"side by side with nothing between them: \[2, 3\] for \[2, 1, 2\]",
    ),
    (changed("token_ids", 16, 6), r"image 1 stands between tokens \[6, 8\], expected \[7, 8\]"),
    (changed("token_ids", 5, 6), r"image 0 stands between tokens \[7, 6\], expected \[7, 8\]"),
    # prefix
    ({"prefix": 0}, "prefix 0 must end before the first sampled token, which is 10"),
    ({"prefix": 11}, "prefix 11 must end before the first sampled token, which is 10"),
    ({"prefix": 4}, "prefix 4 ends inside an image"),
    ({"prefix": 5}, "prefix 5 ends inside an image"),  # computed are 4 tokens of it
    # turns
    (changed("token_ids", 24, 6), r"reply at token 25 follows \[1, 6\], expected the opening"),
    (changed("token_ids", 8, 6), r"reply at token 10 follows \[6, 4\], expected the opening"),
    (without(12), r"ends at token 12 is followed by \[3, 1, 5\], expected \[2, 3, 1\]"),
    (changed("token_ids", 13, 6), r"is followed by \[2, 6, 1\], expected \[2, 3, 1\]"),
    (cut(1, 27), "it begins with token 5, expected 1: cut inside a turn"),
    (cut(0, 24), r"it ends with \[3, 1\], neither a reply nor \[1, 4\]: cut in a turn"),
    (cut(0, 13), r"followed by \[2\], expected \[2, 3, 1\]"),
    # numbers
    ({"temperature": 0.0}, r"temperature is 0\.0, expected a number above 0"),
    ({"temperature": float("inf")}, "temperature is inf, expected a number above 0"),
    ({"policy_version": -1}, "policy_version is -1, expected 0 or more"),
    ({"reward": 0.5}, r"reward is 0\.5, expected the episode's 1\.0"),
]


@pytest.mark.parametrize("prefix", [1, 2, 3, 6, 7, 10])
def test_a_prefix_may_end_anywhere_but_inside_an_image(prefix: int) -> None:
    assert [IDS[n] == IMAGE for n in range(7)] == [False, False, False, True, True, False, False]
    t = trajectory(prefix=prefix)
    seen = int((t.token_ids[: prefix - 1] == IMAGE).sum())
    assert seen in (0, 2) and len(t.opening[1]) == seen // 2


@pytest.mark.parametrize(("changes", "message"), BROKEN)
def test_a_broken_rule_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"group 'q', member 2: .*{message}"):
        trajectory(**changes)


def test_a_negative_member_is_refused() -> None:
    with pytest.raises(ValueError, match="member is -1, expected 0 or more"):
        trajectory(member=-1)


def test_the_table_breaks_every_rule() -> None:
    found = set()
    for changes, _ in BROKEN:
        fields = {**vars(trajectory()), **changes}
        subject = object.__new__(Trajectory)
        vars(subject).update(fields)
        found.add(next(rule for rule in RULES if rule(subject)))
    assert found == set(RULES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixels": np.zeros((16, 32), dtype=np.uint8)}, r"got uint8 \(16, 32\), expected uint8"),
        ({"pixels": np.zeros((16, 32, 3))}, r"got float64 \(16, 32, 3\), expected uint8"),
        ({"pixels": np.zeros((16, 32, 3), dtype=np.uint8)}, "can be written to"),
        ({"grid": (1, 4, 2)}, r"got grid \(1, 4, 2\) for 32x16 pixels"),
        ({"grid": (2, 2, 4)}, r"got grid \(2, 2, 4\) for 32x16 pixels"),
        ({"n_tokens": 3}, "got 3 tokens for 8 patches"),
    ],
)
def test_an_image_that_contradicts_itself_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"image: .*{message}"):
        replace(picture(2), **changes)
