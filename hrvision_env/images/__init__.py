"""The only place that opens, resizes or crops images and converts coordinates.

Frames
------
original   pixels of the image as stored, after EXIF transposition; every `Box` lives here
seen       pixels of an image that the agent looks at: a view (the whole image) or a crop
dialect    what the agent writes: `absolute` (seen pixels), `relative_1000` or `relative_1`

Sizes are always (width, height).

`frames` holds numbers only, `pixels` works on an image in memory, `decode` opens files, `regions`
reads parts of what does not fit into memory, and `ImageStore` brings them together.
"""

from .frames import DIALECTS, Budget, Frame, Numbers, Size, fit_size
from .originals import StoreStats
from .pixels import FILTER, MAX_IMAGE_PIXELS, ImageError, crop, resize, to_rgb
from .sources import ref_from
from .store import ImageStore

__all__ = [
    "Budget",
    "Frame",
    "ImageStore",
    "StoreStats",
    "ref_from",
    "ImageError",
    "crop",
    "fit_size",
    "resize",
    "to_rgb",
    "DIALECTS",
    "FILTER",
    "MAX_IMAGE_PIXELS",
    "Numbers",
    "Size",
]
