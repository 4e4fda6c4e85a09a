"""From groups to new weights: credit, micro-batches, loss, gradient, step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch

from hrvision_env.records import Outcome

from ..config_sections import Optim
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
    left; they all get its advantage. Raises ValueError for a trajectory whose sampling left out
    likely tokens (top-p, top-k, min-p): its log-probs are of a distribution that no softmax of the
    trainer's has, so every ratio would be wrong.
    """
    _check_whole(groups)
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
    return credited, constant / max(1, len(groups))


def _check_whole(groups: Sequence[Group]) -> None:
    for group in groups:
        for trajectory in group.trajectories:
            if trajectory.truncated:
                raise ValueError(
                    f"trajectory of group {trajectory.group!r}, member {trajectory.member}: was "
                    "sampled with top_p, top_k or min_p; expected top_p 1, top_k 0 and min_p 0: "
                    "trained on it would be another distribution"
                )


Groups = Sequence[Sequence[Credited]]


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

    def update(self, groups: Groups) -> dict[str, float]:
        """Step through the groups; returns metrics (names in `tracking.METRICS`).

        Raises TrainingError when trainer and sampler disagree beyond `optim.mismatch_stop`, or
        after too many updates in a row with a non-finite gradient.
        """
        sums: Counter[str] = Counter()
        metrics = {"skipped_updates": float(self.optimizer.skipped), "lr": self.optimizer.lr}
        updates: list[Update] = []
        for part, batches in self._batches(groups):
            n_tokens = sum(batch.n_tokens for batch, _ in batches)
            n_trajectories = len(
                {(c.trajectory.group, c.trajectory.member) for group in part for c in group}
            )
            gaps = [self._backward(b, old, n_tokens, n_trajectories, sums) for b, old in batches]
            if not updates:  # the weights are still the sampler's
                metrics |= _mismatch(torch.cat(gaps))
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

    def _batches(
        self, groups: Groups
    ) -> list[tuple[Groups, list[tuple[MicroBatch, torch.Tensor | None]]]]:
        """Every update's groups and micro-batches, each with the trainer's own log-probs before the
        first update where a correction needs them (those of the first update are computed anyway).
        """
        found: list[tuple[Groups, list[tuple[MicroBatch, torch.Tensor | None]]]] = []
        for part in _parts(groups, self.optim.minibatches):
            batches = micro_batches(part, self._budget, shared=self.optim.shared_prefix)
            scored = bool(found) and self.optim.importance_cap is not None
            found.append((part, [(b, self._score(b) if scored else None) for b in batches]))
        return found

    @torch.no_grad()
    def _score(self, batch: MicroBatch) -> torch.Tensor:
        shared = self.optim.shared_prefix
        return token_logprobs(self.policy, batch, shared=shared, entropy=False).logprobs

    def _backward(
        self,
        batch: MicroBatch,
        old: torch.Tensor | None,
        n_tokens: int,
        n_trajectories: int,
        sums: Counter[str],
    ) -> torch.Tensor:
        """Add one micro-batch's gradient; returns log-prob of trainer - of sampler [K].

        `old` [B, T]: the trainer's log-probs before the first update; None: they are those of now.
        """
        shared = self.optim.shared_prefix
        reference = self.reference.score(batch, shared=shared) if self.reference else None
        entropy = True if self.options.entropy else None
        scores = token_logprobs(self.policy, batch, shared=shared, entropy=entropy)
        device = scores.logprobs.device
        sampler, weights = batch.old_logprobs.to(device), None
        start = sampler
        if self.optim.importance_cap is not None:
            start = scores.logprobs.detach() if old is None else old
            weights, told = correction(start, sampler, batch.mask, self.optim.importance_cap)
            sums.update(told)
        inputs = LossInputs(
            logprobs=scores.logprobs,
            old_logprobs=start,
            advantages=batch.advantages.to(device),
            mask=batch.mask.to(device),
            n_tokens=n_tokens,
            n_trajectories=n_trajectories,
            lengths=batch.lengths.to(device),
            ref_logprobs=reference.logprobs if reference else None,
            entropy=scores.entropy,
            weights=weights,
        )
        out = self.algorithm.loss(inputs, self.options)
        if weights is not None and "kl_sampler" in out.sums:  # the loss knows the trainer's alone
            gap = (scores.logprobs.detach() - sampler)[inputs.mask]
            out.sums["kl_sampler"] = float((gap.expm1() - gap).sum())
        out.loss.backward()
        self.optimizer.collect()
        sums.update(out.sums)
        sums.update({"loss": float(out.loss.detach()), "tokens": batch.n_tokens})
        return (inputs.logprobs.detach() - sampler)[inputs.mask]

    def _check_mismatch(self, mean: float) -> None:
        if mean > self.optim.mismatch_stop:
            self.optimizer.clear()
            raise TrainingError(
                f"log-probs of trainer and sampler differ by {mean:.3g} nats on average, more than "
                f"optim.mismatch_stop = {self.optim.mismatch_stop:g}: the sampler has other "
                "weights or other arithmetic, and the update would be noise"
            )


def correction(
    trainer: torch.Tensor, sampler: torch.Tensor, mask: torch.Tensor, cap: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """w_t = min(π_trainer(o_t) / π_sampler(o_t), C) [B, T], and sums over tokens for the log.

    All arguments but `cap` [B, T], log-probs in nats before the first update. The ratio of the loss
    then starts from π_trainer, and w_t puts right that the tokens were drawn from π_sampler; the
    cap bounds the variance at the price of a bias. Source: truncated importance sampling, Ionides
    2008, J. Comput. Graph. Statist. 17(2).
    """
    ratio = (trainer - sampler).masked_fill(~mask.to(trainer.device), 0.0).exp()
    weights = ratio.clamp(max=cap)
    inside = mask.to(trainer.device)
    return weights, {
        "importance_mean": float(weights[inside].sum()),
        "importance_capped": float((ratio[inside] > cap).sum()),
    }


def _mismatch(gaps: torch.Tensor) -> dict[str, float]:
    """Metrics of log-prob of trainer - of sampler [K]; with ρ = π_trainer / π_sampler the KL of
    the sampler from the trainer is the mean of ρ - log ρ - 1 (k3)."""
    wide = gaps.double()
    return {
        "mismatch_mean": float(wide.abs().mean()),
        "mismatch_max": float(wide.abs().max()),
        "mismatch_kl": float((wide.expm1() - wide).mean()),
    }


def _parts(groups: Groups, count: int) -> list[Groups]:
    """At most `count` parts of nearly equal numbers of groups, none empty."""
    edges = [round(n * len(groups) / count) for n in range(count + 1)]
    return [groups[start:end] for start, end in pairwise(edges) if end > start]
