"""A group as arrays and text, and back: what `archive` writes into a file.

Arrays: `N/token_ids`, `N/loss_mask`, `N/logprobs` of trajectory N as they are, and `image/HASH`,
the PNG file of every distinct image (without loss). Everything else is text, whose floats JSON
writes and reads without rounding. The original images of a sample are not kept: a reference to a
file stays one, any other is replaced by one that says so when it is opened.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hrvision_env.records import Box, Episode, ImageRef, Point, Sample

from .codec import EncodedImage, pixel_hash
from .contract import TokenRules
from .loop import Group
from .stats import EpisodeCost, RolloutStats
from .trajectory import Trajectory

ARRAYS = ("token_ids", "loss_mask", "logprobs")
ZLIB = 1
"""Of 0..9; higher levels save a few percent of a photograph and cost several times the time."""
TUPLE = "__tuple__"


@dataclass(frozen=True)
class NotKept:
    """Stands for an image whose pixels an archive doesn't keep; opening it raises."""

    key: str

    def __call__(self) -> Image.Image:
        raise FileNotFoundError(
            f"image {self.key!r}: it comes from an archive of rollouts, which keeps what the model "
            "saw but no originals; open the question's dataset to get it"
        )


def pack(group: Group) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The group's arrays by name, and the rest as what JSON can hold."""
    arrays: dict[str, np.ndarray] = {}
    rules: list[TokenRules] = []
    rows = []
    for n, trajectory in enumerate(group.trajectories):
        arrays |= {f"{n}/{name}": getattr(trajectory, name) for name in ARRAYS}
        if trajectory.rules not in rules:
            rules.append(trajectory.rules)
        rows.append(_trajectory_row(trajectory, group, rules.index(trajectory.rules)))
        for image in trajectory.images:
            if f"image/{image.hash}" not in arrays:
                arrays[f"image/{image.hash}"] = _png(image)
    record = {
        "index": group.index,
        "name": group.name,
        "question_id": group.question_id,
        "episodes": [episode.to_dict() for episode in group.episodes],
        "costs": [dataclasses.asdict(cost) for cost in group.costs],
        "stats": group.stats.to_dict(),
        "sample": _sample_row(group.sample),
        "rules": [dataclasses.asdict(rule) for rule in rules],
        "trajectories": rows,
    }
    return arrays, record


def unpack(record: Mapping[str, Any], array: Callable[[str], np.ndarray]) -> Group:
    """The group again; `array` gives one array by its name.

    Raises ValueError, KeyError or TypeError for a record that is not one of `pack`, and ValueError
    for an image whose pixels are not those that its hash names.
    """
    episodes = tuple(Episode.from_dict(row) for row in record["episodes"])
    rules = [TokenRules.from_dict(row) for row in record["rules"]]
    images: dict[str, EncodedImage] = {}
    trajectories = []
    for n, row in enumerate(record["trajectories"]):
        for key, grid, n_tokens in row["images"]:
            if key not in images:
                images[key] = _image(key, grid, n_tokens, array(f"image/{key}"))
        own = row["episode"]
        fields = {
            **{name: array(f"{n}/{name}") for name in ARRAYS},
            **row["fields"],
            "images": tuple(images[key] for key, *_ in row["images"]),
            "replies": tuple(row["fields"]["replies"]),
            "rules": rules[row["rules"]],
            "episode": episodes[own] if isinstance(own, int) else Episode.from_dict(own),
        }
        trajectories.append(Trajectory(**fields))
    return Group(
        index=record["index"],
        name=record["name"],
        question_id=record["question_id"],
        trajectories=tuple(trajectories),
        episodes=episodes,
        sample=_sample(record["sample"]),
        costs=tuple(EpisodeCost(**cost) for cost in record["costs"]),
        stats=RolloutStats.from_dict(record["stats"]),
    )


def _trajectory_row(trajectory: Trajectory, group: Group, rules: int) -> dict[str, Any]:
    elsewhere = {*ARRAYS, "images", "rules", "episode"}
    names = [field.name for field in dataclasses.fields(trajectory)]
    places = [n for n, episode in enumerate(group.episodes) if episode is trajectory.episode]
    return {
        "fields": {name: getattr(trajectory, name) for name in names if name not in elsewhere},
        "images": [(image.hash, image.grid, image.n_tokens) for image in trajectory.images],
        "rules": rules,
        "episode": places[0] if places else trajectory.episode.to_dict(),
    }


def _png(image: EncodedImage) -> np.ndarray:
    buffer = io.BytesIO()
    image.pil().save(buffer, "PNG", compress_level=ZLIB)
    return np.frombuffer(buffer.getvalue(), dtype=np.uint8)


def _image(key: str, grid: list[int], n_tokens: int, png: np.ndarray) -> EncodedImage:
    try:
        with Image.open(io.BytesIO(png.tobytes()), formats=("PNG",)) as file:
            picture = file.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"image {key}: is no PNG that can be read: {error}") from error
    pixels = np.array(picture)
    if (got := pixel_hash(pixels)) != key:
        raise ValueError(f"image {key}: its pixels have the hash {got}")
    pixels.flags.writeable = False
    return EncodedImage(key, (grid[0], grid[1], grid[2]), n_tokens, pixels)


def _sample_row(sample: Sample) -> dict[str, Any]:
    row = {field.name: getattr(sample, field.name) for field in dataclasses.fields(sample)}
    images = [
        {"path": ref.path and str(ref.path), "key": ref.key, "size": ref.size}
        for ref in sample.images
    ]
    places = {
        name: [dataclasses.asdict(place) for place in row[name]] for name in ("boxes", "points")
    }
    return {**{name: plain(value) for name, value in row.items()}, **places, "images": images}


def _sample(row: Mapping[str, Any]) -> Sample:
    values = {name: restored(value) for name, value in row.items()}
    images = tuple(_ref(image) for image in row["images"])
    places = {
        "boxes": tuple(Box(**box) for box in row["boxes"]),
        "points": tuple(Point(**point) for point in row["points"]),
    }
    return Sample(**{**values, **places, "images": images})


def _ref(row: Mapping[str, Any]) -> ImageRef:
    size = tuple(row["size"]) if row["size"] else None
    if row["path"]:
        return ImageRef(path=Path(row["path"]), key=row["key"], size=size)
    return ImageRef(make=NotKept(row["key"]), key=row["key"], size=size)


def plain(value: Any) -> Any:
    """What JSON can hold of a value: tuples are marked, and what it cannot hold is described."""
    if isinstance(value, tuple):
        return {TUPLE: [plain(item) for item in value]}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return repr(value)


def restored(value: Any) -> Any:
    """The reverse of `plain`."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {TUPLE}:
            return tuple(restored(item) for item in value[TUPLE])
        return {key: restored(item) for key, item in value.items()}
    return value


def differences(old: Any, new: Any, at: str = "") -> Iterator[str]:
    """`key = old, now new` for every place where two nested mappings differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
    elif old != new:
        yield f"{at} = {old!r}, now {new!r}"
