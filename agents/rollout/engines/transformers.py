"""Generation in this process, on the model that is being trained.

All open chats form one batch; the prefix of a group is computed once and its KV cache spread over
the siblings; finished rows leave the batch. N rows, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...prefix import Row, SharedPrefix, distribution
from ...vlm import VLM
from ..chat import Chat
from ..stopping import Stopper
from . import Completion, Sampling, StopReason

COMPACT = 0.75
"""Finished rows are taken out when at most this share of the batch is still open."""
REASONS = (StopReason.LENGTH, StopReason.EOS, StopReason.STOP)


class TransformersEngine:
    """Samples from a `VLM`. At most `max_rows` chats run at once; siblings stand side by side."""

    def __init__(self, vlm: VLM, max_rows: int = 256) -> None:
        self.vlm = vlm
        self.codec = vlm.codec
        self.policy_version = 0
        self.max_rows = max_rows
        self.stopper = Stopper(vlm.codec)

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Completion]:
        """One completion per chat, in order."""
        if sampling.max_tokens < 1 or sampling.temperature < 0:
            raise ValueError(f"got {sampling}, expected max_tokens >= 1 and temperature >= 0")
        done: dict[int, Completion] = {}
        for part in self._parts(chats):
            with self.vlm.evaluating():
                batch = _Batch(self, [chats[n] for n in part], sampling)
                done |= zip(part, batch.run(), strict=True)
        return [done[n] for n in range(len(chats))]

    def _parts(self, chats: Sequence[Chat]) -> Iterator[list[int]]:
        groups: dict[str, list[int]] = {}
        for n, chat in enumerate(chats):
            groups.setdefault(chat.group, []).append(n)
        order = [n for members in groups.values() for n in members]
        for start in range(0, len(order), self.max_rows):
            yield order[start : start + self.max_rows]

    def load_weights(self, source: Any, version: int) -> None:
        """Take the weights of a `VLM`, a module or a model folder.

        The module that this engine already runs costs nothing.
        """
        if isinstance(source, str | Path):
            source = VLM.load(source)
        module: nn.Module = source.model if isinstance(source, VLM) else source
        if module is not self.vlm.model:
            self.vlm.model.load_state_dict(module.state_dict())
            self.vlm.forget_images()
        self.policy_version = version


class _Batch:
    """The state of one batch while it generates."""

    def __init__(self, engine: TransformersEngine, chats: list[Chat], sampling: Sampling) -> None:
        self.vlm, self.sampling, self.chats = engine.vlm, sampling, chats
        self.stopper = engine.stopper
        rows = [Row(np.array(c.token_ids), tuple(c.images), c.prefix) for c in chats]
        self.shared = SharedPrefix(engine.vlm, rows)
        size, limit = len(chats), sampling.max_tokens
        self.tokens = np.zeros((size, limit), dtype=np.int64)
        self.logprobs = np.zeros((size, limit), dtype=np.float64)
        self.lengths = np.full(size, limit)
        self.reasons = np.zeros(size, dtype=np.int64)
        """[N] index into REASONS."""
        self.open = np.ones(size, dtype=np.bool_)
        self.present = np.arange(size)
        """Rows that are still in the batch, which is ordered by them."""
        stops = list(dict.fromkeys(chat.stop for chat in chats))
        self.enders = self._enders(stops)
        self.stop_of = np.array([stops.index(chat.stop) for chat in chats])

    def _enders(self, stops: list[tuple[str, ...]]) -> np.ndarray:
        """[number of different stops, V] bool: tokens that can complete a stop string."""
        table = np.zeros((len(stops), self.vlm.model.config.text_config.vocab_size), dtype=np.bool_)
        for n, stop in enumerate(stops):
            if stop:
                known = self.stopper.enders(stop)
                table[n, : len(known)] = known
        return table

    def run(self) -> list[Completion]:
        """Sample until every row is finished."""
        vlm, shared = self.vlm, self.shared
        hidden = shared.forward()
        last = torch.from_numpy(shared.lengths - 1).to(vlm.device)
        hidden = hidden[torch.arange(len(last), device=vlm.device), last]
        cache, mask = shared.cache, shared.mask
        position = torch.from_numpy(shared.next_positions).to(vlm.device)
        uniforms = self._uniforms()
        for step in range(self.sampling.max_tokens):
            drawn = self._draw(hidden, step, uniforms)
            if not self.open.any() or step + 1 == self.sampling.max_tokens:
                break
            if self.open[self.present].mean() <= COMPACT:
                stay = np.flatnonzero(self.open[self.present])
                self.present = self.present[stay]
                index = torch.from_numpy(stay).to(vlm.device)
                cache.batch_select_indices(index)
                mask, position, drawn = mask[index], position[index], drawn[index]
                uniforms = uniforms[index]
            mask = torch.nn.functional.pad(mask, (0, 1), value=True)
            places = (position + step).expand(3, -1)[..., None]
            hidden = vlm.hidden(drawn[:, None], places, mask, cache=cache)[:, 0]
        return self._completions()

    def _uniforms(self) -> Tensor:
        """[N, max_tokens] in [0, 1): each row's own numbers, from (seed, group, member, turn)."""
        seed, limit = self.sampling.seed, self.sampling.max_tokens
        rows = []
        for chat in self.chats:
            name = f"{seed}|{chat.group}|{chat.member}|{chat.replies}".encode()
            key = int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little")
            rows.append(np.random.Generator(np.random.Philox(key=key)).random(limit))
        return torch.from_numpy(np.stack(rows)).to(self.vlm.device)

    def _draw(self, hidden: Tensor, step: int, uniforms: Tensor) -> Tensor:
        """Sample one token for every present row, note it, and close the rows that it ends."""
        greedy = self.sampling.temperature == 0
        scores = distribution(
            hidden, self.vlm.lm_head, self.sampling.temperature or 1.0, self.vlm.codec.banned
        )
        chosen = scores.argmax(-1) if greedy else inverse_cdf(scores, uniforms[:, step])
        ids = chosen.cpu().numpy()
        self.tokens[self.present, step] = ids
        self.logprobs[self.present, step] = scores.gather(-1, chosen[:, None])[:, 0].cpu().numpy()
        ended = np.isin(ids, self.vlm.codec.eos)
        for n in np.flatnonzero(self.enders[self.stop_of[self.present], ids] & ~ended):
            row = self.present[n]
            reply = self.tokens[row, : step + 1].tolist()
            if self.open[row] and self.stopper.complete(reply, self.chats[row].stop):
                self._close(row, step, 2)
        for row in self.present[ended]:
            self._close(row, step, 1)
        return chosen

    def _close(self, row: int, step: int, reason: int) -> None:
        if self.open[row]:
            self.open[row] = False
            self.lengths[row] = step + 1
            self.reasons[row] = reason

    def _completions(self) -> list[Completion]:
        return [
            Completion(ids[:n].tolist(), scores[:n].tolist(), REASONS[reason])
            for ids, scores, n, reason in zip(
                self.tokens, self.logprobs, self.lengths, self.reasons, strict=True
            )
        ]


def inverse_cdf(logprobs: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one id [N] per row of `logprobs` [N, V] by its own number in [0, 1).

    The result depends on the row alone. An id of probability 0 is never drawn.
    """
    steps = logprobs.double().exp().cumsum(-1)
    # Rounding leaves the total near 1; scaling to it keeps the draw below the last step.
    target = uniforms.clamp(max=1 - 2**-40)[:, None] * steps[:, -1:]
    return torch.searchsorted(steps, target, right=True)[:, 0]
