"""What rollouts did and cost: per episode, per turn number and in all.

Counts and seconds add up: over rollouts by passing one `RolloutStats` to all of them, over
processes by `add`. Rates are made from the sums, so a sum of two has the rate of both together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from hrvision_env.records import Episode, Outcome, Turn

from .engines import Completion, StopReason
from .trajectory import Trajectory

METRICS: dict[str, tuple[str, str]] = {
    "tokens": ("tokens", "sampled"),
    "tokens_per_reply": ("tokens", "sampled, per reply"),
    "tokens_first_reply": ("tokens", "sampled, per first reply of an episode"),
    "tokens_later_reply": ("tokens", "sampled, per reply after the first one"),
    "tokens_longest_reply": ("tokens", "of the longest reply"),
    "tokens_per_second": ("1/s", "sampled tokens per second of generation"),
    "turns_per_episode": ("replies", "per episode"),
    "cut_first_reply": ("0..1", "first replies that the length limit cut"),
    "cut_later_reply": ("0..1", "replies after the first one that the length limit cut"),
    "tool_rate": ("0..1", "episodes that asked for a crop and got one"),
    "asked_for_box": ("0..1", "replies that were asked for a box; in `free`: that tried one"),
    "valid_box_rate_strict": ("0..1", "of these, with a valid one by the strict parser"),
    "valid_box_rate_lenient": ("0..1", "of these, with a valid one by the lenient parser"),
    "crop_rate": ("crops", "shown per valid box"),
    **{f"stop_{reason}": ("0..1", f"replies that ended by {reason}") for reason in StopReason},
    **{
        f"outcome_{outcome}": ("0..1", f"episodes with outcome {outcome}")
        for outcome in Outcome
        if outcome is not Outcome.OPEN
    },
    "errors": ("episodes", "that ended by a failure of engine or environment"),
    "retries": ("-", "replies asked for again and episodes begun anew"),
    "batches_failed": ("batches", "of two or more that failed and were asked again in halves"),
    "images_encoded": ("images", "views and crops handed to the chats (a group's views once)"),
    "seconds_engine": ("s", "time in which replies were generated"),
    "seconds_env": ("s", "time of the environment"),
    "seconds_tokenise": ("s", "time in which texts and images became tokens"),
}
"""Every name in `RolloutStats.metrics`, with its unit and meaning."""


@dataclass(frozen=True)
class EpisodeCost:
    """What one episode took, attempts that failed included."""

    tokens: int = 0
    """Sampled."""
    turns: int = 0
    """Replies that came."""
    seconds_engine: float = 0.0
    """From asking for a reply to having it, over all replies."""
    seconds_env: float = 0.0
    """Its share of the environment's steps and resets."""
    retries: int = 0
    """Replies asked for again and episodes begun anew."""

    def __add__(self, other: EpisodeCost) -> EpisodeCost:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return EpisodeCost(**sums)


@dataclass
class TurnStats:
    """The n-th replies of all episodes."""

    replies: int = 0
    tokens: int = 0
    seconds_engine: float = 0.0
    """Waiting for the replies, added up over the episodes: they wait at the same time."""
    seconds_env: float = 0.0
    asked: int = 0
    """Replies that were asked for a box; in `free` those that tried to give one."""
    valid: Counter[str] = field(default_factory=Counter)
    """By parser, replies in which it finds a valid box; the environment obeys one of them."""
    boxes: int = 0
    """Valid boxes that the environment read."""
    crops: int = 0
    """Crops that came back for them."""
    longest: int = 0
    """Tokens of the longest reply."""
    cut: int = 0
    """Replies that the length limit cut."""


