"""What the list of episodes knows of each: enough to filter, to order and to find its partner.

The list of ten thousand episodes is in the page from the beginning, so it is short: columns, and
names that occur often as numbers into a list of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..trace import Broken, Record
from .players import Player, rivals
from .rows import clip, short_id

MAX_ABOUT, MAX_FOUND = 140, 4_000
"""Characters of a question in the list, and of the texts of an episode that a search looks at."""
_COLUMNS = (
    "line",
    "id",
    "about",
    "agent",
    "dataset",
    "category",
    "outcome",
    "reward",
    "box",
    "strict",
    "official",
    "step",
    "training",
    "draw",
    "turns",
    "length",
    "crop",
)
_NAMED = ("agent", "dataset", "outcome", "crop")


class Index:
    """The columns of the list, filled one record at a time."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._numbers: dict[str, dict[str, int]] = {n: {} for n in (*_NAMED, "category")}
        self._players: dict[str, Player] = {}

    def __len__(self) -> int:
        return len(self._columns["line"])

    def add(self, record: Record, key: int, player: Player) -> None:
        """`key`: its line, and what the address calls it. `player`: its agent."""
        episode = record.episode
        self._players.setdefault(clip(record.agent), player)
        values: dict[str, Any] = {
            "line": key,
            "id": short_id(episode.question_id),
            "about": _about(record),
            "agent": record.agent,
            "dataset": record.label or ":".join(filter(None, (episode.dataset, episode.split))),
            "category": [self._number("category", name) for name in record.category],
            "outcome": episode.outcome.value,
            "reward": episode.reward,
            "box": int(bool(episode.boxes)),
            "strict": record.strict,
            "official": record.official,
            "step": record.step,
            "training": record.training,
            "draw": record.draw if record.sampled else None,
            "turns": len(episode.turns),
            "length": sum(len(turn.reply) for turn in episode.turns),
            "crop": episode.crop,
        }
        for name, value in values.items():
            coded = self._number(name, value) if name in _NAMED else value
            self._columns[name].append(coded)

    def data(self) -> dict[str, Any]:
        """{"columns": {name: values}, "names": {column: names by number}, "rivals": agents}."""
        names = {column: list(numbers) for column, numbers in self._numbers.items()}
        return {"columns": self._columns, "names": names, "rivals": rivals(self._players)}

    def check_some(self, path: object, broken: Sequence[Broken]) -> None:
        """Raises ValueError when there is no episode."""
        if not len(self):
            lines = [f", {len(broken)} broken lines, first {b}" for b in broken[:1]]
            raise ValueError(f"{path}: holds no episode{''.join(lines)}")

    def _number(self, column: str, name: str) -> int:
        numbers = self._numbers[column]
        return numbers.setdefault(clip(name), len(numbers))


def searched(record: Record) -> str:
    """What a search looks through besides the list itself, in lower case."""
    episode = record.episode
    texts: Iterable[str] = (
        episode.question_id,
        record.agent,
        record.question,
        episode.answer,
        episode.error,
        *record.options.values(),
        *(turn.reply for turn in reversed(episode.turns)),
        *(turn.text for turn in episode.turns),
    )
    return "\n".join(texts)[:MAX_FOUND].lower()


def _about(record: Record) -> str:
    """The question in one line; where it is not known, how the episode begins, or fails."""
    turns = record.episode.turns
    begun = turns[0].text.replace("<image>", "") if turns else ""
    text = record.question.strip() or begun.strip() or record.episode.error
    return " ".join(text.split())[:MAX_ABOUT]
