"""What the environment says, word for word where models are trained on it."""

from __future__ import annotations

import pytest
from PIL import Image

from hrvision_env.dialogues import IMAGE_MARKER, Dialogue, UserTurn, fill
from hrvision_env.images import DIALECTS
from hrvision_env.plugins import available, resolve
from hrvision_env.records import Box, ImageRef, Sample

BOX = Box(0, 0, 10, 10)
DIALOGUES = available("hrvision_env.dialogues")


def make(
    name: str, prompt: str, max_turns: int | None = None, dialect: str = "absolute"
) -> Dialogue:
    return resolve("hrvision_env.dialogues", name, "Dialogue")(prompt, max_turns, dialect)


def sample(n_images: int = 1, question: str = "What is it?", **options: str) -> Sample:
    image = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")
    if not options:
        return Sample("q", question, (image,) * n_images, ("x",))
    return Sample("q", question, (image,) * n_images, (next(iter(options)),), "choice", options)


CHOICE = sample(A="up", B="down")
ANSWER = "What is it?\nA. up\nB. down\nAnswer in \\boxed{}."


def test_the_brief_mgpo_dialogue_word_for_word():
    dialogue = make("mgpo", "brief")
    assert dialogue.system == "" and dialogue.max_turns == 2
    first = dialogue.first(CHOICE)
    assert first == UserTurn("<image>\nWhat is it? Give the box.", crop=False, stop=("}]",))
    assert dialogue.next(CHOICE, 0, "", BOX) == UserTurn("<image>\n" + ANSWER, crop=True)
    assert dialogue.next(CHOICE, 0, "", None) == UserTurn("No valid box.\n<image>\n" + ANSWER)
    assert dialogue.next(CHOICE, 1, "", None) is None
    assert [dialogue.wants_box(turn) for turn in (0, 1)] == [True, False]


def test_the_brief_single_turn_dialogue_word_for_word():
    dialogue = make("single_turn", "brief")
    text = "<image>\nWhat is it?\nA. up\nB. down\nGive the box, then answer in \\boxed{}."
    assert dialogue.first(CHOICE) == UserTurn(text)
    assert dialogue.next(CHOICE, 0, "", BOX) is None
    assert dialogue.wants_box(0) and dialogue.max_turns == 1 and dialogue.system == ""


def test_without_options_their_line_is_left_out():
    free = sample()
    turn = make("mgpo", "brief").next(free, 0, "", BOX)
    assert turn is not None and turn.text == "<image>\nWhat is it?\nAnswer in \\boxed{}."
    single = make("single_turn", "brief").first(free).text
    assert single == "<image>\nWhat is it?\nGive the box, then answer in \\boxed{}."


def test_the_paper_dialogue_hides_the_options_in_the_first_turn():
    dialogue = make("mgpo", "paper")
    first = dialogue.first(CHOICE)
    assert "JSON" in first.text and first.stop == ("]\n```",)
    for hidden in ("up", "down", "A.", "boxed"):
        assert hidden not in first.text
    second = dialogue.next(CHOICE, 0, "", BOX)
    assert second is not None and second.crop and second.stop == ()
    assert "A. up\nB. down\n" in second.text and "the letter" in second.text
    again = dialogue.next(CHOICE, 0, "", None)
    assert again is not None and not again.crop and "no valid box" in again.text
    assert "A. up\nB. down\n" in again.text and "What is it?" in again.text


@pytest.mark.parametrize("name", DIALOGUES)
def test_the_paper_prompt_names_the_frame_of_the_boxes(name):
    systems = [make(name, "paper", dialect=dialect).system for dialect in DIALECTS]
    for system, word in zip(systems, ("pixels", "0 to 1000", "0 to 1,"), strict=True):
        assert word in system and "{frame}" not in system and '"bbox_2d"' in system


@pytest.mark.parametrize("name", DIALOGUES)
@pytest.mark.parametrize("prompt", ["paper", "brief"])
@pytest.mark.parametrize("max_turns", [1, 2, 3, 4])
@pytest.mark.parametrize("case", [CHOICE, sample(), sample(3, A="up", B="down")])
def test_every_dialogue_ends_and_has_as_many_markers_as_images(name, prompt, max_turns, case):
    dialogue = make(name, prompt, max_turns)
    for box in (BOX, None):
        turn = 0
        user: UserTurn | None = dialogue.first(case)
        while user is not None:
            shown = 1 if user.crop else len(case.images)
            assert user.text.count(IMAGE_MARKER) == shown
            assert case.question in user.text and "{" not in user.text.replace("\\boxed{}", "")
            last = user
            user = dialogue.next(case, turn, "\\boxed{A}", box)
            turn += 1
        assert turn == dialogue.max_turns <= max_turns
        assert "\\boxed{}" in last.text and last.stop == ()


def test_three_turns_of_mgpo_ask_for_two_boxes():
    dialogue = make("mgpo", "brief", max_turns=3)
    assert [dialogue.wants_box(turn) for turn in range(3)] == [True, True, False]
    second = dialogue.next(CHOICE, 0, "", BOX)
    assert second == UserTurn("<image>\nWhat is it? Give the box.", crop=True, stop=("}]",))
    third = dialogue.next(CHOICE, 1, "", None)
    assert third == UserTurn("No valid box.\n<image>\n" + ANSWER)


def test_markers_and_placeholders_inside_a_question_change_nothing():
    odd = sample(question="<image>Is {options} in {question}?", A="<image>yes", B="{answer}")
    text = fill("{images}\n{question}\n{options}\nEnd", odd, n_images=1)
    assert text == "<image>\nIs {options} in {question}?\nA. yes\nB. {answer}\nEnd"
    nested = sample(question="Is <im<image>age> it?")
    assert fill("{images}\n{question}", nested, n_images=1) == "<image>\nIs  it?"


@pytest.mark.parametrize("name", DIALOGUES)
def test_an_unknown_prompt_is_answered_with_the_closest(name):
    with pytest.raises(ValueError, match="got 'papr', expected one of paper, brief, did you mean"):
        make(name, "papr")
