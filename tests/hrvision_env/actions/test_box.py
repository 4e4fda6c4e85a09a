"""Every kind of box text in JSON, whole and broken, and what both parsers do with several boxes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hrvision_env.actions import InvalidReason as R
from hrvision_env.actions import Refusal
from hrvision_env.actions.box import MAX_TEXT, BoxAction, parse

VALID = {
    "fenced": '```json\n[{"bbox_2d": [125, 200, 250, 325], "label": "sign"}]\n```',
    "no label": '```json\n[{"bbox_2d": [125, 200, 250, 325]}]\n```',
    "bare": '[{"bbox_2d": [125, 200, 250, 325]}]',
    "bare, on several lines": '[\n  {"bbox_2d": [125, 200, 250, 325]}\n]',
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
    (action,) = parse(VALID[kind], parser)
    assert isinstance(action, BoxAction)
    assert action.numbers == (125, 200, 250, 325) and action.image_index is None


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
    (refusal,) = parse(text)
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
    assert isinstance(parse(text, "strict")[0], Refusal)
    (action,) = parse(text, "lenient")
    assert isinstance(action, BoxAction) and action.numbers == LENIENT[text]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nothing", R.NO_JSON),
        ("", R.EMPTY),
        ("[broken", R.BAD_JSON),
        ('[broken {"label": "x"} [1]', R.NO_BOX),
        ("[broken [1] [broken", R.NOT_FOUR_NUMBERS),
        ("[broken <|box_start|>(1,2)<|box_end|>", R.NOT_FOUR_NUMBERS),
        ('{"label": "x"}', R.NO_BOX),
        ('{"bbox_2d": [1, 2, 3]}', R.NOT_FOUR_NUMBERS),
        ("[true, 1, 2, 3]", R.NOT_FOUR_NUMBERS),
        ("[1e999, 1, 2, 3]", R.NOT_FINITE),
    ],
)
def test_the_lenient_parser_refuses(text, reason):
    (refusal,) = parse(text, "lenient")
    assert isinstance(refusal, Refusal) and refusal.reason is reason


def test_shares_are_written_with_decimals():
    text = '[{"bbox_2d": [0.1, 0.25, 0.5, 1]}]'
    (action,) = parse(text, "strict", "relative_1")
    assert isinstance(action, BoxAction) and action.numbers == (0.1, 0.25, 0.5, 1)


@given(st.text(alphabet='[]{}",:0123456789.eE+-` \nbox_2djsonNa', max_size=300))
def test_no_text_raises(text):
    for parser in ("strict", "lenient"):
        (found,) = parse(text, parser)
        assert isinstance(found, BoxAction | Refusal)


# -- labels, images, several boxes


def numbers(found: tuple[BoxAction | Refusal, ...]) -> list[tuple[float, ...] | R]:
    return [one.numbers if isinstance(one, BoxAction) else one.reason for one in found]


def test_labels_are_cut_and_can_be_encoded():
    text = '[{"bbox_2d": [1, 2, 3, 4], "label": "%s"}]'
    for written, label in {
        "a" * 201: "a" * 200,
        "\\ud83d\\ude42": "🙂",
        "\\ud83d!": "\ufffd!",
        "\u202eabc": "\u202eabc",
    }.items():
        (action,) = parse(text % written)
        assert isinstance(action, BoxAction) and action.label == label


def test_an_image_is_named_by_image_index_alone():
    text = '[{"bbox_2d": [1, 2, 3, 4], "%s": 2}]'
    for key, strict, lenient in (
        ("image_index", 2, 2),
        ("img_idx", None, 2),
        ("image_idx", None, 2),
        ("target_image", None, 1),  # counted from 1
    ):
        for parser, index in (("strict", strict), ("lenient", lenient)):
            assert parse(text % key, parser) == (BoxAction((1, 2, 3, 4), index),)


TWO = '[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8]}]'
SEVERAL: dict[str, tuple[str, list[tuple[float, ...] | R]]] = {
    "one list": (TWO, [(1, 2, 3, 4), (5, 6, 7, 8)]),
    "fences": (
        '```json\n[{"bbox_2d": [1, 2, 3, 4]}]\n```\nand\n```json\n[{"bbox_2d": [5, 6, 7, 8]}]\n```',
        [(1, 2, 3, 4), (5, 6, 7, 8)],
    ),
    "bare lists": (
        '[{"bbox_2d": [1, 2, 3, 4]}] and [{"bbox_2d": [5, 6, 7, 8]}]',
        [(1, 2, 3, 4), (5, 6, 7, 8)],
    ),
    "what no fence holds": (
        '[{"bbox_2d": [9, 9, 9, 9]}]\n```json\n[{"bbox_2d": [1, 2, 3, 4]}]\n```\n'
        '[{"bbox_2d": [5]}]',
        [(1, 2, 3, 4)],
    ),
    "one of them is wrong": (
        '[{"bbox_2d": [1, 2, 3]}, {"bbox_2d": [5, 6, 7, 8]}, 3, {"bbox_2d": [1.5, 2, 3, 4]}]',
        [R.NOT_FOUR_NUMBERS, (5, 6, 7, 8), R.NO_BOX, R.NOT_INTEGERS],
    ),
    "a broken list": (
        '```\n[{"bbox_2d": [1, 2\n```\n```\n[{"bbox_2d": [5, 6, 7, 8]}]\n```',
        [R.BAD_JSON, (5, 6, 7, 8)],
    ),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_boxes_in_order(kind):
    text, expected = SEVERAL[kind]
    for limit in (1, 2, 9):
        assert numbers(parse(text, limit=limit)) == expected[:limit]


def test_the_lenient_parser_keeps_the_boxes_that_can_be_read():
    text = '[1] {"bbox": [1, 2, 3, 4]} [5, 6, 7, 8.5] <box>9 9 9</box> '
    text += "[[1, 1, 2, 2], [3], [4, 4, 5, 5]]"
    expected = [(1, 2, 3, 4), (5, 6, 7, 8.5), (1, 1, 2, 2), (4, 4, 5, 5)]
    assert numbers(parse(text, "lenient", limit=9)) == expected
    assert numbers(parse(text, "lenient", limit=2)) == expected[:2]
    assert numbers(parse('[{"bbox_2d": [1]}, {"bbox_2d": 2}]', "lenient", limit=9)) == [
        R.NOT_FOUR_NUMBERS
    ]
