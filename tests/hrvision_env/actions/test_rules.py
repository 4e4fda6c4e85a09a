"""Which boxes are valid, what is made of the others, and where they lie on the original."""

from __future__ import annotations

import pytest

from hrvision_env.actions import InvalidReason as R
from hrvision_env.actions.rules import BoxRules, Reading
from hrvision_env.images import Frame
from hrvision_env.records import Box

FRAME = Frame(original=(2000, 1000), seen=(560, 280))
CROP = Frame((2000, 1000), (560, 280), region=(500.0, 250.0, 780.0, 390.0))  # twice enlarged


def read(numbers, frames=(FRAME,), **rules):
    text = f'[{{"bbox_2d": {list(numbers)}}}]'
    return BoxRules(**rules).read(text, frames)


def boxes(*corners):
    return tuple(Box(*four) for four in corners)


# -- checks


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
    assert read(numbers) == Reading((), numbers, reason)


@pytest.mark.parametrize(
    ("numbers", "box"),
    [
        ((0, 0, 560, 280), Box(0, 0, 2000, 1000)),  # the whole image
        ((112, 70, 141, 99), Box(400, 250, 141 * 2000 / 560, 99 * 1000 / 280)),
    ],
)
def test_valid_boxes_lie_on_the_original(numbers, box):
    assert read(numbers) == Reading((box,), numbers, None)


def test_the_aspect_ratio_is_bounded():
    frame = Frame((10_000, 100), (10_000, 100))
    rules = BoxRules(min_side=5)
    for height, reason in ((100, None), (99.9, R.TOO_THIN), (10.1, R.TOO_THIN)):
        wide = 9_999 if reason is None else 9_990
        text = f'[{{"bbox_2d": [0, 0, {wide}, {height}]}}]'
        assert BoxRules("lenient", min_side=5).read(text, [frame]).reason is reason
    assert rules.read('[{"bbox_2d": [0, 0, 600, 6]}]', [frame]) == Reading(
        (), (0, 0, 600, 6), R.TOO_THIN
    )


@pytest.mark.parametrize(("wide", "reason"), [(119, None), (120, R.TOO_THIN), (121, R.TOO_THIN)])
def test_the_aspect_ratio_is_an_option(wide, reason):
    assert read((0, 0, wide, 40), max_aspect=3).reason is reason
    assert read((0, 0, 40, wide), max_aspect=3).reason is reason


def test_the_smallest_side_is_counted_in_seen_pixels():
    rules = BoxRules(dialect="relative_1000", min_side=2)
    frame = Frame((1024, 1024), (96, 96))
    assert rules.read('[{"bbox_2d": [0, 0, 21, 21]}]', [frame]).reason is None  # 2.016 px
    assert rules.read('[{"bbox_2d": [0, 0, 20, 21]}]', [frame]).reason is R.TOO_SMALL  # 1.92 px


@pytest.mark.parametrize("seen", range(96, 1400, 28))
def test_the_edge_of_every_view_is_inside(seen):
    frame = Frame((seen * 3 + 1, seen), (seen, seen))
    for dialect, edge in {"absolute": seen, "relative_1000": 1000, "relative_1": 1}.items():
        out = read((0, 0, edge, edge), [frame], dialect=dialect)
        assert out.boxes == boxes((0, 0, seen * 3 + 1, seen))


def test_no_box_is_thinner_than_a_float_can_tell():
    far = Frame((20_000, 20_000), (28, 28), region=(19_000.0, 19_000.0, 19_001.0, 19_001.0))
    out = read((20, 20, 20 + 4e-15, 28), [far], parser="lenient", min_side=0, max_aspect=1e18)
    assert out.reason is R.TOO_SMALL


# -- outside, too small


def test_the_lenient_rules_reorder_and_clamp():
    out = read((600, 150, 100, -20), parser="lenient")
    assert out.boxes == boxes((100 * 2000 / 560, 0, 2000, 150 * 1000 / 280))
    assert out.raw == (600, 150, 100, -20)


