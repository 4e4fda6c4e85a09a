"""Stages 2 and 3 of the warm start: the decoder learns to find, to read and to keep the form.

The vision tower stays as stage 1 left it, so its features are computed once. Linear heads, thrown
away afterwards, help grounding over a plateau of thousands of steps. At the colour word: which of
the view's tokens holds the object, by a dot product with the visual tokens. There and at the last
token of the prompt: the same cell, and the centre within the view. (The word is one step of
attention away from the object, the last token two; without the head at the word the second step
has nothing to copy and is not found.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.features import ImageFeatures
from agents.rollout.codec import Codec
from agents.vlm import VLM
from hrvision_env.datasets.synthetic import COLOURS, STANDARD, Family

from .data import (
    Clear,
    Labels,
    Picture,
    Row,
    clear_crop,
    draw_pictures,
    find_row,
    guess_row,
    read_row,
)
from .model import MERGE, PATCH, SIDE

FEW = Family(objects=(1, 2))
"""Scenes with few objects: without them grounding does not start."""


class Pointing(nn.Module):
    """The throw-away pointing heads."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, features)
        self.cell = nn.Linear(features, (SIDE // (PATCH * MERGE)) ** 2)
        self.centre = nn.Linear(features, 2)


@dataclass
class Material:
    """Scenes and crops with frozen features, by image hash."""

    few: list[Picture]
    pictures: list[Picture]
    clear: list[Clear]
    features: dict[str, ImageFeatures]


def prepare(vlm: VLM, rng: np.random.Generator, scenes: int) -> Material:
    """Draw scenes (a fifth with few objects) and crops, and encode every image once."""
    pictures: dict[Family, list[Picture]] = {FEW: [], STANDARD: []}
    clear: list[Clear] = []
    features: dict[str, ImageFeatures] = {}
    codec = vlm.codec
    for n in range(scenes // 50):
        family = FEW if n % 5 == 0 else STANDARD
        drawn = draw_pictures(rng, codec, 50, family)
        cut = [clear_crop(rng, codec, p, (50, 220)) for p in drawn for _ in range(2)]
        cut += [clear_crop(rng, codec, p, (220, 400)) for p in drawn[:15]]
        features |= vlm.encode_images([*(p.view for p in drawn), *(c.image for c in cut)])
        pictures[family] += [Picture(p.scene, None, p.view) for p in drawn]
        clear += [Clear(c.thing, c.side, c.image) for c in cut]
    return Material(pictures[FEW], pictures[STANDARD], clear, features)


class Batch:
    """Rows padded on the right."""

    def __init__(self, vlm: VLM, rows: Sequence[Row]) -> None:
        length = max(len(row.ids) for row in rows)
        self.rows = rows
        self.ids = torch.full((len(rows), length), vlm.codec.pad)
        self.mask = torch.zeros(len(rows), length, dtype=torch.bool)
        self.taught = torch.zeros(len(rows), length, dtype=torch.bool)
        self.positions = torch.zeros(3, len(rows), length, dtype=torch.long)
        for b, row in enumerate(rows):
            n = len(row.ids)
            self.ids[b, :n] = torch.tensor(row.ids)
            self.mask[b, :n] = True
            self.taught[b, :n] = torch.tensor(row.taught)
            self.positions[:, b, :n] = vlm.positions(row.ids, [i.grid for i in row.images])

    def hidden(self, vlm: VLM, features: dict[str, ImageFeatures]) -> Tensor:
        """[B, T, D] of the decoder's last layer, on precomputed image features."""
        images = [features[image.hash] for row in self.rows for image in row.images]
        return vlm.hidden(self.ids, self.positions, self.mask, images)


def taught_loss(vlm: VLM, batch: Batch, hidden: Tensor) -> Tensor:
    """Mean cross-entropy over taught tokens."""
    taught = batch.taught[:, 1:]
    return F.cross_entropy(vlm.lm_head(hidden[:, :-1][taught]), batch.ids[:, 1:][taught])


def pointing_loss(
    heads: Pointing, codec: Codec, batch: Batch, hidden: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Loss of the pointing heads over grounding rows, and how well they do."""
    colours = torch.tensor([codec.encode(f" {name}")[0] for name in COLOURS])
    cells = torch.tensor([row.cell for row in batch.rows])
    centres = torch.tensor([row.centre for row in batch.rows])
    index = torch.arange(len(cells))
    visual = hidden[batch.ids == codec.image].view(len(cells), -1, hidden.shape[-1])
    word = torch.isin(batch.ids, colours).long().argmax(-1)
    query = heads.query(hidden[index, word])
    scores = torch.einsum("bd,bnd->bn", query, visual) / hidden.shape[-1] ** 0.5
    loss = F.cross_entropy(scores, cells)
    report = {"by query": float((scores.argmax(-1) == cells).float().mean())}
    last = batch.taught.long().argmax(-1) - 1
    for name, place in (("word", word), ("end", last)):
        state = hidden[index, place]
        cell = heads.cell(state)
        distance = (heads.centre(state) - centres).abs().mean()
        loss = loss + F.cross_entropy(cell, cells) + 4 * distance
        report[f"{name}: cell"] = float((cell.argmax(-1) == cells).float().mean())
        report[f"{name}: distance"] = distance.item()
    return loss, report


@dataclass(frozen=True)
class Mix:
    """Rows per step."""

    find: int = 48
    read: int = 20
    guess: int = 10

    def draw(
        self,
        rng: np.random.Generator,
        codec: Codec,
        material: Material,
        labels: Labels,
        few: float,
    ) -> list[Row]:
        """`few` is the share of scenes with few objects."""

        def picture() -> Picture:
            source = material.few if rng.random() < few else material.pictures
            return source[int(rng.integers(len(source)))]

        def clear() -> Clear:
            return material.clear[int(rng.integers(len(material.clear)))]

        return [
            *(find_row(rng, codec, picture(), labels) for _ in range(self.find)),
            *(read_row(rng, codec, picture(), clear()) for _ in range(self.read)),
            *(guess_row(rng, codec, picture(), labels) for _ in range(self.guess)),
        ]


def train_language(
    vlm: VLM,
    rng: np.random.Generator,
    material: Material,
    labels: Labels,
    steps: int,
    lr: float,
    pointing: bool,
    report: Callable[[str], None],
) -> None:
    """Run stage 2 (tight labels, with pointing heads) or stage 3 (loose labels) in place."""
    heads = Pointing(vlm.model.config.text_config.hidden_size)
    parameters = [*vlm.body.language_model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps, pct_start=0.08
    )
    for step in range(steps):
        done = step / steps
        few = 0.5 if pointing and done < 0.15 else 0.05
        rows = Mix().draw(rng, vlm.codec, material, labels, few)
        # Short and long rows apart: padding a box reply to a two-turn conversation costs a third.
        find, rest = Batch(vlm, rows[: Mix.find]), Batch(vlm, rows[Mix.find :])
        optimizer.zero_grad()
        hidden = find.hidden(vlm, material.features)
        found = taught_loss(vlm, find, hidden)
        extra = torch.tensor(0.0)
        report_pointing: dict[str, float] = {}
        if pointing:
            extra, report_pointing = pointing_loss(heads, vlm.codec, find, hidden)
        # The heads open the way; later they would only take gradient from the coordinates.
        weight = 2.0 if done < 0.3 else 0.2
        (found + weight * extra).backward()
        other = taught_loss(vlm, rest, rest.hidden(vlm, material.features))
        other.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 25 == 0:
            report(
                f"language {step + 1}/{steps}: find {found.item():.3f}, read and guess "
                f"{other.item():.3f} "
                + ", ".join(f"{name} {value:.2f}" for name, value in report_pointing.items())
            )
