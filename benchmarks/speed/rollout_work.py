"""The work that `benchmarks.speed.rollout` gives to all sides: a model, images, dialogues, counts.

Groups of siblings play the two turns of MGPO on a photograph each: a view, a box, the crop of it
as second image, an answer. The model is a random one of a real transformers class; what it says is
no box, so the environment is told one that depends on the sampled ids. Everything else is real:
the environment opens JPEGs, cuts and resizes, and the tokens are those that were sampled.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import string
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.families.random_model import MERGE, write_random_model
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion
from agents.rollout.trajectory import Trajectory
from hrvision_env.vector import HighResVQAVectorEnv

from .photos import photograph

Result = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """How much there is to do. Sides and tokens are those of square images."""

    groups: int = 8
    siblings: int = 8
    image_tokens: int = 1024
    """Of a view: a square number. A crop has a quarter of them."""
    new_tokens: int = 32
    """Of each of the two replies."""
    family: str = "qwen25_vl"
    patch: int = 14
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    vision_hidden: int = 64
    vision_layers: int = 4
    source_side: int = 1536
    """Of the original, in pixels."""

    @property
    def rows(self) -> int:
        return self.groups * self.siblings

    @property
    def factor(self) -> int:
        """Pixels per image token and side."""
        return MERGE * self.patch

    @property
    def view_side(self) -> int:
        """In pixels."""
        return math.isqrt(self.image_tokens) * self.factor

    @property
    def context(self) -> int:
        """Tokens that a whole dialogue may take: two images, three texts, two replies."""
        return 2 * self.image_tokens + 2 * self.new_tokens + 1024

    def to_json(self) -> Result:
        return asdict(self)


def write_model(folder: Path, work: Work) -> str:
    """The model folder of this work; written once."""
    if not (folder / "config.json").exists():
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
    return str(folder)


def write_images(folder: Path, work: Work, count: int) -> None:
    """A JSONL dataset of `count` photographs, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(count):
        name = f"{n}.jpg"
        if not (folder / name).exists():
            photograph(work.source_side, work.source_side, seed=n).save(folder / name, quality=90)
        rows.append({"id": f"q{n}", "images": [name], "question": "What?", "answer": "x"})
    (folder / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))


def open_env(folder: Path, work: Work, groups: int) -> HighResVQAVectorEnv:
    """The environment with nothing in its cache."""
    side = work.view_side
    return HighResVQAVectorEnv(
        num_envs=groups * work.siblings,
        group_size=work.siblings,
        dataset="jsonl",
        root=str(folder),
        dialogue="mgpo",
        prompt="brief",
        factor=work.factor,
        min_pixels=side**2 // 4 - side // 4,  # room for roots that are not exact
        max_pixels=side**2 + side // 4,
        min_box=1,
    )


def codec_of(folder: str) -> Codec:
    """The model's codec, told to sample letters and digits alone.

    So no reply holds a stop string or ends before its last token: all sides have equal work.
    """
    codec = Codec.from_pretrained(folder)
    legal = {codec.encode(c)[0] for c in string.ascii_letters + string.digits}
    codec.banned = tuple(n for n in range(codec.vocab_size) if n not in legal)
    return codec


