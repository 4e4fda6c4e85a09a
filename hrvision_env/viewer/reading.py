"""Traces as a page takes them: row by row, with the pictures that are there and names of its own.

Several traces on one page are told apart: lines are counted on from one file to the next, and an
agent whose name occurs in more than one of them is called after its folder as well, and so are its
ablations.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..trace import IMAGES, ORIGINALS, Broken, Record, Trace
from .index import Index
from .page import to_json, told
from .players import Player, by_name, read_players
from .rows import Row, describe


@dataclass(frozen=True, slots=True)
class Described:
    """An episode for a page."""

    record: Record
    key: int
    """Its line; of a later file the lines of those before it are counted as well."""
    data: str
    """Its row as JSON."""
    trace: Trace
    player: Player


class Reading:
    """Goes through traces once. `with_pictures` counts the episodes that have a picture.

    >>> [episode.key for episode in Reading([Trace("runs/mgpo"), Trace("runs/grpo")])]
    """

    def __init__(self, traces: Sequence[Trace]) -> None:
        self.traces = traces
        self.names = _short(traces)
        """What each trace is called: as much of its path as tells it from the others."""
        self._shared = _shared(traces)
        self._kept = [_Kept(trace) for trace in traces]
        self._players = [read_players(trace.path.parent) for trace in traces]
        self.with_pictures = 0

    def __iter__(self) -> Iterator[Described]:
        before = 0
        for place, trace in enumerate(self.traces):
            last = 0
            for record in trace:
                last = record.line
                player = self._players[place].get(record.agent) or by_name(record.agent)
                named = self._named(record, player, place)
                try:
                    row = self._kept[place].only(describe(named))
                    data = to_json({**row, "key": before + last, "place": place})
                # What passed as a line may still hold numbers that nobody can draw or write.
                except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
                    trace.broken.append(Broken(trace.path, last, f"cannot be shown: {error}"))
                    continue
                self.with_pictures += _has_picture(row)
                yield Described(named, before + last, data, trace, player)
            before += max([last, *(broken.line for broken in trace.broken)])

    @property
    def broken(self) -> list[Broken]:
        return [broken for trace in self.traces for broken in trace.broken]

    def _named(self, record: Record, player: Player, place: int) -> Record:
        shared = record.agent in self._shared
        if not shared and not (player.variant_of and player.variant_of in self._shared):
            return record
        return replace(record, agent=f"{record.agent} ({self.names[place]})".strip())


def about(reading: Reading, index: Index, left_out: int, with_pictures: int) -> dict[str, Any]:
    """What the page says of its files."""
    several = len(reading.traces) > 1
    (first, *_), names = reading.traces, reading.names
    return {
        "title": " and ".join(names) if several else str(names[0] or first.path.name),
        "file": ", ".join(str(trace.path) for trace in reading.traces),
        "files": names if several else [],
        "index": index.data(),
        "withImages": with_pictures,
        "leftOut": left_out,
        **told(reading.broken, several),
    }


class _Kept:
    """Which pictures are there: others lose their name, so that nobody asks for them."""

    def __init__(self, trace: Trace) -> None:
        self._images = names_in(trace.path.parent / IMAGES)
        self._originals = names_in(trace.path.parent / ORIGINALS)

    def only(self, row: Row) -> Row:
        for picture in (p for turn in row["shown"] for p in turn):
            picture["file"] = picture["file"] if picture["file"] in self._images else ""
        for scene in row["scenes"]:
            scene["file"] = scene["file"] if scene["file"] in self._originals else ""
            scene["view"] = scene["view"] if scene["view"] in self._images else ""
        return row


def names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _has_picture(row: Row) -> bool:
    shown = (picture["file"] for turn in row["shown"] for picture in turn)
    return any(shown) or any(scene["file"] for scene in row["scenes"])


def _shared(traces: Sequence[Trace]) -> set[str]:
    """The agents that occur in more than one trace."""
    if len(traces) == 1:
        return set()
    counts = Counter(agent for trace in traces for agent in {record.agent for record in trace})
    return {agent for agent, count in counts.items() if count > 1}


def _short(traces: Sequence[Trace]) -> list[str]:
    paths = [trace.path.resolve().parent.parts for trace in traces]
    most = max(map(len, paths))
    tails = (["/".join(path[-depth:]) for path in paths] for depth in range(1, most + 1))
    different = (names for names in tails if len(set(names)) == len(paths))
    # Two files of one folder.
    return next(different, [str(trace.path.resolve()) for trace in traces])
