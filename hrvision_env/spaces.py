"""Spaces of texts and images; Gymnasium's own hold neither free text nor images of any size."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import create_shared_memory
from gymnasium.wrappers.utils import create_zero_array
from PIL import Image

MAX_TEXT = 1_000_000
"""Characters that a text of the default space may have."""

_JUNK = "abc ABC 123 {}[]()\"'\\`<>|/:,.-\n\t Ünïcödé 答案 是否 Ω≈ 🙂"


class UnicodeText(spaces.Space[str]):
    """All Unicode texts of at most `max_length` characters, the empty one included.

    Texts that cannot be encoded as UTF-8 (lone surrogates) are not members. `sample` draws from
    a small grammar: a box, an answer, both, or junk.
    """

    def __init__(
        self, max_length: int = MAX_TEXT, seed: int | np.random.Generator | None = None
    ) -> None:
        if max_length < 1:
            raise ValueError(f"max_length: got {max_length}, expected at least 1")
        self.max_length = int(max_length)
        super().__init__(None, None, seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def contains(self, x: Any) -> bool:
        if not isinstance(x, str) or len(x) > self.max_length:
            return False
        try:
            x.encode()
        except UnicodeEncodeError:
            return False
        return True

    def sample(self, mask: None = None, probability: None = None) -> str:
        _no_mask(self, mask, probability)
        rng = self.np_random
        kind = rng.integers(4)
        if kind == 3:
            letters = rng.integers(len(_JUNK), size=rng.integers(1, 60))
            return "".join(_JUNK[i] for i in letters)[: self.max_length]
        x1, y1 = rng.integers(0, 200, size=2)
        x2, y2 = x1 + rng.integers(0, 300), y1 + rng.integers(0, 300)
        box = f'```json\n[{{"bbox_2d": [{x1}, {y1}, {x2}, {y2}], "label": "here"}}]\n```'
        answer = f"The answer is \\boxed{{{'ABCDEF'[rng.integers(6)]}}}."
        return (box, answer, f"{box}\n{answer}")[kind][: self.max_length]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


class ImageSpace(spaces.Space[Image.Image]):
    """All RGB PIL images with sides that are multiples of `factor` and at most `max_pixels`."""

    def __init__(
        self,
        factor: int = 28,
        max_pixels: int = 1280 * 28 * 28,
        seed: int | np.random.Generator | None = None,
    ) -> None:
        if factor < 1 or max_pixels < factor**2:
            raise ValueError(
                f"factor, max_pixels: got {factor}, {max_pixels}, expected a factor of at least 1 "
                "and max_pixels of at least its square"
            )
        self.factor, self.max_pixels = int(factor), int(max_pixels)
        super().__init__(None, None, seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def contains(self, x: Any) -> bool:
        if not isinstance(x, Image.Image) or x.mode != "RGB":
            return False
        wide, high = x.size
        multiples = not (wide % self.factor or high % self.factor)
        return multiples and 0 < wide * high <= self.max_pixels

    def sample(self, mask: None = None, probability: None = None) -> Image.Image:
        _no_mask(self, mask, probability)
        cells = self.max_pixels // self.factor**2
        columns = int(self.np_random.integers(1, min(cells, 8) + 1))
        rows = int(self.np_random.integers(1, min(cells // columns, 8) + 1))
        shape = (rows * self.factor, columns * self.factor, 3)
        return Image.fromarray(self.np_random.integers(0, 256, size=shape, dtype=np.uint8))

    def to_jsonable(self, sample_n: Iterable[Image.Image]) -> list[str]:
        """PNG files as base64 texts."""
        texts = []
        for image in sample_n:
            buffer = io.BytesIO()
            image.save(buffer, format="PNG")
            texts.append(base64.b64encode(buffer.getvalue()).decode())
        return texts

    def from_jsonable(self, sample_n: list[str]) -> list[Image.Image]:
        return [Image.open(io.BytesIO(base64.b64decode(t))).convert("RGB") for t in sample_n]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ImageSpace)
            and self.factor == other.factor
            and self.max_pixels == other.max_pixels
        )

    def __repr__(self) -> str:
        return f"ImageSpace(factor={self.factor}, max_pixels={self.max_pixels})"


def _no_mask(space: spaces.Space[Any], mask: object, probability: object) -> None:
    if mask is not None or probability is not None:
        raise ValueError(f"{space}: sample takes neither a mask nor a probability")


@create_shared_memory.register(UnicodeText)
@create_shared_memory.register(ImageSpace)
def no_shared_memory(space: spaces.Space[Any], n: int = 1, ctx: Any = None) -> NoReturn:
    """What `create_shared_memory` does with such a space: a TypeError that says what to do."""
    raise TypeError(
        f"{type(space).__name__}: texts and images have no fixed size, so they cannot lie in "
        "shared memory: make the vector environment with "
        'vector_kwargs={"shared_memory": False}'
    )


# What `FrameStackObservation` fills up with before the first observation.
create_zero_array.register(UnicodeText, lambda space: "")
create_zero_array.register(ImageSpace, lambda space: Image.new("RGB", (space.factor, space.factor)))
