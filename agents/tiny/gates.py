"""What the warm start must have reached, and must not have, before reinforcement learning.

Reading has to fall with the box's side and with its distance from the centre: the reward's slope
is what pulls boxes tighter and straighter. Looking has to be loose, or there is nothing to learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from agents.rollout.engines import Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.evaluate import evaluate
from agents.vlm import VLM
from hrvision_env.datasets import synthetic
from hrvision_env.diagnostics import aggregate, diagnose

from . import ENV
from .data import clear_crop, draw_pictures, letter, read_row
from .language import Batch, Material

CROPS = 192
"""Crops per figure of reading."""
SIDES = (50, 75, 100, 125, 150, 175, 200, 225, 250, 300, 350)


@dataclass(frozen=True)
class Gate:
    """A measured figure and the range that it must lie in."""

    name: str
    value: float
    low: float = 0.0
    high: float = 1.0

    @property
    def passed(self) -> bool:
        return self.low <= self.value <= self.high


def reading(
    vlm: VLM,
    rng: np.random.Generator,
    material: Material,
    side: float,
    off_centre: float,
    n: int = CROPS,
) -> float:
    """Share of fresh crops of one side (1/1000) and offset (share of the side) read rightly."""
    codec = vlm.codec
    letters = torch.tensor([codec.encode(letter(i))[0] for i in range(len(synthetic.OPTIONS))])
    right = 0
    for _ in range(n // 64):
        drawn = draw_pictures(rng, codec, 16, synthetic.STANDARD)
        clear = [clear_crop(rng, codec, p, (side, side), off_centre) for p in drawn * 4]
        features = material.features | vlm.encode_images(c.image for c in clear)
        others = [material.pictures[i] for i in rng.integers(len(material.pictures), size=64)]
        rows = [read_row(rng, codec, o, c) for o, c in zip(others, clear, strict=True)]
        batch = Batch(vlm, rows)
        with torch.inference_mode():
            # The letter is the second taught token: predicted from the first, `\boxed{`.
            at = batch.taught.long().argmax(-1)
            logits = vlm.lm_head(batch.hidden(vlm, features)[torch.arange(64), at])[:, letters]
        truth = torch.tensor([c.thing.pattern for c in clear])
        right += int((logits.argmax(-1) == truth).sum())
    return right / (n // 64 * 64)


def reading_table(vlm: VLM, rng: np.random.Generator, material: Material) -> dict[str, list[float]]:
    """Reading accuracy by side, centred and with the object a third of the side off."""
    return {
        "side": [float(side) for side in SIDES],
        "centred": [reading(vlm, rng, material, side, 0.0) for side in SIDES],
        "off_centre": [reading(vlm, rng, material, side, 0.33) for side in SIDES],
    }


def play(vlm: VLM, n: int, *, dialogue: str = "mgpo", temperature: float = 0.0) -> dict[str, float]:
    """Accuracy and grounding over `n` training questions, played through the environment."""
    sampling = Sampling(max_tokens=32, temperature=temperature)
    env = {**ENV, "dialogue": dialogue, "split": "train", "seed": 1}
    played = evaluate(env, TransformersEngine(vlm), range(n), sampling)
    metrics = aggregate(diagnose(sample, episode) for sample, episode in played)
    return {"accuracy": sum(e.correct for _, e in played) / n, "n": n, **metrics}


def tight_gates(greedy: dict[str, float]) -> list[Gate]:
    """After stage 2: the supervised tight model is the ceiling, kept as a figure only."""
    return [Gate("tight: greedy hit rate", greedy["hit_rate"], low=0.87)]


def loose_gates(measured: dict[str, dict[str, float]], table: dict[str, list[float]]) -> list[Gate]:
    """After stage 3."""
    by_side = dict(zip(table["side"], table["centred"], strict=True))
    greedy, sampled, single = (measured[k] for k in ("greedy", "sampled", "single_turn"))
    return [
        *(Gate(f"reading, side {side}", by_side[side], low=0.9) for side in (75, 100, 150)),
        *(Gate(f"reading, side {side}", by_side[side], high=0.35) for side in (250, 300)),
        Gate("greedy hit rate", greedy["hit_rate"], low=0.9),
        Gate("sampled hit rate", sampled["hit_rate"], low=0.40, high=0.55),
        Gate("sampled box side / 1000", sampled["box_side"] / 1000, low=0.20, high=0.27),
        Gate("two-turn accuracy", greedy["accuracy"], low=0.20, high=0.45),
        Gate("single-turn accuracy", single["accuracy"], low=0.10, high=0.23),
    ]
