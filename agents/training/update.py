"""From groups to new weights: micro-batches, loss, gradient, step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch

from ..config_sections import Optim
from ..vlm import VLM
from .algorithm import Algorithm, Options
from .credit import teaches
from .importance import correction
from .losses import LossInputs
from .optimizer import AnyOptimizer, TrainingError, Update
from .ranks import ALONE, Ranks
from .reference import Reference
from .rng import restore_rng, rng_state
from .share import Groups, Part, idle_batch, parts_of
from .tree import Credited, MicroBatch, TokenScores, micro_batches, token_logprobs
from .usage import VOLUME, volume

Score = Callable[..., TokenScores]


@dataclass(eq=False)
class Tried:
    """An update that was begun: what it takes to compute it again, and what came out."""

    number: int
    """Among those of its step, from 0."""
    rng: dict[str, Any]
    """Random number generators before it."""
    losses: list[float]
    """Of this rank's micro-batches."""
    mismatch: dict[str, float] = field(default_factory=dict)


class Updater:
    """Turns credited groups into `optim.minibatches` updates of the policy.

    Over several processes each has the groups of its share; loss, gradient and metrics are those of
    all of them together, and the same as in one process up to rounding.
    """

    def __init__(
        self,
        policy: VLM,
        optimizer: AnyOptimizer,
        algorithm: Algorithm,
        options: Options,
        optim: Optim,
        reference: Reference | None = None,
        budget: float = 0.0,
        ranks: Ranks = ALONE,
        score: Score | None = None,
    ) -> None:
        """`budget`: tokens that an episode may sample at most; `score`: how the policy is run, as
        `token_logprobs` with its first argument given."""
        self.policy, self.reference, self.optimizer = policy, reference, optimizer
        self.algorithm, self.options, self.optim = algorithm, options, optim
        self.budget, self.ranks = budget, ranks
        self.score = score or partial(token_logprobs, policy)
        if reference is not None:
            reference.run = self.score
        self.form = optim.form(policy.checkpointing)
        self.only: Tried | None = None
        """Of each step make this update alone, with its random numbers; None: all."""
        self.tried: Tried | None = None
        """The newest update, also when `update` raised."""

    def update(
        self, groups: Groups, places: Sequence[int] | None = None, step: int = 0
    ) -> dict[str, float]:
        """Step through the groups; returns metrics (names in `tracking.METRICS`), of all ranks.

        Groups without an advantage count, and are computed only where something else in the loss
        has a weight; an update that has no other groups is left out, so that neither decay nor
        momentum moves the weights. `places`: see `share.parts_of`; `step`: so
        many are finished. Raises TrainingError when trainer and sampler disagree beyond
        `optim.mismatch_stop`, or after too many updates in a row with a non-finite gradient.
        """
        sums: Counter[str] = Counter()
        self.optimizer.place = step + 1.0
        metrics = {"skipped_updates": float(self.optimizer.skipped), "lr": self.optimizer.lr}
        updates: list[Update] = []
        parts = self._parts(groups, places)
        for number, part in enumerate(parts):
            if self.only is not None:
                if number != self.only.number:
                    continue
                restore_rng(self.only.rng)  # scores before it may have drawn numbers
            self.optimizer.place = step + (number + 1) / len(parts)
            self.tried = Tried(number, rng_state(), part.losses)
            gaps = self._backward_all(part, sums)
            if number == 0:  # the weights are still the sampler's
                self.tried.mismatch = self._mismatch(gaps)
                metrics |= self.tried.mismatch
                self._check_mismatch(metrics["mismatch_mean"])
            broken = not all(math.isfinite(loss) for loss in part.losses)
            skips = self.ranks.any(broken)
            updates.append(self.optimizer.skip() if skips else self.optimizer.step())
        if not updates:
            return {**metrics, "tokens_trained": 0.0}
        sums = Counter(self.ranks.total(sums))
        tokens = sums.pop("tokens")
        metrics |= {name: sums.pop(name) for name in VOLUME}
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

    def _parts(self, groups: Groups, places: Sequence[int] | None) -> list[Part]:
        """Every update's micro-batches, each with the trainer's own log-probs before the first
        update where they are needed (those of the first update are computed anyway).
        """
        found = parts_of(
            groups,
            self.optim.minibatches,
            lambda part: micro_batches(part, self._budget, form=self.form),
            self.ranks,
            places,
            self._computed,
        )
        for n, part in enumerate(found):
            if n and self._starts_own:
                part.old.extend(self._scores_before(part))
            else:
                part.old.extend([None] * len(part.batches))
        return found

    @property
    def _starts_own(self) -> bool:
        """Whether ratios start from the trainer's log-probs, not from the sampler's."""
        return self.optim.importance != "none" or self.algorithm.old_policy == "trainer"

    def _computed(self, group: Sequence[Credited]) -> bool:
        """Whether a group can have a gradient."""
        more = self.options.kl or self.options.entropy or not self.algorithm.zero_without_advantage
        return bool(more) or teaches(group)

    @torch.no_grad()
    def _scores_before(self, part: Part) -> list[torch.Tensor | None]:
        """The trainer's log-probs [B, T] of every micro-batch."""
        found = [self._score(batch, entropy=False).logprobs for batch in part.batches]
        for _ in range(part.passes - len(part.batches)):
            self._score(self._idle, entropy=False)
        return list(found)

    def _score(self, batch: MicroBatch, entropy: bool | None) -> TokenScores:
        return self.score(batch, form=self.form, entropy=entropy)

    @cached_property
    def _idle(self) -> MicroBatch:
        return idle_batch(self.policy.codec)

    def _backward_all(self, part: Part, sums: Counter[str]) -> torch.Tensor:
        """Add a part's gradient; returns log-prob of trainer - of sampler [K] of this rank."""
        last = part.passes - 1
        gaps = [
            self._backward(batch, old, part, sums, last=n == last)
            for n, (batch, old) in enumerate(zip(part.batches, part.old, strict=True))
        ]
        for n in range(len(part.batches), part.passes):
            self._pass_idly(last=n == last)
        return torch.cat(gaps) if gaps else torch.zeros(0)

    def _backward(
        self,
        batch: MicroBatch,
        old: torch.Tensor | None,
        part: Part,
        sums: Counter[str],
        last: bool,
    ) -> torch.Tensor:
        """Add one micro-batch's gradient; returns log-prob of trainer - of sampler [K].

        `old` [B, T]: the trainer's log-probs before the first update; None: they are those of now.
        """
        reference = self.reference.score(batch, form=self.form) if self.reference else None
        scores = self._score(batch, entropy=self._entropy)
        device = scores.logprobs.device
        sampler, weights = batch.old_logprobs.to(device), None
        start = sampler
        if self._starts_own:
            start = scores.logprobs.detach() if old is None else old
        if self.optim.importance != "none":
            how = (self.optim.importance, self.optim.importance_cap)
            weights, told = correction(start, sampler, batch.mask, *how)
            sums.update(told)
        inputs = LossInputs(
            logprobs=scores.logprobs,
            old_logprobs=start,
            advantages=batch.advantages.to(device),
            mask=batch.mask.to(device),
            n_tokens=part.n_tokens,
            n_trajectories=part.n_trajectories,
            lengths=batch.lengths.to(device),
            ref_logprobs=reference.logprobs if reference else None,
            entropy=scores.entropy,
            weights=weights,
            budget=self.budget,
        )
        out = self.algorithm.loss(inputs, self.options)
        if self._starts_own and "kl_sampler" in out.sums:  # the loss knows the trainer's alone
            gap = (scores.logprobs.detach() - sampler)[inputs.mask]
            out.sums["kl_sampler"] = float((gap.expm1() - gap).sum())
        self.optimizer.backward(out.loss, last)
        sums.update(out.sums)
        part.losses.append(float(out.loss.detach()))
        sums.update({"loss": part.losses[-1], "tokens": batch.n_tokens})
        sums.update(volume(batch, self.form))
        return (inputs.logprobs.detach() - sampler)[inputs.mask]

    @property
    def _entropy(self) -> bool | None:
        """As `token_logprobs` wants it: with gradient, or for the log only."""
        return True if self.options.entropy else None

    def _pass_idly(self, last: bool) -> None:
        """Run the modules that the others run; the gradient is 0."""
        if self.reference:
            self.reference.score(self._idle, form=self.form)
        scores = self._score(self._idle, entropy=self._entropy)
        self.optimizer.backward(scores.logprobs.sum() * 0.0, last)

    def _mismatch(self, gaps: torch.Tensor) -> dict[str, float]:
        """Metrics of log-prob of trainer - of sampler [K]; with ρ = π_trainer / π_sampler the KL
        of the sampler from the trainer is the mean of ρ - log ρ - 1 (k3)."""
        wide = gaps.double()
        largest = float(wide.abs().max()) if len(wide) else 0.0
        kl = float((wide.expm1() - wide).sum())
        own = {"n": len(wide), "gap": float(wide.abs().sum()), "kl": kl}
        total = self.ranks.total(own)
        return {
            "mismatch_mean": total["gap"] / total["n"],
            "mismatch_max": max(self.ranks.gather(largest)),
            "mismatch_kl": total["kl"] / total["n"],
        }

    def _check_mismatch(self, mean: float) -> None:
        if mean > self.optim.mismatch_stop:
            self.optimizer.clear()
            raise TrainingError(
                f"log-probs of trainer and sampler differ by {mean:.3g} nats on average, more than "
                f"optim.mismatch_stop = {self.optim.mismatch_stop:g}: the sampler has other "
                "weights or other arithmetic, and the update would be noise"
            )