class Pointing(Chat):
    """A chat whose replies read as a box, whatever was sampled."""

    view_side = 0

    def reply(self, completion: Completion) -> str:
        """Append the tokens as they are; returns a box within the view that depends on them."""
        super().reply(completion)
        digest = hashlib.blake2b(np.array(completion.token_ids).tobytes(), digest_size=8).digest()
        side = max(2, self.view_side // 8)
        room = self.view_side - side
        x, y = (int.from_bytes(part, "little") % room for part in (digest[:4], digest[4:]))
        return f'[{{"bbox_2d": [{x}, {y}, {x + side}, {y + side}]}}]'


def point(engine: Any, work: Work) -> Any:
    """The engine, opening chats that point."""

    class Chats(Pointing):
        view_side = work.view_side

    def open_chat(group: str) -> Chat:
        chat = Chats(engine.codec, group)
        chat.policy_version = engine.policy_version
        return chat

    engine.open_chat = open_chat
    return engine


def check_work(trajectories: Sequence[Trajectory], work: Work) -> None:
    """Raise RuntimeError unless everybody played both turns, with a crop, in full length."""
    crop = work.image_tokens // 4
    for trajectory in trajectories:
        sizes = [image.n_tokens for image in trajectory.images]
        said = int(trajectory.loss_mask.sum())
        if sizes != [work.image_tokens, crop] or said != 2 * work.new_tokens:
            raise RuntimeError(
                f"group {trajectory.group!r}, member {trajectory.member}: got images of {sizes} "
                f"tokens and {said} sampled ones, expected [{work.image_tokens}, {crop}] and "
                f"{2 * work.new_tokens}"
            )
    if len(trajectories) != work.rows:
        raise RuntimeError(f"got {len(trajectories)} trajectories, expected {work.rows}")


def spread(values: Sequence[float]) -> Result:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


# -- what the source image of a group costs


class Counts:
    """How often images went through the vision tower, and how often the codec was asked for them.

    The tower's images are told apart by their patches, whoever made those.
    """

    def __init__(self) -> None:
        self.encodes: Counter[tuple[int, str]] = Counter()
        """By number of patches and digest."""
        self.asked: dict[str, Counter[str]] = {}
        """By method of the codec and hash of the image."""

    def see(self, patches: Any, grids: Any) -> None:
        """Note a run of the tower: `patches` [P, D] tensor, `grids` [images, 3]."""
        sizes = [math.prod(int(n) for n in grid) for grid in grids]
        for size, part in zip(sizes, patches.split(sizes), strict=True):
            data = np.ascontiguousarray(part.float().cpu().numpy()).tobytes()
            self.encodes[size, hashlib.blake2b(data, digest_size=16).hexdigest()] += 1

    @contextmanager
    def watching(self, codec: Codec) -> Iterator[None]:
        """Count what the codec is asked for meanwhile."""
        names = ("encode_image", "pixel_values")
        for name in names:
            setattr(codec, name, self._counted(name, getattr(codec, name)))
        try:
            yield
        finally:
            for name in names:
                delattr(codec, name)

    def _counted(self, name: str, method: Callable[[Any], Any]) -> Callable[[Any], Any]:
        counter = self.asked.setdefault(name, Counter())

        def call(image: Any) -> Any:
            result = method(image)
            counter[getattr(image, "hash", None) or result.hash] += 1
            return result

        return call


def source_costs(groups: Sequence[Any], counts: Counts, work: Work, store: Any) -> Result:
    """How often each source image, and each different crop, was worked on: [least, most].

    `store` are the image store's counts.
    """
    views = {group.trajectories[0].images[0].hash for group in groups}
    crops = {t.images[1].hash for group in groups for t in group.trajectories} - views
    patches = MERGE**2 * work.image_tokens
    encodes = [n for (size, _), n in counts.encodes.items() if size == patches]
    others = [n for (size, _), n in counts.encodes.items() if size != patches]
    tokenised = counts.asked["encode_image"]
    return {
        "groups": len(groups),
        "different_crops": len(crops),
        "source_encodes": _span(encodes, len(views)),
        "crop_encodes": _span(others, len(crops)),
        "source_tokenisations": _span([tokenised[key] for key in views], len(views)),
        "source_decodes": store.full_decodes / len(groups),
        "source_decodes_reduced": store.view_decodes / len(groups),
    }


def _span(numbers: Sequence[int], expected: int) -> list[int]:
    """Least and most; 0 for what was never seen."""
    missing = [0] * max(0, expected - len(numbers))
    return [min([*numbers, *missing]), max([*numbers, *missing])]


def once(costs: Result) -> bool:
    """Whether every source image was decoded, tokenised and encoded exactly once."""
    spans = (costs["source_encodes"], costs["source_tokenisations"])
    return costs["source_decodes"] == 1 and all(span == [1, 1] for span in spans)
