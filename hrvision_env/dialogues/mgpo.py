"""Two forced turns: a box, then an answer (MGPO, arXiv 2507.05920, section 4).

1. The agent sees the whole image and the question, *without the options*, and is asked for the
   area that matters. An answer given here does not end the episode.
2. It gets the crop of that area, cut out of the original, with the question and the options, and
   answers. Without a valid box it gets a sentence that says so and the same view again: no
   penalty, no early end.

With `max_turns=K` the first K-1 turns ask for a box and the last one for the answer; the paper
evaluates K=3 without training for it. With K=1 the only turn asks for the answer on the view.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..records import Sample
from . import End, Reply, Setup, UserTurn, language, pick


@dataclass(frozen=True, slots=True)
class Texts:
    """One prompt in one language."""

    system: str
    system_answer: str
    """In its place when the only turn asks for the answer."""
    find: str
    """Asks for a box on the whole image."""
    find_again: str
    """Shows a crop and asks for another box."""
    answer: str
    """Asks for the answer; the whole image is shown."""
    answer_crop: str
    """Asks for the answer; the crop is shown."""
    refusal: str
    """Goes in front when the reply before held no valid box."""
    stop: tuple[str, ...] = ()
    """End a reply that is asked for a box in JSON; none: as the form says."""


PROMPTS = {
    "paper": {
        "en": Texts(
            system=(
                "You are a helpful assistant. You answer questions about images in steps.\n"
                "First find the area of the image that matters most for the question. End your "
                "reply with its coordinates {notation}, {frame}, and stop there:\n"
                "{box}\n"
                "That area is then cut out of the original image, enlarged and shown to you.\n"
                "Then put the final answer into \\boxed{}: for a question with options, only the "
                "letter."
            ),
            system_answer=(
                "You are a helpful assistant. You answer questions about images. Put the final "
                "answer into \\boxed{}: for a question with options, only the letter."
            ),
            find=(
                "{images}\n{question}\n{options}\n"
                "Give the coordinates of the image area that the question is about {notation}."
                "{also}"
            ),
            find_again=(
                "{images}\n{crops}\n{question}\n{options}\n"
                "Give the coordinates of the area of {target} that matters most now {notation}."
                "{also}"
            ),
            answer=(
                "{images}\n{question}\n{options}\n"
                "Reason step by step, then put {answer} into \\boxed{}."
            ),
            answer_crop=(
                "{images}\n{crops}\n{question}\n{options}\n"
                "Look at the original image and at what is enlarged and reason step by step. If "
                "that is not enough, go by the original image. Then put {answer} into \\boxed{}."
            ),
            refusal="Your reply holds no valid box, so here is the whole image again.",
        ),
        "zh": Texts(
            system=(
                "你是一个乐于助人的助手，分步回答关于图像的问题。\n"
                "首先找出图像中对回答问题最重要的区域。在回复的末尾{notation}给出其坐标，{frame}，"
                "然后停止：\n"
                "{box}\n"
                "随后会从原图中裁出该区域，放大后展示给你。\n"
                "最后把最终答案写进 \\boxed{}：有选项的问题只写字母。"
            ),
            system_answer=(
                "你是一个乐于助人的助手，回答关于图像的问题。"
                "把最终答案写进 \\boxed{}：有选项的问题只写字母。"
            ),
            find=(
                "{images}\n{question}\n{options}\n"
                "请{notation}给出问题所涉及的图像区域的坐标。{also}"
            ),
            find_again=(
                "{images}\n{crops}\n{question}\n{options}\n"
                "请{notation}给出{target}中现在最重要的区域的坐标。{also}"
            ),
            answer="{images}\n{question}\n{options}\n请逐步推理，然后把{answer}写进 \\boxed{}。",
            answer_crop=(
                "{images}\n{crops}\n{question}\n{options}\n"
                "请查看原图和放大的部分并逐步推理。如果还不够，请以原图为准。"
                "然后把{answer}写进 \\boxed{}。"
            ),
            refusal="你的回复中没有有效的框，因此再次展示整张图像。",
        ),
    },
    "brief": {
        "en": Texts(
            system="",
            find="{images}\n{options}\n{question} Give the box.",
            system_answer="",
            find_again="{images}\n{options}\n{question} Give the box.",
            answer="{images}\n{question}\n{options}\nAnswer in \\boxed{}.",
            answer_crop="{images}\n{question}\n{options}\nAnswer in \\boxed{}.",
            refusal="No valid box.",
            stop=("}]",),
        ),
        "zh": Texts(
            system="",
            find="{images}\n{options}\n{question} 给出框。",
            system_answer="",
            find_again="{images}\n{options}\n{question} 给出框。",
            answer="{images}\n{question}\n{options}\n在 \\boxed{} 中作答。",
            answer_crop="{images}\n{question}\n{options}\n在 \\boxed{} 中作答。",
            refusal="没有有效的框。",
            stop=("}]",),
        ),
    },
}


class Dialogue:
    """`max_turns` turns, 2 by default: boxes first, the answer in the last one."""

    prompts = PROMPTS

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._texts = pick(self.prompts, setup.prompt)
        self.max_turns = 2 if setup.max_turns is None else setup.max_turns

    def system(self, sample: Sample) -> str:
        texts = self._texts[language(sample)]
        template = texts.system_answer if self.max_turns == 1 else texts.system
        return self._setup.fill(template, sample)

    def first(self, sample: Sample) -> UserTurn:
        return self._whole(sample, 0)

    def next(self, sample: Sample, reply: Reply) -> UserTurn | End:
        turn = reply.turn + 1
        if turn == self.max_turns:
            return End.GRADED
        texts = self._texts[language(sample)]
        if not reply.boxes:
            again = self._whole(sample, turn)
            return replace(again, text=f"{texts.refusal}\n{again.text}")
        template = texts.answer_crop if self._last(turn) else texts.find_again
        return self._turn(sample, turn, template, "crops", len(reply.boxes))

    def _last(self, turn: int) -> bool:
        return turn == self.max_turns - 1

    def _whole(self, sample: Sample, turn: int) -> UserTurn:
        texts, count = self._texts[language(sample)], len(sample.images)
        template = texts.answer if self._last(turn) else texts.find
        return self._turn(sample, turn, template, "views", count)

    def _turn(self, sample: Sample, turn: int, template: str, show: str, count: int) -> UserTurn:
        # The options stay hidden while a box is asked for, unless `show_options` says otherwise.
        options = self._last(turn) or bool(self._setup.show_options)
        text = self._setup.fill(template, sample, count, options=options)
        if self._last(turn):
            return UserTurn(text, show)
        return UserTurn(text, show, True, self._setup.stop_at(self._texts[language(sample)].stop))
