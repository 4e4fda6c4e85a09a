"""What `benchmarks.speed.rollout` measures with transformers, in a process of its own.

    python -m benchmarks.speed.rollout_generate '{"folder": ..., ...}'      prints one JSON object

ours    the whole loop: environment, tokens, engine. Nothing is left from the rounds before
plain   the model's own `generate` on the same 64 prompts of each turn, the second turn's with the
        replies and crops that ours had; all 64 as one padded batch, in batches of 8 or one by one.
        Counted is `generate` alone: tokens and patches are made beforehand

Both sides sample as many new tokens at temperature 1 without the same banned ids. Seconds are
split by what runs: the vision tower, the decoder on more than one token per row (prefill) or on
one (decode), and the rest (head, sampling, and in ours environment and tokens).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.rollout.engines import Sampling
from agents.rollout.engines.transformers import TransformersEngine
from agents.rollout.loop import Group, rollout
from agents.vlm import VLM

from .rollout_work import (
    Counts,
    Result,
    Work,
    check_work,
    codec_of,
    once,
    open_env,
    point,
    source_costs,
)

PLAIN = {"plain_all": (0, 1), "plain_8": (8, 4), "plain_1": (1, 8)}
"""Rows per call (0: all), and every which row is run: calls share nothing, so that of the smaller
ones some are enough. Seconds are those of all rows."""


class Clock:
    """Seconds inside the model, by part; see `watch`."""

    def __init__(self) -> None:
        self.seconds = {"vision": 0.0, "prefill": 0.0, "decode": 0.0}
        self._starts: list[tuple[str, float]] = []

    def start(self, part: str) -> None:
        self._starts.append((part, time.perf_counter()))

    def stop(self) -> None:
        part, start = self._starts.pop()
        self.seconds[part] += time.perf_counter() - start

    def split(self, seconds: float) -> Result:
        """All of `seconds` by part."""
        return {"seconds": seconds, **self.seconds, "rest": seconds - sum(self.seconds.values())}


@contextmanager
def watch(vlm: VLM, clock: Clock, counts: Counts | None = None) -> Iterator[None]:
    """Clock the tower and the decoder, and show the tower's images to `counts`."""

    def tower(_: Any, args: Any, kwargs: Any) -> None:
        if counts is not None:
            patches = args[0] if args else kwargs["hidden_states"]
            counts.see(patches, kwargs["grid_thw"] if "grid_thw" in kwargs else args[1])
        clock.start("vision")

    def decoder(_: Any, __: Any, kwargs: Any) -> None:
        clock.start("prefill" if kwargs["inputs_embeds"].shape[1] > 1 else "decode")

    visual, language = vlm.body.visual, vlm.body.language_model
    handles = [
        visual.register_forward_pre_hook(tower, with_kwargs=True),
        language.register_forward_pre_hook(decoder, with_kwargs=True),
        *(module.register_forward_hook(lambda *_: clock.stop()) for module in (visual, language)),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# -- our loop


def ours(vlm: VLM, images: Path, work: Work, seed: int) -> tuple[list[Group], Result]:
    """One rollout of all groups; the result holds seconds and what the source images cost."""
    vlm.forget_images()
    engine = point(TransformersEngine(vlm), work)
    env = open_env(images, work, work.groups)
    clock, counts = Clock(), Counts()
    sampling = Sampling(max_tokens=work.new_tokens, seed=seed)
    with watch(vlm, clock, counts), counts.watching(vlm.codec):
        start = time.perf_counter()
        groups = rollout(env, engine, sampling, questions=range(work.groups))
        seconds = time.perf_counter() - start
    costs = source_costs(groups, counts, work, env.envs[0].referee.store.stats)
    env.close()
    check_work([t for group in groups for t in group.trajectories], work)
    return groups, {**clock.split(seconds), "costs": costs}


# -- plain generate


def prompts(groups: Sequence[Group], turn: int) -> list[tuple[list[int], tuple[Any, ...]]]:
    """Tokens and images that each row had before its reply of `turn` (0 or 1)."""
    found = []
    for trajectory in (t for group in groups for t in group.trajectories):
        mask = trajectory.loss_mask
        starts = np.flatnonzero(mask & ~np.concatenate(([False], mask[:-1])))
        ids = trajectory.token_ids[: starts[turn]].tolist()
        found.append((ids, trajectory.images[: turn + 1]))
    return found


def generate_inputs(vlm: VLM, rows: Sequence[tuple[list[int], tuple[Any, ...]]]) -> Result:
    """What `generate` wants: padded on the left, every row with its own patches."""
    width = max(len(ids) for ids, _ in rows)
    tokens = torch.full((len(rows), width), vlm.codec.pad)
    for n, (ids, _) in enumerate(rows):
        tokens[n, width - len(ids) :] = torch.tensor(ids)
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in rows])
    images = [image for _, images in rows for image in images]
    patches = np.concatenate([vlm.codec.pixel_values(image) for image in images])
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "mm_token_type_ids": (tokens == vlm.codec.image).int(),
        "pixel_values": torch.from_numpy(patches),
        "image_grid_thw": torch.tensor([image.grid for image in images]),
    }