@pytest.mark.parametrize("numbers", [(600, 0, 700, 100), (-50, -50, -1, -1)])
def test_nothing_is_left_of_a_box_outside(numbers):
    assert read(numbers, parser="lenient") == Reading((), numbers, R.INVERTED)


def test_clamping_and_refusing_by_option():
    numbers = (-28, 70, 112, 300)
    clamped = boxes((0, 250, 400, 1000))
    assert read(numbers).reason is R.OUTSIDE
    assert read(numbers, outside="refuse").reason is R.OUTSIDE
    assert read(numbers, outside="clamp").boxes == clamped
    assert read(numbers, parser="lenient").boxes == clamped
    assert read(numbers, parser="lenient", outside="refuse").reason is R.OUTSIDE
    # The strict parser does not reorder.
    assert read((112, 70, -28, 300), outside="clamp").reason is R.INVERTED
    # What is left must be long enough.
    assert read((-100, 70, 28, 300), outside="clamp").reason is R.TOO_SMALL


@pytest.mark.parametrize(
    ("numbers", "grown"),
    [
        ((100, 100, 110, 200), (90.5, 100, 119.5, 200)),  # 29 wide about 105
        ((100, 100, 101, 101), (86, 86, 115, 115)),  # both sides, about 100.5
        ((0, 100, 10, 200), (0, 100, 29, 200)),  # moved in from the left
        ((550, 270, 560, 280), (531, 251, 560, 280)),  # and from the right and below
        ((100, 100, 128, 200), (99.5, 100, 128.5, 200)),  # 28 is not longer than 28
        ((100, 100, 129, 200), (100, 100, 129, 200)),  # long enough already
    ],
)
def test_small_boxes_grow_about_their_centre(numbers, grown):
    same = Frame((560, 280), (560, 280))
    assert read(numbers, [same], small="grow").boxes == boxes(grown)


def test_what_does_not_grow():
    assert read((100, 100, 100, 200), small="grow").reason is R.INVERTED
    assert read((560, 0, 570, 10), small="grow").reason is R.OUTSIDE
    narrow = Frame((28, 2800), (28, 2800))  # no box in it can be wider than 28
    assert read((0, 0, 20, 100), [narrow], small="grow").reason is R.TOO_SMALL
    assert read((0, 0, 20, 100), [narrow], small="grow", min_side=27.5).boxes == boxes(
        (0, 0, 28, 100)
    )
    # Growing may make a box that was too thin thick enough, and the other way round it may not.
    assert read((0, 0, 560, 1), small="grow").reason is None
    assert read((0, 0, 560, 1), small="grow", max_aspect=19).reason is R.TOO_THIN  # 560 / 29


def test_a_clamped_box_grows():
    same = Frame((560, 280), (560, 280))
    out = read((550, 100, 700, 200), [same], outside="clamp", small="grow")
    assert out.boxes == boxes((531, 100, 560, 200))


# -- several images, several boxes


def test_a_box_on_another_image():
    frames = [FRAME, Frame((100, 100), (112, 112), image_index=1)]
    text = '[{"bbox_2d": [0, 0, 56, 56], "image_index": %s, "label": "sign"}]'
    out = BoxRules().read(text % 1, frames)
    assert out.boxes == (Box(0, 0, 50, 50, image_index=1, label="sign"),)
    for wrong in (2, -1):
        assert BoxRules().read(text % wrong, frames) == Reading((), (0, 0, 56, 56), R.NO_SUCH_IMAGE)


