"""Episodes on disk: `episodes.jsonl`, a line per episode, and the pictures that belong to them.

    images/       what the agent was shown, pixel by pixel (large pictures as JPEG)
    originals/    the images of the questions at full resolution, where they are kept

A line is `Episode.to_dict()` with more keys:

    "images"    per user turn the pictures that it showed,
                [[{"file": "5b0c….png", "size": [560, 280], "image_index": 0, "region": null}], ...]
                `size` in pixels as shown, `region` corners in original pixels (null: all of it)
    "refused"   per turn the box that was no valid one, or null; for drawing
    "sample"    {"question", "options", "answers", "boxes", "category"}, gold included

and, where they are known:

    "agent"     who played
    "step"      of the training run, 25
    "originals" per image of the sample {"file", "size", "tiles"}; `tiles` null, or how the folder
                `originals/FILE` is cut up: {"side": 512, "levels": 6, "ending": "jpg"}
    "tokens"    per conversation what the model read and wrote, mostly a token each,
                [[["red", 1, -0.105, 1.5], ...], ...]: text, 1 where the loss is computed,
                log-probability in nats or null, advantage or null;
                the placeholders of an image are one piece, "<image>"
    "label", "training", "sampled", "draw", "strict", "official", "measures", "spent"
                as in `Record`

A row of a benchmark, which holds its episode under "episode", is read as well.
"""

from .files import EPISODES, IMAGES, ORIGINALS, Broken, Trace, TraceWriter, encode
from .record import Original, Picture, Piece, Record, Spent, Tiles, record_of

__all__ = [
    "Broken",
    "EPISODES",
    "IMAGES",
    "ORIGINALS",
    "Original",
    "Picture",
    "Piece",
    "Record",
    "Spent",
    "Tiles",
    "Trace",
    "TraceWriter",
    "encode",
    "record_of",
]
