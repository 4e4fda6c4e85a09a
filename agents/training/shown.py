"""Training episodes for people: a few of a step, kept with everything that the policy saw and
what became of it: every token with its log-prob and its advantage.

They are a trace in the run's folder: `python -m hrvision_env view RUN` makes a page of them. The
agent has the name of the folder, and every line says its step, as metrics.jsonl does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from gymnasium.error import ResetNeeded

from hrvision_env.diagnostics import diagnose
from hrvision_env.records import Episode, Sample
from hrvision_env.rendering import draw
from hrvision_env.running import Running
from hrvision_env.trace import EPISODES, Original, Piece, Record, TraceWriter
from hrvision_env.trace.originals import MAX_PIXELS
from hrvision_env.vector import HighResVQAVectorEnv

from ..rollout.loop import Group
from .metrics_file import replace_text

Pieces = Callable[[Group, int], tuple[tuple[Piece, ...], ...]]
"""(group, member) -> the tokens of an episode, conversation by conversation."""


def nothing(group: Group, member: int) -> tuple[tuple[Piece, ...], ...]:
    """`Pieces` of groups whose tokens are not at hand."""
    return ()


@dataclass(frozen=True, eq=False)
class Shown:
    """An episode to look at."""

    record: Record
    picture: np.ndarray | None
    """[720, 1280, 3] uint8: views, boxes, crops and transcript; None where the pixels are not at
    hand, as with rollouts from an archive."""


def choose(groups: Sequence[Group], count: int) -> list[tuple[Group, int]]:
    """At most `count` (group, member): first the best and the worst sibling of groups that differ
    in reward, as many groups as possible, then one of each other group, then their siblings.

    Of a run on several devices the groups are those of the first one: what the others played may
    differ in reward where these do not.
    """
    mixed = [g for g in groups if len({e.reward for e in g.episodes}) > 1]
    pairs = [(g, _best(g.episodes)) for g in mixed], [(g, _worst(g.episodes)) for g in mixed]
    others = [(g, 0) for g in groups if g not in mixed]
    told = mixed[: max(1, count // 2)]
    both = [pair for g in told for pair in ((g, _best(g.episodes)), (g, _worst(g.episodes)))]
    rest = [pair for column in pairs for pair in column if pair not in both]
    siblings = [(g, n) for g in groups if g not in mixed for n in range(1, len(g.episodes))]
    return [*both, *others, *rest, *siblings][:count]


def _best(episodes: Sequence[Episode]) -> int:
    return max(range(len(episodes)), key=lambda n: episodes[n].reward)


def _worst(episodes: Sequence[Episode]) -> int:
    return min(range(len(episodes)), key=lambda n: episodes[n].reward)


def keep(
    folder: Path,
    step: int,
    chosen: Sequence[tuple[Group, int]],
    env: HighResVQAVectorEnv | None,
    pieces: Pieces = nothing,
    *,
    drawn: bool,
) -> list[Shown]:
    """Append episodes of a step to the trace in `folder`; `drawn` also makes pictures of them.

    `env`: where they were played, for what was seen in them; an episode that it does not hold (any
    more) is kept without pictures. Raises OSError.
    """
    writer, agent, found = TraceWriter(folder), folder.resolve().name, []
    for group, member in chosen:
        record, picture = _seen(writer, group, member, env, drawn)
        tokens = pieces(group, member)
        record = replace(record, agent=agent, step=step, sampled=True, draw=member)
        looked = asdict(diagnose(group.sample, group.episodes[member]))
        measures = {name: float(value) for name, value in looked.items() if value is not None}
        record = replace(record, tokens=tokens, measures=measures)
        writer.append(record)
        found.append(Shown(record, picture))
    return found


def _seen(
    writer: TraceWriter, group: Group, member: int, env: HighResVQAVectorEnv | None, drawn: bool
) -> tuple[Record, np.ndarray | None]:
    """The record with what was seen, where the environment has it, and a picture if wanted."""
    episode = group.episodes[member]
    place = None if env is None else _place(env, episode)
    if env is None or place is None:
        return _record(group.sample, episode), None
    running, referee = _as_told(env.envs[place].running, episode), env.envs[place].referee
    originals: tuple[Original, ...] = ()
    # Larger ones would be cut into tiles, which would hold up the training.
    if all(wide * high <= MAX_PIXELS for wide, high in episode.image_sizes):
        originals = writer.keep_originals(running.sample, referee.store)
    record = replace(writer.keep(running, referee.rules), originals=originals)
    return record, draw(running, referee.rules) if drawn else None


def forget_after(folder: Path, step: int) -> None:
    """Drop the episodes of steps after `step` from the trace, and lines that are broken."""
    path = folder / EPISODES
    if path.is_file():
        lines = path.read_text("utf-8", errors="replace").split("\n")  # a reply may hold U+2028
        replace_text(path, "".join(f"{line}\n" for line in lines if _step_of(line) <= step))


def _step_of(line: str) -> float:
    """The step of a line of the trace; of one without a step -1, of a broken one infinite."""
    try:
        step = json.loads(line).get("step")
    except (ValueError, AttributeError, RecursionError):
        return math.inf
    return step if isinstance(step, int) else -1


def _place(env: HighResVQAVectorEnv, episode: Episode) -> int | None:
    """The member of the environment that played an episode."""
    return next((i for i in range(env.num_envs) if _holds(env, i, episode)), None)


def _holds(env: HighResVQAVectorEnv, i: int, episode: Episode) -> bool:
    try:
        return _same(env.episode(i), episode)
    except ResetNeeded:  # idle: a small dataset has fewer questions than the step has places
        return False


def _same(played: Episode, told: Episode) -> bool:
    """Whether they are one episode; why replies ended is known to the rollout alone."""
    return played.question_id == told.question_id and [t.reply for t in played.turns] == [
        t.reply for t in told.turns
    ]


def _as_told(running: Running, episode: Episode) -> Running:
    """The environment's state with what the rollout knows beside it."""
    return replace(
        running,
        turns=list(episode.turns),
        outcome=episode.outcome,
        reward=episode.reward,
        error=episode.error,
    )


def _record(sample: Sample, episode: Episode) -> Record:
    return Record(
        episode=episode,
        question=sample.question,
        options=dict(sample.options or {}),
        answers=tuple(sample.answers),
        gold=tuple(sample.boxes),
        category=tuple(sample.category),
    )
