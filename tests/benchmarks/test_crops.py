"""The dataset of crops: which questions, which pixels, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.crops import Crops, Cut
from hrvision_env.curation.digest import data_hash
from hrvision_env.datasets import Samples, load
from hrvision_env.images import Budget, ImageStore
from hrvision_env.records import Box, ImageRef, Point, Sample

SMALL = Budget(factor=1, min_pixels=1, max_pixels=10_000)
STORE = ImageStore(1 << 20)


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def question(number: int, n_images: int = 1) -> Sample:
    images = tuple(
        ImageRef(image=picture(10 * number + i), key=f"{number}-{i}") for i in range(n_images)
    )
    return Sample(
        f"q{number}",
        "What?",
        images,
        ("A",),
        "choice",
        {"A": "x", "B": "y"},
        boxes=(Box(1, 2, 3, 4),),
        points=(Point(5, 6),),
        group_id="g",
        cycle_id=str(number),
        messages=({"role": "user"},),
    )


QUESTIONS = Samples([question(0), question(1, n_images=2), question(2)], "questions")


def crops(*cuts: Cut, margin: float = 0.0, budget: Budget = SMALL, source: str = "made") -> Crops:
    return Crops(QUESTIONS, list(cuts), source=source, margin=margin, budget=budget)


def cut(number: int, *boxes: Box) -> Cut:
    return Cut(number, f"q{number}", ((80, 60), (80, 60)), boxes)


def pixels(sample: Sample, n: int = 0) -> np.ndarray:
    return np.asarray(STORE.open(sample.images[n]))


def test_a_box_of_whole_pixels_gives_these_pixels():
    dataset = crops(cut(2, Box(10, 20, 30, 50)))
    assert np.array_equal(pixels(dataset[0]), np.asarray(picture(20))[20:50, 10:30])
    assert dataset[0].images[0].size == (20, 30)


def test_one_image_per_box_each_from_its_own_image():
    dataset = crops(cut(1, Box(0, 0, 8, 6, image_index=1), Box(40, 30, 80, 60)))
    sample = dataset[0]
    assert [image.size for image in sample.images] == [(8, 6), (40, 30)]
    assert np.array_equal(pixels(sample), np.asarray(picture(11))[:6, :8])
    assert np.array_equal(pixels(sample, 1), np.asarray(picture(10))[30:, 40:])


def test_the_margin_is_added_and_what_lies_outside_is_cut_off():
    dataset = crops(cut(0, Box(0, 20, 20, 40)), margin=0.5)
    assert np.array_equal(pixels(dataset[0]), np.asarray(picture(0))[10:50, 0:30])


def test_the_crop_is_brought_into_the_budget():
    dataset = crops(cut(0, Box(0, 0, 20, 20)), budget=Budget(16, 64 * 64, 64 * 64))
    assert pixels(dataset[0]).shape == (64, 64, 3) and dataset[0].images[0].size == (64, 64)


def test_the_question_stays_the_same_and_says_where_it_is_from():
    found, own = crops(cut(1, Box(0, 0, 8, 8)))[0], QUESTIONS[1]
    assert (found.id, found.question, found.options) == (own.id, own.question, own.options)
    assert (found.group_id, found.cycle_id, found.answers) == ("g", "1", ("A",))
    assert (found.boxes, found.points, found.messages) == ((), (), None)  # of the originals
    assert found.source == "made"


def test_questions_are_found_by_their_place_here():
    dataset = crops(cut(2, Box(0, 0, 8, 8)), cut(0, Box(0, 0, 8, 8)))
    assert (len(dataset), dataset.index("q2"), dataset.index("q0")) == (2, 0, 1)
    assert list(dataset.ids()) == ["q2", "q0"]
    with pytest.raises(KeyError, match="q1"):
        dataset.index("q1")
    with pytest.raises(IndexError, match="got index 2"):
        dataset[2]


def test_crops_have_names_of_their_own_and_a_hash_that_knows_them():
    box, other = Box(0, 0, 8, 8), Box(0, 0, 8, 8.5)
    one, two = crops(cut(0, box)), crops(cut(0, other))
    assert one[0].images[0].key != two[0].images[0].key
    sets = [one, two, crops(cut(0, box), margin=0.1), crops(cut(0, box), budget=Budget(2, 4, 64))]
    assert len({data_hash(dataset) for dataset in sets}) == 4
    assert data_hash(crops(cut(0, box))) == data_hash(one)


def test_it_travels_to_other_processes():
    dataset = crops(cut(2, Box(10, 20, 30, 50)))
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(pixels(copy[0]), np.asarray(picture(20))[20:50, 10:30])
    sample = pickle.loads(pickle.dumps(dataset[0]))
    assert np.array_equal(pixels(sample), np.asarray(picture(20))[20:50, 10:30])


def test_a_dataset_that_has_changed_is_refused():
    wrong = Cut(1, "q2", ((80, 60), (80, 60)), (Box(0, 0, 8, 8),))
    with pytest.raises(ValueError, match=r"question 1: got 'q1', expected 'q2': the dataset is"):
        crops(wrong)[0]
    with pytest.raises(IndexError, match="out of 0 <= index < 3"):
        crops(cut(3, Box(0, 0, 8, 8)))


def write(folder: Path, **changes: Any) -> str:
    data = {
        "dataset": {"dataset": "synthetic", "split": "test", "seed": 3},
        "budget": {"factor": 16, "min_pixels": 1024, "max_pixels": 9216},
        "margin": 0.0,
        "crops": [Cut(4, "synthetic-3-test-4", ((980, 980),), (Box(1.5, 2, 300, 400),)).to_dict()],
    }
    path = folder / "crops.json"
    path.write_text(json.dumps({**data, **changes}), "utf-8")
    return str(path)


def test_a_file_of_crops_is_read(tmp_path):
    dataset = load("benchmarks.crops:load", "test", crops=write(tmp_path))
    assert (len(dataset), dataset[0].id, dataset[0].source) == (
        1,
        "synthetic-3-test-4",
        "synthetic",
    )
    shown = STORE.open(dataset[0].images[0])
    assert shown.size == dataset[0].images[0].size and shown.size[0] * shown.size[1] <= 9216


def test_what_is_no_file_of_crops_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"got split 'ood', expected its own, 'test'"):
        load("benchmarks.crops:load", "ood", crops=write(tmp_path))
    wrong: list[dict[str, Any]] = [{"crops": [{"index": 1}]}, {"budget": {"n": 1}}, {"dataset": {}}]
    for broken in wrong:
        with pytest.raises(ValueError, match=r"crops\.json: not a file of crops"):
            load("benchmarks.crops:load", "test", crops=write(tmp_path, **broken))
    (tmp_path / "crops.json").write_text("[")
    with pytest.raises(ValueError, match=r"crops\.json: not a file of crops"):
        load("benchmarks.crops:load", "test", crops=str(tmp_path / "crops.json"))


def test_a_cut_is_written_and_read_back():
    one = cut(1, Box(0.1, 0.2, 7.3, 8, image_index=1), Box(0, 0, 5, 5))
    assert Cut.from_dict(json.loads(json.dumps(one.to_dict()))) == one