def plain(vlm: VLM, groups: Sequence[Group], work: Work, size: int, every: int) -> Result:
    """Both turns by the model's own `generate`, `size` rows a call; seconds of all rows by part."""
    clock, seconds, preparing = Clock(), 0.0, 0.0
    for turn in (0, 1):
        rows = prompts(groups, turn)[::every]
        for first in range(0, len(rows), size or len(rows)):
            start = time.perf_counter()
            inputs = generate_inputs(vlm, rows[first : first + (size or len(rows))])
            ready = time.perf_counter()
            with vlm.evaluating(), watch(vlm, clock):
                out = vlm.model.generate(**inputs, **_options(vlm, work))
            seconds += time.perf_counter() - ready
            preparing += ready - start
            new = out.shape[1] - inputs["input_ids"].shape[1]
            if new != work.new_tokens:
                raise RuntimeError(f"generate: got {new} tokens, expected {work.new_tokens}")
    share = len(rows) / work.rows
    times = {name: t / share for name, t in clock.split(seconds).items()}
    return {**times, "preparing": preparing / share, "rows": len(rows)}


def _options(vlm: VLM, work: Work) -> Result:
    return {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "min_new_tokens": work.new_tokens,
        "max_new_tokens": work.new_tokens,
        "suppress_tokens": list(vlm.codec.banned),
        "eos_token_id": list(vlm.codec.eos),
        "pad_token_id": vlm.codec.pad,
    }


def measure(folder: str, images: str, work: Work, rounds: int, sizes: Sequence[str]) -> Result:
    """`rounds` times ours and then each plain way; the first round of ours is a warm-up."""
    vlm = VLM.load(folder)
    vlm.codec = codec_of(folder)
    ours(vlm, Path(images), work, seed=0)
    found: dict[str, list[Result]] = {name: [] for name in ("ours", *sizes)}
    for seed in range(1, rounds + 1):
        groups, result = ours(vlm, Path(images), work, seed)
        found["ours"].append(result)
        for name in sizes:
            found[name].append(plain(vlm, groups, work, *PLAIN[name]))
    return {
        "work": work.to_json(),
        "prompt_tokens": [len(prompts(groups, turn)[0][0]) for turn in (0, 1)],
        "parameters": sum(p.numel() for p in vlm.model.parameters()),
        "rounds": found,
        "costs": found["ours"][-1]["costs"],
        "once": all(once(result["costs"]) for result in found["ours"]),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    request = json.loads(sys.argv[1])
    torch.set_num_threads(request.pop("threads"))
    print(json.dumps(measure(work=Work(**request.pop("work")), **request)))


if __name__ == "__main__":
    main()
