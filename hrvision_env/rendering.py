"""Pictures of an episode for people: the view with the box on the left, the crop on the right."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from .images import FILTER, Frame
from .records import Box

PANE = 480
CANVAS = (PANE, 2 * PANE, 3)
"""Height, width and channels of a picture."""
BACKGROUND, EDGE = (32, 32, 36), (255, 64, 64)


def draw(
    view: Image.Image, frame: Frame, box: Box | None = None, crop: Image.Image | None = None
) -> np.ndarray:
    """[480, 960, 3] uint8. The box is in pixels of the original, as always."""
    canvas = Image.new("RGB", (2 * PANE, PANE), BACKGROUND)
    left, (x0, y0) = _fit(view, 0)
    canvas.paste(left, (x0, y0))
    if box is not None:
        corners = [*frame.to_seen(box.x1, box.y1), *frame.to_seen(box.x2, box.y2)]
        scale = left.width / view.width, left.height / view.height
        x1, y1, x2, y2 = (value * scale[i % 2] for i, value in enumerate(corners))
        edge = (x0 + x1, y0 + y1, max(x0 + x2 - 1, x0 + x1), max(y0 + y2 - 1, y0 + y1))
        ImageDraw.Draw(canvas).rectangle(edge, outline=EDGE, width=3)
    if crop is not None:
        right, corner = _fit(crop, PANE)
        canvas.paste(right, corner)
    return np.asarray(canvas).copy()


def _fit(image: Image.Image, offset: int) -> tuple[Image.Image, tuple[int, int]]:
    """The image as large as a pane takes it, and where its top left corner goes."""
    fitted = ImageOps.contain(image, (PANE - 8, PANE - 8), FILTER)
    return fitted, (offset + (PANE - fitted.width) // 2, (PANE - fitted.height) // 2)
