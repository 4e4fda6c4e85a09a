"""What `benchmarks.speed.env` measures, each case in a process of its own.

    python -m benchmarks.speed.env_cases '{"case": "ours", ...}'      prints one JSON object

A fresh process makes the peak of its memory mean something. Groups are 8 rollouts of 2 turns: a
view, a box of 5 to 15% of the image's sides, its crop, an answer. All cases open, resize and crop
with the same Pillow:

ours            the environment: `gymnasium.make_vec("HighResVQA-v0", num_envs=8, group_size=8)`
per_use         opens, decodes and resizes at every use: once per view, once per crop
per_use_draft   the same, but decodes JPEGs for their views at reduced size, as ours does
per_rollout     decodes once per rollout, and takes view and crop from that
decode          nothing but the decoding of one whole image: the physical limit of a group

The crops of all cases are equal. The views are equal but for large JPEGs, which `ours` and
`per_use_draft` decode at a half, a quarter or an eighth of their sides where that is still twice
the view; those views differ from the others by at most half a grey level in the mean.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

import hrvision_env
from hrvision_env.images import FILTER, Budget, Frame, ImageStore
from hrvision_env.images.frames import Size
from hrvision_env.records import Box, ImageRef

from .photos import Photos

GROUP = 8
BUDGET = Budget()
BOX_SIDES = (0.05, 0.15)
"""Of the image's sides; uniform."""

Result = dict[str, Any]

BASELINES: dict[str, Result] = {
    "per_use": {},
    "per_use_draft": {"draft": True},
    "per_rollout": {"keep": True},
}
"""Options of `rollouts`."""


