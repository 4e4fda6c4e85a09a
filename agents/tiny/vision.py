"""Stage 1 of the warm start: the vision tower learns to read clear crops and to see a view.

Both heads are linear and thrown away: one reads the pattern of a crop, pooled over its tokens by
a learned attention; one says for every token of a view which colours have their centre in it, and
where in the whole view that centre is (a place within the token alone would let the features
forget where they are, and the decoder could not turn them into coordinates). Only the tower and
its merger are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.rollout.codec import EncodedImage
from agents.vlm import VLM
from hrvision_env.datasets.synthetic import COLOURS, PATTERNS, STANDARD

from .data import Picture, clear_crop, draw_pictures
from .model import MERGE, PATCH, SIDE

CELLS = SIDE // (PATCH * MERGE)
"""Tokens of a view per row and column."""
COLOUR_INDEX = {name: i for i, name in enumerate(COLOURS)}


class Heads(nn.Module):
    """The throw-away heads; D features per token."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Linear(features, 1)
        self.pattern = nn.Linear(features, len(PATTERNS))
        self.colours = nn.Linear(features, 3 * len(COLOURS))
        self.place = nn.Linear(features, CELLS * CELLS)

    def read(self, tokens: Tensor) -> Tensor:
        """[n, D] tokens of one crop -> [6] pattern logits."""
        return (self.weight(tokens).softmax(0) * self.pattern(tokens)).sum(0)


def view_loss(heads: Heads, features: Tensor, pictures: Sequence[Picture]) -> Tensor:
    """Every token of a view: its own place, the colours in it (cross-entropies), centres (L1).

    features [B, n, D]. Centres are in shares of the view's side.
    """
    out = heads.colours(features).unflatten(-1, (len(COLOURS), 3))
    present = torch.zeros(out.shape[:-1])
    centre = torch.zeros(*out.shape[:-1], 2)
    for b, picture in enumerate(pictures):
        for thing in picture.scene.things:
            x, y = thing.x / picture.scene.side, thing.y / picture.scene.side
            where = (b, int(y * CELLS) * CELLS + int(x * CELLS), COLOUR_INDEX[thing.colour])
            present[where] = 1.0
            centre[where] = torch.tensor([x, y])
    presence = F.binary_cross_entropy_with_logits(
        out[..., 0], present, pos_weight=torch.tensor(8.0)
    )
    distance = ((out[..., 1:] - centre).abs().sum(-1) * present).sum() / present.sum()
    # Which colour, given that one is there: presence alone leaves a fifth of them confused.
    at = present.nonzero(as_tuple=True)
    which = F.cross_entropy(out[at[0], at[1], :, 0], at[2])
    places = torch.arange(CELLS * CELLS).expand(len(pictures), -1)
    place = F.cross_entropy(heads.place(features).flatten(0, 1), places.flatten())
    return presence + which + 5 * distance + 0.3 * place


@torch.no_grad()
def whiten(vlm: VLM, images: Sequence[EncodedImage]) -> None:
    """Give the tower's features zero mean and unit covariance, by its own last linear layer.

    What stage 1 leaves has one large constant vector in every token and colour and place as small
    ripples on it; behind the decoder's RMS norm all tokens would look alike.
    """
    features = vlm.encode_images(images)
    tokens = torch.cat([value.embeds for value in features.values()]).double()
    mean = tokens.mean(0)
    values, axes = torch.linalg.eigh(torch.cov((tokens - mean).T))
    # Directions that carry next to nothing stay small.
    scale = (values + 0.01 * values.mean()).rsqrt()
    transform = axes @ torch.diag(scale) @ axes.T
    last = vlm.body.visual.merger.linear_fc2
    last.weight.copy_(transform @ last.weight.double())
    last.bias.copy_(transform @ (last.bias.double() - mean))
    vlm.forget_images()


def train_vision(
    vlm: VLM,
    rng: np.random.Generator,
    steps: int,
    report: Callable[[str], None],
    lr: float = 2e-3,
) -> None:
    """Run stage 1 in place, and whiten the features."""
    codec = vlm.codec
    pool = draw_pictures(rng, codec, 500, STANDARD)
    shown = pool + draw_pictures(rng, codec, 2500, STANDARD, keep=False)
    heads = Heads(vlm.model.config.text_config.hidden_size)
    parameters = [*vlm.body.visual.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps, pct_start=0.1
    )
    right, seen = 0, 0
    for step in range(steps):
        # Reading comes first and is kept with few crops; seeing takes the rest of the time. With
        # both in full from the start the clipped gradient is all about seeing, and reading waits.
        early = step < 0.35 * steps
        crops, views, weight = (48, 16, 0.2) if early else (16, 56, 1.0)
        widest = 110 + 110 * min(1.0, step / (0.35 * steps))
        cut_from = [pool[i] for i in rng.integers(len(pool), size=crops)]
        clear = [clear_crop(rng, codec, picture, (50, widest)) for picture in cut_from]
        seen_views = [shown[i] for i in rng.integers(len(shown), size=views)]
        features = vlm.encode_images([*(c.image for c in clear), *(p.view for p in seen_views)])
        logits = torch.stack([heads.read(features[c.image.hash].embeds) for c in clear])
        target = torch.tensor([c.thing.pattern for c in clear])
        by_token = torch.stack([features[p.view.hash].embeds for p in seen_views])
        seeing = view_loss(heads, by_token, seen_views)
        loss = F.cross_entropy(logits, target) + weight * seeing
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        right, seen = right + int((logits.argmax(-1) == target).sum()), seen + crops
        if (step + 1) % 25 == 0:
            report(
                f"vision {step + 1}/{steps}: loss {loss.item():.3f}, seeing {seeing.item():.3f}, "
                f"crops read {right / seen:.1%} (side up to {widest:.0f})"
            )
            right, seen = 0, 0
    whiten(vlm, [*(p.view for p in shown[:300]), *(c.image for c in clear)])
