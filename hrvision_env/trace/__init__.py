"""Episodes on disk: `episodes.jsonl`, a line per episode, and `images/`, what the agent was shown.

A line is `Episode.to_dict()` with more keys:

    "images"    per user turn the pictures that it showed,
                [[{"file": "5b0c….png", "size": [560, 280], "image_index": 0, "region": null}], ...]
                `size` in pixels as shown, `region` corners in original pixels (null: all of it)
    "refused"   per turn the box that was no valid one, or null; for drawing
    "sample"    {"question", "options", "answers", "boxes", "category"}, gold included

and "agent", who played, where that was told.
"""

from .files import EPISODES, IMAGES, Broken, Trace, TraceWriter, encode
from .record import Picture, Record, record_of

__all__ = [
    "Broken",
    "EPISODES",
    "IMAGES",
    "Picture",
    "Record",
    "Trace",
    "TraceWriter",
    "encode",
    "record_of",
]
