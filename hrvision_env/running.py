"""One episode while it runs: what the environment knows, and how it tells it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from .dialogues import UserTurn
from .images import Frame
from .records import Episode, Outcome, Sample, Turn

Observation = dict[str, Any]
Info = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """The images of one sample as an agent sees them; siblings of a group share one scene."""

    views: tuple[Image.Image, ...] = ()
    frames: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What all episodes of an environment have in common."""

    dataset: str
    split: str
    dialogue: str
    prompt: str
    system: str
    max_turns: int
    expose_target: bool


@dataclass(slots=True)
class Running:
    """The state of one episode. `user` and `images` are the current user turn."""

    setting: Setting
    sample: Sample
    scene: Scene
    user: UserTurn
    images: tuple[Image.Image, ...]
    turns: list[Turn] = field(default_factory=list)
    boxed: Turn | None = None
    """The last turn whose reply was read for a box."""
    crop: Image.Image | None = None
    """The crop of its box."""
    outcome: Outcome = Outcome.OPEN
    reward: float = 0.0
    answer: str = ""
    error: str = ""

    @property
    def open(self) -> bool:
        return self.outcome is Outcome.OPEN

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
            system=self.setting.system,
            image_sizes=tuple(frame.original for frame in self.scene.frames),
            view_sizes=tuple(frame.seen for frame in self.scene.frames),
            turns=tuple(self.turns),
            outcome=self.outcome,
            reward=self.reward,
            answer=self.answer,
            error=self.error,
        )

    def info(self) -> Info:
        """Keys and types as in the docstring of `HighResVQAEnv`."""
        turn = self.boxed or Turn("", 0, "")
        frame = self.scene.frames[0] if self.scene.frames else Frame((0, 0), (0, 0))
        box = turn.box
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
            "box": (box.x1, box.y1, box.x2, box.y2) if box else (),
            "box_raw": turn.box_raw,
            "box_valid": box is not None,
            "invalid_reason": turn.invalid_reason,
            "crop_size": turn.crop_size or (),
            "n_crops": sum(t.crop_size is not None for t in self.turns),
            "answer": self.answer,
            "correct": self.outcome is Outcome.CORRECT,
            "system": self.setting.system,
            "stop": self.user.stop if self.open else (),
        }
        if self.setting.expose_target:
            info["target"] = tuple(self.sample.answers)
        return info
