"""How good the policy is on questions it does not train on, and where it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext

from hrvision_env.curation.wrapping import Subset
from hrvision_env.datasets import Dataset
from hrvision_env.diagnostics import aggregate
from hrvision_env.records import Episode
from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config, eval_env
from ..rollout.engines import Engine, Sampling
from ..rollout.evaluate import evaluate
from ..rollout.stats import RolloutStats
from .interrupt import Interrupt
from .played import Seen, all_stats
from .ranks import ALONE, Ranks

GREEDY = {"hit_rate": "hit_rate_greedy"}


def grounding(episodes: Iterable[Seen], *, sampled: bool) -> dict[str, float]:
    """Hit rate, IoU, coverage, box side and valid-box rate under the names of `METRICS`."""
    means = aggregate(seen.look for seen in episodes)
    if sampled:
        return {f"{name}_sampled": value for name, value in means.items()}
    return {GREEDY.get(name, name): value for name, value in means.items()}


class Evaluator:
    """Plays the first `eval.n` questions of the evaluation split, greedily and sampled.

    Over several processes each plays its share; what `run` returns is of all of them.
    """

    def __init__(self, config: Config, engine: Engine, ranks: Ranks = ALONE) -> None:
        self.config, self.engine, self.ranks = config, engine, ranks
        self.stats = RolloutStats()
        """Of the last `run`."""
        members = min(config.eval.batch, config.eval.n)
        self.env = HighResVQAVectorEnv(num_envs=members, group_size=1, **eval_env(config))
        self.questions = list(range(min(config.eval.n, len(self.env.envs[0].dataset))))

    @property
    def asked(self) -> Dataset:
        """The questions that are played."""
        dataset = self.env.envs[0].dataset
        return dataset if len(self.questions) == len(dataset) else Subset(dataset, self.questions)

    def run(
        self, interrupt: Interrupt | None = None
    ) -> tuple[dict[str, float], dict[str, list[Episode]]]:
        """Metrics, and the first episodes of each kind ("greedy", "sampled").

        Raises SharedFailure for what failed on one of several processes.
        """
        stats = RolloutStats()
        played: dict[str, list[tuple[Seen, Episode]]] = {}
        with self.ranks.together(), interrupt.anywhere() if interrupt else nullcontext():
            played["greedy"] = self._play(0.0, stats)
            if self.config.eval.sampled:
                played["sampled"] = self._play(self.config.rollout.temperature, stats)
        self.stats = all_stats(stats, self.ranks)
        return self._metrics(played)

    def _metrics(
        self, played: dict[str, list[tuple[Seen, Episode]]]
    ) -> tuple[dict[str, float], dict[str, list[Episode]]]:
        seen = {kind: self.ranks.collect([s for s, _ in own]) for kind, own in played.items()}
        greedy = seen["greedy"]
        metrics = {
            "accuracy": _accuracy(greedy),
            "n": float(len(greedy)),
            "errors": float(sum(s.error is not None for s in greedy)),
            **grounding(greedy, sampled=False),
        }
        if "sampled" in seen:
            metrics["accuracy_sampled"] = _accuracy(seen["sampled"])
            metrics |= grounding(seen["sampled"], sampled=True)
        metrics["batches_failed"] = float(self.stats.batches_failed)
        shown = self.config.eval.episodes
        first = {kind: [episode for _, episode in own[:shown]] for kind, own in played.items()}
        return metrics, {kind: self.ranks.collect(own)[:shown] for kind, own in first.items()}

    def close(self) -> None:
        self.env.close()

    def _play(self, temperature: float, stats: RolloutStats) -> list[tuple[Seen, Episode]]:
        # The same draws at every evaluation: a change comes from the policy.
        options, rollout = self.config.eval, self.config.rollout
        sampling = Sampling(
            max_tokens=rollout.max_tokens,
            temperature=temperature,
            seed=self.config.seed,
            top_p=options.top_p,
            top_k=options.top_k,
            min_p=options.min_p,
            timeout=rollout.timeout,
        )
        played = evaluate(
            self.env,
            self.engine,
            self.ranks.share(self.questions),
            sampling,
            retries=rollout.retries,
            stats=stats,
        )
        return [(Seen.of(sample, episode), episode) for sample, episode in played]


def _accuracy(episodes: Sequence[Seen]) -> float:
    return sum(seen.correct for seen in episodes) / len(episodes)
