"""Is the detail really hidden in the view? Two attempts to read it there, both given the answer.

1. A probe that knows the true position: a small network on the 17x17 pixels of the view around
   the object's centre, trained with the true pattern.
2. Supervised single-turn training of the embedded model with the vision tower unfrozen: view and
   question in, the true letter as the label.

Both must stay near chance (1 in 6). `python -m agents.tiny.probe` prints the figures as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from scipy.stats import binomtest
from torch import nn
from torch.nn import functional as F

from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.vlm import VLM
from hrvision_env.datasets import synthetic

from . import WEIGHTS
from .data import Row, draw_pictures, letter, row_of, say, single_text, view_of
from .language import Batch, taught_loss
from .model import SIDE

HALF = 8
"""Pixels of the view on either side of the true centre."""


def accuracy(right: int, n: int) -> dict[str, object]:
    """Accuracy with its Wilson 95% interval."""
    interval = binomtest(right, n).proportion_ci(method="wilson")
    return {"accuracy": right / n, "n": n, "interval": [interval.low, interval.high]}


def patches(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """View pixels around every object of fresh scenes: [n, 3, 17, 17], -1..1; patterns [n]."""
    found: list[np.ndarray] = []
    labels: list[int] = []
    while len(found) < count:
        scene = synthetic.draw_scene(rng, synthetic.STANDARD)
        pixels = np.asarray(view_of(synthetic.render(scene)))
        padded = np.pad(pixels, ((HALF, HALF), (HALF, HALF), (0, 0)), mode="edge")
        for thing in scene.things:
            x, y = (int(v * SIDE / scene.side) for v in (thing.x, thing.y))
            found.append(padded[y : y + 2 * HALF + 1, x : x + 2 * HALF + 1])
            labels.append(thing.pattern)
    stack = torch.from_numpy(np.stack(found)).float().permute(0, 3, 1, 2) / 127.5 - 1
    return stack, torch.tensor(labels)


def probe_at_position(
    seed: int, count: int, epochs: int, report: Callable[[str], None]
) -> dict[str, object]:
    """Attempt 1: train on `count` objects, measure on a tenth as many fresh ones."""
    torch.manual_seed(seed)
    rng = np.random.default_rng((4711, seed))
    train, labels = patches(rng, count)
    test, truth = patches(rng, count // 10)
    network = nn.Sequential(
        *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 6)),
    )
    network(train[:2])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.05)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(train)).split(256):
            loss = F.cross_entropy(network(train[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        report(f"probe, epoch {epoch + 1}/{epochs}: training loss {total / len(train):.4f}")
    network.eval()
    with torch.inference_mode():
        right = int((network(test).argmax(-1) == truth).sum())
    loss_now = total / len(train)
    return {**accuracy(right, len(test)), "objects": len(train), "training_loss": loss_now}


def single_turn_rows(
    rng: np.random.Generator, codec: Codec, count: int
) -> tuple[list[Row], list[int]]:
    """Fresh views with a single-turn question and the true letter."""
    rows, truth = [], []
    for picture in draw_pictures(rng, codec, count, synthetic.STANDARD, keep=False):
        thing = picture.scene.things[int(rng.integers(len(picture.scene.things)))]
        chat = Chat(codec)
        chat.observe(single_text(thing), [picture.view])
        taught = say(chat, f"\\boxed{{{letter(thing.pattern)}}}", end=True)
        rows.append(row_of(chat, taught))
        truth.append(thing.pattern)
    return rows, truth


def supervised_single_turn(
    seed: int, steps: int, batch: int, model: Path, report: Callable[[str], None]
) -> dict[str, object]:
    """Attempt 2: all weights trained on true letters; measured on 512 fresh questions."""
    torch.manual_seed(seed)
    vlm = VLM.load(model, freeze_vision=False)
    codec = vlm.codec
    rng = np.random.default_rng((4712, seed))
    optimizer = torch.optim.AdamW(vlm.model.parameters(), lr=5e-4)
    letters = torch.tensor([codec.encode(name)[0] for name in synthetic.OPTIONS])
    recent: list[float] = []

    def forward(rows: list[Row]) -> tuple[Batch, torch.Tensor]:
        together = Batch(vlm, rows)
        return together, together.hidden(vlm, vlm.encode_images(row.images[0] for row in rows))

    for step in range(steps):
        together, hidden = forward(single_turn_rows(rng, codec, batch)[0])
        loss = taught_loss(vlm, together, hidden)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # Three of the four taught tokens are the form and cost nothing; the letter has the rest.
        recent.append(4 * loss.item())
        if (step + 1) % 25 == 0:
            mean = np.mean(recent[-25:])
            report(f"single turn {step + 1}/{steps}: loss on the letter {mean:.3f}")
    right, n = 0, 512
    with torch.inference_mode():
        for _ in range(n // 64):
            rows, truth = single_turn_rows(rng, codec, 64)
            together, hidden = forward(rows)
            # The letter is the second taught token: predicted from the first, `\boxed{`.
            at = together.taught.long().argmax(-1)
            logits = vlm.lm_head(hidden[torch.arange(64), at])[:, letters]
            right += int((logits.argmax(-1) == torch.tensor(truth)).sum())
    return {**accuracy(right, n), "steps": steps, "loss_on_letter": float(np.mean(recent[-50:]))}


def probe(
    report: Callable[[str], None],
    seed: int = 0,
    objects: int = 14_000,
    steps: int = 300,
    model: Path = WEIGHTS,
) -> dict[str, object]:
    """Both attempts; chance is 1/6 and a loss of ln 6 = 1.792."""
    return {
        "at_true_position": probe_at_position(seed, objects, 12, report),
        "supervised_single_turn": supervised_single_turn(seed, steps, 32, model, report),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objects", type=int, default=14_000)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(stderr=True)
    result = probe(console.print, args.seed, args.objects, args.steps)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
