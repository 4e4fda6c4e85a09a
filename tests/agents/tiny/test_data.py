"""What the warm start teaches: which tokens, which boxes, which images belong together."""

import json

import numpy as np
import pytest

from agents.rollout.codec import Codec
from agents.tiny import WEIGHTS
from agents.tiny.data import (
    LOOSE,
    TIGHT,
    box_text,
    clear_crop,
    draw_pictures,
    find_row,
    guess_row,
    read_row,
)
from hrvision_env.datasets.synthetic import OPTIONS, STANDARD
from hrvision_env.records import Box


@pytest.fixture(scope="module")
def codec():
    return Codec.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def pictures(codec):
    return draw_pictures(np.random.default_rng(5), codec, 6, STANDARD)


def taught(codec, row):
    return codec.decode([i for i, t in zip(row.ids, row.taught, strict=True) if t])


def test_a_find_row_teaches_the_box_alone(codec, pictures):
    row = find_row(np.random.default_rng(0), codec, pictures[0], TIGHT)
    box = json.loads(taught(codec, row))[0]["bbox_2d"]
    assert len(box) == 4 and all(v % 25 == 0 for v in box)
    assert row.images == (pictures[0].view,)
    x, y = row.centre
    assert box[0] / 1000 < x < box[2] / 1000 and box[1] / 1000 < y < box[3] / 1000
    assert row.cell == int(y * 6) * 6 + int(x * 6)


def test_a_read_row_teaches_the_letter_and_never_the_box_before_it(codec, pictures):
    rng = np.random.default_rng(1)
    clear = clear_crop(rng, codec, pictures[1], (100, 100), 0.0)
    row = read_row(rng, codec, pictures[0], clear)
    letter = list(OPTIONS)[clear.thing.pattern]
    assert taught(codec, row) == f"\\boxed{{{letter}}}<|im_end|>"
    # The crop shows another scene than the view: own box and own crop are never composed.
    assert row.images == (pictures[0].view, clear.image)
    assert "bbox_2d" in codec.decode(row.ids)


def test_guess_rows_teach_random_letters(codec, pictures):
    rng = np.random.default_rng(2)
    texts = [taught(codec, guess_row(rng, codec, pictures[0], TIGHT)) for _ in range(300)]
    letters = [text.split("\\boxed{")[1][0] for text in texts]
    counts = [letters.count(letter) for letter in OPTIONS]
    assert sum(counts) == 300 and min(counts) > 25  # 50 each are expected


def boxes(pictures, labels, n=400):
    rng = np.random.default_rng(3)
    found = []
    for k in range(n):
        picture = pictures[k % len(pictures)]
        asked = int(rng.integers(len(picture.scene.things)))
        corners = json.loads(box_text(rng, picture, asked, labels))[0]["bbox_2d"]
        found.append((Box(*corners), picture.scene.things[asked], picture.scene.side))
    return found


def test_loose_labels_are_larger_and_often_elsewhere(pictures):
    def centre_inside(labels):
        found = boxes(pictures, labels)
        return np.mean([b.contains(t.x * 1000 / s, t.y * 1000 / s) for b, t, s in found])

    def mean_side(labels):
        return np.mean([np.sqrt(b.area) for b, _, _ in boxes(pictures, labels)])

    assert centre_inside(TIGHT) > 0.97
    assert 0.45 < centre_inside(LOOSE) < 0.75
    assert mean_side(TIGHT) == pytest.approx(110, abs=10)
    assert mean_side(LOOSE) > 170


def test_crops_are_cut_where_they_say(codec, pictures):
    rng = np.random.default_rng(4)
    near, far = (clear_crop(rng, codec, pictures[2], (side, side), 0.0) for side in (60, 300))
    assert (near.side, far.side) == (60, 300)
    for clear in (near, far):
        assert clear.image.grid[1] * clear.image.grid[2] <= 144
    assert clear_crop(rng, codec, pictures[2], (60, 60), 0.0).image.hash != far.image.hash
