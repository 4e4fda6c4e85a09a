r"""Up to K turns in which the agent decides: look closer, or answer (MGPO, Algorithm 1).

A reply with a final answer (`\boxed{}` or `<answer>`) ends the episode. A reply with a valid box
brings the crop, and the agent goes on; boxes may name any image shown so far, a crop too, so that
it can zoom in step by step. A reply with neither is told so. The last turn says that it is the
last, and whatever is replied there is graded.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..actions.answer import is_explicit
from ..records import Sample
from . import End, Reply, Setup, UserTurn, language, pick
from .mgpo import PROMPTS as MGPO

TURNS = 4
"""Replies at most, by default."""


@dataclass(frozen=True, slots=True)
class Texts:
    """One prompt in one language."""

    system: str
    system_answer: str
    """In its place when there is only one turn."""
    ask: str
    """Opens the conversation."""
    crop: str
    """Shows the crops of the last reply."""
    refusal: str
    """The reply held neither a valid box nor a final answer; nothing is shown."""
    more: str
    """Follows when there are more turns."""
    last: str
    """Follows when the next reply is the last one."""
    stop: tuple[str, ...] = ()
    """End a reply that gives a box in JSON; none: as the form says."""


PROMPTS = {
    "paper": {
        "en": Texts(
            system=(
                "You are a helpful assistant. You answer questions about images and may look "
                "closer before you do. To look closer, end your reply with the coordinates of an "
                "area {notation}, {frame}, and stop there:\n"
                "{box}\n"
                "That area is then cut out, enlarged and shown to you. The coordinates refer to "
                "{target}.{also}\n"
                "As soon as you know, put the final answer into \\boxed{}: for a question with "
                "options, only the letter."
            ),
            system_answer=MGPO["paper"]["en"].system_answer,
            ask="{images}\n{question}\n{options}\nReason step by step.",
            crop="{images}\n{crops}",
            refusal="Your reply holds neither a valid box nor a final answer in \\boxed{}.",
            more=" Look closer where it helps, or put {answer} into \\boxed{}.",
            last=" This is your last reply: put {answer} into \\boxed{}.",
        ),
        "zh": Texts(
            system=(
                "你是一个乐于助人的助手，回答关于图像的问题，回答之前可以放大查看。"
                "要放大查看，请在回复的末尾{notation}给出区域的坐标，{frame}，然后停止：\n"
                "{box}\n"
                "随后会裁出该区域，放大后展示给你。坐标属于{target}。{also}\n"
                "一旦知道答案，就把最终答案写进 \\boxed{}：有选项的问题只写字母。"
            ),
            system_answer=MGPO["paper"]["zh"].system_answer,
            ask="{images}\n{question}\n{options}\n请逐步推理。",
            crop="{images}\n{crops}",
            refusal="你的回复中既没有有效的框，也没有写进 \\boxed{} 的最终答案。",
            more="需要时放大查看，或者把{answer}写进 \\boxed{}。",
            last="这是你的最后一次回复：请把{answer}写进 \\boxed{}。",
        ),
    },
    "brief": {
        "en": Texts(
            system="",
            system_answer="",
            ask="{images}\n{question}\n{options}\n",
            crop="{images}\n",
            refusal="No valid box and no answer in \\boxed{}. ",
            more="Give a box to look closer, or answer in \\boxed{}.",
            last="Answer now in \\boxed{}.",
            stop=("}]",),
        ),
        "zh": Texts(
            system="",
            system_answer="",
            ask="{images}\n{question}\n{options}\n",
            crop="{images}\n",
            refusal="没有有效的框，\\boxed{} 中也没有答案。",
            more="给出框以放大查看，或在 \\boxed{} 中作答。",
            last="现在在 \\boxed{} 中作答。",
            stop=("}]",),
        ),
    },
}


class Dialogue:
    """At most `max_turns` replies, 4 by default; an answer ends it at any time.

    Raises ValueError for `show_options=False`: the agent may answer in any turn.
    """

    def __init__(self, setup: Setup) -> None:
        if setup.show_options is False:
            raise ValueError(
                "show_options: got False, expected None or True where any turn may answer"
            )
        self._setup = setup
        self._texts = pick(PROMPTS, setup.prompt)
        self.max_turns = TURNS if setup.max_turns is None else setup.max_turns

    def system(self, sample: Sample) -> str:
        texts = self._texts[language(sample)]
        template = texts.system_answer if self.max_turns == 1 else texts.system
        return self._setup.fill(template, sample, zoom=True)

    def first(self, sample: Sample) -> UserTurn:
        return self._turn(sample, 0, self._texts[language(sample)].ask, "views", len(sample.images))

    def next(self, sample: Sample, reply: Reply) -> UserTurn | End:
        turn = reply.turn + 1
        if turn == self.max_turns or is_explicit(reply.text):
            return End.GRADED
        texts = self._texts[language(sample)]
        if reply.boxes:
            return self._turn(sample, turn, texts.crop, "crops", len(reply.boxes))
        return self._turn(sample, turn, texts.refusal, "nothing", 0)

    def _turn(self, sample: Sample, turn: int, template: str, show: str, count: int) -> UserTurn:
        texts = self._texts[language(sample)]
        if turn == self.max_turns - 1:
            return UserTurn(self._setup.fill(template + texts.last, sample, count), show)
        text = self._setup.fill(template + texts.more, sample, count)
        return UserTurn(text, show, True, self._setup.stop_at(texts.stop), may_answer=True)
