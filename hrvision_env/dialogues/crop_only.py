"""A box, then an answer from the crop alone: the original is withheld (HART, arXiv 2602.23615).

1. As in `mgpo`: the view, the question without its options, and a box is asked for.
2. A *new conversation* that shows nothing but the crop, the question and the options. A right
   answer thus verifies the box: there is nothing else to read it from.

Without a valid box the agent is asked again while turns are left for it (nothing is shown twice);
after that the episode ends without an answer, reward 0: a blind guess would verify nothing. With
`max_turns=1` the only turn asks for the answer on the view, as in `mgpo`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..records import Sample
from . import End, Reply, Setup, UserTurn, language, pick


@dataclass(frozen=True, slots=True)
class Texts:
    """One prompt in one language."""

    system: str
    find: str
    """Asks for a box on the whole image."""
    refusal: str
    """Asks again, without an image, when the reply held no valid box."""
    answer: str
    """Asks for the answer; the crop (with one turn: the view) is all there is."""
    stop: tuple[str, ...] = ()
    """End a reply that is asked for a box in JSON; none: as the form says."""


PROMPTS = {
    "paper": {
        "en": Texts(
            system="You are a helpful assistant. You answer questions about images.",
            find=(
                "{images}\n{question}\n{options}\n"
                "Do not answer yet. Give the coordinates of the image area that holds everything "
                "needed for the answer {notation}, {frame}, and stop there:\n"
                "{box}\n"
                "The answer will be given from that area alone, enlarged.{also}"
            ),
            refusal=(
                "Your reply holds no valid box. Give the coordinates of the area {notation}, "
                "{frame}."
            ),
            answer=(
                "{images}\n{question}\n{options}\n"
                "Reason step by step, then put {answer} into \\boxed{}."
            ),
        ),
        "zh": Texts(
            system="你是一个乐于助人的助手，回答关于图像的问题。",
            find=(
                "{images}\n{question}\n{options}\n"
                "先不要回答。请{notation}给出包含回答所需全部信息的图像区域的坐标，{frame}，"
                "然后停止：\n"
                "{box}\n"
                "随后将只根据该区域的放大图作答。{also}"
            ),
            refusal="你的回复中没有有效的框。请{notation}给出区域的坐标，{frame}。",
            answer="{images}\n{question}\n{options}\n请逐步推理，然后把{answer}写进 \\boxed{}。",
        ),
    },
    "brief": {
        "en": Texts(
            system="",
            find="{images}\n{options}\n{question} Give the box.",
            refusal="No valid box. Give the box.",
            answer="{images}\n{question}\n{options}\nAnswer in \\boxed{}.",
            stop=("}]",),
        ),
        "zh": Texts(
            system="",
            find="{images}\n{options}\n{question} 给出框。",
            refusal="没有有效的框。给出框。",
            answer="{images}\n{question}\n{options}\n在 \\boxed{} 中作答。",
            stop=("}]",),
        ),
    },
}


class Dialogue:
    """At most `max_turns` turns, 2 by default: boxes until one is valid, then the answer."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._texts = pick(PROMPTS, setup.prompt)
        self.max_turns = 2 if setup.max_turns is None else setup.max_turns

    def system(self, sample: Sample) -> str:
        return self._setup.fill(self._texts[language(sample)].system, sample)

    def first(self, sample: Sample) -> UserTurn:
        texts, count = self._texts[language(sample)], len(sample.images)
        if self.max_turns == 1:
            return UserTurn(self._setup.fill(texts.answer, sample, count))
        return self._find(sample, texts.find, "views", count)

    def next(self, sample: Sample, reply: Reply) -> UserTurn | End:
        texts = self._texts[language(sample)]
        if reply.boxes:
            text = self._setup.fill(texts.answer, sample, len(reply.boxes))
            return UserTurn(text, "crops", fresh=True)
        if reply.reason is None:  # the reply was not read for a box: it is the answer
            return End.GRADED
        # A box needs one more turn after it, for the answer.
        if reply.turn + 2 >= self.max_turns:
            return End.UNANSWERED
        return self._find(sample, texts.refusal, "nothing", 0)

    def _find(self, sample: Sample, template: str, show: str, n_images: int) -> UserTurn:
        options = bool(self._setup.show_options)
        text = self._setup.fill(template, sample, n_images, options=options)
        return UserTurn(text, show, True, self._setup.stop_at(self._texts[language(sample)].stop))
