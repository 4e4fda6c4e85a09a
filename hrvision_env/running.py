"""One episode while it runs: what the environment knows, and how it tells it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from .dialogues import UserTurn
from .images import Frame
from .records import Episode, Excerpt, Outcome, Sample, Turn

Observation = dict[str, Any]
Info = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One image that the agent was shown: a view or a crop."""

    image: Image.Image
    frame: Frame
    turn: int = 0
    """The user turn that showed it, counted from 0."""
    excerpt: Excerpt | None = None
    """What it shows, where that is not the region of the box that it was shown for."""

    @property
    def is_crop(self) -> bool:
        return self.frame.region is not None


@dataclass(frozen=True, slots=True)
class Setting:
    """What all episodes of an environment have in common."""

    dialogue: str
    prompt: str
    max_turns: int
    expose_target: bool
    grader: str = "strict"
    crop: str = "real"


@dataclass(slots=True)
class Running:
    """The state of one episode."""

    setting: Setting
    sample: Sample
    views: tuple[Shown, ...]
    """The images of the sample as the agent sees them; siblings of a group share them."""
    system: str = ""
    user: UserTurn = field(default_factory=lambda: UserTurn("", "nothing"))
    """The current user turn."""
    shown: list[Shown] = field(default_factory=list)
    """Every image shown so far, in the order of the `<image>` markers."""
    start: int = 0
    """How many of them belong to an earlier conversation that is hidden now."""
    turns: list[Turn] = field(default_factory=list)
    boxed: Turn | None = None
    """The last turn whose reply was read for boxes."""
    outcome: Outcome = Outcome.OPEN
    reward: float = 0.0
    answer: str = ""
    error: str = ""

    @property
    def open(self) -> bool:
        return self.outcome is Outcome.OPEN

    @property
    def images(self) -> tuple[Image.Image, ...]:
        """The images of the current user turn."""
        return tuple(shown.image for shown in self.shown if shown.turn == len(self.turns))

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Of every image of the conversation so far: what a box may refer to."""
        return tuple(shown.frame for shown in self.shown[self.start :])

    def say(self, user: UserTurn, images: tuple[Shown, ...]) -> None:
        """The next user turn, with its images."""
        self.user = user
        if user.fresh:
            self.start = len(self.shown)
        turn = len(self.turns)
        self.shown.extend(replace(shown, turn=turn) for shown in images)

    def fail(self, error: str) -> None:
        """End with outcome `error`."""
        self.outcome, self.reward, self.error = Outcome.ERROR, 0.0, error

    def observation(self) -> Observation:
        """The current user turn; empty after the end."""
        if not self.open:
            return {"text": "", "images": ()}
        return {"text": self.user.text, "images": self.images}

    def episode(self) -> Episode:
        """The record as it stands."""
        return Episode(
            question_id=self.sample.id,
            dataset=self.sample.source,
            split=self.sample.split,
            dialogue=self.setting.dialogue,
            prompt=self.setting.prompt,
            system=self.system,
            image_sizes=tuple(view.frame.original for view in self.views),
            view_sizes=tuple(view.frame.seen for view in self.views),
            turns=tuple(self.turns),
            outcome=self.outcome,
            reward=self.reward,
            answer=self.answer,
            error=self.error,
            crop=self.setting.crop,
        )

    def info(self) -> Info:
        """Keys and types as in the docstring of `HighResVQAEnv`."""
        turn = self.boxed or Turn("", 0, "")
        boxes = tuple((b.x1, b.y1, b.x2, b.y2, b.image_index) for b in turn.boxes)
        frame = self.views[0].frame if self.views else Frame((0, 0), (0, 0))
        info: Info = {
            "question_id": self.sample.id,
            "dataset": self.sample.source,
            "split": self.sample.split,
            "category": tuple(self.sample.category),
            "image_size": frame.original,
            "view_size": frame.seen,
            "turn": len(self.turns),
            "max_turns": self.setting.max_turns,
            "outcome": self.outcome.value,
            "box": boxes[0][:4] if boxes else (),
            "boxes": boxes,
            "box_raw": turn.box_raw,
            "box_valid": bool(boxes),
            "invalid_reason": turn.invalid_reason,
            "crop_size": turn.crop_size or (),
            "n_crops": sum(len(t.crop_sizes) for t in self.turns),
            "answer": self.answer,
            "correct": self.outcome is Outcome.CORRECT,
            "system": self.system,
            "error": self.error,
            "stop": self.user.stop if self.open else (),
            "fresh": self.user.fresh and self.open,
        }
        if self.setting.expose_target:
            info["target"] = tuple(self.sample.answers)
        return info
