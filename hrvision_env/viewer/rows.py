"""An episode as the page wants it: texts, and pictures with everything that is drawn on them.

Boxes are turned into shares of the picture that they are drawn on (0..1), so that the page itself
knows nothing of frames. What concerns the list of episodes alone is in `index.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..images import Frame
from ..records import Box, Episode, Turn
from ..trace import Picture, Piece, Record

MAX_TEXT = 20_000
"""Characters of one text; the rest is left out, which the page says."""
MAX_PIECES = 6_000
"""Tokens of one conversation that are shown one by one; as above."""
MAX_ID = 200
"""Characters of the name of a question."""

Row = dict[str, Any]


def describe(record: Record) -> Row:
    """A record as JSON-able data for the page."""
    episode = record.episode
    return {
        "line": record.line,
        "agent": record.agent,
        "id": episode.question_id,
        "name": short_id(episode.question_id),
        "dataset": episode.dataset,
        "split": episode.split,
        "label": record.label,
        "step": record.step,
        "training": record.training,
        "draw": record.draw if record.sampled else None,
        "strict": record.strict,
        "official": record.official,
        "crop": episode.crop,
        "measures": {name: round(value, 4) for name, value in record.measures.items()},
        "spent": {key: v for key, v in asdict(record.spent).items() if v is not None},
        "dialogue": episode.dialogue,
        "prompt": episode.prompt,
        "category": list(record.category),
        "outcome": episode.outcome.value,
        "reward": episode.reward,
        "answer": clip(episode.answer),
        "answers": [clip(answer) for answer in record.answers],
        "error": clip(episode.error),
        "question": clip(record.question),
        "options": {key: clip(text) for key, text in record.options.items()},
        "system": clip(episode.system),
        "sizes": [list(size) for size in episode.image_sizes],
        "validBox": bool(episode.boxes),
        "turns": [_turn(record, number) for number in range(len(episode.turns))],
        "shown": [[_picture(record, p, n) for p in turn] for n, turn in _shown(record)],
        "scenes": list(_scenes(record)),
        "tokens": [_pieces(segment) for segment in record.tokens],
    }


def clip(text: str) -> str:
    """At most MAX_TEXT characters, with a note of how many are missing."""
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]}\n… {len(text) - MAX_TEXT:,} more characters"


def short_id(name: str) -> str:
    """The name of a question in the list; a long one ends in a digest, so that each has its own."""
    if len(name) <= MAX_ID:
        return name
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"{name[: MAX_ID - 13]}…{digest}"


def _scenes(record: Record) -> Iterator[Row]:
    """The originals with every box of the episode. `view`: the file that stands in for one that
    was not kept."""
    views = {p.image_index: p.file for turn in record.pictures[:1] for p in turn if not p.region}
    for index, size in enumerate(record.episode.image_sizes):
        kept = record.originals[index] if index < len(record.originals) else None
        yield {
            "image": index,
            "size": list(size),
            "file": kept.file if kept else "",
            "tiles": asdict(kept.tiles) if kept and kept.tiles else None,
            "view": views.get(index, ""),
            "marks": list(_marks(record, Picture("", size, index), 0)),
        }


def _pieces(segment: Sequence[Piece]) -> list[list[Any]]:
    rows: list[list[Any]] = [
        [clip(p.text), int(p.trained), _short(p.logprob), _short(p.advantage)]
        for p in segment[:MAX_PIECES]
    ]
    if (rest := len(segment) - MAX_PIECES) > 0:
        rows.append([f"\n… {rest:,} more tokens", 0, None, None])
    return rows


def _short(value: float | None) -> float | None:
    """Four digits that count: advantages may all be small."""
    return None if value is None else float(f"{value:.4g}") + 0.0


def _turn(record: Record, number: int) -> Row:
    turn: Turn = record.episode.turns[number]
    refused = record.refused[number] if number < len(record.refused) else None
    return {
        "text": clip(turn.text),
        "reply": clip(turn.reply),
        "boxes": [[round(v, 1) for v in _corners(box)] for box in turn.boxes],
        "images": [box.image_index for box in turn.boxes],
        "refusedImage": None if refused is None else refused.image_index,
        "labels": [box.label for box in turn.boxes],
        "raw": list(turn.box_raw),
        "reason": turn.invalid_reason,
        "crops": [list(size) for size in turn.crop_sizes],
        "shown": [
            {"of": short_id(part.question_id), "region": [round(v) for v in _corners(part.region)]}
            for part in turn.shown
        ],
        "fresh": turn.fresh,
        "stop": turn.stop_reason,
    }


def _shown(record: Record) -> Iterator[tuple[int, tuple[Picture, ...]]]:
    """The pictures of every user turn. Where none were kept, the views without their pixels."""
    if record.pictures:
        yield from enumerate(record.pictures)
        return
    sizes = record.episode.view_sizes
    yield 0, tuple(Picture("", size, index) for index, size in enumerate(sizes))


def _picture(record: Record, picture: Picture, turn: int) -> Row:
    return {
        "file": picture.file,
        "size": list(picture.size),
        "image": picture.image_index,
        "region": None if picture.region is None else [round(v) for v in picture.region],
        "marks": list(_marks(record, picture, turn)),
    }


def _marks(record: Record, picture: Picture, turn: int) -> Iterator[Row]:
    """What is drawn on a picture: the gold boxes, and the boxes that came after it was shown."""
    frame = _frame(record.episode, picture)
    if frame is None:
        return
    # What a blank crop or one of another question shows is not where its region is.
    replaced = picture.region is not None and record.episode.crop in ("blank", "shuffled")
    for box in () if replaced else _visible(record.gold, picture):
        yield {"kind": "gold", "turn": 0, "box": _shares(box, frame), "label": box.label}
    for number, later in enumerate(record.episode.turns):
        # The first view is the map of the whole episode; a crop shows what was chosen on it.
        if number < turn:
            continue
        for kind, boxes in (("own", later.boxes), ("refused", _refused(record, number))):
            for box in _visible(boxes, picture):
                mark = {"kind": kind, "turn": number + 1, "label": box.label}
                yield {**mark, "box": _shares(box, frame)}


def _refused(record: Record, number: int) -> Iterator[Box]:
    """The refused box of a turn, its corners in order."""
    box = record.refused[number] if number < len(record.refused) else None
    if box is not None:
        (x1, x2), (y1, y2) = sorted((box.x1, box.x2)), sorted((box.y1, box.y2))
        yield Box(x1, y1, x2, y2, box.image_index)


def _frame(episode: Episode, picture: Picture) -> Frame | None:
    known = 0 <= picture.image_index < len(episode.image_sizes) and min(picture.size) > 0
    if not known:
        return None
    original = episode.image_sizes[picture.image_index]
    region = picture.region or (0, 0, *original)
    if min(original) <= 0 or region[2] <= region[0] or region[3] <= region[1]:
        return None
    return Frame(original, picture.size, picture.region, picture.image_index)


def _visible(boxes: Iterable[Box], picture: Picture) -> Iterator[Box]:
    """Those that touch what the picture shows."""
    for box in boxes:
        if box.image_index == picture.image_index and _touches(box, picture.region):
            yield box


def _touches(box: Box, region: tuple[float, float, float, float] | None) -> bool:
    if region is None:
        return True
    x1, y1, x2, y2 = region
    return box.x1 < x2 and box.x2 > x1 and box.y1 < y2 and box.y2 > y1


def _shares(box: Box, frame: Frame) -> list[float]:
    """Left, top, right, bottom as shares of the picture, cut off at its edges."""
    wide, high = frame.seen
    x1, y1 = frame.to_seen(box.x1, box.y1)
    x2, y2 = frame.to_seen(box.x2, box.y2)
    shares = (x1 / wide, y1 / high, x2 / wide, y2 / high)
    return [round(min(max(share, 0.0), 1.0), 5) for share in shares]


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x1, box.y1, box.x2, box.y2
