"""From groups to new weights: credit, micro-batches, loss, gradient, step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch

from hrvision_env.records import Outcome

from ..config import Optim
from ..rollout.loop import Group
from ..vlm import VLM
from .advantages import is_constant
from .algorithm import Algorithm, Options
from .losses import LossInputs
from .optimizer import Optimizer, TrainingError, Update
from .reference import Reference
from .tree import Credited, MicroBatch, micro_batches, token_logprobs


def credit(
    groups: Sequence[Group], algorithm: Algorithm, options: Options
) -> tuple[list[list[Credited]], float]:
    """Advantages for every sibling that played to the end, and the share of constant groups.

    Episodes that failed (`Outcome.ERROR`) enter neither the mean nor the loss. Constant groups
    are left out where the options say so. An episode counts once, however many trajectories it
    left; they all get its advantage.
    """
    credited, constant = [], 0
    for group in groups:
        played = [t for t in group.trajectories if t.episode.outcome is not Outcome.ERROR]
        if not played:
            continue
        reward_of = {t.member: t.reward for t in played}
        rewards = torch.tensor(list(reward_of.values()))
        flat = is_constant(rewards)
        constant += flat
        if not (flat and options.drop_zero_variance):
            values = algorithm.advantage(rewards, options).tolist()
            advantage_of = dict(zip(reward_of, values, strict=True))
            tokens: Counter[int] = Counter()
            for t in played:
                tokens[t.member] += int(t.loss_mask.sum())
            credited.append([Credited(t, advantage_of[t.member], tokens[t.member]) for t in played])
    return credited, constant / len(groups)


class Updater:
    """Turns credited groups into `optim.minibatches` updates of the policy."""

    def __init__(
        self,
        policy: VLM,
        optimizer: Optimizer,
        algorithm: Algorithm,
        options: Options,
        optim: Optim,
        reference: Reference | None = None,
    ) -> None:
        self.policy, self.reference, self.optimizer = policy, reference, optimizer
        self.algorithm, self.options, self.optim = algorithm, options, optim

    def update(self, groups: Sequence[Sequence[Credited]]) -> dict[str, float]:
        """Step through the groups; returns metrics (names in `tracking.METRICS`).

        Raises TrainingError when trainer and sampler disagree beyond `optim.mismatch_stop`, or
        after too many updates in a row with a non-finite gradient.
        """
        sums: Counter[str] = Counter()
        metrics = {"skipped_updates": float(self.optimizer.skipped), "lr": self.optimizer.lr}
        updates: list[Update] = []
        for part in _parts(groups, self.optim.minibatches):
            batches = list(micro_batches(part, self._budget, shared=self.optim.shared_prefix))
            n_tokens = sum(batch.n_tokens for batch in batches)
            n_trajectories = len(
                {(c.trajectory.group, c.trajectory.member) for group in part for c in group}
            )
            gaps = [self._backward(b, n_tokens, n_trajectories, sums) for b in batches]
            if not updates:  # the weights are still the sampler's
                metrics["mismatch_mean"] = sum(float(gap.sum()) for gap in gaps) / n_tokens
                metrics["mismatch_max"] = max(float(gap.max()) for gap in gaps)
                self._check_mismatch(metrics["mismatch_mean"])
            updates.append(self.optimizer.step())
        if not updates:
            return {**metrics, "tokens_trained": 0.0}
        tokens = sums.pop("tokens")
        metrics |= {name: value / tokens for name, value in sums.items() if name != "loss"}
        return {
            **metrics,
            "loss": sums["loss"] / len(updates),
            "tokens_trained": float(tokens),
            "grad_norm": sum(u.grad_norm for u in updates) / len(updates),
            "lr": updates[-1].lr,
            "skipped_updates": float(self.optimizer.skipped),
        }

    @property
    def _budget(self) -> int:
        return self.optim.micro_batch_tokens

    def _backward(
        self, batch: MicroBatch, n_tokens: int, n_trajectories: int, sums: Counter[str]
    ) -> torch.Tensor:
        """Add one micro-batch's gradient; returns |log-prob of trainer - of sampler| [K]."""
        shared = self.optim.shared_prefix
        reference = self.reference.score(batch, shared=shared) if self.reference else None
        entropy = True if self.options.entropy else None
        scores = token_logprobs(self.policy, batch, shared=shared, entropy=entropy)
        device = scores.logprobs.device
        inputs = LossInputs(
            logprobs=scores.logprobs,
            old_logprobs=batch.old_logprobs.to(device),
            advantages=batch.advantages.to(device),
            mask=batch.mask.to(device),
            n_tokens=n_tokens,
            n_trajectories=n_trajectories,
            lengths=batch.lengths.to(device),
            ref_logprobs=reference.logprobs if reference else None,
            entropy=scores.entropy,
        )
        out = self.algorithm.loss(inputs, self.options)
        out.loss.backward()
        self.optimizer.collect()
        sums.update(out.sums)
        sums.update({"loss": float(out.loss.detach()), "tokens": batch.n_tokens})
        return (inputs.logprobs.detach() - inputs.old_logprobs).abs()[inputs.mask]

    def _check_mismatch(self, mean: float) -> None:
        if mean > self.optim.mismatch_stop:
            self.optimizer.clear()
            raise TrainingError(
                f"log-probs of trainer and sampler differ by {mean:.3g} nats on average, more than "
                f"optim.mismatch_stop = {self.optim.mismatch_stop:g}: the sampler has other "
                "weights or other arithmetic, and the update would be noise"
            )


def _parts(groups: Sequence[Sequence[Credited]], count: int) -> list[Sequence[Sequence[Credited]]]:
    """At most `count` parts of nearly equal numbers of groups, none empty."""
    edges = [round(n * len(groups) / count) for n in range(count + 1)]
    return [groups[start:end] for start, end in pairwise(edges) if end > start]
