"""What the environment says, word for word where models are trained on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from hrvision_env.actions import InvalidReason
from hrvision_env.actions.forms import FORMS
from hrvision_env.dialogues import IMAGE_MARKER, Dialogue, End, Reply, Setup, UserTurn
from hrvision_env.images import DIALECTS
from hrvision_env.plugins import available, resolve
from hrvision_env.records import Box, ImageRef, Sample

BOX = Box(0, 0, 10, 10)
DIALOGUES = available("hrvision_env.dialogues")
FORCED = ["crop_only", "mgpo"]


def make(name: str, prompt: str = "brief", max_turns: int | None = None, **more: Any) -> Dialogue:
    dialogue = resolve("hrvision_env.dialogues", name, "Dialogue")
    return dialogue(Setup(prompt, max_turns, **more))


def sample(n_images: int = 1, question: str = "What is it?", **options: str) -> Sample:
    image = ImageRef(image=Image.new("RGB", (8, 8)), key="grey")
    if not options:
        return Sample("q", question, (image,) * n_images, ("x",))
    return Sample("q", question, (image,) * n_images, (next(iter(options)),), "choice", options)


def found(turn: int, text: str = "", n: int = 1) -> Reply:
    return Reply(turn, text, (BOX,) * n)


def missed(turn: int, text: str = "") -> Reply:
    return Reply(turn, text, (), InvalidReason.NO_JSON)


CHOICE = sample(A="up", B="down")
CHINESE = replace(sample(question="这是什么？", A="上", B="下"), language="zh")
ANSWER = "What is it?\nA. up\nB. down\nAnswer in \\boxed{}."


def test_the_four_dialogues_are_there():
    assert DIALOGUES == ["crop_only", "free", "mgpo", "single_turn"]


def test_the_brief_mgpo_dialogue_word_for_word():
    dialogue = make("mgpo")
    assert dialogue.system(CHOICE) == "" and dialogue.max_turns == 2
    first = dialogue.first(CHOICE)
    assert first == UserTurn("<image>\nWhat is it? Give the box.", "views", True, ("}]",))
    assert dialogue.next(CHOICE, found(0)) == UserTurn("<image>\n" + ANSWER, "crops")
    assert dialogue.next(CHOICE, missed(0)) == UserTurn("No valid box.\n<image>\n" + ANSWER)
    assert dialogue.next(CHOICE, Reply(1, "")) is End.GRADED


def test_the_brief_single_turn_dialogue_word_for_word():
    dialogue = make("single_turn")
    text = "<image>\nWhat is it?\nA. up\nB. down\nGive the box, then answer in \\boxed{}."
    assert dialogue.first(CHOICE) == UserTurn(text, wants_box=True)
    assert dialogue.next(CHOICE, found(0)) is End.GRADED
    assert dialogue.max_turns == 1 and dialogue.system(CHOICE) == ""


def test_the_brief_crop_only_dialogue_word_for_word():
    dialogue = make("crop_only")
    first = dialogue.first(CHOICE)
    assert first == UserTurn("<image>\nWhat is it? Give the box.", "views", True, ("}]",))
    answer = UserTurn("<image>\n" + ANSWER, "crops", fresh=True)
    assert dialogue.next(CHOICE, found(0)) == answer
    assert dialogue.next(CHOICE, Reply(1, "\\boxed{A}")) is End.GRADED
    # An answer without a box verifies nothing.
    assert dialogue.next(CHOICE, missed(0, "\\boxed{A}")) is End.UNANSWERED


def test_crop_only_asks_again_while_turns_are_left():
    dialogue = make("crop_only", max_turns=3)
    again = dialogue.next(CHOICE, missed(0))
    assert again == UserTurn("No valid box. Give the box.", "nothing", True, ("}]",))
    early, late = (dialogue.next(CHOICE, found(turn)) for turn in (0, 1))
    assert early == late and isinstance(late, UserTurn) and late.fresh and not late.wants_box
    assert dialogue.next(CHOICE, missed(1)) is End.UNANSWERED
    assert dialogue.next(CHOICE, Reply(1, "A")) is End.GRADED


def test_the_brief_free_dialogue_word_for_word():
    dialogue = make("free")
    assert dialogue.max_turns == 4 and dialogue.system(CHOICE) == ""
    more = "Give a box to look closer, or answer in \\boxed{}."

    def turn(text: str, show: str) -> UserTurn:
        return UserTurn(text, show, True, ("}]",), may_answer=True)

    first = "<image>\nWhat is it?\nA. up\nB. down\n" + more
    assert dialogue.first(CHOICE) == turn(first, "views")
    assert dialogue.next(CHOICE, found(0)) == turn("<image>\n" + more, "crops")
    assert dialogue.next(CHOICE, found(1, n=2)) == turn("<image>\n<image>\n" + more, "crops")
    refusal = "No valid box and no answer in \\boxed{}. "
    assert dialogue.next(CHOICE, missed(1, "hm")) == turn(refusal + more, "nothing")
    now = "Answer now in \\boxed{}."
    assert dialogue.next(CHOICE, missed(2)) == UserTurn(refusal + now, "nothing")
    assert dialogue.next(CHOICE, found(2)) == UserTurn("<image>\n" + now, "crops")
    assert dialogue.next(CHOICE, Reply(3, "whatever")) is End.GRADED


@pytest.mark.parametrize("name", ["crop_only", "free", "mgpo"])
@pytest.mark.parametrize("max_turns", [1, 2, 3])
def test_nobody_is_asked_to_look_where_the_reply_is_the_answer(name, max_turns):
    """What the last turn says (and, with one turn, the system text) does not ask for a box."""
    dialogue = make(name, "paper", max_turns)
    for outcome in (found, missed):
        turn, user, said = 0, dialogue.first(CHOICE), dialogue.system(CHOICE)
        while turn < max_turns - 1 and user.wants_box:
            following = dialogue.next(CHOICE, outcome(turn))
            if isinstance(following, End):
                break
            turn, user, said = turn + 1, following, ""
        if not user.wants_box:
            for word in ("coordinates", "bbox", "Look closer", "stop there"):
                assert word not in said + user.text
            assert "\\boxed{}" in user.text


@pytest.mark.parametrize("reply", ["so \\boxed{A}", "<answer>A</answer>"])
@pytest.mark.parametrize("outcome", [found, missed])
def test_an_answer_ends_a_free_dialogue_box_or_not(reply, outcome):
    assert make("free").next(CHOICE, outcome(0, reply)) is End.GRADED


def test_without_options_their_line_is_left_out():
    free = sample()
    turn = make("mgpo").next(free, found(0))
    assert isinstance(turn, UserTurn)
    assert turn.text == "<image>\nWhat is it?\nAnswer in \\boxed{}."
    single = make("single_turn").first(free).text
    assert single == "<image>\nWhat is it?\nGive the box, then answer in \\boxed{}."


@pytest.mark.parametrize("name", FORCED)
@pytest.mark.parametrize("prompt", ["paper", "brief"])
@pytest.mark.parametrize("max_turns", [2, 3])
def test_options_are_hidden_while_a_box_is_asked_for_unless_told_otherwise(name, prompt, max_turns):
    hidden = make(name, prompt, max_turns)
    shown = make(name, prompt, max_turns, show_options=True)
    for outcome in (found(0), missed(0)):
        for dialogue in (hidden, shown):
            turns = [dialogue.first(CHOICE), dialogue.next(CHOICE, outcome)]
            for turn in turns:
                if isinstance(turn, UserTurn) and IMAGE_MARKER in turn.text:
                    visible = dialogue is shown or not turn.wants_box
                    assert ("A. up\nB. down\n" in turn.text) is visible


@pytest.mark.parametrize("name", ["free", "single_turn"])
def test_options_cannot_be_hidden_where_the_first_turn_may_answer(name):
    with pytest.raises(ValueError, match="show_options: got False, expected None or True"):
        make(name, show_options=False)


def test_the_paper_dialogue_in_words():
    dialogue = make("mgpo", "paper")
    first = dialogue.first(CHOICE)
    assert first.text == (
        "<image>\nWhat is it?\n"
        "Give the coordinates of the image area that the question is about in JSON."
    )
    assert first.stop == ("]\n```",)
    second, again = (dialogue.next(CHOICE, reply) for reply in (found(0), missed(0)))
    assert isinstance(second, UserTurn) and second.show == "crops" and second.stop == ()
    assert "A. up\nB. down\n" in second.text and "the letter" in second.text
    assert isinstance(again, UserTurn) and again.show == "views"
    assert again.text.startswith("Your reply holds no valid box") and "What is it?" in again.text


@pytest.mark.parametrize("name", DIALOGUES)
@pytest.mark.parametrize("case", [CHOICE, CHINESE], ids=["en", "zh"])
def test_the_paper_prompt_names_the_frame_and_the_form_of_the_boxes(name, case):
    words = {"en": ("pixels", "0 to 1000", "0 to 1,"), "zh": ("像素", "0 到 1000", "0 到 1 ")}
    for dialect, word in zip(DIALECTS, words[case.language], strict=True):
        for form in FORMS:
            dialogue = make(name, "paper", dialect=dialect, form=form)
            said = dialogue.system(case) + dialogue.first(case).text
            assert word in said and FORMS[form].example in said
            assert "{frame}" not in said and ("JSON" in said) is (form == "json")


@pytest.mark.parametrize("name", DIALOGUES)
@pytest.mark.parametrize("prompt", ["paper", "brief"])
def test_chinese_questions_are_asked_in_chinese(name, prompt):
    dialogue = make(name, prompt, 3)
    said = [dialogue.system(CHINESE), dialogue.first(CHINESE).text]
    for reply in (found(0), missed(0), found(1), missed(1)):
        turn = dialogue.next(CHINESE, reply)
        said += [turn.text] if isinstance(turn, UserTurn) else []
    ours = "".join(said).replace(FORMS["json"].example, "")
    for known in ("这是什么？", IMAGE_MARKER, "\\boxed", '"image_index"', "JSON", "A. 上", "B. 下"):
        ours = ours.replace(known, "")
    assert not any(letter.isascii() and letter.isalpha() for letter in ours)


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("name", DIALOGUES)
def test_with_several_images_the_prompt_says_which_one_a_box_is_on(name, form):
    dialogue = make(name, "paper", form=form)
    several, indexed = sample(2, A="up", B="down"), form in ("json", "tool")
    said = dialogue.system(several) + dialogue.first(several).text
    assert ('"image_index"' in said) is indexed
    assert ("The coordinates refer to the first image." in said) is not indexed
    alone = dialogue.system(CHOICE) + dialogue.first(CHOICE).text
    assert ("image_index" in alone) is (indexed and name == "free")  # which has crops to name


@pytest.mark.parametrize("name", DIALOGUES)
def test_the_prompt_says_what_else_is_read(name):
    plain, more = make(name, "paper"), make(name, "paper", max_boxes=3, points=True)
    said = [d.system(CHOICE) + d.first(CHOICE).text for d in (plain, more)]
    for words in ("You may give up to 3 areas.", '[{"point_2d": [x, y]}]'):
        assert [words in text for text in said] == [False, True]


def test_crops_are_spoken_of_in_their_number():
    dialogue = make("mgpo", "paper", max_boxes=3)
    for n, words in ((1, "This is the area you chose"), (2, "These are the areas you chose")):
        turn = dialogue.next(CHOICE, found(0, n=n))
        assert isinstance(turn, UserTurn) and words in turn.text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"show": "crop"}, "UserTurn: show: got 'crop', expected one of"),
        ({"stop": "]"}, "UserTurn: stop: got ']', expected a tuple of str"),
        ({"stop": (1,)}, "UserTurn: stop: got"),
    ],
)
def test_a_user_turn_checks_itself(fields, words):
    with pytest.raises(ValueError, match=words):
        UserTurn("hi", **fields)


@pytest.mark.parametrize("frame", ["original", "last_image"])
def test_the_prompt_says_what_a_box_refers_to(frame):
    word = {"original": "the original image", "last_image": "the image shown last"}[frame]
    assert word in make("free", "paper", box_frame=frame).system(CHOICE)
    again = make("mgpo", "paper", 3, box_frame=frame).next(CHOICE, found(0))
    assert isinstance(again, UserTurn) and f"the area of {word} that matters" in again.text


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("max_boxes", [1, 3])
@pytest.mark.parametrize("prompt", ["paper", "brief"])
def test_a_reply_stops_where_its_box_is_complete(form, max_boxes, prompt):
    setup = {"form": form, "max_boxes": max_boxes}
    stop = FORMS[form].stop if form == "json" or max_boxes == 1 else ()
    own = ("}]",) if (form, prompt) == ("json", "brief") else stop
    for name in ("free", *FORCED):
        assert make(name, prompt, **setup).first(CHOICE).stop == own


@pytest.mark.parametrize("name", DIALOGUES)
@pytest.mark.parametrize("prompt", ["paper", "brief"])
@pytest.mark.parametrize("max_turns", [1, 2, 3, 4])
@pytest.mark.parametrize("case", [CHOICE, sample(), sample(3, A="up", B="down"), CHINESE])
@pytest.mark.parametrize("outcome", [found, missed])
def test_every_dialogue_ends_and_has_as_many_markers_as_images(
    name, prompt, max_turns, case, outcome
):
    dialogue = make(name, prompt, max_turns)
    turn, user = 0, dialogue.first(case)
    assert case.question in user.text
    while True:
        shown = {"views": len(case.images), "crops": 1, "nothing": 0}[user.show]
        assert user.text.count(IMAGE_MARKER) == shown
        assert "{" not in user.text.replace("\\boxed{}", "").replace(FORMS["json"].example, "")
        assert bool(user.stop) is (user.wants_box and name != "single_turn")
        reply = outcome(turn) if user.wants_box else Reply(turn, "")
        following = dialogue.next(case, reply)
        turn += 1
        if isinstance(following, End):
            break
        user = following
    assert turn <= dialogue.max_turns <= max_turns
    assert "\\boxed{}" in user.text or following is End.UNANSWERED


def test_three_turns_of_mgpo_ask_for_two_boxes():
    dialogue = make("mgpo", max_turns=3)
    second = dialogue.next(CHOICE, found(0))
    assert second == UserTurn("<image>\nWhat is it? Give the box.", "crops", True, ("}]",))
    third = dialogue.next(CHOICE, missed(1))
    assert third == UserTurn("No valid box.\n<image>\n" + ANSWER)


def test_markers_and_placeholders_inside_a_question_change_nothing():
    odd = sample(question="<image>Is {options} in {question}?", A="<image>yes", B="{answer}")
    text = Setup().fill("{images}\n{question}\n{options}\nEnd", odd, n_images=1)
    assert text == "<image>\nIs {options} in {question}?\nA. yes\nB. {answer}\nEnd"
    nested = sample(question="Is <im<image>age> it?")
    assert Setup().fill("{images}\n{question}", nested, n_images=1) == "<image>\nIs  it?"


@pytest.mark.parametrize("name", DIALOGUES)
def test_an_unknown_prompt_is_answered_with_the_closest(name):
    with pytest.raises(ValueError, match="got 'papr', expected one of paper, brief, did you mean"):
        make(name, "papr")
