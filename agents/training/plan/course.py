"""How many tokens a step has: from the dialogue itself, played once, and the pixel budget.

The environment's own texts are counted; a made-up scene stands in for the questions, whose text is
a small part. Images count as large as `max_pixels` allows, crops between the two budgets.
G siblings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrvision_env.env import HighResVQAEnv

from ...config import Config
from .shapes import Shapes

CHARACTERS = 3.6
"""Of English text per token, where the model's tokenizer is not at hand."""
REPLY = '```json\n[{"bbox_2d": [250, 250, 750, 750], "label": "it"}]\n```'
SCENE: dict[str, Any] = {"dataset": "synthetic", "split": "test"}
DATA = ("dialogue", "prompt", "max_turns", "show_options", "max_boxes", "point_side")
"""What the texts and the number of turns depend on."""


@dataclass(frozen=True)
class Asked:
    """One user turn: tokens of its text and templates, and the images in it."""

    text: int
    views: int
    crops: int
    fresh: bool
    """What came before is hidden: a conversation begins anew."""

    def tokens(self, sizes: Sizes) -> int:
        return self.text + self.views * sizes.view + self.crops * sizes.crop


@dataclass(frozen=True)
class Sizes:
    """Tokens of what is not known before: replies and pictures."""

    reply: int
    view: int
    crop: int


@dataclass(frozen=True)
class Segment:
    """One conversation as the trainer sees it: a trajectory."""

    opening: int
    """Tokens before the first reply."""
    shared: bool
    """All siblings open alike."""
    rest: int
    """Tokens after it, replies included."""
    replies: int

    @property
    def length(self) -> int:
        return self.opening + self.rest


@dataclass(frozen=True)
class Course:
    """The turns of one episode."""

    turns: tuple[Asked, ...]

    @property
    def n_turns(self) -> int:
        return len(self.turns)

    @property
    def pictures(self) -> tuple[int, int]:
        """Views and crops that the vision tower sees in one episode."""
        return self.turns[0].views, sum(turn.crops for turn in self.turns)

    def segments(self, sizes: Sizes) -> tuple[Segment, ...]:
        found: list[list[int]] = []  # opening, rest, replies
        for turn in self.turns:
            if turn.fresh or not found:
                found.append([turn.tokens(sizes), sizes.reply, 1])
            else:
                found[-1][1] += turn.tokens(sizes) + sizes.reply
                found[-1][2] += 1
        return tuple(
            Segment(opening, n == 0, rest, replies)
            for n, (opening, rest, replies) in enumerate(found)
        )


def sizes_of(config: Config, shapes: Shapes, share: float) -> Sizes:
    """With replies, and crops between the two budgets, at this share of the largest."""
    area = max(shapes.factor, int(config.env["factor"])) ** 2
    token = shapes.factor**2
    view = max(area, int(config.env["max_pixels"])) // token
    small = max(area, int(config.env["min_pixels"])) // token
    crop = round(small + share * (view - small))
    return Sizes(max(1, round(share * config.rollout.max_tokens)), view, crop)


def course_of(config: Config) -> Course:
    """Play one episode of the config's dialogue, every reply before the last a valid box.

    Raises what the environment does for a dialogue that cannot be made.
    """
    count = counter(config.model.path)
    options = {key: config.env[key] for key in DATA if config.env.get(key) is not None}
    env = HighResVQAEnv(**SCENE, **options, box_dialect="relative_1000", box_parser="lenient")
    turns: list[Asked] = []
    try:
        seen, info = env.reset(seed=0)
        system, ended = info["system"], False
        view = info["view_size"]
        while not ended:
            turns.append(_asked(count, seen, info, view, system, first=not turns))
            reply = REPLY if info["turn"] + 1 < info["max_turns"] else "\\boxed{A}"
            seen, _, ended, _, info = env.step(reply)
            system = info["system"]
    finally:
        env.close()
    return Course(tuple(turns))


def _asked(
    count: Callable[[str], int],
    seen: Any,
    info: dict[str, Any],
    view: tuple[int, int],
    system: str,
    *,
    first: bool,
) -> Asked:
    fresh = first or bool(info["fresh"])
    text = count(seen["text"].replace("<image>", "")) + 2 * len(seen["images"])
    text += count("user\n") + count("\n") + 2 + count("assistant\n") + 1
    if system and fresh:
        text += count("system\n" + system) + count("\n") + 2
    if not fresh:
        text += count("\n")  # closes the reply
    crops = 0 if first else sum(image.size != view for image in seen["images"])
    return Asked(text, len(seen["images"]) - crops, crops, fresh and not first)


def counter(path: str) -> Callable[[str], int]:
    """What counts a text's tokens: the model's own tokenizer where it is at hand."""
    if (Path(path) / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path)
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
    return lambda text: max(1, round(len(text) / CHARACTERS)) if text else 0
