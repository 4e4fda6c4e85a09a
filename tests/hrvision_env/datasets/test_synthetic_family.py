"""The family of scenes: what is asked and where it is seen, and that it depends on nothing else."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image

from hrvision_env.datasets.synthetic import COLOURS, SHAPES, classic, load
from hrvision_env.datasets.synthetic.knobs import KINDS, Knobs
from hrvision_env.datasets.synthetic.questions import draw_question
from hrvision_env.env import HighResVQAEnv
from hrvision_env.grading import grade
from hrvision_env.images import Frame
from hrvision_env.records import Sample

# Small images: no detail has to vanish here.
SMALL: dict[str, Any] = {"side": 1024, "difficulty": "easy", "objects": 3}


def pictures(sample: Sample) -> list[Image.Image]:
    return [ref.make() for ref in sample.images if ref.make is not None]


@pytest.mark.parametrize(
    ("kind", "start", "answer_kind", "options"),
    [
        ("pattern", "What pattern is on the ", "choice", 6),
        ("text", "What code is printed on the ", "short", 0),
        ("relation", "There are two ", "choice", 2),
        ("count", "How many small crosses are on the ", "number", 0),
        ("which", "Which image shows the ", "choice", None),
        ("colour", "What colour is the ", "choice", 4),
    ],
)
def test_every_kind_asks_its_question(kind, start, answer_kind, options):
    dataset = load("train", kind=kind, **SMALL)
    for index in range(12):
        sample = dataset[index]
        assert sample.question.startswith(start) and sample.question.endswith("?")
        assert sample.answer_kind == answer_kind
        count = len(sample.images) if options is None else options
        assert len(sample.options or {}) == count
        assert sample.category == (kind, "easy")
        assert len(sample.boxes) == (2 if kind == "relation" else 1)
        assert (len(sample.images) > 1) == (kind == "which")


@pytest.mark.parametrize("kind", KINDS)
def test_the_gold_box_frames_an_object_of_the_colour_that_is_asked_for(kind):
    dataset = load("train", kind=kind, **SMALL)
    for index in range(8):
        sample = dataset[index]
        images = pictures(sample)
        for box in sample.boxes:
            colour, shape = box.label.split()
            assert shape in sample.question and shape in SHAPES
            assert kind == "colour" or f"{colour} {shape}" in sample.question
            # Beside the plate, just above its rim, lies the object's own colour.
            above = (int(box.center[0]), int(box.center[1] - 0.485 * box.width / 2))
            assert images[box.image_index].getpixel(above) == COLOURS[colour]


def test_the_colour_asked_for_is_one_of_the_options_and_the_others_are_in_the_picture():
    for index in range(20):
        sample = load("train", kind="colour", side=1024, objects=3)[index]
        assert sample.options is not None
        named = sample.options[sample.answers[0]]
        assert sample.boxes[0].label.split()[0] == named
        assert len(set(sample.options.values())) == 4


def test_answers_are_spread_evenly():
    def share(kind: str, answers: int) -> float:
        counts = Counter(load("train", kind=kind, **SMALL)[n].answers for n in range(400))
        assert len(counts) == answers
        return max(counts.values()) / 400

    # Three standard deviations of a share p of 400: 3 * sqrt(p (1 - p) / 400).
    assert share("pattern", 6) < 1 / 6 + 0.056
    assert share("relation", 2) < 1 / 2 + 0.075
    assert share("count", 9) < 1 / 9 + 0.048
    assert share("colour", 4) < 1 / 4 + 0.065


@pytest.mark.parametrize("kind", KINDS)
def test_the_grader_takes_the_gold_answer_and_no_other(kind):
    dataset = load("train", kind=kind, **SMALL)
    for index in range(6):
        sample = dataset[index]
        (gold,) = sample.answers
        others = {"text": ["A2A"], "count": ["0", "10"]}.get(kind) or set(sample.options or {})
        for answer in {gold, *others}:
            verdict = grade("strict", sample, f"\\boxed{{{answer}}}")
            assert verdict.correct == (answer == gold)


def test_an_episode_is_won_by_looking_where_the_gold_box_is():
    env = gymnasium.make("HighResVQA-v0", kind="text", dialogue="mgpo").unwrapped
    assert isinstance(env, HighResVQAEnv)
    _, info = env.reset(options={"index": 4})
    frame = Frame(tuple(info["image_size"]), tuple(info["view_size"]))
    numbers = list(frame.write(env.sample.boxes[0], "absolute"))
    observation, *_ = env.step(json.dumps([{"bbox_2d": numbers, "label": "code"}]))
    assert len(observation["images"]) == 1
    _, reward, terminated, _, info = env.step(f"\\boxed{{{env.sample.answers[0]}}}")
    assert (reward, terminated, info["outcome"]) == (1.0, True, "correct")


def test_a_relation_is_answered_by_where_the_two_codes_are():
    for index in range(10):
        knobs = Knobs("relation", 1024, difficulty="easy", objects=2)
        question = draw_question(knobs, 0, "train", index)
        where = {str(item.detail.value): item.x for item in question.pictures[0].items}
        first, second = (w for w in question.text.replace("?", " ").split() if w in where)
        is_left = where[first] < where[second]
        assert question.options == {"A": "to the left", "B": "to the right"}
        assert question.answer == ("A" if is_left else "B")
        left, right = sorted(question.pictures[0].items, key=lambda item: item.x)
        assert left.box().x2 < right.box().x1, "one is clearly to the left of the other"


def test_one_image_of_which_carries_what_is_asked_for():
    for index in range(20):
        knobs = Knobs("which", 1024, difficulty="easy", objects=1)
        question = draw_question(knobs, 0, "train", index)
        ((image, item),) = question.gold
        values = [picture.items[0].detail.value for picture in question.pictures]
        assert item == 0 and len(set(values)) == len(values) in (2, 3, 4)
        looks = {(p.items[0].colour, p.items[0].shape) for p in question.pictures}
        assert len(looks) == 1, "each image shows the object, with another pattern"
        assert question.answer == "ABCD"[image]
    assert len(load("test", kind="which", images=3, **SMALL)[0].images) == 3


@pytest.mark.parametrize(("kind", "targets"), [("text", 1), ("relation", 2)])
def test_distractors_share_one_word_with_the_target_and_nobody_shares_both(kind, targets):
    knobs = Knobs(kind, 4096, objects=9, distractors=4)
    for index in range(10):
        (picture,) = draw_question(knobs, 0, "train", index).pictures
        first = picture.items[0]
        shared = [(i.colour == first.colour) + (i.shape == first.shape) for i in picture.items]
        assert shared.count(2) == targets
        assert shared.count(1) == 4
        assert shared.count(0) == 9 - 4 - targets
        alike = [i.colour == first.colour for i, n in zip(picture.items, shared, strict=True) if n]
        assert sum(alike) - targets == 2, "half of them share the colour"


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.6])
def test_objects_lie_inside_and_apart(aspect):
    for kind in ("pattern", "relation"):
        knobs = Knobs(kind, 6144, aspect)
        for index in range(10):
            (picture,) = draw_question(knobs, 0, "test", index).pictures
            boxes = [item.box() for item in picture.items]
            for n, box in enumerate(boxes):
                assert min(box.x1, box.y1) >= 0
                assert box.x2 <= picture.size[0] and box.y2 <= picture.size[1]
                assert all(box.iou(other) < 0.1 for other in boxes[:n])


def test_options_and_records_are_plain_data():
    options = {"kind": "relation", "side": 6000, "aspect": 1.25, "difficulty": 0.2, "objects": 5}
    sample = load("test", **json.loads(json.dumps(options)))[0]
    record = [sample.question, list(sample.answers), dict(sample.options or {})]
    assert json.loads(json.dumps(record)) == record
    boxes = [[b.x1, b.y1, b.x2, b.y2, b.image_index, b.label] for b in sample.boxes]
    assert json.loads(json.dumps(boxes)) == boxes != []


def test_a_sample_is_lazy_and_travels():
    dataset = load("test", kind="which", **SMALL)
    twin = pickle.loads(pickle.dumps(dataset))
    sample = dataset[2]
    assert len(pickle.dumps(sample)) < 5000, "no pixels"
    assert (
        [p.tobytes() for p in pictures(sample)]
        == [p.tobytes() for p in pictures(twin[2])]
        == [p.tobytes() for p in pictures(pickle.loads(pickle.dumps(sample)))]
    )


DIGEST = """
import hashlib, json
from hrvision_env.datasets.synthetic import load
from hrvision_env.datasets.synthetic.knobs import KINDS
for kind in KINDS:
    for split, index in (("train", 5), ("test", 2), ("ood", 1)):
        s = load(split, kind=kind, side=2048, difficulty="easy")[index]
        text = json.dumps([s.id, s.question, s.answers, s.options, s.category, str(s.boxes)])
        pixels = b"".join(ref.make().tobytes() for ref in s.images)
        print(kind, split, hashlib.sha256(text.encode() + pixels).hexdigest())
"""


def test_questions_do_not_depend_on_the_hash_seed_of_python():
    def digests(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    first = digests("1")
    assert len(set(first)) == 18
    assert first == digests("4242")


def test_split_seed_and_index_each_make_another_question():
    base = draw_question(Knobs("text"), 3, "test", 7)
    for seed, split, index in ((3, "train", 7), (4, "test", 7), (3, "test", 8)):
        assert draw_question(Knobs("text"), seed, split, index) != base
    assert draw_question(Knobs("text"), 3, "test", 7) == base


PEAK = """
from pathlib import Path
from hrvision_env.datasets.synthetic import load

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

sample = load(kind="text", side=8192)[0]
before = peak()
image = sample.images[0].make()
print((peak() - before) / (image.width * image.height * 4))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_image_is_painted_in_place():
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < 1.2, "copies of the image held at once"


def test_the_background_is_noise_in_square_blocks():
    wide = np.asarray(classic.noise(np.random.default_rng(0), (640, 320)))
    blocks = wide.reshape(16, 20, 32, 20, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert 74 <= wide.min() < 90 and 165 < wide.max() <= 182
