"""A user's own folder: what is read, and which words name the mistakes."""

from __future__ import annotations

import gymnasium as gym
import pytest

from hrvision_env.datasets import load
from hrvision_env.grading import grade
from hrvision_env.records import Box

from ..conftest import OPTIONS, row, write


def test_the_rows_of_a_folder(folder):
    data = load("jsonl", "test", root=str(folder))
    assert len(data) == 3
    glove, count, plate = (data[i] for i in range(3))
    assert glove.id == "glove" and glove.question == "What is the glove made of?"
    assert (glove.answer_kind, glove.answers, glove.options) == ("choice", ("B",), OPTIONS)
    assert glove.boxes == (Box(100, 120, 220, 260),)
    assert glove.images[0].path == folder / "photos" / "a.jpg"
    assert (glove.source, glove.split) == ("jsonl", "test")
    assert (count.answer_kind, count.answers, count.options) == ("number", ("3",), None)
    assert count.boxes == ()
    assert (plate.answer_kind, plate.answers) == ("short", ("SA 60", "SA60"))
    assert data.index("plate") == 2


def test_the_file_is_chosen_by_split(folder):
    (only,) = folder.glob("*.jsonl")
    assert len(load("jsonl", "train", root=folder)) == 3  # the only file there is
    assert len(load("jsonl", "any", root=only)) == 3
    write(folder / "train.jsonl", [row()])
    assert len(load("jsonl", "train", root=folder)) == 1
    assert len(load("jsonl", "test", root=folder)) == 3
    with pytest.raises(
        FileNotFoundError, match=r"found test.jsonl, train.jsonl; expected val.jsonl"
    ):
        load("jsonl", "val", root=folder)


def test_optional_fields(make_root):
    data = load(
        "jsonl",
        "test",
        root=make_root(
            row(category="indoor", source_url="x"),
            "",
            row(
                category=["a", "b"], images=["photos/a.jpg", "./photos/../photos/b.jpg"], boxes=...
            ),
        ),
    )
    first, second = data[0], data[1]
    assert (first.id, first.category, first.meta) == ("test-1", ("indoor",), {"source_url": "x"})
    assert (second.id, second.category, second.boxes) == ("test-3", ("a", "b"), ())
    assert [ref.path and ref.path.name for ref in second.images] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("gold", ["B", "(B)", "B.", " B ", "cotton", "Cotton"])
def test_forms_of_a_gold_choice(make_root, gold):
    assert load("jsonl", "test", root=make_root(row(answer=gold)))[0].answers == ("B",)


@pytest.mark.parametrize(
    ("gold", "text"),
    [(3, "3"), (2.50, "2.5"), (1e-5, "0.00001"), (-1e20, "-100000000000000000000")],
)
def test_a_gold_number_is_written_out(make_root, gold, text):
    sample = load("jsonl", "test", root=make_root(row(answer=gold, options=None)))[0]
    assert (sample.answers, sample.answer_kind) == ((text,), "number")
    assert grade("strict", sample, f"\\boxed{{{text}}}").correct


BAD = [
    (row(answer="E"), "answer", "got 'E', expected one of the options A, B, C, D"),
    (row(answer="wool"), "answer", "one of the options"),
    (row(answer=2), "answer", "got 2"),
    (row(answer=["B"]), "answer", "a text"),
    (row(answer=...), "answer", "got None"),
    (row(answer="", options=None), "answer", "a text that is not empty"),
    (row(answer=[], options=None), "answer", r"got \[\]"),
    (row(answer=True, options=None), "answer", "got True"),
    (row(answer=["a", ""], options=None), "answer", "got ''"),
    (
        row(images=["photos/gone.jpg"]),
        "images",
        r"got 'photos/gone.jpg', expected an existing file",
    ),
    (row(images=["photos"]), "images", "an existing file"),
    (row(images=[]), "images", r"got \[\], expected a list of at least one file"),
    (row(images="photos/a.jpg"), "images", "a list"),
    (row(images=...), "images", "got None"),
    (row(images=[3]), "images", "got 3"),
    (row(images=["../secret.jpg"]), "images", "a path inside"),
    (row(images=["photos/../../secret.jpg"]), "images", "a path inside"),
    (row(images=["..\\secret.jpg"]), "images", "a path inside"),
    (row(images=["/etc/hostname"]), "images", "a path inside"),
    (row(images=["C:\\photo.jpg"]), "images", "a path inside"),
    (row(question=""), "question", "a text that is not empty"),
    (row(question=...), "question", "got None"),
    (row(question="\ud800"), "question", "valid Unicode"),
    (row(options=["a", "b"]), "options", "null, or an object"),
    (row(options={"A": "only"}), "options", "two or more"),
    (row(options={"a": "x", "b": "y"}), "options", "got 'a', expected single capital letters"),
    (row(options={"A": "x", "B": 3}), "options.B", "got 3"),
    (row(boxes=[1, 2, 3, 4]), "boxes", "got 1"),
    (row(boxes=[[1, 2, 3]]), "boxes", r"got \[1, 2, 3\]"),
    (row(boxes=[[5, 5, 5, 9]]), "boxes", "x1 < x2"),
    (row(boxes=[[-1, 5, 5, 9]]), "boxes", "0 <= x1"),
    (row(boxes=[["1", 2, 3, 4]]), "boxes", "in pixels"),
    (row(boxes=[[1, 2, 3, float("inf")]]), "boxes", "in pixels"),
    (row(boxes=[[float("nan"), 2, 3, 4]]), "boxes", "in pixels"),
    (row(boxes="none"), "boxes", "null or a list"),
    (row(id=""), "id", "a text"),
    (row(category=[3]), "category", "got 3"),
]


