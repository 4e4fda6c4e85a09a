"""One turn: box and answer in one reply, nothing comes back.

The baseline of the MGPO paper (arXiv 2507.05920, section 4): grounding is asked for, is recorded,
and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Sample
from . import End, Reply, Setup, UserTurn, language, pick


@dataclass(frozen=True, slots=True)
class Texts:
    """One prompt in one language."""

    system: str
    ask: str


PROMPTS = {
    "paper": {
        "en": Texts(
            system=(
                "You are a helpful assistant. Find the area of the image that matters most for "
                "the question and give its coordinates {notation}, {frame}:\n"
                "{box}\n"
                "Then reason step by step and put the final answer into \\boxed{}: for a question "
                "with options, only the letter."
            ),
            ask=(
                "{images}\n{question}\n{options}\n"
                "Give the coordinates of the image area that the question is about {notation}, "
                "then put {answer} into \\boxed{}.{also}"
            ),
        ),
        "zh": Texts(
            system=(
                "你是一个乐于助人的助手。请找出图像中对回答问题最重要的区域，{notation}给出其坐标，"
                "{frame}：\n"
                "{box}\n"
                "然后逐步推理，把最终答案写进 \\boxed{}：有选项的问题只写字母。"
            ),
            ask=(
                "{images}\n{question}\n{options}\n"
                "请{notation}给出问题所涉及的图像区域的坐标，然后把{answer}写进 \\boxed{}。{also}"
            ),
        ),
    },
    "brief": {
        "en": Texts(
            system="",
            ask="{images}\n{question}\n{options}\nGive the box, then answer in \\boxed{}.",
        ),
        "zh": Texts(
            system="",
            ask="{images}\n{question}\n{options}\n给出框，然后在 \\boxed{} 中作答。",
        ),
    },
}


class Dialogue:
    """One user turn, one reply. A larger `max_turns` is a budget that is never used up.

    Raises ValueError for `show_options=False`: no other turn could show them.
    """

    max_turns = 1

    def __init__(self, setup: Setup) -> None:
        if setup.show_options is False:
            raise ValueError("show_options: got False, expected None or True in a single turn")
        self._setup = setup
        self._texts = pick(PROMPTS, setup.prompt)

    def system(self, sample: Sample) -> str:
        return self._setup.fill(self._texts[language(sample)].system, sample)

    def first(self, sample: Sample) -> UserTurn:
        ask = self._texts[language(sample)].ask
        return UserTurn(self._setup.fill(ask, sample, len(sample.images)), wants_box=True)

    def next(self, sample: Sample, reply: Reply) -> End:
        return End.GRADED
