"""What a step's rollouts came to, over all processes: counts, metrics, and what is to be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hrvision_env.diagnostics import Diagnostics, aggregate, diagnose
from hrvision_env.records import Episode, Outcome, Sample

from ..rollout.loop import Group, RolloutStats
from .ranks import ALONE, Ranks

SECONDS = ("seconds_engine", "seconds_env", "seconds_tokenise")


@dataclass(frozen=True)
class Seen:
    """What metrics need of an episode; small enough to send to the other processes."""

    question_id: str
    reward: float
    correct: bool
    error: str | None
    """Why it failed; None: it did not."""
    look: Diagnostics

    @classmethod
    def of(cls, sample: Sample, episode: Episode) -> Seen:
        error = episode.error if episode.outcome is Outcome.ERROR else None
        look = diagnose(sample, episode)
        return cls(episode.question_id, episode.reward, bool(episode.correct), error, look)


@dataclass(frozen=True)
class Played:
    """A step's rollouts, those of all processes."""

    episodes: tuple[Seen, ...]
    """In the order of the step's questions."""
    stats: RolloutStats
    trainable: bool
    """Whether any episode that did not fail left tokens to train on."""

    def metrics(self) -> dict[str, float]:
        """Names in `metrics.METRICS`."""
        return {**self.stats.metrics(), **_means(self.episodes)}

    def warnings(self, step: int) -> list[str]:
        """Lines about what failed."""
        lines = []
        if failed := [seen for seen in self.episodes if seen.error is not None]:
            lines += [
                f"warning: step {step}: {len(failed)} of {len(self.episodes)} episodes failed and "
                f"are left out; question {failed[0].question_id}: {failed[0].error}"
            ]
        return lines + batch_warnings(step, "rollout", self.stats)


def played(groups: Sequence[Group], stats: RolloutStats, ranks: Ranks = ALONE) -> Played:
    """Put the shares of all processes together; `groups` and `stats` are this one's."""
    seen = [[Seen.of(group.sample, e) for e in group.episodes] for group in groups]
    episodes = [episode for group in ranks.collect(seen) for episode in group]
    return Played(tuple(episodes), all_stats(stats, ranks), ranks.any(is_trainable(groups)))


def episode_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What the episodes of one process say; names in `metrics.METRICS`."""
    return _means([Seen.of(group.sample, e) for group in groups for e in group.episodes])


def _means(episodes: Sequence[Seen]) -> dict[str, float]:
    rewards = [seen.reward for seen in episodes if seen.error is None]
    means = aggregate(seen.look for seen in episodes)
    looks = {f"{name}_sampled": value for name, value in means.items()}
    looks["valid_box_rate"] = looks.pop("valid_box_rate_sampled", 0.0)
    return {"reward_mean": sum(rewards) / max(1, len(rewards)), **looks}


def all_stats(stats: RolloutStats, ranks: Ranks) -> RolloutStats:
    """Counts of all processes; seconds are those of one, on average, as they work side by side."""
    if ranks.world == 1:
        return stats
    total = RolloutStats()
    for row in ranks.gather(stats.to_dict()):
        total.add(RolloutStats.from_dict(row))
    for name in SECONDS:
        setattr(total, name, getattr(total, name) / ranks.world)
    return total


def is_trainable(groups: Sequence[Group]) -> bool:
    """Whether any episode that did not fail left tokens to train on."""
    found = (t.episode.outcome for group in groups for t in group.trajectories)
    return any(outcome is not Outcome.ERROR for outcome in found)


def why_not(stats: RolloutStats) -> str:
    """What a rollout without anything to train on came to."""
    reasons = ", ".join(f"{reason} x {n}" for reason, n in stats.error_reasons.most_common(3))
    return f"{stats.errors} of {stats.episodes} episodes failed" + (f" ({reasons})" * bool(reasons))


def batch_warnings(step: int, what: str, stats: RolloutStats) -> list[str]:
    """A line when batches failed and were asked again in halves."""
    if not stats.batches_failed:
        return []
    reasons = ", ".join(f"{r} x {n}" for r, n in stats.batch_reasons.most_common(3))
    return [
        f"warning: step {step}, {what}: {stats.batches_failed} batches failed and were asked again "
        f"in halves, which costs time ({reasons}); the engine may need smaller ones"
    ]
