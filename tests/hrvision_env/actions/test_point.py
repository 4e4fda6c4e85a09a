"""Points as Qwen and Molmo write them."""

from __future__ import annotations

import pytest

from hrvision_env.actions import InvalidReason as R
from hrvision_env.actions import Refusal
from hrvision_env.actions.point import PointAction, parse

VALID = {
    '[{"point_2d": [125, 200], "label": "sign"}]': PointAction(125, 200, None, "sign"),
    '```json\n[{"point_2d": [125, 200]}]\n```': PointAction(125, 200),
    'It is [{"point_2d": [125, 200], "image_index": 1}].': PointAction(125, 200, 1),
    '<point x="10.5" y="20.1" alt="sign">sign</point>': PointAction(
        10.5, 20.1, None, "sign", percent=True
    ),
    '<point x="100.0" y="0.0">': PointAction(100.0, 0.0, percent=True),
    '<point y = "20.1"\n x = "10.5" alt="a > b"/>': PointAction(
        10.5, 20.1, None, "a > b", percent=True
    ),
    # Molmo always writes a decimal; whole numbers are Qwen's, in its own dialect.
    '<points x1="885" y1="104" alt="sign">sign</points>': PointAction(885, 104, None, "sign"),
    '<points x1="50" y1="20.5">': PointAction(50, 20.5, percent=True),
}


@pytest.mark.parametrize("text", VALID)
@pytest.mark.parametrize("parser", ["strict", "lenient"])
def test_valid_points(text, parser):
    assert parse(text, parser) == (VALID[text],)


INVALID = {
    "": R.EMPTY,
    "\n": R.EMPTY,
    "x" * 100_001: R.TOO_LONG,
    "There are none.": R.NO_POINT,
    '[{"bbox_2d": [1, 2, 3, 4]}]': R.NO_POINT,
    "<pointer x='1'>": R.NO_POINT,
    '[{"point_2d": [1, 2': R.BAD_JSON,
    '[{"point_2d": [1, NaN]}]': R.BAD_JSON,
    '[{"point_2d": [1]}]': R.NOT_TWO_NUMBERS,
    '[{"point_2d": [1, 2, 3]}]': R.NOT_TWO_NUMBERS,
    '[{"point_2d": [1, true]}]': R.NOT_TWO_NUMBERS,
    '[{"point_2d": {"x": 1, "y": 2}}]': R.NOT_TWO_NUMBERS,
    '[{"point_2d": [1, 1e999]}]': R.NOT_FINITE,
    '[{"point_2d": [1, ' + "9" * 400 + "]}]": R.NOT_FINITE,
    '[{"point_2d": [1, 2], "image_index": "0"}]': R.NO_SUCH_IMAGE,
    '<point x="10.5">': R.NOT_TWO_NUMBERS,
    '<point y="10.5">': R.NOT_TWO_NUMBERS,
    '<point x="10.5" y="">': R.NOT_TWO_NUMBERS,
    '<point x="10.5" y="2,3">': R.NOT_TWO_NUMBERS,
    '<point x="10.5" y="NaN">': R.NOT_TWO_NUMBERS,
    '<point x="10.5" y="1e999">': R.NOT_FINITE,
    '<point x="1.0" y="2.0], [3">': R.NOT_TWO_NUMBERS,
    '<points x1="1.0" y2="2.0">': R.NOT_TWO_NUMBERS,
    '<points coords="1 1 990 800">': R.NOT_TWO_NUMBERS,
    '<point x="10.5 y="20.1">': R.NOT_TWO_NUMBERS,
    "<point ": R.NOT_TWO_NUMBERS,
}


@pytest.mark.parametrize("text", INVALID, ids=lambda text: text[:40])
@pytest.mark.parametrize("parser", ["strict", "lenient"])
def test_refused_points(text, parser):
    (refusal,) = parse(text, parser)
    assert isinstance(refusal, Refusal) and refusal.reason is INVALID[text]


def test_decimals_and_loose_json():
    for text, point in {
        '[{"point_2d": [0.5, 1]}]': PointAction(0.5, 1),
        '{"point_2d": [1, 2]}': PointAction(1, 2),
        'See {"point": [1, 2], "target_image": 2}': PointAction(1, 2, 1),
    }.items():
        assert parse(text, "lenient") == (point,)
        assert isinstance(parse(text)[0], Refusal)
    assert parse('[{"point_2d": [0.5, 1]}]') == (Refusal(R.NOT_INTEGERS, (0.5, 1)),)
    assert parse('[{"point_2d": [0.5, 1]}]', dialect="relative_1") == (PointAction(0.5, 1),)


def test_several_points_in_order():
    molmo = [PointAction(x, x + 1, None, "a", percent=True) for x in (1.5, 2.5, 10.5)]
    texts = {
        '<points x1="1.5" y1="2.5" x2="2.5" y2="3.5" x10="10.5" y10="11.5" alt="a">': molmo,
        '<point x="1.5" y="2.5" alt="a"/><point x="2.5" y="3.5" alt="a"/>'
        '<point x="10.5" y="11.5" alt="a"/>': molmo,
        '[{"point_2d": [1, 2]}, {"point_2d": [3, 4]}]': [PointAction(1, 2), PointAction(3, 4)],
    }
    for text, points in texts.items():
        for limit in (1, 2, 9):
            assert parse(text, limit=limit) == tuple(points[:limit])
    mixed = '[{"point_2d": [1]}, {"point_2d": [3, 4]}]'
    assert parse(mixed, limit=9) == (Refusal(R.NOT_TWO_NUMBERS), PointAction(3, 4))
    assert parse(mixed, "lenient", limit=9) == (PointAction(3, 4),)
    many = " ".join(f'x{i}="{i}.0" y{i}="1.5"' for i in range(1, 201))
    assert parse(f"<points {many}>", limit=999) == tuple(
        PointAction(i, 1.5, percent=True) for i in range(1, 201)
    )


def test_tags_go_before_json():
    text = '[{"point_2d": [1, 2]}] <point x="3.5" y="4.5">'
    assert parse(text, limit=9) == (PointAction(3.5, 4.5, percent=True),)