class Clock:
    """Seconds of each use, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)

    def median_ms(self, name: str) -> float:
        return 1000 * statistics.median(self.seconds[name])


def boxes_of(frame: Frame, group: int, count: int) -> list[tuple[int, int, int, int]]:
    """Boxes in pixels of the view, the same for all cases."""
    rng = np.random.default_rng(group)
    wide, high = frame.seen
    boxes = []
    for _ in range(count):
        w, h = (rng.uniform(*BOX_SIDES, 2) * frame.seen).round().astype(int).clip(BUDGET.factor + 1)
        x, y = rng.integers(0, wide - w), rng.integers(0, high - h)
        boxes.append((int(x), int(y), int(x + w), int(y + h)))
    return boxes


def reply(box: tuple[int, int, int, int]) -> str:
    return f'```json\n[{{"bbox_2d": {list(box)}, "label": "there"}}]\n```'


# -- the environment


def make_envs(root: Path, members: int = GROUP, **options: Any) -> Any:
    assert hrvision_env.__name__ in sys.modules  # registers the environment
    options = {"dataset": "jsonl", "root": str(root), "dialogue": "mgpo", **options}
    return gym.make_vec("HighResVQA-v0", num_envs=members, group_size=members, **options)


def play_group(envs: Any, index: int, clock: Clock) -> None:
    """One question for all members: reset, a box each, an answer each."""
    with clock.time("reset"):
        _, infos = envs.reset(options={"index": [index]})
    frame = Frame(tuple(infos["image_size"][0]), tuple(infos["view_size"][0]))
    for member, box in enumerate(boxes_of(frame, index, envs.num_envs)):
        text = reply(box)
        with clock.time("crop" if member else "first_crop"):
            _, _, _, _, infos = envs.step({member: text})
        if not infos["box_valid"][member]:
            raise RuntimeError(f"the box {box} was refused: {infos['invalid_reason'][member]}")
    _, _, ended, _, _ = envs.step(["x"] * envs.num_envs)
    if not ended.all():
        raise RuntimeError("the episodes have not ended")


def ours(photos: Photos, groups: int) -> Result:
    envs, clock = make_envs(photos.root), Clock()
    play_group(envs, 0, Clock())  # tiny: loads what is loaded once per process
    store = envs.envs[0].referee.store
    before = store.stats
    start = time.perf_counter()
    for index in range(1, groups + 1):
        play_group(envs, index, clock)
    seconds = time.perf_counter() - start
    stats = store.stats
    envs.close()
    return {
        "episodes_per_s": groups * GROUP / seconds,
        "reset_ms": clock.median_ms("reset"),
        "first_crop_ms": clock.median_ms("first_crop"),
        "crop_ms": clock.median_ms("crop"),
        "full_decodes_per_group": (stats.full_decodes - before.full_decodes) / groups,
        "view_decodes_per_group": (stats.view_decodes - before.view_decodes) / groups,
    }


# -- what others do, with the same Pillow


def load(path: Path, draft: Size | None = None) -> Image.Image:
    """The whole image as RGB; with `draft` a JPEG at the smallest size that is not below it."""
    image: Image.Image = Image.open(path)
    if draft is not None:
        image.draft("RGB", draft)
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


def cut(image: Image.Image, frame: Frame, box: tuple[int, int, int, int]) -> Image.Image:
    region = frame.box(box)
    size = BUDGET.fit(round(region.width), round(region.height))
    return image.resize(size, FILTER, box=(region.x1, region.y1, region.x2, region.y2))


def rollouts(
    photos: Photos, groups: int, members: int, keep: bool = False, draft: bool = False
) -> Result:
    """`members` of the 8 rollouts of each group; they share nothing, so all cost the same.

    keep    one decode for view and crop
    draft   the view of a JPEG is decoded at reduced size
    """
    clock, opened = Clock(), list[Size]()
    load(photos.path(0))
    start = time.perf_counter()
    for index in range(1, groups + 1):
        frame = Frame(photos.pixels, BUDGET.fit(*photos.pixels))
        for box in boxes_of(frame, index, members):
            opened += _rollout(photos.path(index), frame, box, keep, draft, clock)
    seconds = time.perf_counter() - start
    full = opened.count(photos.pixels)
    per_group = GROUP / (groups * members)
    return {
        "episodes_per_s": groups * members / seconds,
        "reset_ms": clock.median_ms("reset"),
        "crop_ms": clock.median_ms("crop"),
        "full_decodes_per_group": full * per_group,
        "view_decodes_per_group": (len(opened) - full) * per_group,
    }


def _rollout(
    path: Path, frame: Frame, box: Any, keep: bool, draft: bool, clock: Clock
) -> list[Size]:
    """A view and a crop; the sizes of the images that were decoded for them."""
    wide, high = frame.seen
    with clock.time("reset"):
        # Twice the view: less would show in it.
        image = load(path, (2 * wide, 2 * high)) if draft else load(path)
        image.resize(frame.seen, FILTER)
        opened = [image.size]
        if not keep:
            del image  # else the next decode is held beside it
    with clock.time("crop"):
        if not keep:
            image = load(path)
            opened.append(image.size)
        cut(image, frame, box)
    return opened


def decode(photos: Photos, groups: int) -> Result:
    clock = Clock()
    load(photos.path(0))
    for index in range(1, groups + 1):
        with clock.time("decode"):
            load(photos.path(index))
    return {"decode_ms": clock.median_ms("decode")}


# -- memory, and the cost without pixels


def memory(photos: Photos, cache_mb: int) -> Result:
    """Plays a group on every file, with a cache that holds a few of them."""
    envs = make_envs(photos.root, image_cache_mb=cache_mb)
    for index in range(1, photos.count + 1):
        play_group(envs, index, Clock())
    envs.close()
    return {"questions": photos.count, "cache_mb": cache_mb}


def overhead(photos: Photos, episodes: int) -> Result:
    """Steps on a tiny image whose reply holds no box: nothing is decoded, resized or cut."""
    clock = Clock()
    envs = make_envs(photos.root, members=1)
    for _ in range(episodes):
        with clock.time("reset"):
            envs.reset(options={"index": [0]})
        for text in ("There is nothing to see.", "x"):
            with clock.time("step"):
                envs.step([text])
    mean = 1000 * statistics.mean(clock.seconds["step"])
    return {
        "step_ms": clock.median_ms("step"),
        "step_mean_ms": mean,
        "reset_ms": clock.median_ms("reset"),
    }


def large(path: str, cache_mb: int, crops: int, use_vips: bool) -> Result:
    """One image that is larger than the cache, opened by the store, with libvips or Pillow."""
    store = ImageStore(cache_mb << 20, use_vips=use_vips)
    clock, ref = Clock(), ImageRef(path=Path(path))
    before = peak_mb()
    with clock.time("view"):
        _, frame = store.view(ref, BUDGET)
    for number, box in enumerate(boxes_of(frame, 0, crops)):
        with clock.time("crop" if number else "first_crop"):
            store.crop(ref, frame.box(box), BUDGET)
    with clock.time("whole"):
        store.crop(ref, Box(0, 0, *frame.original), BUDGET)
    worker = sum(peak_mb(pid) for pid in children())
    full_decodes = store.stats.full_decodes
    store.close()
    return {
        "pixels": list(frame.original),
        "cache_mb": cache_mb,
        "view_ms": clock.median_ms("view"),
        "first_crop_ms": clock.median_ms("first_crop"),
        "crop_ms": clock.median_ms("crop"),
        "whole_crop_ms": clock.median_ms("whole"),
        "full_decodes": full_decodes,
        "start_rss_mb": before,
        "worker_peak_rss_mb": worker,
    }


def peak_mb(pid: int | str = "self") -> float:
    """Peak of resident memory. Not that of `resource.getrusage`, which a process inherits from
    the one that started it."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(ln for ln in status.read_text().splitlines() if ln.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def run(request: dict[str, Any]) -> Result:
    """Run one case; the result also holds the peak memory of this process."""
    case = request.pop("case")
    if "photos" in request:
        fields = request.pop("photos")
        request["photos"] = Photos(Path(fields.pop("root")), **fields)
    Image.MAX_IMAGE_PIXELS = None  # of the baselines; the store has a limit of its own
    if case in BASELINES:
        result = rollouts(**BASELINES[case], **request)
    else:
        cases: dict[str, Callable[..., Result]] = {
            "ours": ours,
            "decode": decode,
            "memory": memory,
            "overhead": overhead,
            "large": large,
        }
        result = cases[case](**request)
    peak = peak_mb()
    if case == "large":  # an upper bound: the two peaks need not fall together
        result["total_peak_rss_mb"] = peak + result["worker_peak_rss_mb"]
    return {**result, "peak_rss_mb": peak}


if __name__ == "__main__":
    print(json.dumps(run(json.loads(sys.argv[1]))))
