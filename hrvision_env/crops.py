"""What comes back for a box: its region or, to find out what the crop is good for, something else.

Of the same replies only pictures change (and with `none` the markers in the text): boxes, turns and
records are those of the box that was given; `Turn.shown` says what was shown instead. A later box
in a picture lies where that was cut; grey and another question's picture stand for the region of
the box, so there it lies in that region.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from .dialogues import IMAGE_MARKER
from .images import Budget, Frame, ImageError, ImageStore
from .images.pixels import clip
from .questions import NoCrop, Questions
from .records import Box, Excerpt, ImageRef, Sample
from .replies import around
from .running import Shown

CROPS: Mapping[str, str] = {
    "real": "the region of the box, cut out of the original",
    "none": "no crop: the text that comes with it, without its image markers",
    "blank": "plain grey, of the size that the crop would have",
    "random": "a region of the box's size at a random place of the image; may overlap the box",
    "oracle": "the region around the gold boxes, whatever box was given",
    "shuffled": "what another question would show: the region around its gold boxes",
}
"""Values of the environment's argument `crop`, with what each shows."""

GREY = (128, 128, 128)


def check_crop(crop: object) -> None:
    """Raise ValueError, with the closest name, for what is no kind of crop."""
    if isinstance(crop, str) and crop in CROPS:
        return
    close = difflib.get_close_matches(str(crop), CROPS, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"crop: got {crop!r}, expected one of {', '.join(CROPS)}{hint}")


