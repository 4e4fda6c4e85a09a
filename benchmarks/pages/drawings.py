"""Episodes as pictures: the view with the boxes, the crop, the texts.

Pictures are not stored with episodes. The recorded replies are played into the environment again,
which returns what the agent saw.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageColor, ImageDraw

from hrvision_env.env import HighResVQAEnv
from hrvision_env.records import Box, Episode, Sample
from hrvision_env.running import Shown

from ..metrics import Row
from .palette import BLUE, ORANGE
from .parts import EpisodeView, Picture, Question, TurnView, data_url

GOLD, OWN = ImageColor.getrgb(ORANGE), ImageColor.getrgb(BLUE)
"""Of frames; the gold one is dashed as well."""
SIDE = 384
"""Longest side of a drawn picture, pixels."""


def draw_questions(
    rows: Sequence[Row],
    environments: Mapping[str, Mapping[str, Any]],
    question_ids: Sequence[str],
    labels: Mapping[str, str],
) -> list[Question]:
    """The greedy episodes of some questions side by side, by agent in the order of `environments`.

    `environments` gives each agent's environment arguments, `labels` its name for people. An
    episode that failed is left out.
    """
    found = {
        (row["agent"], row["question_id"]): row
        for row in rows
        if not row["sampled"] and row["episode"]["outcome"] != "error"
    }
    questions = []
    for question_id in question_ids:
        views, sample = [], None
        for agent, options in environments.items():
            if (agent, question_id) in found:
                label = labels.get(agent, agent)
                view, sample = draw_episode(label, found[agent, question_id], options)
                views.append(view)
        if sample is not None:
            questions.append(_question(sample, views))
    return questions


def _question(sample: Sample, views: Sequence[EpisodeView]) -> Question:
    options = " · ".join(f"{key} {text}" for key, text in (sample.options or {}).items())
    return Question(sample.id, sample.question, options, ", ".join(sample.answers), views)


def draw_episode(agent: str, row: Row, options: Mapping[str, Any]) -> tuple[EpisodeView, Sample]:
    """Play a recorded episode again and draw it."""
    episode = Episode.from_dict(row["episode"])
    env = HighResVQAEnv(**options)
    try:
        env.reset(options={"question_id": episode.question_id})
        for turn in episode.turns[:-1]:
            env.step(turn.reply)
        sample, shown = env.sample, list(env.running.shown)
    finally:
        env.close()
    turns = [TurnView(turn.text, turn.reply, _note(turn)) for turn in episode.turns]
    outcome = f"{episode.outcome}: {episode.answer or 'no answer'}"
    view = EpisodeView(agent, outcome, episode.correct, _pictures(episode, sample, shown), turns)
    return view, sample


def _note(turn: Any) -> str:
    if turn.box is not None and turn.crop_size:
        return f"valid box; the crop comes back at {turn.crop_size[0]} x {turn.crop_size[1]} pixels"
    return f"no valid box: {turn.invalid_reason}" if turn.invalid_reason else ""


def _pictures(episode: Episode, sample: Sample, shown: Sequence[Shown]) -> list[Picture]:
    """The view that holds the box (or the first one) with the boxes on it, and the last crop."""
    own = episode.boxes[-1] if episode.boxes else None
    gold = [box for box in sample.boxes if own is None or box.image_index == own.image_index]
    index = own.image_index if own else (gold[0].image_index if gold else 0)
    view = next(s.image for s in shown if s.frame.image_index == index and not s.is_crop)
    boxes = [(box, GOLD) for box in gold] + ([(own, OWN)] if own else [])
    drawn = draw_boxes(view, episode.image_sizes[index], boxes)
    caption = f"what it sees ({view.width} x {view.height}): its box blue, the gold box dashed"
    pictures = [Picture(_url(drawn), "view with boxes", caption=caption, pixelated=True)]
    if crops := [s.image for s in shown if s.is_crop]:
        crop = crops[-1]
        caption = f"what comes back ({crop.width} x {crop.height})"
        pictures.append(Picture(_url(enlarge(crop)), "crop", caption=caption, pixelated=True))
    return pictures


def enlarge(image: Image.Image) -> Image.Image:
    """To SIDE pixels; a small image by whole pixels, so that it shows what a model is given."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = scale > 1
    return image.resize(size, Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC)


def draw_boxes(
    view: Image.Image, original: tuple[int, int], boxes: Sequence[tuple[Box, tuple[int, ...]]]
) -> Image.Image:
    """An enlarged copy of a view with boxes, which are in pixels of the original image."""
    picture = enlarge(view).copy()
    canvas = ImageDraw.Draw(picture)
    x_scale, y_scale = picture.width / original[0], picture.height / original[1]
    for box, colour in boxes:
        corners = [box.x1 * x_scale, box.y1 * y_scale, box.x2 * x_scale, box.y2 * y_scale]
        for grow, fill, width in ((1, (255, 255, 255), 5), (0, colour, 3)):
            frame = (corners[0] - grow, corners[1] - grow, corners[2] + grow, corners[3] + grow)
            canvas.rectangle(frame, outline=fill, width=width)
        if colour == GOLD:
            _dash(canvas, corners)
    return picture


def _dash(canvas: ImageDraw.ImageDraw, corners: Sequence[float]) -> None:
    """White gaps in a frame."""
    x1, y1, x2, y2 = map(round, corners)
    for x in range(x1 + 8, x2 - 4, 14):
        for y in (y1 + 1, y2 - 1):
            canvas.line((x, y, x + 5, y), fill="white", width=3)
    for y in range(y1 + 8, y2 - 4, 14):
        for x in (x1 + 1, x2 - 1):
            canvas.line((x, y, x, y + 5), fill="white", width=3)


def _url(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return data_url(buffer.getvalue())
