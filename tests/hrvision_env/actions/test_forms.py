"""The forms of a box beside JSON, each by itself and when another one was asked for."""

from __future__ import annotations

import pytest

from hrvision_env.actions import InvalidReason as R
from hrvision_env.actions import Refusal
from hrvision_env.actions.box import BoxAction, parse
from hrvision_env.actions.forms import FORMS

NUMBERS = (125, 200, 250, 325)


def fill(form: str) -> str:
    """The example of a form with numbers in it."""
    text = FORMS[form].example
    for name, number in zip(("x1", "y1", "x2", "y2"), NUMBERS, strict=True):
        text = text.replace(name, str(number))
    return text


def test_the_names_and_the_example_in_json():
    assert list(FORMS) == ["json", "qwen", "tag", "tool"]
    assert all(form.name == name for name, form in FORMS.items())
    assert FORMS["json"].example == (
        '```json\n[{"bbox_2d": [x1, y1, x2, y2], "label": "what is there"}]\n```'
    )
    assert FORMS["json"].stop == ("]\n```",)


@pytest.mark.parametrize("form", FORMS)
def test_every_example_is_read_as_it_is_shown(form):
    example = fill(form)
    assert parse(example, form=form) == (BoxAction(NUMBERS, None, "what is there"),)
    assert parse(f"Look: {example}\nDone.", form=form) == parse(example, form=form)


@pytest.mark.parametrize("form", FORMS)
def test_a_stop_string_ends_the_example_and_nothing_before_it(form):
    for stop in FORMS[form].stop:
        assert FORMS[form].example.endswith(stop)
        assert FORMS[form].example.count(stop) == 1


@pytest.mark.parametrize("written", FORMS)
@pytest.mark.parametrize("asked", FORMS)
def test_strict_takes_the_form_it_is_set_to_and_lenient_any(asked, written):
    (strict,) = parse(fill(written), "strict", form=asked)
    (lenient,) = parse(fill(written), "lenient", form=asked)
    assert isinstance(lenient, BoxAction) and lenient.numbers == NUMBERS
    assert isinstance(strict, BoxAction) == (asked == written)
    if asked != written:
        assert strict == Refusal(R.NO_JSON if asked == "json" else R.NO_BOX)


@pytest.mark.parametrize("form", FORMS)
def test_text_without_any_box(form):
    for parser in ("strict", "lenient"):
        assert parse("Nothing.", parser, form=form) == (
            Refusal(R.NO_JSON if form == "json" else R.NO_BOX),
        )
        assert parse(" ", parser, form=form) == (Refusal(R.EMPTY),)
        assert parse("x" * 100_001, parser, form=form) == (Refusal(R.TOO_LONG),)


QWEN = {
    "<|box_start|>(125,200),(250,325)<|box_end|>": (NUMBERS, ""),
    "<|box_start|> ( 125 , 200 ) , (250,\n325) <|box_end|>": (NUMBERS, ""),
    "<|object_ref_start|> a sign <|object_ref_end|>\n<|box_start|>(125,200),(250,325)<|box_end|>": (
        NUMBERS,
        "a sign",
    ),
    "<|object_ref_start|>far<|object_ref_end|> is <|box_start|>(125,200),(250,325)<|box_end|>": (
        NUMBERS,
        "",
    ),
    "<|box_start|>(125.5,200),(250,325)<|box_end|>": R.NOT_INTEGERS,
    "<|box_start|>(125,200),(250,325)": R.UNCLOSED,
    "<|box_start|>" + " " * 2000 + "(125,200),(250,325)<|box_end|>": R.UNCLOSED,
    "<|box_start|>(125,200)<|box_end|>": R.NOT_FOUR_NUMBERS,
    "<|box_start|>(125,200),(250,325),(1,2)<|box_end|>": R.NOT_FOUR_NUMBERS,
    "<|box_start|>[125,200,250,325]<|box_end|>": R.NOT_FOUR_NUMBERS,
    "<|box_start|>(NaN,200),(250,325)<|box_end|>": R.NOT_FOUR_NUMBERS,
    "<|box_start|>(0125,200),(250,325)<|box_end|>": R.NOT_FOUR_NUMBERS,
    "<|box_start|>(,),(,)<|box_end|>": R.NOT_FOUR_NUMBERS,
    "<|box_start|>(1e999,200),(250,325)<|box_end|>": R.NOT_FINITE,
    "<|box_start|>(" + "9" * 400 + ",200),(250,325)<|box_end|>": R.NOT_FINITE,
    "<|box_end|>(125,200),(250,325)<|box_start|>": R.UNCLOSED,
}