def test_a_box_on_a_crop_is_mapped_through_it():
    frames = [FRAME, Frame((100, 100), (112, 112), image_index=1), CROP]
    text = '[{"bbox_2d": [56, 28, 112, 84]%s}]'
    on_crop = boxes((528, 264, 556, 292))
    on_view = boxes((200, 100, 400, 300))
    for written, box_frame, expected in (
        (', "image_index": 2', "original", on_crop),
        ("", "last_image", on_crop),
        ("", "original", on_view),
        (', "image_index": 0', "last_image", on_view),
    ):
        assert BoxRules(box_frame=box_frame).read(text % written, frames).boxes == expected
    # The smallest side is counted in the pixels of the crop: 29 of them, 14.5 original ones.
    assert read((0, 0, 29, 29), frames, box_frame="last_image").boxes == boxes(
        (500, 250, 514.5, 264.5)
    )


@pytest.mark.parametrize("box_frame", ["original", "last_image"])
def test_without_any_image_there_is_no_box(box_frame):
    assert read((0, 0, 100, 100), [], box_frame=box_frame).reason is R.NO_SUCH_IMAGE


def test_the_valid_ones_of_several_boxes():
    items = ["[0, 0, 9, 9]", "[0, 0, 56, 56]", "null", "[56, 56, 112, 112]"]
    text = "[" + ", ".join(f'{{"bbox_2d": {item}}}' for item in items) + "]"
    two = boxes((0, 0, 200, 200), (200, 200, 400, 400))
    assert BoxRules(max_boxes=4).read(text, [FRAME]) == Reading(two, (0, 0, 56, 56), None)
    assert BoxRules(max_boxes=2).read(text, [FRAME]) == Reading(two[:1], (0, 0, 56, 56), None)
    assert BoxRules().read(text, [FRAME]) == Reading((), (0, 0, 9, 9), R.TOO_SMALL)
    none = '[{"bbox_2d": [0, 0]}, {"bbox_2d": [0, 0, 9, 9]}]'
    assert BoxRules(max_boxes=4).read(none, [FRAME]) == Reading((), (), R.NOT_FOUR_NUMBERS)


def test_the_form_is_passed_on():
    text = "<ref>sign</ref><box>(0,0),(56,56)</box>"
    assert BoxRules(form="tag").read(text, [FRAME]).boxes == (Box(0, 0, 200, 200, label="sign"),)
    assert BoxRules(form="qwen").read(text, [FRAME]).reason is R.NO_BOX


# -- points

HIGH = Frame((400, 800), (400, 800))


def read_point(x, y, **rules):
    rules = {"point_side": 0.25, **rules}  # a side of 100
    return BoxRules(**rules).read(f'[{{"point_2d": [{x}, {y}], "label": "eye"}}]', [HIGH])


@pytest.mark.parametrize(
    ("point", "corners"),
    [
        ((200, 300), (150, 250, 250, 350)),
        ((10, 300), (0, 250, 100, 350)),
        ((400, 800), (300, 700, 400, 800)),
    ],
)
def test_a_point_asks_for_the_square_around_it(point, corners):
    x1, y1, x2, y2 = corners
    assert read_point(*point) == Reading((Box(x1, y1, x2, y2, label="eye"),), point, None)


def test_points_that_ask_for_nothing():
    assert read_point(200, 300, point_side=None) == Reading((), (), R.NO_BOX)
    assert read_point(401, 300) == Reading((), (401, 300), R.OUTSIDE)
    assert read_point(401, 300, outside="clamp").boxes == (Box(300, 250, 400, 350, label="eye"),)
    assert read_point(200, 300, min_side=100).reason is R.TOO_SMALL
    assert read_point(200, 300, min_side=100, small="grow").boxes == (
        Box(149.5, 249.5, 250.5, 350.5, label="eye"),
    )
    assert read_point(200.5, 300) == Reading((), (200.5, 300), R.NOT_INTEGERS)
    assert BoxRules(point_side=0.5).read("nothing", [HIGH]) == Reading((), (), R.NO_JSON)
    assert BoxRules(form="tag", point_side=0.5).read("nothing", [HIGH]).reason is R.NO_BOX


