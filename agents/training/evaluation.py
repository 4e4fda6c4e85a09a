"""How good the policy is on questions it does not train on, and where it looks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hrvision_env.curation.wrapping import Subset
from hrvision_env.datasets import Dataset
from hrvision_env.diagnostics import aggregate, diagnose
from hrvision_env.records import Episode, Outcome, Sample
from hrvision_env.vector import HighResVQAVectorEnv

from ..config import Config, eval_env
from ..rollout.engines import Engine, Sampling
from ..rollout.evaluate import evaluate
from ..rollout.stats import RolloutStats

GREEDY = {"hit_rate": "hit_rate_greedy"}
Played = Sequence[tuple[Sample, Episode]]


def grounding(played: Iterable[tuple[Sample, Episode]], *, sampled: bool) -> dict[str, float]:
    """Hit rate, IoU, coverage, box side and valid-box rate under the names of `METRICS`."""
    means = aggregate(diagnose(sample, episode) for sample, episode in played)
    if sampled:
        return {f"{name}_sampled": value for name, value in means.items()}
    return {GREEDY.get(name, name): value for name, value in means.items()}


class Evaluator:
    """Plays the first `eval.n` questions of the evaluation split, greedily and sampled."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self.config, self.engine = config, engine
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

    def run(self) -> tuple[dict[str, float], dict[str, list[Episode]]]:
        """Metrics, and the first episodes of each kind ("greedy", "sampled")."""
        self.stats = RolloutStats()
        greedy = self._play(temperature=0.0)
        metrics = {
            "accuracy": _accuracy(greedy),
            "n": float(len(greedy)),
            "errors": float(sum(e.outcome is Outcome.ERROR for _, e in greedy)),
            **grounding(greedy, sampled=False),
        }
        kinds = {"greedy": greedy}
        if self.config.eval.sampled:
            kinds["sampled"] = self._play(self.config.rollout.temperature)
            metrics["accuracy_sampled"] = _accuracy(kinds["sampled"])
            metrics |= grounding(kinds["sampled"], sampled=True)
        metrics["batches_failed"] = float(self.stats.batches_failed)
        shown = self.config.eval.episodes
        return metrics, {kind: [e for _, e in played[:shown]] for kind, played in kinds.items()}

    def close(self) -> None:
        self.env.close()

    def _play(self, temperature: float) -> Played:
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
        return evaluate(
            self.env,
            self.engine,
            self.questions,
            sampling,
            retries=rollout.retries,
            stats=self.stats,
        )


def _accuracy(played: Played) -> float:
    return sum(episode.correct for _, episode in played) / len(played)
