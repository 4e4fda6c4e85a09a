"""What is written is read again, and is as large as the rules want it."""

from __future__ import annotations

import pytest

from hrvision_env.actions.answer import AnswerAction, parse
from hrvision_env.actions.forms import FORMS
from hrvision_env.actions.rules import BoxRules
from hrvision_env.images import DIALECTS, Frame
from hrvision_env.records import Box
from hrvision_env.replies import around, large_enough, write_answer, write_boxes


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(100, 100, 400, 400), (100, 100, 400, 400)),  # already large enough
        # 28 px + 2 * 1 of the view are 60 px of the original.
        (Box(500, 500, 520, 540), (480, 490, 540, 550)),  # about its centre
        (Box(0, 980, 10, 1000), (0, 940, 60, 1000)),  # moved into the image
    ],
)
def test_a_box_is_grown_to_the_smallest_valid_side(box, expected):
    grown = large_enough(box, Frame(original=(1000, 1000), seen=(500, 500)), min_side=28)
    assert (grown.x1, grown.y1, grown.x2, grown.y2) == pytest.approx(expected)


def test_a_box_stays_inside_a_shown_part():
    frame = Frame((4000, 4000), (500, 500), region=(1000.0, 2000.0, 1500.0, 2500.0))
    grown = large_enough(Box(1000, 2480, 1004, 2500), frame, min_side=28)
    assert (grown.x1, grown.y1, grown.x2, grown.y2) == pytest.approx((1000, 2470, 1030, 2500))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("original", "seen", "box"),
    [
        ((20_000, 400), (2240, 56), Box(0, 10, 20_000, 11)),  # a thin line along a panorama
        ((400, 20_000), (56, 2240), Box(0, 0, 400, 20_000)),  # all of one on end
        ((30_000, 100), (3360, 12), Box(0, 0, 30_000, 100)),  # the image itself is too thin
        ((1000, 1000), (560, 560), Box(0, 500, 1000, 500.5)),
    ],
)
@pytest.mark.parametrize("max_aspect", [100, 5, 1.5])
def test_a_thin_box_becomes_one_that_the_rules_allow(dialect, original, seen, box, max_aspect):
    rules = BoxRules(dialect=dialect, min_side=4, max_aspect=max_aspect)
    frame = Frame(original, seen)
    numbers = frame.write(large_enough(box, frame, 4, max_aspect), dialect)
    reading = rules.read(write_boxes("json", [(numbers, None)]), [frame])
    assert reading.reason is None
    assert reading.boxes[0].intersection(box) > 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_written_is_read_by_the_strict_parser(form, dialect):
    frame = Frame((1000, 500), (560, 280))
    rules = BoxRules(form=form, dialect=dialect, max_boxes=2, min_side=1)
    boxes = [Box(100, 50, 300, 150), Box(500, 250, 700, 400)]
    text = write_boxes(form, [(frame.write(box, dialect), None) for box in boxes])
    for box, own in zip(boxes, rules.read(f"Look:\n{text}", [frame]).boxes, strict=True):
        assert box.iou(own) > 0.97


def test_boxes_as_text():
    boxes = [((1, 2, 3, 4), None)]
    assert write_boxes("json", boxes) == '[{"bbox_2d": [1, 2, 3, 4]}]'
    assert write_boxes("tag", boxes) == "<box>[1, 2, 3, 4]</box>"
    assert write_boxes("qwen", boxes) == "<|box_start|>(1,2),(3,4)<|box_end|>"
    assert write_boxes("tool", [((1, 2, 3, 4), 1)]) == (
        '<tool_call>\n{"name": "image_zoom_in_tool", '
        '"arguments": {"bbox_2d": [1, 2, 3, 4], "image_index": 1}}\n</tool_call>'
    )
    with pytest.raises(ValueError, match="form 'tag': got an image index, expected json or tool"):
        write_boxes("tag", [((1, 2, 3, 4), 1)])
    with pytest.raises(ValueError, match="form: got 'xml'"):
        write_boxes("xml", boxes)


@pytest.mark.parametrize("answer", ["B", "SA 60", "12.5", "a}b", "{", r"\frac12", "x{y}z"])
def test_an_answer_is_found_again(answer):
    found = parse(f"Because.\n{write_answer(answer)}")
    assert isinstance(found, AnswerAction) and found.text == answer


def test_one_box_around_several():
    boxes = [Box(10, 20, 30, 40, 1), Box(5, 25, 20, 90, 1)]
    assert around(boxes) == Box(5, 20, 30, 90, 1)
