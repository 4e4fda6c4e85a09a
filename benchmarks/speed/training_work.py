"""The work that `benchmarks.speed.training` gives to both sides: a model, images, tokens, counts.

Groups of siblings answer a question about a photograph each, in one turn. What they say is set
beforehand, so that both sides train on the same tokens: letters, an answer that is right for every
second sibling, and the end of the turn.
"""

from __future__ import annotations

import json
import os
import statistics
import string
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.families.random_model import MERGE, write_random_model
from agents.rollout.codec import Codec
from hrvision_env.dialogues import IMAGE_MARKER
from hrvision_env.env import HighResVQAEnv

from .photos import photograph

Result = dict[str, Any]
SHAPES = {54: (6, 9), 256: (16, 16), 1024: (32, 32)}
"""Image tokens -> columns and rows of them."""
TOGETHER = {54: 4, 256: 2, 1024: 1}
"""Image tokens -> questions in a micro-batch with which TRL was the fastest, on a CPU.

Chosen once, by trials that were not kept; on a GPU others may be faster."""
GOLD, WRONG = "A", "B"


@dataclass(frozen=True)
class Work:
    """How much there is to do in a step, and the model that does it."""

    columns: int = 16
    rows: int = 16
    """Of image tokens."""
    groups: int = 4
    together: int = 4
    """Questions in a micro-batch; must divide `groups`."""
    siblings: int = 8
    new_tokens: int = 64
    steps: int = 7
    family: str = "qwen25_vl"
    patch: int = 14
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    vision_hidden: int = 64
    vision_layers: int = 4
    max_pixels: int | None = None
    """Cap of the environment; None: the image's own."""

    @property
    def factor(self) -> int:
        """Pixels per image token and side."""
        return MERGE * self.patch

    @property
    def size(self) -> tuple[int, int]:
        """Of the images, in pixels."""
        return self.columns * self.factor, self.rows * self.factor

    def env(self, root: Path) -> Result:
        """Keyword arguments of the environment; without a cap it shows images as they are."""
        wide, high = self.size
        pixels = self.max_pixels or wide * high
        return {
            "dataset": "jsonl",
            "root": str(root),
            "dialogue": "single_turn",
            "prompt": "brief",
            "factor": self.factor,
            "min_pixels": min(pixels, wide * high),
            "max_pixels": pixels,
        }

    def to_json(self) -> Result:
        return asdict(self)


def write_model(folder: Path, work: Work) -> str:
    """The model folder of this work; written once. Its image processor resizes nothing."""
    if (folder / "config.json").exists():
        return str(folder)
    write_random_model(
        folder,
        work.family,
        hidden=work.hidden,
        layers=work.layers,
        heads=work.heads,
        kv_heads=work.kv_heads,
        patch=work.patch,
        vision_hidden=work.vision_hidden,
        vision_layers=work.vision_layers,
        tied=False,
        context=8192,
    )
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    settings["size"] = {"shortest_edge": work.factor**2, "longest_edge": 8192 * work.factor**2}
    path.write_text(json.dumps(settings))
    return str(folder)


def write_questions(folder: Path, model: str, work: Work) -> list[Result]:
    """A JSONL dataset with other images for every step; what the other side needs of each."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(work.groups * work.steps):
        photograph(*work.size, seed=n).save(folder / f"{n}.png", compress_level=1)
        rows.append({"id": f"q{n}", "images": [f"{n}.png"], "question": "What?", "answer": GOLD})
    (folder / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    env = HighResVQAEnv(**work.env(folder))
    text = env.reset(seed=0)[0]["text"]
    env.close()
    before, marker, after = text.partition(IMAGE_MARKER)
    if before or not marker:
        raise RuntimeError(f"got the question {text!r}, expected one that begins with its image")
    said = replies(Codec.from_pretrained(model), work)
    return [
        {
            "id": f"q{n}",
            "image": str(folder / f"{n}.png"),
            "text": after,
            "gold": GOLD,
            "replies": said[n],
        }
        for n in range(len(rows))
    ]


def replies(codec: Codec, work: Work) -> list[list[list[int]]]:
    """Token ids by question and sibling; every second one is right."""
    rng = np.random.default_rng(0)
    letters = [codec.encode(c)[0] for c in string.ascii_lowercase]
    ends = [[*codec.encode(f"\\boxed{{{a}}}"), codec.eos[0]] for a in (GOLD, WRONG)]
    found = []
    for _ in range(work.groups * work.steps):
        siblings = []
        for member in range(work.siblings):
            end = ends[member % 2]
            body = rng.choice(letters, work.new_tokens - len(end)).tolist()
            siblings.append([*body, *end])
        found.append(siblings)
    return found


def spread(values: Sequence[float]) -> Result:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


# -- what the two sides compute


@dataclass(frozen=True)
class Sizes:
    """Weights that a token, a patch or a position goes through."""

    layers: int
    """All of the decoder's layers."""
    head: int
    patch: int
    """The tower's, per patch."""
    merger: int
    """The tower's, per image token."""
    attention: int
    """Heads x their size x layers."""


@dataclass(frozen=True)
class Model:
    """Tokens and floating-point operations of a step, for one side.

    A multiplication with its addition counts as two; the backward pass costs twice the forward.
    Attention is counted as it is computed, over all keys of the row. The frozen tower runs forward.
    Embeddings, norms, softmax and optimizer are left out.
    """

    prefill: float
    """Prompt tokens that the decoder sees while sampling."""
    decode: float
    update: float
    """Tokens of the update's forward pass."""
    flops_rollout: float
    flops_update: float

    @property
    def flops(self) -> float:
        return self.flops_rollout + self.flops_update


def count(work: Work, sizes: Sizes, prompt: int, ours: bool) -> Model:
    """`prompt` tokens with the image's; a group's are computed once (ours) or for each sibling.

    The head: of sampled tokens alone (ours), or in the update of all (TRL on a CPU).
    """
    many, new, image = work.siblings, work.new_tokens, work.columns * work.rows
    copies = 1 if ours else many
    tower = 2 * image * (MERGE**2 * sizes.patch + sizes.merger)
    prefill, decode = copies * prompt, many * (new - 1)
    seen = copies * prompt**2 + many * (new - 1) * (prompt + new // 2)
    rollout = copies * tower + 2 * sizes.layers * (prefill + decode) + 2 * sizes.head * many * new
    rollout += 4 * sizes.attention * seen
    if ours:  # the prompt but its last token once, and the branches
        tokens, heads = prompt - 1 + many * new, many * new
        pairs = (prompt - 1) ** 2 + many * new * (prompt - 1 + new)
    else:
        tokens = heads = many * (prompt + new)
        pairs = many * (prompt + new) ** 2
    update = 3 * (2 * sizes.layers * tokens + 2 * sizes.head * heads + 4 * sizes.attention * pairs)
    update += 0 if ours else copies * tower  # ours has the features from sampling
    parts = (prefill, decode, tokens, rollout, update)
    return Model(*(float(work.groups * part) for part in parts))


# -- the processes


class Side:
    """One side in a process of its own; it speaks one JSON line at a time."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name, self.log = name, log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **environment},
            )

    def hear(self) -> Result:
        """Its next line. Raises RuntimeError with its last words when it ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            words = self.log.read_text()[-2_000:]
            raise RuntimeError(f"{self.name}: exit status {self.process.wait()}\n{words}")
        found: Result = json.loads(line)
        return found

    def go(self) -> Result:
        """Let it do its next step; returns what that took."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.hear()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