TAG = {
    "<box>[125, 200, 250, 325]</box>": (NUMBERS, ""),
    "<box>(125,200),(250,325)</box>": (NUMBERS, ""),
    "<box>[[125, 200, 250, 325]]</box>": (NUMBERS, ""),
    "<ref>a sign</ref><box> [[125,200,250,325]] </box>": (NUMBERS, "a sign"),
    "a sign</ref><box>[125, 200, 250, 325]</box>": (NUMBERS, ""),
    "<box>[125, 200, 250, 325.0]</box>": R.NOT_INTEGERS,
    "<box>125, 200, 250, 325</box>": R.NOT_FOUR_NUMBERS,
    "<box>[125, 200, 250, 325</box>": R.NOT_FOUR_NUMBERS,
    "<box>[125, 200, 250, 325] [1]</box>": R.NOT_FOUR_NUMBERS,
    "<box>[125, 200, 250]</box>": R.NOT_FOUR_NUMBERS,
    "<box>[]</box>": R.NOT_FOUR_NUMBERS,
    "<box></box>": R.NOT_FOUR_NUMBERS,
    "<box>here</box>": R.NOT_FOUR_NUMBERS,
    '<box>{"bbox_2d": [125, 200, 250, 325]}</box>': R.NOT_FOUR_NUMBERS,
    "<box>[125, 200, 250, 325]": R.UNCLOSED,
    "<bbox>[125, 200, 250, 325]</bbox>": R.NO_BOX,
}


def call(arguments: str, name: str = "image_zoom_in_tool") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


BBOX = '"bbox_2d": [125, 200, 250, 325]'
ARGUMENTS = f"{{{BBOX}}}"
TOOL = {
    call(ARGUMENTS): (NUMBERS, ""),
    call(f'{{{BBOX}, "label": "a sign"}}'): (NUMBERS, "a sign"),
    call(ARGUMENTS).replace("\n", ""): (NUMBERS, ""),
    f'<tool_call>{{"arguments": {{{BBOX}}}, "name": "image_zoom_in_tool"}} </tool_call>': (
        NUMBERS,
        "",
    ),
    call(ARGUMENTS, name="image_rotate_tool"): R.OTHER_TOOL,
    f"<tool_call>{ARGUMENTS}</tool_call>": R.OTHER_TOOL,
    call(ARGUMENTS).replace("</tool_call>", ""): R.UNCLOSED,
    call(ARGUMENTS).replace("</tool_call>", "ok</tool_call>"): R.UNCLOSED,
    call(ARGUMENTS).replace("}}", "}"): R.BAD_JSON,
    "<tool_call>image_zoom_in_tool(1, 2)</tool_call>": R.BAD_JSON,
    "<tool_call>[125, 200, 250, 325]</tool_call>": R.BAD_JSON,
    "<tool_call></tool_call>": R.BAD_JSON,
    call('"{}"'): R.NO_BOX,
    call("null"): R.NO_BOX,
    call('{"bbox": [125, 200, 250, 325]}'): R.NO_BOX,
    call('{"angle": 90}'): R.NO_BOX,
    call('{"bbox_2d": [125, 200, 250]}'): R.NOT_FOUR_NUMBERS,
    call('{"bbox_2d": [125, 200, 250, NaN]}'): R.BAD_JSON,
    call(f'{{{BBOX}, "img_idx": "0"}}'): R.NO_SUCH_IMAGE,
}


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        pytest.param(form, text, expected, id=f"{form}-{text[:50]}")
        for form, texts in {"qwen": QWEN, "tag": TAG, "tool": TOOL}.items()
        for text, expected in texts.items()
    ],
)
def test_the_strict_parser(form, text, expected):
    (found,) = parse(text, form=form)
    if isinstance(expected, R):
        assert isinstance(found, Refusal) and found.reason is expected
    else:
        assert found == BoxAction(expected[0], None, expected[1])


@pytest.mark.parametrize("key", ["image_index", "img_idx", "image_idx"])
def test_tools_that_count_images_from_0(key):
    assert parse(call(f'{{{BBOX}, "{key}": 1}}'), form="tool") == (BoxAction(NUMBERS, 1),)


def test_the_tool_that_counts_images_from_1():
    """Pixel-Reasoner: "index from 1 to the number of images, 1 is the original"."""
    for written, index in ((1, 0), (3, 2), (0, -1)):
        text = call(f'{{{BBOX}, "target_image": {written}}}')
        assert parse(text, form="tool") == (BoxAction(NUMBERS, index),)