@dataclass(frozen=True, slots=True)
class Cropper:
    """Cuts what an agent is shown for its boxes; `crop` is a name in `CROPS`.

    `random` and `shuffled` draw by question id, turn and number of the box: the same box of the
    same question always brings the same picture (`shuffled`: in the same dataset, see
    `Questions.other`). A random region may overlap the box, and one of a large box does so mostly.
    Raises ValueError for an unknown kind.
    """

    crop: str
    store: ImageStore
    budget: Budget
    questions: Questions
    """For `shuffled`: where the other question comes from."""
    margin: float = 0.0
    """Added on every side of a box before it is cut out, in shares of the box's sides."""

    def __post_init__(self) -> None:
        check_crop(self.crop)

    @property
    def hides(self) -> bool:
        """No crop is shown at all."""
        return self.crop == "none"

    def check(self, sample: Sample) -> None:
        """Raise NoCrop, a ValueError, for a question that this kind of crop cannot be made for.

        A file that cannot be opened is found by whoever opens it, as with `real`.
        """
        if self.crop == "oracle" and not sample.boxes:
            raise NoCrop(
                f"crop 'oracle': question {sample.id!r}: got no gold box, expected at least one"
            )
        if self.crop == "oracle":
            try:
                self._check_gold(sample)
            except _Outside as error:
                raise NoCrop(
                    f"crop 'oracle': question {sample.id!r}: gold region: {error}"
                ) from None
            except ImageError:
                pass
        if self.crop == "shuffled":
            self.questions.other(sample, self._usable)

    def cut(self, sample: Sample, boxes: tuple[Box, ...], turn: int) -> tuple[Shown, ...]:
        """One picture per box of the reply to a turn; none where they are hidden.

        Raises ImageError where there is nothing to cut, ValueError as `check`.
        """
        if self.hides:
            return ()
        return tuple(self._cut(sample, box, turn, number) for number, box in enumerate(boxes))

    def _cut(self, sample: Sample, box: Box, turn: int, number: int) -> Shown:
        if self.crop == "random":
            moved = self._region(sample, self._elsewhere(sample, box, turn, number))
            return replace(moved, excerpt=_excerpt(moved.frame))
        if self.crop == "oracle":
            gold = self._region(sample, self._widened(_gold(sample, box.image_index)))
            return replace(gold, excerpt=_excerpt(gold.frame))
        real = self._region(sample, self._widened(box))
        if self.crop == "blank":
            return Shown(Image.new("RGB", real.image.size, GREY), real.frame)
        if self.crop == "shuffled":
            other = self.questions.other(sample, self._usable, turn, number)
            part = self._of_another(other, real.frame)
            frame = replace(real.frame, seen=part.image.size)
            return Shown(part.image, frame, excerpt=_excerpt(part.frame, other.id))
        return real

    def _region(self, sample: Sample, region: Box) -> Shown:
        image = sample.images[region.image_index]
        return Shown(*self.store.crop(image, region, self.budget, sample.id))

    def _widened(self, box: Box) -> Box:
        wide, high = box.width * self.margin, box.height * self.margin
        return replace(box, x1=box.x1 - wide, y1=box.y1 - high, x2=box.x2 + wide, y2=box.y2 + high)

    def _elsewhere(self, sample: Sample, box: Box, turn: int, number: int) -> Box:
        """As large as what of the box lies inside the image, moved by whole pixels: rounding then
        gives the crop the size that it would have."""
        image = sample.images[box.image_index]
        wide, high = self.store.size(image, sample.id)
        region = self._widened(box)
        left, right = max(region.x1, 0.0), min(region.x2, float(wide))
        top, bottom = max(region.y1, 0.0), min(region.y2, float(high))
        seed = [turn, number, *sample.id.encode("utf-8", "surrogatepass")]
        rng = np.random.default_rng(seed)
        x = rng.integers(-int(left), int(wide - right), endpoint=True)
        y = rng.integers(-int(top), int(high - bottom), endpoint=True)
        return replace(box, x1=left + x, y1=top + y, x2=right + x, y2=bottom + y)

    def _of_another(self, other: Sample, frame: Frame) -> Shown:
        """The gold region of another question; without one the same part of its image."""
        if other.boxes:
            return self._region(other, self._widened(_gold(other, frame.image_index)))
        index = min(frame.image_index, len(other.images) - 1)
        return self._region(other, self._alike(other.images[index], other.id, frame, index))

    def _usable(self, other: Sample) -> bool:
        """Can another question lend a picture? What is wrong with it is not the agent's fault."""
        try:
            self._check_gold(other)
        except ImageError:
            return False
        return True

    def _check_gold(self, sample: Sample) -> None:
        """Raise _Outside where a gold region, without margin, has no pixel inside its image, and
        ImageError where a size is not known and the image cannot be opened."""
        for index in sorted({box.image_index for box in sample.boxes}):
            image = sample.images[index]
            size = image.size or self.store.size(image, sample.id)
            try:
                clip(_gold(sample, index), size)
            except ImageError as error:
                raise _Outside(str(error)) from None

    def _alike(self, image: ImageRef, question: str, frame: Frame, index: int) -> Box:
        """The part of another image that a frame shows of its own."""
        wide, high = self.store.size(image, question)
        left, top, right, bottom = frame.region or (0, 0, *frame.original)
        x, y = wide / frame.original[0], high / frame.original[1]
        return Box(left * x, top * y, right * x, bottom * y, index)


class _Outside(ImageError):
    """A gold region that is not inside its image."""


def _excerpt(frame: Frame, question_id: str = "") -> Excerpt:
    x1, y1, x2, y2 = frame.region or (0, 0, *frame.original)
    return Excerpt(Box(x1, y1, x2, y2, frame.image_index), question_id)


def without_images(text: str) -> str:
    """The text of a user turn without its image markers, and the lines that held nothing else.

    >>> without_images("<image>\\nWhat is it?")
    'What is it?'
    """
    return text.replace(f"{IMAGE_MARKER}\n", "").replace(IMAGE_MARKER, "")


def _gold(sample: Sample, image_index: int) -> Box:
    """Around the gold boxes of an image; where it has none, of the first image that has some."""
    images = [box.image_index for box in sample.boxes]
    chosen = image_index if image_index in images else images[0]
    return around([box for box in sample.boxes if box.image_index == chosen])