@pytest.mark.parametrize(("bad", "field", "words"), BAD)
def test_a_bad_row_names_file_row_and_field(make_root, bad, field, words):
    root = make_root(row(), "", bad)
    with pytest.raises(ValueError, match=rf"test\.jsonl, row 3: field '{field}': .*{words}"):
        load("jsonl", "test", root=root)


@pytest.mark.parametrize("line", ['{"images": [', "nothing", "{'a': 1}", "[" * 100_000])
def test_malformed_json_names_file_and_row(make_root, line):
    with pytest.raises(ValueError, match=r"test\.jsonl, row 2: malformed JSON"):
        load("jsonl", "test", root=make_root(row(), line))


def test_a_row_must_be_an_object(make_root):
    with pytest.raises(ValueError, match=r"row 1: got \[1\], expected an object"):
        load("jsonl", "test", root=make_root("[1]"))


@pytest.mark.parametrize("lines", [[], ["", "  "]])
def test_an_empty_file_is_an_error(make_root, lines):
    with pytest.raises(ValueError, match=r"test\.jsonl: holds no question"):
        load("jsonl", "test", root=make_root(*lines))


def test_the_same_id_twice_is_an_error(make_root):
    with pytest.raises(ValueError, match="samples 0 and 1 have the same id 'x'"):
        load("jsonl", "test", root=make_root(row(id="x"), row(id="x")))


def test_missing_places(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone: does not exist, expected a folder"):
        load("jsonl", "test", root=tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"found no \.jsonl file; expected test\.jsonl"):
        load("jsonl", "test", root=tmp_path)
    with pytest.raises(ValueError, match="option 'root' is missing"):
        load("jsonl", "test")


def test_a_file_in_another_encoding_is_named(folder):
    (folder / "test.jsonl").write_bytes('{"question": "Größe"}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"test\.jsonl: is not UTF-8"):
        load("jsonl", "test", root=folder)


def test_a_byte_order_mark_is_fine(folder):
    text = (folder / "test.jsonl").read_text()
    (folder / "test.jsonl").write_text(text, encoding="utf-8-sig")
    assert len(load("jsonl", "test", root=folder)) == 3


def test_an_episode_on_real_photographs(folder):
    env = gym.make("hrvision_env:HighResVQA-v0", dataset="jsonl", root=str(folder), prompt="brief")
    observation, info = env.reset(options={"question_id": "glove"})
    assert info["image_size"] == (1200, 900) and info["view_size"] == (1148, 840)
    observation, *_ = env.step('[{"bbox_2d": [100, 100, 250, 240]}]')
    assert observation["images"][0].size == (476, 448)
    *_, info = env.step("\\boxed{B}")
    assert info["correct"] and info["category"] == ()


def test_questions_in_chinese_are_known_as_such(make_root):
    questions = {"手套是什么材料的？": "zh", "What is it?": "en", "これは何ですか、材料": "en"}
    rows = [row(id=str(n), question=text) for n, text in enumerate(questions)]
    dataset = load("jsonl", "test", root=str(make_root(*rows)))
    assert [dataset[n].language for n in range(3)] == list(questions.values())
