"""Generation in this process, on the model that is being trained or on one of its own.

All open chats form one batch; the prefix of a group is computed once for its siblings and, when it
is long, kept for their next turn; finished rows leave the batch.

Draws are by inverse CDF with numbers from (seed, group, member, turn), in an order of ids that
never changes. What else is in the batch changes logits only by rounding. In float32 that is about
1e-6, so a token differs from that of another batch only where its number falls as close as that to
a border between two ids, or a truncated distribution has an id as close as that to its bound. In
bfloat16 it is about 1e-2: draws repeat for an equal batch, but in another one a reply of some tens
of tokens may well part from what it was. Log-probs are those of what was drawn in either case.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from ...adapters import merged
from ...prefix import Row
from ...vlm import VLM
from ..chat import Chat
from ..stopping import Stopper
from . import Failure, ModelSource, Reply, Sampling
from ._transformers_batch import Batch, Deadline
from ._transformers_past import Kept, is_long, past_of

HEAD = "lm_head.weight"


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_rows: int = Field(default=256, ge=1)
    """chats that run at once; siblings stand side by side"""
    max_prefill_tokens: int = Field(default=32768, ge=1)
    """tokens of one forward over prompts, padding included; a longer prompt runs alone"""
    keep_mb: int = Field(default=512, ge=0)
    """memory for what the next turn needs again: keys and values of long prefixes, and images'
    features while the vision tower trains"""


def open_engine(model: ModelSource, options: Options) -> TransformersEngine:
    """An engine on the trainer's own model, or on one that it loads from `model.path`."""
    vlm = model.policy
    if vlm is None:
        vlm = VLM.load(model.path, dtype=model.dtype, device=model.device)
    return TransformersEngine(vlm, **options.model_dump())


class TransformersEngine:
    """Samples from a `VLM`; the numbers are as in `Options`.

    Weights that are changed in place must be told of by `load_weights`, which costs nothing for the
    module that is run already. A change that was not is noticed by `generate` as a rule, not
    always: see `WeightWatch`.
    """

    def __init__(
        self,
        vlm: VLM,
        max_rows: int = 256,
        max_prefill_tokens: int = 32768,
        keep_mb: int = 512,
    ) -> None:
        self.vlm = vlm
        self.codec = vlm.codec
        self.policy_version = 0
        self.max_rows = max_rows
        self.max_prefill_tokens = max_prefill_tokens
        self.context = vlm.context
        """Longest conversation, in tokens."""
        self.stopper = Stopper(vlm.codec)
        self.kept = Kept(vlm, keep_mb * 2**20)

    def open_chat(self, group: str) -> Chat:
        """An empty chat of member 0 of a group."""
        chat = Chat(self.codec, group)
        chat.policy_version = self.policy_version
        return chat

    def generate(self, chats: Sequence[Chat], sampling: Sampling) -> list[Reply]:
        """One reply per chat, in order.

        A chat that does not fit the model's context, a reply that is not there by
        `sampling.timeout` (looked at between steps) and one whose logits are not finite are
        failures of their own.
        """
        deadline = Deadline(monotonic(), sampling.timeout)
        done: dict[int, Reply] = {}
        for n, chat in enumerate(chats):
            if len(chat.token_ids) >= self.context:
                done[n] = Failure(
                    f"prompt of {len(chat.token_ids):,} tokens does not fit the model's context "
                    f"of {self.context:,} tokens",
                    again=False,
                )
        self.kept.check()
        for part in self._parts(chats, [n for n in range(len(chats)) if n not in done]):
            replies = self._run([chats[n] for n in part], sampling, deadline)
            done |= zip(part, replies, strict=True)
        return [done[n] for n in range(len(chats))]

    def _parts(self, chats: Sequence[Chat], chosen: Sequence[int]) -> Iterator[list[int]]:
        # How a chat is computed depends on its own prefix, not on the others'.
        for long in (False, True):
            groups: dict[str, list[int]] = {}
            for n in chosen:
                if is_long(chats[n].prefix) == long:
                    groups.setdefault(chats[n].group, []).append(n)
            order = [n for members in groups.values() for n in members]
            for start in range(0, len(order), self.max_rows):
                yield order[start : start + self.max_rows]

    def _run(self, chats: list[Chat], sampling: Sampling, deadline: Deadline) -> list[Reply]:
        rows = [Row(np.array(c.token_ids), tuple(c.images), c.prefix) for c in chats]
        room = [self.context - len(chat.token_ids) for chat in chats]
        batch = Batch(self.vlm, self.stopper, chats, sampling, room)
        first_turns = [chat.replies == 0 for chat in chats]
        with self.vlm.evaluating():
            past = past_of(self.vlm, rows, first_turns, self.kept, self.max_prefill_tokens)
            return batch.run(past, deadline)

    def load_weights(self, source: Any, version: int) -> None:
        """Take the weights of a `VLM`, a module or a model folder.

        The module that this engine already runs costs nothing. What was computed with the old
        weights is forgotten: prefixes always, features of images where the vision tower changed.
        """
        if isinstance(source, str | Path):
            source = VLM.load(source)
        module: nn.Module = source.model if isinstance(source, VLM) else source
        if module is not self.vlm.model:
            self._take(source.state() if isinstance(source, VLM) else merged(module))
            self.vlm.forget_images()
        self.vlm.forget_stale_images()
        self.kept.clear()
        self.policy_version = version

    def _take(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Copy one tensor after the other: those of a policy that is spread over processes are
        gathered on the way. Raises ValueError when not all of this model's are there."""
        own = self.vlm.model.state_dict()
        missing = set(own)
        with torch.no_grad():
            for name, tensor in weights:
                if name not in own or own[name].shape != tensor.shape:
                    got = f"{name} {list(tensor.shape)}"
                    raise ValueError(f"load_weights: got {got}, which the model does not have")
                own[name].copy_(tensor)
                missing.discard(name)
            if HEAD in missing:  # tied there to the embedding, and mostly here, too
                own[HEAD].copy_(self.vlm.model.get_input_embeddings().weight)
        if lost := sorted(missing - {HEAD}):
            raise ValueError(f"load_weights: got no {', '.join(lost[:3])}")

    def sleep(self) -> None:
        """Forget what is kept between turns; the model may be the trainer's and stays."""
        self.kept.clear()

    def wake(self) -> None:
        """Nothing to do: what was forgotten is computed when it is needed."""

    def close(self) -> None:
        """Forget what is kept, the images' features too."""
        self.kept.clear()
        self.vlm.forget_images()
