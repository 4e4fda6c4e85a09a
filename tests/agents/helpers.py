"""Conversations and reference computations for the tests of models, engines and training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.prefix import Row
from agents.rollout.chat import Chat
from agents.rollout.codec import Codec
from agents.rollout.engines import Completion, StopReason
from agents.vlm import VLM

from .conftest import noise_image

SIZES = ((48, 32), (32, 48), (64, 32))
"""Width and height in pixels, multiples of the test models' factor 16: 6, 6 and 8 tokens."""


def random_reply(codec: Codec, rng: np.random.Generator, end: bool) -> Completion:
    """1 to 8 tokens that sampling could draw; the log-probs are made up."""
    legal = np.setdiff1d(np.arange(len(codec.tokenizer)), [*codec.banned, *codec.eos])
    ids = rng.choice(legal, rng.integers(1, 9)).tolist() + [codec.im_end] * end
    return Completion(ids, [-1.0] * len(ids), StopReason.EOS if end else StopReason.STOP)


def opening(codec: Codec, group: int) -> Chat:
    """The first observation of group `group`: prompts and images differ in length and size."""
    chat = Chat(codec, f"g{group}")
    view = noise_image(*SIZES[group % 3], seed=group)
    chat.observe(f"<image>\nWhere is {'x' * 5 * group}?", [view], system="Look." * group)
    return chat


def add_crop(chat: Chat, seed: int) -> None:
    """The second observation: a crop of another size than the view."""
    chat.observe("<image>\nAnd now?", [noise_image(*SIZES[seed % 3], seed=100 + seed)])


def conversations(codec: Codec, sizes: Sequence[int] = (3, 2)) -> list[Chat]:
    """Finished two-turn chats in groups of `sizes`; the last one ends after its first turn."""
    rng = np.random.default_rng(0)
    chats = []
    for group, size in enumerate(sizes):
        root = opening(codec, group)
        for member in range(size):
            chat = root.fork(member)
            chat.reply(random_reply(codec, rng, end=False))
            add_crop(chat, 10 * group + member)
            chat.reply(random_reply(codec, rng, end=True))
            chats.append(chat)
    chats.append(opening(codec, len(sizes)))
    chats[-1].reply(random_reply(codec, rng, end=True))
    return chats


def rows_of(chats: Sequence[Chat]) -> list[Row]:
    return [Row(np.array(chat.token_ids), tuple(chat.images), chat.prefix) for chat in chats]


def masks_of(chats: Sequence[Chat]) -> list[np.ndarray]:
    return [np.array(chat.loss_mask) for chat in chats]


def public_logits(vlm: VLM, chat: Chat) -> Tensor:
    """[T, V] by the model's own public forward: raw pixels, no cache, positions of its own."""
    ids = torch.tensor([chat.token_ids])
    pixels = np.concatenate([vlm.codec.pixel_values(image) for image in chat.images])
    return vlm.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == vlm.codec.image).int(),
        pixel_values=torch.from_numpy(pixels),
        image_grid_thw=torch.tensor([i.grid for i in chat.images]),
        use_cache=False,
    ).logits[0]


def public_logprobs(vlm: VLM, chat: Chat, temperature: float = 1.0) -> Tensor:
    """[K] log-probs of the chat's sampled tokens, banned ids left out."""
    logits = public_logits(vlm, chat) / temperature
    logits = logits.index_fill(-1, torch.tensor(vlm.codec.banned), -torch.inf)
    trained = np.flatnonzero(chat.loss_mask)
    targets = torch.tensor(chat.token_ids)[trained]
    return logits.log_softmax(-1)[trained - 1].gather(-1, targets[:, None])[:, 0]
