"""Every kind of box text, whole and broken."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrvision_env.actions import InvalidReason as R
from hrvision_env.actions import Refusal
from hrvision_env.actions.box import MAX_TEXT, BoxAction, BoxRules, parse
from hrvision_env.images import Frame
from hrvision_env.records import Box

VALID = {
    "fenced": '```json\n[{"bbox_2d": [125, 200, 250, 325], "label": "sign"}]\n```',
    "no label": '```json\n[{"bbox_2d": [125, 200, 250, 325]}]\n```',
    "bare": '[{"bbox_2d": [125, 200, 250, 325]}]',
    "in a sentence": 'See [1], it is [{"bbox_2d": [125, 200, 250, 325]}] there.',
    "fence without a name": '```\n[{"bbox_2d": [125, 200, 250, 325]}]\n```',
    "capitals": '```JSON\n[{"bbox_2d": [125, 200, 250, 325]}]\n```',
    "fence never closed": 'Look.\n```json\n[{"bbox_2d": [125, 200, 250, 325]}]',
    "closed on the same line": '```json [{"bbox_2d": [125, 200, 250, 325]}]```',
    "many lines": '```json\n[\n  {\n    "bbox_2d": [125,\n 200, 250, 325]\n  }\n]\n```',
    "windows lines": '```json\r\n[{"bbox_2d": [125, 200, 250, 325]}]\r\n```',
    "answer behind": '[{"bbox_2d": [125, 200, 250, 325]}]\n\\boxed{B}',
    "reasoning in front": "Hm {maybe}.\n" * 9 + '```json\n[{"bbox_2d": [125, 200, 250, 325]}]\n```',
    "first of two": '[{"bbox_2d": [125, 200, 250, 325]}, {"bbox_2d": [1, 2, 3, 4]}]',
    "wrong key order": '[{"label": "x", "bbox_2d": [125, 200, 250, 325], "score": 0.5}]',
}


@pytest.mark.parametrize("kind", VALID)
@pytest.mark.parametrize("parser", ["strict", "lenient"])
def test_valid_texts(kind, parser):
    action = parse(VALID[kind], parser)
    assert isinstance(action, BoxAction)
    assert action.numbers == (125, 200, 250, 325)


BROKEN = {
    "": R.EMPTY,
    " \n\t": R.EMPTY,
    "x" * (MAX_TEXT + 1): R.TOO_LONG,
    "I cannot find it.": R.NO_JSON,
    "\\boxed{B}": R.NO_JSON,
    "[]": R.NO_JSON,
    "```json\n[]\n```": R.NO_BOX,
    "```json\nnothing\n```": R.NO_JSON,
    '{"bbox_2d": [125, 200, 250, 325]}': R.NO_JSON,
    "[125, 200, 250, 325]": R.NO_JSON,
    "```json\n[125, 200, 250, 325]\n```": R.NO_BOX,
    "[[125, 200, 250, 325]]": R.NO_JSON,
    '[{"bbox": [125, 200, 250, 325]}]': R.NO_BOX,
    '[{"label": "sign"}]': R.NO_BOX,
    '[{"bbox_2d": [125, 200, 250, 325]}': R.BAD_JSON,
    '[{"bbox_2d": [125, 200, 250,': R.BAD_JSON,
    "[{'bbox_2d': [125, 200, 250, 325]}]": R.BAD_JSON,
    '[{"bbox_2d": [125, 200, 250, 325],}]': R.BAD_JSON,
    '[{"bbox_2d": [0125, 200, 250, 325]}]': R.BAD_JSON,
    '[{"bbox_2d": [NaN, 200, 250, 325]}]': R.BAD_JSON,
    '[{"bbox_2d": [-Infinity, 200, 250, 325]}]': R.BAD_JSON,
    '[{"bbox_2d": [__import__("os"), 1, 2, 3]}]': R.BAD_JSON,
    '[{"bbox_2d": [125, 200, 250]}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": [125, 200, 250, 325, 1]}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": []}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": null}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": "125, 200, 250, 325"}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": ["125", 200, 250, 325]}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": [true, 200, 250, 325]}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": [[125, 200], [250, 325]]}]': R.NOT_FOUR_NUMBERS,
    '[{"bbox_2d": [125.5, 200, 250, 325]}]': R.NOT_INTEGERS,
    '[{"bbox_2d": [125.0, 200, 250, 325]}]': R.NOT_INTEGERS,
    '[{"bbox_2d": [1e999, 200, 250, 325]}]': R.NOT_FINITE,
    '[{"bbox_2d": [125, 200, 250, ' + "9" * 400 + "]}]": R.NOT_FINITE,
    '[{"bbox_2d": [125, 200, 250, ' + "9" * 5000 + "]}]": R.BAD_JSON,
    '[{"bbox_2d": [125, 200, 250, 325], "image_index": "1"}]': R.NO_SUCH_IMAGE,
    '[{"bbox_2d": ' + "[" * 5000 + "]" * 5000 + "}]": R.BAD_JSON,
}


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:40])
def test_the_strict_parser_refuses(text):
    refusal = parse(text)
    assert isinstance(refusal, Refusal) and refusal.reason is BROKEN[text]


LENIENT = {
    '{"bbox_2d": [125, 200, 250, 325]}': (125, 200, 250, 325),
    "The box is [125, 200, 250, 325].": (125, 200, 250, 325),
    "```json\n[[125, 200, 250, 325]]\n```": (125, 200, 250, 325),
    '[{"bbox": [125, 200, 250, 325]}]': (125, 200, 250, 325),
    '{"box": [125, 200, 250, 325]}': (125, 200, 250, 325),
    '[{"bbox_2d": [125.5, 200.25, 250, 325]}]': (125.5, 200.25, 250, 325),
    '[{"bbox_2d": [125, 200, 250, 325], "label": "cut of': (125, 200, 250, 325),
    "{broken} then [1] and [125, 200, 250, 325]": (125, 200, 250, 325),
}


@pytest.mark.parametrize("text", LENIENT)
def test_the_lenient_parser_takes_more(text):
    assert isinstance(parse(text, "strict"), Refusal)
    action = parse(text, "lenient")
    assert isinstance(action, BoxAction) and action.numbers == LENIENT[text]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", R.NO_JSON),
        ("", R.EMPTY),
        ("[broken", R.BAD_JSON),
        ('{"label": "x"}', R.NO_BOX),
        ('{"bbox_2d": [1, 2, 3]}', R.NOT_FOUR_NUMBERS),
        ("[true, 1, 2, 3]", R.NOT_FOUR_NUMBERS),
        ("[1e999, 1, 2, 3]", R.NOT_FINITE),
    ],
)
def test_the_lenient_parser_refuses(text, reason):
    refusal = parse(text, "lenient")
    assert isinstance(refusal, Refusal) and refusal.reason is reason


def test_shares_are_written_with_decimals():
    text = '[{"bbox_2d": [0.1, 0.25, 0.5, 1]}]'
    action = parse(text, "strict", "relative_1")
    assert isinstance(action, BoxAction) and action.numbers == (0.1, 0.25, 0.5, 1)


@given(st.text(alphabet='[]{}",:0123456789.eE+-` \nbox_2djsonNa', max_size=300))
def test_no_text_raises(text):
    for parser in ("strict", "lenient"):
        assert isinstance(parse(text, parser), BoxAction | Refusal)


@pytest.mark.parametrize(
    "text",
    ["[" * MAX_TEXT, "[{" * (MAX_TEXT // 2), "```" * (MAX_TEXT // 3), "[" + " " * (MAX_TEXT - 1),
     '[{"a":' * (MAX_TEXT // 6), "```json" + " " * 90_000, "{" * MAX_TEXT],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_hostile_texts_take_no_time(text):
    start = time.process_time()
    for parser in ("strict", "lenient"):
        assert isinstance(parse(text, parser), Refusal)
    assert time.process_time() - start < 0.5


# -- which boxes are valid

FRAME = Frame(original=(2000, 1000), seen=(560, 280))


def read(numbers, **rules):
    text = f'[{{"bbox_2d": {list(numbers)}}}]'
    return BoxRules(**rules).read(text, [FRAME])


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ((100, 50, 100, 150), R.INVERTED),
        ((200, 50, 100, 150), R.INVERTED),
        ((100, 150, 200, 50), R.INVERTED),
        ((0, 0, 0, 0), R.INVERTED),
        ((-1, 50, 100, 150), R.OUTSIDE),
        ((100, -1, 200, 150), R.OUTSIDE),
        ((500, 50, 561, 150), R.OUTSIDE),
        ((500, 50, 560, 281), R.OUTSIDE),
        ((100, 50, 128, 150), R.TOO_SMALL),  # 28 wide: must be longer than 28
        ((100, 50, 200, 78), R.TOO_SMALL),
    ],
)
def test_invalid_boxes(numbers, reason):
    assert read(numbers) == Refusal(reason, numbers)


@pytest.mark.parametrize(
    ("numbers", "box"),
    [
        ((0, 0, 560, 280), Box(0, 0, 2000, 1000)),  # the whole image
        ((112, 70, 141, 99), Box(400, 250, 141 * 2000 / 560, 99 * 1000 / 280)),
    ],
)
def test_valid_boxes_lie_on_the_original(numbers, box):
    assert read(numbers) == (box, BoxAction(numbers))


def test_the_aspect_ratio_is_bounded():
    frame = Frame((10_000, 100), (10_000, 100))
    rules = BoxRules(min_side=5)
    for height, reason in ((100, None), (99.9, R.TOO_THIN), (10.1, R.TOO_THIN)):
        wide = 9_999 if reason is None else 9_990
        text = f'[{{"bbox_2d": [0, 0, {wide}, {height}]}}]'
        out = BoxRules("lenient", min_side=5).read(text, [frame])
        assert (out.reason if isinstance(out, Refusal) else None) is reason
    assert rules.read('[{"bbox_2d": [0, 0, 600, 6]}]', [frame]) == Refusal(
        R.TOO_THIN, (0, 0, 600, 6)
    )


def test_the_smallest_side_is_counted_in_seen_pixels():
    rules = BoxRules(dialect="relative_1000", min_side=2)
    frame = Frame((1024, 1024), (96, 96))
    just_right = rules.read('[{"bbox_2d": [0, 0, 21, 21]}]', [frame])  # 2.016 px
    assert not isinstance(just_right, Refusal)
    too_small = rules.read('[{"bbox_2d": [0, 0, 20, 21]}]', [frame])  # 1.92 px
    assert isinstance(too_small, Refusal) and too_small.reason is R.TOO_SMALL


@pytest.mark.parametrize("seen", range(96, 1400, 28))
def test_the_edge_of_every_view_is_inside(seen):
    frame = Frame((seen * 3 + 1, seen), (seen, seen))
    for dialect, edge in {"absolute": seen, "relative_1000": 1000, "relative_1": 1}.items():
        text = f'[{{"bbox_2d": [0, 0, {edge}, {edge}]}}]'
        out = BoxRules(dialect=dialect).read(text, [frame])
        assert not isinstance(out, Refusal)
        assert out[0] == Box(0, 0, seen * 3 + 1, seen)


def test_the_lenient_rules_reorder_and_clamp():
    out = read((600, 150, 100, -20), parser="lenient")
    assert not isinstance(out, Refusal)
    assert out[0] == Box(100 * 2000 / 560, 0, 2000, 150 * 1000 / 280)
    assert out[1].numbers == (600, 150, 100, -20)


@pytest.mark.parametrize("numbers", [(600, 0, 700, 100), (-50, -50, -1, -1)])
def test_nothing_is_left_of_a_box_outside(numbers):
    assert read(numbers, parser="lenient") == Refusal(R.INVERTED, numbers)


def test_a_box_on_another_image():
    frames = [FRAME, Frame((100, 100), (112, 112))]
    text = '[{"bbox_2d": [0, 0, 56, 56], "image_index": %s, "label": "sign"}]'
    out = BoxRules().read(text % 1, frames)
    assert not isinstance(out, Refusal)
    assert out[0] == Box(0, 0, 50, 50, image_index=1, label="sign")
    for wrong in (2, -1):
        refusal = BoxRules().read(text % wrong, frames)
        assert isinstance(refusal, Refusal) and refusal.reason is R.NO_SUCH_IMAGE


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"parser": "strikt"}, "box_parser: got 'strikt'"),
        ({"dialect": "pixels"}, "box_dialect: got 'pixels'"),
        ({"min_side": -1}, "min_box: got -1"),
        ({"min_side": float("nan")}, "min_box: got nan"),
    ],
)
def test_wrong_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        BoxRules(**rules)