LENIENT = {
    "<|box_start|>(125.5, 200),(250, 325)<|box_end|>": (125.5, 200, 250, 325),
    "<|box_start|>[125, 200, 250, 325]<|box_end|>": NUMBERS,
    "<|box_start|>(125,200),(250,325)": NUMBERS,
    "<box>125 200 250 325</box>": NUMBERS,
    "<box>125, 200, 250, 325</box>": NUMBERS,
    "<box>[[125, 200], [250, 325]]</box>": NUMBERS,
    "<box>[125, 200, 250, 325]": NUMBERS,
    "<box>[[125, 200, 250, 325]</box>": NUMBERS,
    "<box><box>[125, 200, 250, 325]</box>": NUMBERS,
    "<box>nothing</box> <box>(125,200),(250,325)</box>": NUMBERS,
    call('{"bbox": [125, 200, 250.0, 325]}', name="crop_image"): NUMBERS,
    call('"{\\"bbox_2d\\": [125, 200, 250, 325]}"'): NUMBERS,
    f"<tool_call>{ARGUMENTS}": NUMBERS,
    f'<tool_call>{{"name": "zoom", {BBOX}}}</tool_call>': NUMBERS,
    f'{{"name": "image_zoom_in_tool", "arguments": {ARGUMENTS}}}': NUMBERS,
}


@pytest.mark.parametrize("text", LENIENT, ids=lambda text: text[:50])
@pytest.mark.parametrize("form", FORMS)
def test_the_lenient_parser_takes_more_whatever_it_is_set_to(form, text):
    (found,) = parse(text, "lenient", form=form)
    assert isinstance(found, BoxAction) and found.numbers == LENIENT[text]


@pytest.mark.parametrize(
    "text",
    [
        "<box>125 200 250 32",  # the last number may have been cut off
        "<box>1 2 3 4 5</box>",
        "<box>four numbers 1 2 3 4</box>",
        "<|box_start|>(1,2)<|box_end|>",
        call('{"angle": 90}'),
        "(1,2),(3,4)",
        "<box>1,2,3,4,5,6,7,8</box>",
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_the_lenient_parser_guesses_nothing(form, text):
    (found,) = parse(text, "lenient", form=form)
    assert isinstance(found, Refusal)


def test_the_lenient_parser_reads_the_form_it_is_set_to_first():
    tool = call('{"bbox_2d": [5, 5, 6, 6]}')
    text = "<box>[1, 1, 2, 2]</box> <|box_start|>(3,3),(4,4)<|box_end|>" + tool
    for form, numbers in (("tag", (1, 1, 2, 2)), ("qwen", (3, 3, 4, 4)), ("tool", (5, 5, 6, 6))):
        assert parse(text, "lenient", form=form) == (BoxAction(numbers),)
    # Set to a form that is not there: whichever begins first.
    tag, qwen = "<box>1 1 2 2</box>", "<|box_start|>(3,3),(4,4)<|box_end|>"
    assert parse(tag + qwen, "lenient", form="tool") == (BoxAction((1, 1, 2, 2)),)
    assert parse(qwen + tag, "lenient", form="tool") == (BoxAction((3, 3, 4, 4)),)
    for first, numbers in (("<box>[1,1,2,2]</box>", (1, 1, 2, 2)), ("[7,7,8,8]", (7, 7, 8, 8))):
        text = f"{first} {tool} <box>[1,1,2,2]</box>"
        assert parse(text, "lenient", form="qwen") == (BoxAction(numbers),)


SEVERAL = {
    "qwen": "<|object_ref_start|>eyes<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>"
    "<|box_start|>(5,6),(7,8)<|box_end|> and <|box_start|>(9,10),(11,12)<|box_end|>",
    "tag": "<ref>eyes</ref><box>[[1, 2, 3, 4], [5, 6, 7, 8]]</box> and <box>(9,10),(11,12)</box>",
    "tool": call('{"bbox_2d": [1, 2, 3, 4], "label": "eyes"}')
    + call('{"bbox_2d": [5, 6, 7, 8], "label": "eyes"}')
    + "hm"
    + call('{"bbox_2d": [9, 10, 11, 12]}'),
}


@pytest.mark.parametrize("parser", ["strict", "lenient"])
@pytest.mark.parametrize("form", SEVERAL)
def test_several_boxes(form, parser):
    boxes = (
        BoxAction((1, 2, 3, 4), None, "eyes"),
        BoxAction((5, 6, 7, 8), None, "eyes"),
        BoxAction((9, 10, 11, 12)),
    )
    for limit in (1, 2, 3, 9):
        assert parse(SEVERAL[form], parser, form=form, limit=limit) == boxes[:limit]


def test_one_refusal_among_several_calls():
    one, other = call(ARGUMENTS), call('{"angle": 90}', "image_rotate_tool")
    text = one + other + one
    box = BoxAction(NUMBERS)
    assert parse(text, form="tool", limit=3) == (box, Refusal(R.OTHER_TOOL), box)
    assert parse(text, "lenient", form="tool", limit=3) == (box, box)