@dataclass
class RolloutStats:
    """What a rollout did and cost."""

    groups: int = 0
    groups_read: int = 0
    """Taken from an archive instead of played: not in `groups`, but in all other counts."""
    tokens_read: int = 0
    """Those of `sampled_tokens` that such groups brought; their seconds are not counted."""
    episodes: int = 0
    sampled_tokens: int = 0
    total_tokens: int = 0
    """Tokens of all trajectories."""
    episodes_with_box: int = 0
    episodes_with_crop: int = 0
    """Those that asked for a crop and got one."""
    images_encoded: int = 0
    seconds_engine: float = 0.0
    seconds_env: float = 0.0
    seconds_tokenise: float = 0.0
    turns: list[TurnStats] = field(default_factory=list)
    """By the number of the reply in its episode."""
    outcomes: Counter[str] = field(default_factory=Counter)
    stop_reasons: Counter[str] = field(default_factory=Counter)
    invalid_reasons: Counter[str] = field(default_factory=Counter)
    """Why replies that were asked for a box hold none; values of `actions.InvalidReason`."""
    error_reasons: Counter[str] = field(default_factory=Counter)
    """Why episodes ended with `Outcome.ERROR`, see `kind_of`."""
    retry_reasons: Counter[str] = field(default_factory=Counter)
    """Why replies were asked for again and episodes begun anew, see `kind_of`."""
    batch_reasons: Counter[str] = field(default_factory=Counter)
    """Why batches failed and were asked again in halves, see `kind_of`."""

    @property
    def errors(self) -> int:
        """Episodes that ended with `Outcome.ERROR`."""
        return self.outcomes[Outcome.ERROR]

    @property
    def retries(self) -> int:
        return sum(self.retry_reasons.values())

    @property
    def batches_failed(self) -> int:
        """Batches of two or more that failed as a whole; nothing is lost by that but time."""
        return sum(self.batch_reasons.values())

    @property
    def replies(self) -> int:
        return sum(turn.replies for turn in self.turns)

    @property
    def valid_box_rate(self) -> float:
        """Share of the episodes with a valid box; 0 when there are none."""
        return _share(self.episodes_with_box, self.episodes)

    @property
    def tokens_per_second(self) -> float:
        """Sampled tokens per second of engine time, without those that were read."""
        return _share(self.sampled_tokens - self.tokens_read, self.seconds_engine)

    def turn(self, number: int) -> TurnStats:
        """The numbers of all replies `number`, counted from 0."""
        while len(self.turns) <= number:
            self.turns.append(TurnStats())
        return self.turns[number]

    def count_reply(self, number: int, completion: Completion, seconds: float) -> None:
        """A reply that came after `seconds` of waiting."""
        turn = self.turn(number)
        turn.replies += 1
        turn.tokens += len(completion.token_ids)
        turn.seconds_engine += seconds
        turn.longest = max(turn.longest, len(completion.token_ids))
        turn.cut += completion.stop_reason is StopReason.LENGTH
        self.sampled_tokens += len(completion.token_ids)
        self.stop_reasons[str(completion.stop_reason)] += 1

    def count_step(
        self, number: int, seconds: float, found: Mapping[str, bool], turn: Turn | None
    ) -> None:
        """What the environment made of reply `number`; `found`: which parser finds a valid box."""
        stats = self.turn(number)
        stats.seconds_env += seconds
        stats.asked += bool(found)
        stats.valid.update(parser for parser, valid in found.items() if valid)
        if turn is not None:
            stats.boxes += len(turn.boxes)
            stats.crops += len(turn.crop_sizes)
            self.invalid_reasons.update([turn.invalid_reason] if turn.invalid_reason else [])

    def count_group(self, episodes: Iterable[Episode], trajectories: Iterable[Trajectory]) -> None:
        """A finished group."""
        self.groups += 1
        self.total_tokens += sum(len(trajectory) for trajectory in trajectories)
        for episode in episodes:
            self.episodes += 1
            self.episodes_with_box += bool(episode.boxes)
            self.episodes_with_crop += any(turn.crop_sizes for turn in episode.turns)
            self.outcomes[str(episode.outcome)] += 1
            if episode.outcome is Outcome.ERROR:
                self.error_reasons[kind_of(episode.error)] += 1

    def count_read(self, played: RolloutStats) -> None:
        """A group that was read: what was counted while it was played."""
        tokens = played.sampled_tokens
        self.add(replace(played, groups=0, groups_read=1, tokens_read=tokens))

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; `from_dict` reads it."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> RolloutStats:
        """Raises TypeError for names that it does not know."""
        turns = [TurnStats(**{**t, "valid": Counter(t["valid"])}) for t in row["turns"]]
        counts = {name: Counter(v) for name, v in row.items() if isinstance(v, dict)}
        return cls(**{**row, **counts, "turns": turns})

    def add(self, other: RolloutStats) -> None:
        """Add the numbers of another rollout, or of another process."""
        for number, turn in enumerate(other.turns):
            _add(self.turn(number), turn)
        _add(self, other)

    def metrics(self) -> dict[str, float]:
        """Names and meanings in `METRICS`; a rate is 0 where there is nothing to count."""
        turns, replies = self.turns, self.replies
        first = turns[0] if turns else TurnStats()
        asked, boxes = sum(t.asked for t in turns), sum(t.boxes for t in turns)
        valid = sum((t.valid for t in turns), Counter[str]())
        values = {
            "tokens": self.sampled_tokens,
            "tokens_per_reply": _share(self.sampled_tokens, replies),
            "tokens_first_reply": _share(first.tokens, first.replies),
            "tokens_later_reply": _share(
                self.sampled_tokens - first.tokens, replies - first.replies
            ),
            "tokens_longest_reply": max((t.longest for t in turns), default=0),
            "tokens_per_second": self.tokens_per_second,
            "turns_per_episode": _share(replies, self.episodes),
            "cut_first_reply": _share(first.cut, first.replies),
            "cut_later_reply": _share(
                sum(t.cut for t in turns) - first.cut, replies - first.replies
            ),
            "tool_rate": _share(self.episodes_with_crop, self.episodes),
            "asked_for_box": _share(asked, replies),
            "valid_box_rate_strict": _share(valid["strict"], asked),
            "valid_box_rate_lenient": _share(valid["lenient"], asked),
            "crop_rate": _share(sum(t.crops for t in turns), boxes),
            **{f"stop_{name}": _share(self.stop_reasons[name], replies) for name in StopReason},
            **{
                f"outcome_{name}": _share(self.outcomes[name], self.episodes)
                for name in Outcome
                if name is not Outcome.OPEN
            },
            "errors": self.errors,
            "retries": self.retries,
            "batches_failed": self.batches_failed,
            "images_encoded": self.images_encoded,
            "seconds_engine": self.seconds_engine,
            "seconds_env": self.seconds_env,
            "seconds_tokenise": self.seconds_tokenise,
        }
        return {name: float(value) for name, value in values.items()}


def kind_of(reason: str) -> str:
    """What reasons of one kind have in common: the error's type, or the text without its numbers.

    >>> kind_of("ImageError: nowhere.png: does not exist")
    'ImageError'
    >>> kind_of("timed out after 2 s, 17 tokens sampled")
    'timed out after N s, N tokens sampled'
    """
    name = re.match(r"[A-Za-z_.]+(?=: )", reason)
    return name.group() if name else re.sub(r"\d[\d.,]*(?<=\d)", "N", reason)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [{f.name: _plain(getattr(turn, f.name)) for f in fields(turn)} for turn in value]
    return dict(value) if isinstance(value, Counter) else value


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _add(mine: Any, other: Any) -> None:
    for name in (f.name for f in fields(mine)):
        value, more = getattr(mine, name), getattr(other, name)
        if isinstance(value, Counter):
            value.update(more)
        elif name == "longest":
            mine.longest = max(value, more)
        elif not isinstance(value, list):
            setattr(mine, name, value + more)
