"""Spaces of texts and images as Gymnasium wants them."""

from __future__ import annotations

import copy
import pickle

import pytest
from gymnasium.vector.utils import batch_space, create_shared_memory
from PIL import Image

from hrvision_env.actions import Refusal
from hrvision_env.actions.box import parse
from hrvision_env.spaces import ImageSpace, UnicodeText

SPACES = [UnicodeText(), UnicodeText(20), ImageSpace(), ImageSpace(16, 9216)]


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_samples_are_members_and_follow_the_seed(space):
    space.seed(3)
    drawn = [space.sample() for _ in range(50)]
    assert all(item in space for item in drawn)
    assert len({item if isinstance(item, str) else item.tobytes() for item in drawn}) > 10
    space.seed(3)
    assert [space.sample() for _ in range(50)] == drawn


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_spaces_are_copied_and_pickled_with_their_random_state(space):
    space.seed(4)
    for twin in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        assert twin == space and repr(twin) == repr(space)
        assert twin.sample() == copy.deepcopy(space).sample()


def test_equality():
    assert UnicodeText(5) == UnicodeText(5) != UnicodeText(6)
    assert ImageSpace(16, 9216) == ImageSpace(16, 9216) != ImageSpace(16, 9217)
    assert ImageSpace(16, 9216) != ImageSpace(8, 9216) and UnicodeText() != ImageSpace()


@pytest.mark.parametrize("text", ["", "a", "答案\n🙂", "\0", "12345"])
def test_texts_inside(text):
    assert text in UnicodeText(5)


@pytest.mark.parametrize("text", ["123456", "\ud800", None, b"a", 3, ["a"]])
def test_texts_outside(text):
    assert text not in UnicodeText(5)


def test_the_grammar_of_samples():
    space = UnicodeText(seed=0)
    drawn = [space.sample() for _ in range(200)]
    boxes = [not isinstance(parse(text)[0], Refusal) for text in drawn]
    answers = ["\\boxed{" in text for text in drawn]
    assert 60 < sum(boxes) < 140 and 60 < sum(answers) < 140
    assert any(a and b for a, b in zip(boxes, answers, strict=True))
    assert not all(a or b for a, b in zip(boxes, answers, strict=True))


@pytest.mark.parametrize(
    ("image", "member"),
    [
        (Image.new("RGB", (28, 56)), True),
        (Image.new("RGB", (280, 28)), True),
        (Image.new("RGB", (308, 28)), False),  # too large
        (Image.new("RGB", (27, 28)), False),
        (Image.new("L", (28, 28)), False),
        (Image.new("RGB", (0, 0)), False),
        ("image", False),
        (None, False),
    ],
)
def test_images(image, member):
    assert (image in ImageSpace(28, 28 * 280)) is member


def test_json_round_trip():
    space = ImageSpace(16, 9216, seed=1)
    drawn = [space.sample() for _ in range(3)]
    texts = space.to_jsonable(drawn)
    assert all(isinstance(text, str) for text in texts) and space.from_jsonable(texts) == drawn


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_a_batch_is_a_tuple_of_spaces(space):
    batch = batch_space(space, 3)
    batch.seed(0)
    drawn = batch.sample()
    assert len(drawn) == 3 and drawn in batch and not drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_shared_memory_and_masks_are_refused(space):
    with pytest.raises(TypeError, match=r'vector_kwargs=\{"shared_memory": False\}'):
        create_shared_memory(space, n=2)
    with pytest.raises(ValueError, match="neither a mask nor a probability"):
        space.sample(mask=[1])


def test_wrong_bounds_are_refused():
    with pytest.raises(ValueError, match="max_length: got 0"):
        UnicodeText(0)
    with pytest.raises(ValueError, match="got 28, 783"):
        ImageSpace(28, 783)