@pytest.mark.parametrize("dialect", ["absolute", "relative_1000", "relative_1"])
def test_percentages_are_the_same_in_every_dialect(dialect):
    rules = BoxRules(dialect=dialect, point_side=0.25)
    out = rules.read('<point x="50.0" y="37.5" alt="eye">eye</point>', [HIGH])
    assert out == Reading((Box(150, 250, 250, 350, label="eye"),), (50.0, 37.5), None)


def test_the_numbers_of_a_point_are_in_the_dialect():
    rules = BoxRules(dialect="relative_1000", point_side=0.25)
    out = rules.read('[{"point_2d": [500, 375]}]', [HIGH])
    assert out.boxes == boxes((150, 250, 250, 350))
    assert rules.read('<points x1="500" y1="375">eye</points>', [HIGH]).boxes == out.boxes


def test_a_point_in_a_crop_and_a_square_of_the_whole_shorter_side():
    out = BoxRules(box_frame="last_image", point_side=1).read(
        '<point x="0.0" y="50.0">', [FRAME, CROP]
    )
    assert out.boxes == boxes((500, 250, 640, 390))


def test_a_box_goes_before_a_point():
    text = '<point x="50.0" y="50.0"> [{"bbox_2d": [0, 0, 56, 56]}]'
    rules = BoxRules(point_side=0.25, max_boxes=5)
    assert rules.read(text, [FRAME]).boxes == boxes((0, 0, 200, 200))
    # A box that is wrong stays one.
    assert rules.read('<point x="50.0" y="50.0"> [{"bbox_2d": [0, 0]}]', [FRAME]).reason is (
        R.NOT_FOUR_NUMBERS
    )


def test_a_point_beside_a_stray_bracket():
    text = 'I think [maybe] here: <point x="50.0" y="37.5">'
    lenient, strict = BoxRules("lenient", point_side=0.25), BoxRules(point_side=0.25)
    assert lenient.read(text, [HIGH]).boxes == boxes((150, 250, 250, 350))
    assert strict.read(text, [HIGH]).boxes == boxes((150, 250, 250, 350))
    assert lenient.read("I think [maybe] here", [HIGH]).reason is R.BAD_JSON
    assert strict.read(text.replace("[", "[{"), [HIGH]).reason is R.BAD_JSON


def test_several_points():
    text = '<points x1="25.0" y1="50.0" x2="75.0" y2="50.0" alt="eye">eyes</points>'
    two = (Box(50, 350, 150, 450, label="eye"), Box(250, 350, 350, 450, label="eye"))
    for count in (1, 2, 3):
        rules = BoxRules(point_side=0.25, max_boxes=count)
        assert rules.read(text, [HIGH]).boxes == two[:count]


# -- settings


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"parser": "strikt"}, "box_parser: got 'strikt'"),
        ({"dialect": "pixels"}, "box_dialect: got 'pixels'"),
        ({"form": "xml"}, "box_form: got 'xml', expected one of .*'json', 'qwen', 'tag', 'tool'"),
        ({"box_frame": "first"}, "box_frame: got 'first'"),
        ({"outside": "cut"}, "box_outside: got 'cut'"),
        ({"small": None}, "box_small: got None"),
        ({"max_boxes": 0}, "max_boxes: got 0"),
        ({"max_boxes": 1.5}, "max_boxes: got 1.5"),
        ({"min_side": -1}, "min_box: got -1"),
        ({"min_side": float("nan")}, "min_box: got nan"),
        ({"min_side": True}, "min_box: got True"),
        ({"max_aspect": 1}, "max_aspect: got 1"),
        ({"max_aspect": float("inf")}, "max_aspect: got inf"),
        ({"max_aspect": "wide"}, "max_aspect: got 'wide'"),
        ({"point_side": 0}, "point_side: got 0"),
        ({"point_side": 1.01}, "point_side: got 1.01"),
        ({"point_side": "1"}, "point_side: got '1'"),
    ],
)
def test_wrong_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        BoxRules(**rules)
