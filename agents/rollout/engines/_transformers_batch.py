"""One batch while it generates: what was drawn, and why and when each row ended.

Finished rows leave the batch. N rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np
import torch
from torch import Tensor

from ...head import distribution
from ...vlm import VLM
from ..chat import Chat
from ..stopping import Stopper
from . import Completion, Failure, Reply, Sampling, StopReason
from ._transformers_past import Past

COMPACT = 0.75
"""Finished rows are taken out when at most this share of the batch is still open."""
REASONS = (StopReason.LENGTH, StopReason.EOS, StopReason.STOP)
LENGTH, EOS, STOP, BROKEN = range(4)
MAX_DRAWN = 2**24
"""Probabilities in float64 that are held at once while ids are drawn."""


@dataclass(frozen=True)
class Deadline:
    """When a reply has taken too long."""

    start: float
    """`time.monotonic()` when the replies were asked for."""
    timeout: float | None

    @property
    def passed(self) -> bool:
        return self.timeout is not None and monotonic() - self.start > self.timeout

    def failure(self, n_tokens: int) -> Failure:
        return Failure(f"timed out after {self.timeout:g} s, {n_tokens} tokens sampled")


class Batch:
    """Samples a reply for every chat. `room` [N]: tokens that fit the model's context."""

    def __init__(
        self,
        vlm: VLM,
        stopper: Stopper,
        chats: Sequence[Chat],
        sampling: Sampling,
        room: Sequence[int],
    ) -> None:
        self.vlm, self.stopper, self.chats, self.sampling = vlm, stopper, chats, sampling
        self.limits = np.minimum(room, sampling.max_tokens)
        """[N] longest reply of each row."""
        size, self.steps = len(chats), int(self.limits.max())
        self.tokens = np.zeros((size, self.steps), dtype=np.int64)
        self.logprobs = np.zeros((size, self.steps), dtype=np.float64)
        self.lengths = np.zeros(size, dtype=np.int64)
        """[N] tokens of each reply so far."""
        self.reasons = np.zeros(size, dtype=np.int64)
        """[N] index into REASONS, or BROKEN."""
        self.open = np.ones(size, dtype=np.bool_)
        self.present = np.arange(size)
        """Rows that are still in the batch, which is ordered by them."""
        stops = list(dict.fromkeys(chat.stop for chat in chats))
        self.stop_of = np.array([stops.index(chat.stop) for chat in chats])
        self.enders = self._enders(stops)
        self.ends = np.zeros(self.enders.shape[1], dtype=np.bool_)
        """[V] tokens that end the turn."""
        self.ends[list(vlm.codec.eos)] = True

    def _enders(self, stops: list[tuple[str, ...]]) -> np.ndarray:
        """[number of different stops, V] bool: tokens that can complete a stop string."""
        table = np.zeros((len(stops), self.vlm.model.config.text_config.vocab_size), dtype=np.bool_)
        for n, stop in enumerate(stops):
            if stop:
                known = self.stopper.enders(stop)
                table[n, : len(known)] = known
        return table

    def run(self, past: Past, deadline: Deadline) -> list[Reply]:
        """Sample until every row is finished; rows that are not by then, time out."""
        if deadline.passed:
            return self._replies(deadline)
        hidden = past.begin()
        uniforms = self._uniforms()
        for step in range(self.steps):
            if deadline.passed:
                break
            drawn = self._draw(hidden, step, uniforms)
            if not self.open.any():
                break
            if self.open[self.present].mean() <= COMPACT:
                stay = np.flatnonzero(self.open[self.present])
                self.present = self.present[stay]
                index = torch.from_numpy(stay).to(self.vlm.device)
                past.keep(index)
                drawn, uniforms = drawn[index], uniforms[index]
            hidden = past.step(drawn)
        return self._replies(deadline)

    def _uniforms(self) -> Tensor:
        """[N, steps] in [0, 1): each row's own numbers, from (seed, group, member, turn)."""
        rows = []
        for chat in self.chats:
            key = self.sampling.key(chat.group, chat.member, chat.replies)
            rows.append(np.random.Generator(np.random.Philox(key=key)).random(self.steps))
        return torch.from_numpy(np.stack(rows)).to(self.vlm.device)

    def _draw(self, hidden: Tensor, step: int, uniforms: Tensor) -> Tensor:
        """Sample one token for every present row, note it, and close the rows that it ends."""
        sampling = self.sampling
        scores = distribution(
            hidden, self.vlm.lm_head, sampling.temperature or 1.0, self.vlm.codec.banned, sampling
        )
        greedy = sampling.temperature == 0
        chosen = scores.argmax(-1) if greedy else inverse_cdf(scores, uniforms[:, step])
        # Where a logit is NaN or infinite the whole row of scores is NaN, and so is its log-prob.
        chosen = chosen.masked_fill(scores[:, 0].isnan(), self.vlm.codec.pad)
        logprobs = scores.gather(-1, chosen[:, None])[:, 0]
        # Both in one copy from the device; an id is a whole number that float64 holds exactly.
        pair = torch.stack([chosen.double(), logprobs.double()]).cpu().numpy()
        ids = pair[0].astype(np.int64)
        self.tokens[self.present, step] = ids
        self.logprobs[self.present, step] = pair[1]
        self._break_off(self.present[~np.isfinite(pair[1])])
        self.lengths[self.present[self.open[self.present]]] = step + 1
        self._close_rows(ids, step)
        return chosen

    def _break_off(self, rows: np.ndarray) -> None:
        """Close rows that nothing can be drawn from; the others go on."""
        for row in rows[self.open[rows]]:
            self._close(row, BROKEN)

    def _close_rows(self, ids: np.ndarray, step: int) -> None:
        present, ended = self.present, self.ends[ids]
        for n in np.flatnonzero(self.enders[self.stop_of[present], ids] & ~ended):
            row = present[n]
            reply = self.tokens[row, : step + 1].tolist()
            if self.open[row] and self.stopper.complete(reply, self.chats[row].stop):
                self._close(row, STOP)
        for row in present[ended]:
            self._close(row, EOS)
        for row in present[self.limits[present] == step + 1]:
            self._close(row, LENGTH)

    def _close(self, row: int, reason: int) -> None:
        if self.open[row]:
            self.open[row] = False
            self.reasons[row] = reason

    def _replies(self, deadline: Deadline) -> list[Reply]:
        return [self._reply(row, deadline) for row in range(len(self.chats))]

    def _reply(self, row: int, deadline: Deadline) -> Reply:
        n, reason = int(self.lengths[row]), self.reasons[row]
        if self.open[row]:
            return deadline.failure(n)
        if reason == BROKEN:
            return Failure(f"the model's logits are not finite after {n} tokens", again=False)
        ids, scores = self.tokens[row, :n], self.logprobs[row, :n]
        return Completion(ids.tolist(), scores.tolist(), REASONS[reason])


def inverse_cdf(logprobs: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one id [N] per row of `logprobs` [N, V] by its own number in [0, 1).

    The result depends on the row alone. An id of probability 0 is never drawn. A row with NaN gives
    any id of the vocabulary.
    """
    size = max(1, MAX_DRAWN // logprobs.shape[1])
    drawn = []
    for scores, numbers in zip(logprobs.split(size), uniforms.split(size), strict=True):
        steps = scores.double().exp_().cumsum(-1)
        # Rounding leaves the total near 1; scaling to it keeps the draw below the last step.
        target = numbers.clamp(max=1 - 2**-40)[:, None] * steps[:, -1:]
        drawn.append(torch.searchsorted(steps, target, right=True)[:, 0])
    return torch.cat(drawn).clamp_(max=logprobs.shape[1] - 1)
